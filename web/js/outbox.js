/**
 * Chat messages on their way. None is lost without a word: each waits while there is no connection,
 * is confirmed by the server, or is reported as failed. A message may be sent twice when the
 * connection broke between the two; its id tells receivers that it is the same.
 */

import { t } from './language.js';
import { hasPerson, personOf } from './person.js';
import { randomId } from './random.js';

/** Errors of the server that mean a message that was just sent. */
const REFUSALS = {
    'not authorised': () => t('you may not write here at present'),
    'user unknown': () => t('they have left'),
    "this user doesn't chat": () => t('they cannot receive messages'),
};

export class Outbox {
    /** `onChange(entry)` is called when the state of an entry has changed. */
    constructor(connection, onChange, signal) {
        this.connection = connection;
        this.onChange = onChange;
        this.entries = [];
        connection.addEventListener('joined', ({ detail }) => {
            // The history, which comes first, shows which of them had arrived.
            if (detail.kind === 'join')
                connection.whenDealtWith(() => this.#resend());
        }, { signal });
        connection.addEventListener('silent', ({ detail }) => {
            if (!detail.isSilent)
                this.#resend();
        }, { signal });
        connection.addEventListener('state', () => {
            for (const entry of this.entries)
                this.#set(entry, 'waiting');
        }, { signal });
    }

    /** Sends, or keeps for later; `dest` is a user or null for all. Returns the entry. */
    add({ value, kind, dest }) {
        const entry = { id: randomId(), value, kind, dest, state: 'waiting', reason: '' };
        this.entries.push(entry);
        this.#send(entry);
        return entry;
    }

    /** A message has come: perhaps one of ours. Returns the entry. */
    confirm(id) {
        const entry = this.entries.find((other) => other.id === id);
        if (entry)
            this.#end(entry, 'sent');
        return entry;
    }

    /** Whether this error of the server is about a message of ours, or a vote. */
    takeError(text) {
        if (REFUSALS[text] && this.connection.isVoting)
            return true;
        const entry = REFUSALS[text] && this.entries.find((other) => other.state === 'sending');
        if (!entry)
            return false;
        entry.reason = REFUSALS[text]();
        this.#end(entry, 'failed');
        return true;
    }

    #resend() {
        for (const entry of this.entries.filter((other) => other.state === 'waiting'))
            this.#send(entry);
    }

    #send(entry) {
        if (!this.connection.isJoined || this.connection.isSilent)
            return;
        if (entry.dest && !this.connection.users.has(entry.dest.id)) {
            const { username } = entry.dest;
            const person = personOf(entry.dest);
            const namesakes = [...this.connection.users.values()].filter((user) => (
                user.username === username && (!hasPerson(entry.dest.data) || personOf(user) === person)));
            // They may be back under another id, but nobody else must read it.
            if (namesakes.length !== 1) {
                entry.reason = t('they have left');
                this.#end(entry, 'failed');
                return;
            }
            [entry.dest] = namesakes;
        }
        this.#set(entry, 'sending');
        const { id, kind } = entry;
        this.connection.chat(entry.value, { id, kind, dest: entry.dest?.id ?? '' });
        // Private messages are not echoed.
        if (entry.dest)
            this.connection.whenDealtWith(() => entry.state === 'sending' && this.#end(entry, 'sent'));
    }

    #end(entry, state) {
        this.entries = this.entries.filter((other) => other !== entry);
        this.#set(entry, state);
    }

    #set(entry, state) {
        if (entry.state === state)
            return;
        entry.state = state;
        this.onChange(entry);
    }
}
