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
        list.onscroll = () => this.look();
        button.onclick = () => {
            this.reach();
            list.focus();
        };
        // A keyboard on the screen takes half of it, a phone is turned.
        const observer = new ResizeObserver(() => this.#resized());
        observer.observe(list);
        signal.addEventListener('abort', () => observer.disconnect());
        this.#count(0);
    }

    /** Whether the end is in sight; to be asked before another line is there. */
    get isSeen() {
        const isAsItWas = this.#list.clientHeight > 0 && sizeOf(this.#list) === this.#size;
        return isAsItWas ? this.#isNear : this.#isThere;
    }

    /** Another line is there, and shall be seen or not. */
    grew(isSeen) {
        // The button takes room of the list, which shall not look like somebody else's doing.
        this.#isThere = isSeen;
        if (isSeen)
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
        // It may have come into sight just now.
        this.#size = sizeOf(this.#list);
        this.#isThere = this.#isNear;
        this.#count(this.#isThere ? 0 : count);
    }

    /** The reader may have scrolled, or lines have gone. */
    look() {
        // Out of sight it has no size, and stays where it was; of another size it was not the reader who scrolled.
        this.#isThere = this.isSeen;
        if (this.#isThere)
            this.#count(0);
    }

    #list;
    #button;
    #isThere = true;
    #below = 0;
    #size = '';

    get #isNear() {
        const { scrollHeight, scrollTop, clientHeight } = this.#list;
        return scrollHeight - scrollTop - clientHeight < NEAR_PX;
    }

    #resized() {
        this.#size = sizeOf(this.#list);
        if (this.#isThere)
            this.reach();
    }

    #count(below) {
        this.#below = below;
        this.#button.hidden = below === 0;
        this.#button.textContent = below === 0 ? ''
            : tn(below, '{count} new message below', '{count} new messages below');
    }
}

function sizeOf({ clientWidth, clientHeight }) {
    return `${clientWidth} ${clientHeight}`;
}
