/**
 * The native protocol, version 2: one WebSocket for signalling, one RTCPeerConnection per stream.
 * This module knows nothing of the page: it talks to the rest through the events listed at
 * ServerConnection.
 */

import { newMark } from './heir.js';
import { Listener } from './listener.js';
import { Orphans } from './orphans.js';
import { randomId } from './random.js';
import { Socket } from './socket.js';

/** Waits between attempts, doubled each time, when the server answers but does not take us. */
const BACKOFF_MIN_MS = 1_000;
const BACKOFF_MAX_MS = 15_000;
/** The wait while nothing answers at all: such an attempt costs the server nothing. */
const RETRY_UNHEARD_MS = 500;

/**
 * The membership of one group, kept alive over lost connections.
 *
 * Events (the data is in `event.detail`):
 * - `state`    {state: connecting|knocking|joined|waiting|closed, text?} knocking: at the door, see `mayKnock`
 * - `silent`   {isSilent} the server does not answer, or does again
 * - `joined`   {kind: join|change|leave} after the fields of this object were updated
 * - `failed`   {error?, text} refused; no further attempt is made
 * - `redirect` {url}
 * - `kicked`   {text, by?}
 * - `user`     {kind: add|change|delete, user}; user.isBack: deleted, but back under another id
 * - `stream`   {kind: add|track|state|close|error|renew, stream, replaces?, error?}
 * - `chat`     {message, isHistory}
 * - `speakers` {} the list of that name has changed
 * - `numbers`  {up, down} how streams fare at the server, see askNumbers()
 * - `notice`   {kind: error|warning|info, text, by} `by` is empty if the server says it
 * - `stopping` {seconds}: the server ends then
 * - `knock`    {kind: add|delete, id, username} the list of who waits at the door has changed, see `knocking`
 * - `file`     {message} a member speaks of a file, see transfer.js
 * - `vote`, `reaction` {message} a member answers a poll, see polls.js; or reacts
 * - `order`    {kind, message} what an operator asks of this client; it need not be known
 */
export class ServerConnection extends Listener {
    constructor(endpoint) {
        super();
        this.endpoint = endpoint;
        /** Attempts since the connection was lost. */
        this.attempts = 0;
        this.#reset();
    }

    /** Joins `group`; `credentials` is {username?, password?, token?}. */
    join(group, credentials) {
        this.group = group;
        this.#credentials = credentials;
        this.#wanted = true;
        this.#isKnown = false;
        this.attempts = 0;
        this.#open();
    }

