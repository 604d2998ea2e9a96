/**
 * Reactions: a sign that is gone after some seconds, from everybody to everybody. In a large class many come at
 * once, so each client has one at a time, equal ones are counted together, and the page draws them now and then.
 */

import { byId } from './element.js';
import { need, t } from './language.js';
import { closeMenuOf, openMenu } from './menu.js';
import { announce, notify, sentence } from './notices.js';
import { personOf } from './person.js';
import { prefer, preferences } from './preferences.js';
import { ReactionAnnouncer } from './reaction-announcer.js';
import { KINDS, PACE_KINDS, pictureOf, wordOf } from './reaction-kinds.js';
import { Pace } from './reaction-pace.js';
import { ReactionView } from './reaction-view.js';

await need('tools');

const SHOWN_MS = 6_000;
/** They are drawn no more often; and now and then, because the page may show other people now. */
const DRAW_MS = 250;
const DRAW_AGAIN_MS = 1_000;
/** Between two of ours, and more for each member: what all of a class send goes to all of it. */
const GAP_MS = 1_000;
const GAP_EACH_MS = 15;
const GAP_MAX_MS = 5_000;
/** Of one client no more are taken, whatever it sends. */
const TAKEN_GAP_MS = 500;

export class Reactions {
    /** Ends with `signal`, as the membership does. */
    constructor(connection, signal) {
        this.connection = connection;
        this.signal = signal;
        if (signal.aborted)
            return;
        connection.addEventListener('joined', () => this.#follow(), { signal });
        document.addEventListener('languagechange', () => {
            // Words are on the page as they were when it was drawn.
            this.#view.show(new Map(), null);
            this.#draw();
        }, { signal });
        signal.addEventListener('abort', () => this.#clear());
    }

    /** Offers them at the button, the one that was sent last first at hand. Who may not write sees those of others. */
    open() {
        if (this.signal.aborted)
            return;
        const button = byId('reactions-button');
        const kinds = this.#maySend ? KINDS : [];
        openMenu(button, t('Reactions'), [
            ...kinds.map((kind) => ({
                picture: pictureOf(kind), text: wordOf(kind), onclick: () => this.#sendSoon(kind),
            })),
            areShown() ? { text: t('Do not show reactions'), onclick: () => this.#setShown(false) }
                : { text: t('Show reactions'), onclick: () => this.#setShown(true) },
        ]);
        if (button.getAttribute('aria-expanded') === 'true' && this.#sent)
            document.querySelector(`.menu button:has(.is-${this.#sent})`)?.focus();
    }

    /** Takes a user message; anybody may send anything. */
    take({ source, dest, value }) {
        const user = this.connection.users.get(source);
        if (this.signal.aborted || !user || dest || !KINDS.includes(value))
            return;
        const now = performance.now();
        if (now - (this.#takenAt.get(source) ?? -Infinity) < TAKEN_GAP_MS)
            return;
        this.#takenAt.delete(source);
        this.#takenAt.set(source, now);
        const isOwn = source === this.connection.id;
        if (PACE_KINDS.includes(value))
            this.#pace.take(value, source, personOf(user));
        if (isOwn || areShown()) {
            // Those that end first are first.
            this.#reactions.delete(source);
            this.#reactions.set(source, { kind: value, at: now });
        }
        if (isOwn)
            announce(t('Your reaction: {reaction}.', { reaction: wordOf(value) }));
        else if (areShown())
            this.#announcer.note(source, value);
        this.#drawAt(this.#drawnAt + DRAW_MS);
    }

    /** By client ids: {kind, at}, one each. */
    #reactions = new Map();
    #takenAt = new Map();
    #pace = new Pace();
    #view = new ReactionView();
    #announcer = new ReactionAnnouncer();
    #drawnAt = -Infinity;
    #drawTimer = null;
    #drawDueAt = Infinity;
    #sent = '';
    #sentAt = -Infinity;
    #sendTimer = null;

    /** Without a connection it is not known. */
    get #maySend() {
        return !this.connection.isJoined || this.connection.can('message');
    }

    /** We may do something else than before, or are back. */
    #follow() {
        if (!this.#maySend)
            closeMenuOf(byId('reactions-button'));
        this.#drawAt(this.#drawnAt + DRAW_MS);
    }

    /** Sends it now, or as soon as it may be; then only the last that was chosen. */
    #sendSoon(kind) {
        this.#sent = kind;
        clearTimeout(this.#sendTimer);
        const gapMs = Math.min(GAP_MAX_MS, GAP_MS + GAP_EACH_MS * this.connection.users.size);
        this.#sendTimer = setTimeout(() => this.#send(kind),
            Math.max(0, this.#sentAt + gapMs - performance.now()));
    }

    #send(kind) {
        const { connection } = this;
        if (!this.#maySend)
            notify(sentence('not authorised'));
        else if (connection.isJoined && connection.userMessage('reaction', '', kind))
            this.#sentAt = performance.now();
        else
            notify(t('There is no connection at present. Try again in a moment.'));
    }

    #setShown(isShown) {
        prefer('reactions', isShown);
        if (!isShown) {
            this.#reactions.clear();
            this.#announcer.clear();
        }
        this.#draw();
        notify(isShown ? t('Reactions of others are shown again.')
            : t('Reactions of others are no longer shown. The same menu shows them again.'), 'info');
    }

    #drawAt(at) {
        if (at >= this.#drawDueAt)
            return;
        clearTimeout(this.#drawTimer);
        this.#drawDueAt = at;
        this.#drawTimer = setTimeout(() => this.#draw(), Math.max(0, at - performance.now()));
    }

    #draw() {
        clearTimeout(this.#drawTimer);
        this.#drawDueAt = Infinity;
        const now = this.#drawnAt = performance.now();
        forgetBefore(this.#reactions, ({ at }) => at, now - SHOWN_MS);
        forgetBefore(this.#takenAt, (at) => at, now - TAKEN_GAP_MS);
        this.#view.show(this.#reactions, this.connection.can('op') ? this.#pace.counts(now) : null);
        const [first] = this.#reactions.values();
        const next = Math.min(first ? Math.min(first.at + SHOWN_MS, now + DRAW_AGAIN_MS) : Infinity, this.#pace.endsAt);
        if (next < Infinity)
            this.#drawAt(Math.max(next, now + DRAW_MS));
    }

    /** The page shows another group, or none. */
    #clear() {
        clearTimeout(this.#drawTimer);
        clearTimeout(this.#sendTimer);
        this.#announcer.clear();
        this.#view.clear();
    }
}

/** Whether those of others are wished for. */
function areShown() {
    return preferences.reactions !== false;
}

/** Takes the first entries out, as far as they are that old. */
function forgetBefore(map, timeOf, limit) {
    for (const [key, entry] of map) {
        if (timeOf(entry) > limit)
            return;
        map.delete(key);
    }
}
