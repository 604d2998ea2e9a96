/** The chat beside a replay, up to where it is, and the captions below it. */

import { byId, element } from './element.js';
import { t } from './language.js';

/** So long a caption is shown. */
const CAPTION_S = 8;

export class ReplayMessages {
    /** `clockOf(s)` spells a time; `onSeek(s)` goes there. */
    constructor(messages, clockOf, onSeek) {
        this.#chat = messages.filter(({ kind }) => kind !== 'caption').map((message) => ({
            ...message, node: line(message, clockOf, onSeek),
        }));
        this.#captions = messages.filter(({ kind }) => kind === 'caption');
        this.areShown = true;
        if (!this.#chat.length)
            byId('chat').append(element('li', { className: 'none' }, t('Nothing was written.')));
    }

    #chat;
    #captions;
    #shown = 0;

    show(atS) {
        const until = this.#chat.findIndex((message) => message.atS > atS);
        const wanted = until < 0 ? this.#chat.length : until;
        if (wanted !== this.#shown) {
            const list = byId('chat');
            if (wanted > this.#shown)
                list.append(...this.#chat.slice(this.#shown, wanted).map(({ node }) => node));
            else
                this.#chat.slice(wanted, this.#shown).forEach(({ node }) => node.remove());
            this.#shown = wanted;
            list.scrollTop = list.scrollHeight;
        }
        const caption = this.#captions.findLast((message) => message.atS <= atS);
        const isFresh = caption && this.areShown && atS - caption.atS < CAPTION_S;
        const text = isFresh ? `${caption.name}: ${caption.text}` : '';
        const place = byId('caption');
        if (place.textContent !== text)
            place.textContent = text;
        place.hidden = !isFresh;
    }

    /** Whether there are captions at all. */
    get hasCaptions() {
        return this.#captions.length > 0;
    }
}

function line({ atS, kind, name, text }, clockOf, onSeek) {
    const time = clockOf(atS);
    const jump = element('button', {
        type: 'button', className: 'link', 'aria-label': t('Go to {time}', { time }),
    }, time);
    jump.onclick = () => onSeek(atS);
    const who = name || t('(anonymous)');
    const said = kind === 'hand' ? [element('i', { dir: 'auto' }, t('{name} raised a hand.', { name: who }))]
        : kind === 'me' ? [element('i', { dir: 'auto' }, `${who} ${text}`)]
        : [element('b', { dir: 'auto' }, who), ' ', element('span', { dir: 'auto' }, text)];
    return element('li', {}, jump, ' ', ...said);
}