    /** Leaves for good. */
    leave() {
        this.#wanted = false;
        clearTimeout(this.#retry);
        this.#drop('');
    }

    /** The network may have changed: checks the connection, or tries a new one at once. */
    doubt() {
        if (this.isJoined || this.state === 'knocking') {
            this.#socket?.doubt();
        } else if (this.state === 'waiting') {
            clearTimeout(this.#retry);
            this.#open();
        }
    }

    /** Calls `done` when the server has dealt with everything sent so far. */
    whenDealtWith(done) {
        this.#socket?.whenDealtWith(done);
    }

    get isJoined() {
        return this.state === 'joined';
    }

    /** Whether the server leaves us without an answer. */
    get isSilent() {
        return this.#socket?.isSilent ?? true;
    }

    streams(direction) {
        return direction === 'up' ? this.up : this.down;
    }

    send(message) {
        return this.#socket?.send(message) ?? false;
    }

    /** A stream that cannot be set up ends, on both sides, with a word to the user. */
    giveUp(stream, error) {
        console.warn('stream failed', error);
        if (this.streams(stream.direction).get(stream.id) === stream) {
            this.send({ type: stream.direction === 'up' ? 'close' : 'abort', id: stream.id });
            this.emit('stream', { kind: 'error', stream, error });
        }
        stream.dispose();
    }

    /** Whether this client's network lets no media through without a relay, as far as is known. */
    needsRelay = false;

    #socket = null;
    #credentials = null;
    #wanted = false;
    /** The server has let us in, or wait: a lost connection is made again. */
    #isKnown = false;
    #retry = 0;
    #orphans = new Orphans();
    /** The memberships for heir.js: the one that others know last, and the one under way. */
    #past = null;
    #present = null;

    #reset() {
        // A new id every time: the server may still hold the dead connection under the old one.
        this.id = randomId();
        this.state = 'closed';
        this.username = '';
        this.permissions = [];
        this.status = {};
        this.data = {};
        this.rtcConfiguration = {};
        this.up = new Map();
        this.down = new Map();
        /** Ids of the streams whose people speak, the loudest first; null as long as the server has told none. */
        this.speakers = null;
    }

    /** `ready` is a WebSocket that is open already. */
    #open(ready = null) {
        this.#reset();
        this.#setState('connecting');
        this.#socket = new Socket(this.endpoint, {
            opened: () => this.#opened(),
            message: (message) => this.#take(message),
            closed: ({ text, isTimeout, other }) => this.#drop(text, isTimeout, other),
            silent: (isSilent) => this.emit('silent', { isSilent }),
            hearsMedia: () => [...this.down.values()].filter((stream) => stream.heardMedia()).length > 0,
        }, ready);
    }

    async #opened() {
        const { id } = this;
        const wants = ['speakers', 'encodings', 'numbers', ...this.mayKnock ? ['knock'] : []];
        this.send({ type: 'handshake', version: ['2'], id, wants });
        const mark = await newMark();
        // Meanwhile this connection may have been lost, too.
        if (id !== this.id)
            return;
        if (mark) {
            this.ownData.mark = mark.mark;
            if (this.#past)
                Object.assign(this.ownData, { was: this.#past.id, proof: this.#past.secret });
            this.#present = { id, secret: mark.secret };
        }
        const { username, password, token } = this.#credentials;
        this.send({
            type: 'join', kind: 'join', group: this.group, username, password, token,
            data: this.ownData,
        });
    }

    /** The connection is gone: come back, unless we meant to leave. */
    #drop(text, isUnheard = false, ready = null) {
        this.#socket?.close();
        this.#socket = null;
        const streams = [...this.up.values(), ...this.down.values()];
        // Not joined any more: the streams below end because the connection did.
        this.state = 'closed';
        if (!this.#wanted || !this.#isKnown) {
            this.#wanted = false;
            ready?.close();
            for (const stream of streams)
                stream.dispose();
            this.#orphans.disposeAll();
            this.#setState('closed', { text });
            return;
        }
        // Media has a path of its own, which may still work: it goes on until it is replaced.
        this.#orphans.add(streams);
        const backoffMs = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** this.attempts)
            * (0.5 + Math.random() / 2);
        this.attempts += 1;
        this.#setState('waiting', { text });
        if (ready) {
            this.#open(ready);
            return;
        }
        this.#retry = setTimeout(() => this.#open(), isUnheard ? RETRY_UNHEARD_MS : backoffMs);
    }

    /** Ends the stream that a lost connection left in this one's place. */
    disposeOrphan(direction, id) {
        this.#orphans.dispose(direction, id);
    }

    #setState(state, detail = {}) {
        this.state = state;
        this.emit('state', { state, ...detail });
    }

    #take(message) {
        switch (message.type) {
        case 'handshake':
            this.met = message.wants ?? [];
            break;
        case 'ping':
            this.send({ type: 'pong' });
            break;
        case 'joined':
            this.#joined(message);
            break;
        default:
            this.hear(message);
        }
    }

    #joined(message) {
        switch (message.kind) {
        case 'fail':
            this.#wanted = false;
            this.emit('failed', { error: message.error, text: message.value ?? '' });
            this.#drop('');
            return;
        case 'redirect':
            this.#wanted = false;
            this.#drop('');
            this.emit('redirect', { url: message.value });
            return;
        case 'wait':
            this.#isKnown = true;
            this.attempts = 0;
            this.lockWords = String(message.value ?? '');
            this.#setState('knocking', { text: this.lockWords });
            // It may take long, and is a door: nothing is seen or heard through it.
            this.#orphans.disposeAll();
            return;
        case 'leave':
            return;
        }
        this.username = message.username ?? this.username;
        this.permissions = message.permissions ?? [];
        this.status = message.status ?? {};
        this.data = message.data ?? this.data;
        this.rtcConfiguration = message.rtcConfiguration ?? {};
        if (message.kind === 'join' || !this.can('op'))
            this.knocking.clear();
        if (message.kind === 'join') {
            this.#isKnown = true;
            this.#past = this.#present;
            this.attempts = 0;
            this.users.clear();
            this.#setState('joined');
            this.send({ type: 'request', request: this.wishes });
            this.#orphans.endSoon();
        }
        this.emit('joined', { kind: message.kind });
    }

    /** We are put out: no further attempt is made. */
    dismissed() {
        this.#wanted = false;
    }

}
