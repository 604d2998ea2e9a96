/**
 * Keeps a list that grows at its end there, whatever becomes of its size. Who has scrolled back is left in
 * peace; a button tells of what has come meanwhile, and leads to it.
 */

import { tn } from './language.js';

/** A list scrolled this near to its end is at it. */
const NEAR_PX = 40;

export class ChatEnd {
    constructor(list, button, signal) {
        this.#list = list;
        this.#button = button;
        list.onscroll = () => this.#scrolled();
        button.onclick = () => {
            this.reach();
            list.focus();
        };
        // A keyboard on the screen takes half of it, a phone is turned.
        const observer = new ResizeObserver(() => this.#isThere && this.reach());
        observer.observe(list);
        signal.addEventListener('abort', () => observer.disconnect());
        this.#count(0);
    }

    /** Another line is there. */
    grew(isOwn) {
        if (this.#isThere || isOwn)
            this.reach();
        else
            this.#count(this.#below + 1);
    }

    /** Shows the end. */
    reach() {
        this.#list.scrollTop = this.#list.scrollHeight;
        this.#isThere = true;
        this.#count(0);
    }

    /** Shows `line` and what comes from there on, of which `count` is new. */
    showFrom(line, count) {
        line.scrollIntoView({ block: 'nearest' });
        this.#count(count);
        this.#scrolled();
    }

    #list;
    #button;
    #isThere = true;
    #below = 0;

    #scrolled() {
        const { scrollHeight, scrollTop, clientHeight } = this.#list;
        // Out of sight it has no size, and stays where it was.
        if (clientHeight === 0)
            return;
        this.#isThere = scrollHeight - scrollTop - clientHeight < NEAR_PX;
        if (this.#isThere)
            this.#count(0);
    }

    #count(below) {
        this.#below = below;
        this.#button.hidden = below === 0;
        this.#button.textContent = below === 0 ? ''
            : tn(below, '{count} new message below', '{count} new messages below');
    }
}
