/**
 * Before a locked group: we wait at its door until a teacher lets us in or the group is unlocked. Instead of the
 * form's upper part there is what is going on; how to begin, and the preview, stay at hand. A breakout room's door,
 * or the group's when it does not take us back, is on the stage.
 */

import { hideBanner } from './banner.js';
import { byId, element, icon } from './element.js';
import { failureText, showStatus } from './entrance.js';
import { dateTime, need, t } from './language.js';
import { announce, notify, sentence } from './notices.js';
import { prefer } from './preferences.js';
import { chime } from './sound.js';
import { state } from './state.js';
import './tools-style.js';
import { keepAwake, sleepAgain } from './wake.js';

await need('tools');

/** Longer words of a lock are cut. */
const WORDS_MAX = 500;

/** What is on the page while we wait; null otherwise. */
let wait = null;

/** The main group at whose door we wait while the page shows a room; null otherwise. */
let elsewhere = null;

/** In `room` we have been told to wait, with the words of the lock; perhaps again, after a lost connection. */
export function waitOutside(room, words) {
    // While this was loaded it may have changed.
    if (state.room !== room || room.connection.state !== 'knocking')
        return;
    if (wait?.room !== room)
        wait = new Wait(room);
    wait.show(words);
}

/** The membership of the main group waits at its door while the page shows a room: says so, and how it ends. */
export function tellInRoom(main) {
    const isInRoom = () => Boolean(state.room) && state.room.connection !== main;
    if (elsewhere === main || main.state !== 'knocking' || !isInRoom())
        return;
    elsewhere = main;
    const stop = new AbortController();
    const on = (name, handler) => main.addEventListener(name, ({ detail }) => handler(detail), { signal: stop.signal });
    on('state', ({ state: now }) => {
        if (now !== 'joined' && now !== 'closed')
            return;
        stop.abort();
        elsewhere = null;
        if (now === 'joined' && isInRoom())
            notify(t('The main group has let you in again.'), 'info');
    });
    // The room ends with it, and the page says why.
    on('failed', ({ error, text }) => {
        if (isInRoom())
            state.room.refusal = inWordsOfOperator(failureText(error, text), text);
    });
    notify(t('The main group does not take you back unasked: you are waiting at its door. '
        + 'The teachers are told, and can let you in.'), 'info');
}

class Wait {
    constructor(room) {
        this.room = room;
        const { connection } = room;
        const on = (target, name, handler) => target.addEventListener(name, handler, { signal: this.#stop.signal });
        on(connection, 'state', ({ detail }) => this.#follow(detail.state));
        on(connection, 'failed', ({ detail }) => this.#refused(detail));
        on(document, 'languagechange', () => this.#fill());
        on(byId('start'), 'change', () => prefer('start', byId('start').value));
        on(byId('join-muted'), 'change', () => prefer('joinMuted', byId('join-muted').checked));
        // The page shows another group.
        on(room.signal, 'abort', () => this.#end());
        keepAwake();
        this.#build();
    }

    show(words) {
        const isNew = this.#words === null;
        this.#words = words;
        this.#trouble = false;
        hideBanner();
        this.#fill();
        if (!isNew)
            return;
        this.#node.querySelector('h2').focus();
        announce([...this.#node.querySelectorAll('p:not(.outside-state)')].map(({ textContent }) => textContent).join(' '));
    }

    #stop = new AbortController();
    #node;
    #words = null;
    #trouble = false;
    #since = Date.now();
    #isInside = state.isInside;

    #build() {
        const line = (className = '') => element('p', { className, dir: 'auto' });
        const status = element('p', { className: 'outside-state', role: 'status' });
        this.#node = element('section', { id: 'outside', 'aria-labelledby': 'outside-title' },
            element('span', { className: 'outside-sign' }, icon('door')),
            element('h2', { id: 'outside-title', tabIndex: -1 }),
            line('outside-reason'), line('outside-told'), line('outside-stay'), status,
            element('button', { type: 'button', onclick: () => this.#giveUp() }));
        if (this.#isInside) {
            byId('shares').before(this.#node);
            return;
        }
        byId('join').classList.add('is-waiting');
        byId('join-form').before(this.#node);
    }

    #fill() {
        const put = (selector, text) => {
            const node = this.#node.querySelector(selector);
            if (node.textContent !== text)
                node.textContent = text;
        };
        put('h2', t('You are waiting at the door'));
        put('.outside-reason', reason(this.#words));
        put('.outside-told', t('The teachers are told that you are here. As soon as one of them lets you in, '
            + 'the class opens by itself.'));
        put('.outside-stay', t('You need not do anything; only keep this page open.'));
        put('.outside-state', this.#trouble ? t('The connection was lost. Trying again…')
            : t('Since {time}', { time: dateTime(this.#since, { timeStyle: 'short' }) }));
        put('button', state.breakouts.room === '' ? t('Do not wait any longer') : t('Back to the others'));
        document.title = t('Waiting: {title}', { title: state.status.displayName || state.groupName });
    }

    #follow(now) {
        if (now === 'joined') {
            this.#letIn();
        } else if (now === 'closed') {
            if (!state.isInside)
                sleepAgain();
            this.#end();
        } else if (now === 'waiting') {
            this.#trouble = true;
            this.#fill();
        }
    }

    #letIn() {
        const { connection, signal } = this.room;
        this.#end();
        chime();
        notify(t('You have been let in.'), 'info');
        if (!document.hidden)
            return;
        // The tab says it until somebody looks.
        connection.addEventListener('joined', () => {
            document.title = t('Let in: {title}', { title: state.status.displayName || state.groupName });
        }, { once: true, signal });
        document.addEventListener('visibilitychange', () => showStatus(), { once: true, signal });
    }

    /** An operator has refused us, perhaps with words; or something else has come up meanwhile. */
    #refused({ text }) {
        this.room.refusal = inWordsOfOperator(this.room.refusal, text);
    }

    #giveUp() {
        this.room.refusal = '';
        this.room.connection.leave();
    }

    #end() {
        if (wait === this)
            wait = null;
        this.#stop.abort();
        const hadFocus = this.#node.contains(document.activeElement);
        this.#node.remove();
        byId('join').classList.remove('is-waiting');
        if (!state.isInside)
            showStatus();
        if (hadFocus || document.activeElement === document.body)
            (state.isInside ? byId('room-name') : byId('join-button')).focus();
    }
}

/** Why there is nobody inside without asking. */
function reason(words) {
    if (words === '' || words === 'this group is locked')
        return t('This group is locked.');
    if (words === 'there are no operators in this group')
        return t('There is no teacher here yet.');
    return t('This group is locked, and says: {text}', { text: sentence(words.slice(0, WORDS_MAX)) });
}

/** What to say of a refusal with `text`, for which `refusal` would be said of who has not knocked. */
function inWordsOfOperator(refusal, text) {
    if (text === 'you were not let in')
        return t('A teacher did not let you in.');
    // A text that the page does not know.
    return refusal === t('This group is locked, and says: {text}', { text: sentence(text) })
        ? t('A teacher did not let you in: {text}', { text: sentence(text.slice(0, WORDS_MAX)) }) : refusal;
}
