/**
 * Who waits at the door, on the page: a card above the videos, which makes room instead of lying on them, and a
 * button in the bar with their number that puts it aside and brings it back. It never takes the focus by itself.
 */

import { openPanel } from './controls.js';
import { byId, element, icon } from './element.js';
import { need, number, t, tn } from './language.js';
import { rove } from './roving.js';
import { state } from './state.js';
import { steady } from './steady.js';
import './tools-style.js';

await need('tools');

/** There the panels lie on the stage. */
const NARROW = '(max-width: 45rem)';

export class DoorCard {
    /** `deeds` has admit(entry), refuse(entry), admitAll(entries) and unlock(). */
    constructor(deeds) {
        this.deeds = deeds;
    }

    /** Shows those who wait: [{key, name, place, isAsked}]. */
    show(entries, { canUnlock }) {
        this.#entries = entries;
        if (entries.length === 0) {
            this.#remove();
            return;
        }
        if (!this.#card)
            this.#build();
        const { length } = entries;
        const text = tn(length, '{count} person would like to come in', '{count} people would like to come in');
        put(this.#title, text);
        put(this.#chip.querySelector('b'), number(length));
        this.#chip.setAttribute('aria-label', text);
        this.#chip.title = `${text} (K)`;
        put(this.#all, t('Let all in'));
        put(this.#unlock, t('Unlock group'));
        this.#hide.title = t('Hide');
        this.#hide.setAttribute('aria-label', t('Hide who waits at the door'));
        this.#list();
        this.#keepFocus(this.#all, length < 2);
        this.#keepFocus(this.#unlock, !canUnlock);
        this.#place();
    }

    /** Brings it to the front, with the focus; whether there is anybody. */
    reveal() {
        if (!this.#card)
            return false;
        this.#isAside = false;
        if (this.#isCovered)
            openPanel(null);
        this.#place();
        this.#card.querySelector('li button').focus();
        return true;
    }

    #entries = [];
    #rows = new Map();
    #isAside = false;
    #card = null;
    #chip;
    #title;
    #all;
    #unlock;
    #hide;
    #refreshStops;
    /** To be called when buttons take the places of others. */
    #moved;
    /** What had the focus before the card had it. */
    #cameFrom = null;

    get #isCovered() {
        return state.panel !== null && matchMedia(NARROW).matches;
    }

    #build() {
        const button = (className, onclick) => element('button', { type: 'button', className, onclick });
        this.#title = element('h2', { id: 'door-title', tabIndex: -1 });
        this.#all = button('door-all', () => this.deeds.admitAll(this.#entries));
        this.#unlock = button('door-unlock', () => this.deeds.unlock());
        this.#hide = element('button', { type: 'button', className: 'plain', onclick: () => this.#putAside() }, '×');
        this.#card = element('section', { id: 'door', 'aria-labelledby': 'door-title' },
            element('div', { className: 'door-head' }, this.#title, this.#all, this.#unlock, this.#hide),
            element('ul', { id: 'door-list', 'aria-labelledby': 'door-title' }));
        this.#chip = element('button', {
            id: 'door-chip', type: 'button', className: 'chip', 'aria-controls': 'door',
            onclick: () => (this.#isAside || this.#isCovered ? this.reveal() : this.#putAside()),
        }, icon('door'), element('b'));
        byId('shares').before(this.#card);
        byId('hands-chip').before(this.#chip);
        this.#rows.clear();
        this.#refreshStops = rove(this.#card.querySelector('ul'), 'button');
        this.#moved = steady(this.#card, 'li button, .door-all, .door-unlock');
        this.#moved();
        this.#card.addEventListener('focusin', ({ relatedTarget }) => {
            if (relatedTarget && relatedTarget !== this.#chip && !this.#card.contains(relatedTarget))
                this.#cameFrom = relatedTarget;
        });
        this.#card.addEventListener('keydown', (event) => {
            if (event.key === 'Escape') {
                event.preventDefault();
                this.#putAside();
            }
        });
    }

    #list() {
        const keys = new Set(this.#entries.map(({ key }) => key));
        const gone = [...this.#rows].filter(([key]) => !keys.has(key));
        if (gone.length > 0)
            this.#moved();
        for (const [key, row] of gone) {
            const at = [...row.querySelectorAll('button')].indexOf(document.activeElement);
            const next = row.nextElementSibling ?? row.previousElementSibling;
            row.remove();
            this.#rows.delete(key);
            if (at >= 0)
                (next?.querySelectorAll('button')[at] ?? this.#title).focus();
        }
        for (const entry of this.#entries)
            this.#fill(this.#rows.get(entry.key) ?? this.#row(entry), entry);
        this.#refreshStops();
    }

    #row({ key }) {
        const now = () => this.#entries.find((entry) => entry.key === key);
        const button = (className, act) => element('button', {
            type: 'button', className,
            onclick: () => {
                const entry = now();
                if (entry && !entry.isAsked)
                    act(entry);
            },
        });
        const row = element('li', {},
            element('span', { className: 'door-name', dir: 'auto' }), element('small'),
            button('door-admit', (entry) => this.deeds.admit(entry)),
            button('plain door-refuse', (entry) => this.deeds.refuse(entry)));
        this.#rows.set(key, row);
        this.#card.querySelector('ul').append(row);
        return row;
    }

    #fill(row, { name, place, isAsked }) {
        const [span, note, admit, refuse] = row.children;
        put(span, name);
        span.title = name;
        put(note, place);
        put(admit, t('Let in'));
        put(refuse, t('Don’t let in'));
        admit.setAttribute('aria-label', t('Let in: {name}', { name }));
        refuse.setAttribute('aria-label', t('Don’t let in: {name}', { name }));
        for (const button of [admit, refuse])
            button.setAttribute('aria-disabled', String(isAsked));
    }

    /** Hides a button of the head, or shows it; the focus is not lost with it. */
    #keepFocus(button, isHidden) {
        const hadFocus = isHidden && document.activeElement === button;
        button.hidden = isHidden;
        if (hadFocus)
            this.#title.focus();
    }

    #place() {
        this.#card.hidden = this.#isAside;
        this.#chip.setAttribute('aria-expanded', String(!this.#isAside));
    }

    #putAside() {
        this.#isAside = true;
        this.#chip.focus();
        this.#place();
    }

    #remove() {
        if (!this.#card)
            return;
        const hadFocus = [this.#card, this.#chip].some((node) => node.contains(document.activeElement));
        this.#card.remove();
        this.#chip.remove();
        this.#card = null;
        this.#isAside = false;
        if (!hadFocus)
            return;
        const isThere = this.#cameFrom?.isConnected && (this.#cameFrom.checkVisibility?.() ?? true);
        (isThere ? this.#cameFrom : byId('room-name')).focus();
    }
}

/** Only what is another is touched. */
function put(node, text) {
    if (node.textContent !== text)
        node.textContent = text;
}
