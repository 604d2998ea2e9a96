/**
 * Raised hands, in the order in which they went up. Each hand carries a number one above the
 * highest it saw, in the public data of its owner, so that those who come later see the same order
 * and a lost connection costs nobody the place.
 */

import { byId, element } from './element.js';
import { isolated, number, t, tn } from './language.js';
import { nameOf } from './names.js';
import { announce } from './notices.js';
import { preferences } from './preferences.js';
import { rove } from './roving.js';
import { chime } from './sound.js';
import { isSelf, state } from './state.js';

/** Names beside the counter; more are in the list. */
const NAMES_MAX = 2;
/** After joining, people who are there already are no news. */
const QUIET_MS = 2_000;

let refreshStops;
/** For operators, when there is a hand. */
let word;

export class Hands {
    /** `onChange(places)` gets a Map of user ids to places in the queue; `letSpeak(user)` gives somebody the word. */
    constructor(connection, onChange, letSpeak) {
        this.connection = connection;
        this.onChange = onChange;
        this.letSpeak = letSpeak;
        byId('lower-all').onclick = () => this.lowerAll();
        refreshStops ??= rove(byId('hands-list'), 'button');
        this.clear();
    }

    /** Nobody is known: before a (new) connection tells who is there. */
    clear() {
        this.#numbers = new Map();
        this.#quietUntil = performance.now() + QUIET_MS;
        this.#show();
    }

    get isRaised() {
        return Boolean(this.connection.ownData.raisehand);
    }

    raise(isRaised) {
        if (isRaised === this.isRaised)
            return;
        this.connection.tellOfUs(isRaised
            ? { raisehand: true, hand: this.#highest() + 1 } : { raisehand: null, hand: null });
        this.#show();
    }

    lower(user) {
        if (isSelf(user))
            this.raise(false);
        else
            this.connection.userMessage('lowerhand', user.id);
    }

    lowerAll() {
        this.raise(false);
        this.connection.userMessage('lowerhand', '', undefined, true);
        byId('people-button').focus();
    }

    /** Takes what `user` is now. */
    update(kind, user) {
        const wasRaised = this.#numbers.has(user.id);
        const isRaised = kind !== 'delete' && Boolean(user.data?.raisehand);
        if (isRaised && !wasRaised) {
            // Galene's client raises hands without numbers: they go up when we see them.
            const number = Number.isSafeInteger(user.data.hand) ? user.data.hand
                : this.#highest() + 1;
            this.#numbers.set(user.id, number);
            this.#tell(user);
        } else if (!isRaised && wasRaised) {
            this.#numbers.delete(user.id);
        } else {
            return;
        }
        this.#show();
    }

    /** User ids in the order of raising. */
    get queue() {
        return [...this.#numbers].sort(([idA, a], [idB, b]) => a - b || (idA < idB ? -1 : 1))
            .map(([id]) => id).filter((id) => this.connection.users.has(id));
    }

    /** Draws the queue anew, in another language. */
    refresh() {
        this.#show();
    }

    #numbers = new Map();
    #quietUntil = 0;

    #highest() {
        return Math.max(0, ...this.#numbers.values());
    }

    #tell(user) {
        if (isSelf(user) || user.data.was || performance.now() < this.#quietUntil)
            return;
        const count = this.#numbers.size;
        announce(`${t('{name} raised a hand.', { name: nameOf(user) })} `
            + tn(count, '{count} hand is up.', '{count} hands are up.'));
        if (this.connection.can('op') && preferences.handSound)
            chime();
    }

    #row(user, isOp) {
        const name = nameOf(user);
        return element('li', {},
            element('span', { dir: 'auto' }, isSelf(user) ? t('{name} (you)', { name }) : name),
            word?.letSpeakButton(this, user) ?? '',
            isOp || isSelf(user) ? element('button', {
                type: 'button', className: 'plain', 'aria-label': t('Lower the hand of {name}', { name }),
                onclick: () => this.lower(user),
            }, t('Lower')) : '');
    }

    #show() {
        const { queue } = this;
        const users = queue.map((id) => this.connection.users.get(id));
        const isOp = this.connection.can('op');
        if (isOp && queue.length > 0 && !word)
            import('./let-speak.js').then((module) => {
                word = module;
                state.room?.hands.refresh();
            }, () => {});
        word?.follow(queue);
        const chip = byId('hands-chip');
        chip.hidden = queue.length === 0;
        const names = users.slice(0, NAMES_MAX).map((user) => isolated(nameOf(user))).join(', ');
        const more = users.length > NAMES_MAX ? ` +${number(users.length - NAMES_MAX)}` : '';
        byId('hands-count').textContent = number(queue.length);
        byId('hands-names').textContent = names + more;
        chip.setAttribute('aria-label', `${t('Raised hands: {count}.', { count: queue.length })} ${names}${more}`);
        byId('hands').hidden = queue.length === 0;
        byId('lower-all').hidden = !isOp;
        const buttons = () => [...byId('hands-list').querySelectorAll('button')];
        const labelOf = (button) => button.getAttribute('aria-label');
        const focus = buttons().find((button) => button === document.activeElement);
        byId('hands-list').replaceChildren(...users.map((user) => this.#row(user, isOp)));
        refreshStops();
        if (focus)
            (buttons().find((button) => labelOf(button) === labelOf(focus)) ?? buttons()[0] ?? byId('people-button')).focus();
        const button = byId('hand-button');
        button.setAttribute('aria-pressed', String(this.isRaised));
        button.title = this.isRaised ? t('Your hand is up. H lowers it.') : t('Raise your hand (H)');
        const place = queue.indexOf(this.connection.id) + 1;
        byId('hand-place').textContent = place > 0 ? number(place) : '';
        this.onChange(new Map(queue.map((id, at) => [id, at + 1])));
    }
}
