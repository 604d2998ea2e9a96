/**
 * The native protocol, version 2: one WebSocket for signalling, one RTCPeerConnection per stream,
 * and the side that sends media makes the offer. This module knows nothing of the page: it talks
 * to the rest through the events listed at ServerConnection.
 */

const TICK_MS = 10_000;
/** Silence after which we ping the server, and after which we call it dead. */
const PING_AFTER_MS = 15_000;
const DEAD_AFTER_MS = 65_000;
const BACKOFF_MIN_MS = 1_000;
const BACKOFF_MAX_MS = 30_000;
/** Remote candidates kept while their description is still on its way; more are dropped. */
const CANDIDATES_MAX = 64;
/** The second picture of a simulcast. */
const LOW_ENCODING = { scaleResolutionDownBy: 2, maxBitrate: 100_000 };
/** A kick with this text is a restart of the server, after which we may come back by ourselves. */
const SHUTDOWN_TEXT = 'server is shutting down';

function randomId() {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** One RTCPeerConnection: `up` streams are ours, `down` streams are sent to us. */
export class Stream {
    constructor(connection, direction, { id, label, source, username }) {
        this.connection = connection;
        this.direction = direction;
        this.id = id;
        this.label = label ?? '';
        this.source = source;
        this.username = username;
        this.media = new MediaStream();
        /** The id of the stream that this one takes the place of, told to the server once. */
        this.replace = null;
        this.closed = false;
        /** performance.now() when the transport was first up, for statistics and tests. */
        this.connectedAt = null;

        this.pc = new RTCPeerConnection(connection.rtcConfiguration);
        this.pc.onicecandidate = ({ candidate }) => candidate && this.#sendCandidate(candidate);
        this.pc.onconnectionstatechange = () => this.#stateChanged();
        this.pc.ontrack = ({ track, streams }) => {
            this.media = streams[0] ?? this.media;
            if (streams.length === 0)
                this.media.addTrack(track);
            connection.emit('stream', { kind: 'track', stream: this });
        };
    }

    /** Offers our tracks, or offers them again with fresh ICE credentials. Up streams only. */
    negotiate({ iceRestart = false } = {}) {
        return this.#serially(async () => {
            if (this.pc.signalingState !== 'stable') {
                // One offer at a time: the next one leaves when the answer has come.
                this.#again = { iceRestart: iceRestart || Boolean(this.#again?.iceRestart) };
                return;
            }
            this.#described = false;
            await this.pc.setLocalDescription(await this.pc.createOffer({ iceRestart }));
            this.connection.send({
                type: 'offer',
                id: this.id,
                kind: iceRestart ? 'renegotiate' : '',
                label: this.label,
                replace: this.replace,
                source: this.connection.id,
                username: this.connection.username,
                sdp: this.pc.localDescription.sdp,
            });
            this.replace = null;
            this.#flushLocal();
        });
    }

    /** Takes the server's answer to our offer. */
    takeAnswer(sdp) {
        return this.#serially(async () => {
            await this.pc.setRemoteDescription({ type: 'answer', sdp });
            await this.#flushRemote();
            const again = this.#again;
            this.#again = null;
            if (again)
                this.negotiate(again);
        });
    }

    /** Takes the server's offer, first or renewed, and answers it. */
    takeOffer(sdp) {
        return this.#serially(async () => {
            this.#described = false;
            await this.pc.setRemoteDescription({ type: 'offer', sdp });
            await this.#flushRemote();
            await this.pc.setLocalDescription(await this.pc.createAnswer());
            this.connection.send({
                type: 'answer', id: this.id, sdp: this.pc.localDescription.sdp,
            });
            this.#flushLocal();
            // Tracks may have gone, which no other event tells.
            this.connection.emit('stream', { kind: 'track', stream: this });
        });
    }

    /** Takes a trickled candidate; one that comes before its description waits for it. */
    takeCandidate(candidate) {
        return this.#serially(async () => {
            if (!this.pc.remoteDescription) {
                if (this.#remoteCandidates.length < CANDIDATES_MAX)
                    this.#remoteCandidates.push(candidate);
                return;
            }
            await this.#addCandidate(candidate);
        });
    }

    /** Limits the video rate; 0 means no limit. */
    async setVideoRate(bitsPerSecond) {
        for (const sender of this.pc.getSenders()) {
            if (sender.track?.kind !== 'video')
                continue;
            const parameters = sender.getParameters();
            for (const encoding of parameters.encodings ?? []) {
                if (encoding.rid === 'l')
                    continue;
                delete encoding.maxBitrate;
                if (bitsPerSecond > 0)
                    encoding.maxBitrate = bitsPerSecond;
            }
            await sender.setParameters(parameters);
        }
    }

    /** Ends the stream here; the caller tells the server if it must know. */
    dispose() {
        if (this.closed)
            return;
        this.closed = true;
        this.pc.onconnectionstatechange = null;
        this.pc.close();
        this.connection.streams(this.direction).delete(this.id);
        this.connection.emit('stream', { kind: 'close', stream: this });
    }

    #described = false;
    #again = null;
    #localCandidates = [];
    #remoteCandidates = [];
    #work = Promise.resolve();

    /** Descriptions and candidates of one stream are worked on strictly one after the other. */
    #serially(step) {
        this.#work = this.#work.then(async () => {
            if (this.closed)
                return;
            try {
                await step();
            } catch (error) {
                if (!this.closed)
                    this.connection.giveUp(this, error);
            }
        });
        return this.#work;
    }

    #sendCandidate(candidate) {
        if (!this.#described) {
            // The server drops candidates of a stream that it has not heard of.
            this.#localCandidates.push(candidate);
            return;
        }
        this.connection.send({ type: 'ice', id: this.id, candidate: candidate.toJSON() });
    }

    #flushLocal() {
        this.#described = true;
        for (const candidate of this.#localCandidates.splice(0))
            this.#sendCandidate(candidate);
    }

    async #flushRemote() {
        for (const candidate of this.#remoteCandidates.splice(0))
            await this.#addCandidate(candidate);
    }

    async #addCandidate(candidate) {
        try {
            await this.pc.addIceCandidate(candidate);
        } catch (error) {
            // One bad candidate is no reason to lose the stream: others may work.
            console.warn('ignored candidate', error);
        }
    }

    #stateChanged() {
        const state = this.pc.connectionState;
        if (state === 'connected')
            this.connectedAt ??= performance.now();
        if (state === 'failed')
            this.connection.restart(this.id);
        this.connection.emit('stream', { kind: 'state', stream: this });
    }
}

/**
 * The membership of one group, kept alive over lost connections.
 *
 * Events (the data is in `event.detail`):
 * - `state`   {state: connecting|joined|waiting|closed, retryMs?, text?}
 * - `joined`  {kind: join|change|leave} after the fields of this object were updated
 * - `failed`  {error?, text} the server refused us; no further attempt is made
 * - `kicked`  {text, by?}
 * - `user`    {kind: add|change|delete, user}
 * - `stream`  {kind: add|track|state|close|error, stream, replaces?, error?}
 * - `chat`    {message, isHistory}
 * - `notice`  {kind: error|warning|info, text}
 * - `stopping` {seconds}: the server ends then
 * - `order`   {kind: mute|clearchat, message} what an operator asks of this client
 */
export class ServerConnection extends EventTarget {
    constructor(endpoint) {
        super();
        this.endpoint = endpoint;
        this.#reset();
        this.wishes = { '': ['audio', 'video'] };
    }

    /** Joins `group`; `credentials` is {username?, password?, token?, data?}. */
    join(group, credentials) {
        this.group = group;
        this.#credentials = credentials;
        this.#wanted = true;
        this.#hasJoined = false;
        this.#attempts = 0;
        this.#open();
    }

    /** Leaves for good. */
    leave() {
        this.#wanted = false;
        clearTimeout(this.#retry);
        this.#drop('');
    }

    /** What to receive: a list of `audio`, `video`, `video-low` per label; '' is the default. */
    request(wishes) {
        this.wishes = wishes;
        if (this.isJoined)
            this.send({ type: 'request', request: wishes });
    }

    /** The same for one stream; null returns it to the general wishes. */
    requestStream(id, wish) {
        this.send({ type: 'requestStream', id, request: wish });
    }

    /**
     * Publishes `media` under `label`, perhaps in place of an earlier stream of ours. With
     * `simulcast` a second, small picture goes along for those who ask for `video-low`.
     */
    publish(label, media, { replaces = null, videoRate = 0, simulcast = false } = {}) {
        const stream = new Stream(this, 'up', {
            id: randomId(), label, source: this.id, username: this.username,
        });
        stream.media = media;
        stream.replace = this.up.has(replaces) ? replaces : null;
        this.up.set(stream.id, stream);
        for (const track of media.getTracks()) {
            const encoding = track.kind === 'video' && videoRate > 0
                ? { maxBitrate: videoRate } : {};
            stream.pc.addTransceiver(track, {
                direction: 'sendonly',
                streams: [media],
                // The best one first: the server takes the last one for `video-low`.
                sendEncodings: track.kind === 'video' && simulcast
                    ? [{ ...encoding, rid: 'h' }, { ...LOW_ENCODING, rid: 'l' }] : [encoding],
            });
        }
        this.emit('stream', { kind: 'add', stream, replaces: stream.replace });
        this.up.get(stream.replace)?.dispose();
        stream.negotiate();
        return stream;
    }

    /** Ends one of our own streams. */
    unpublish(id) {
        const stream = this.up.get(id);
        if (!stream)
            return;
        this.send({ type: 'close', id });
        stream.dispose();
    }

    /** Restarts ICE of a stream, for instance after a change of network. */
    restart(id) {
        if (this.up.has(id))
            this.up.get(id).negotiate({ iceRestart: true });
        else if (this.down.has(id))
            this.send({ type: 'renegotiate', id });
    }

    chat(value, { kind = '', dest = '' } = {}) {
        this.send({ type: 'chat', kind, source: this.id, username: this.username, dest, value });
    }

    userMessage(kind, dest, value) {
        this.send({
            type: 'usermessage', kind, source: this.id, username: this.username, dest, value,
        });
    }

    userAction(kind, dest, value) {
        this.send({
            type: 'useraction', kind, source: this.id, username: this.username, dest, value,
        });
    }

    groupAction(kind, value) {
        this.send({
            type: 'groupaction', kind, source: this.id, username: this.username, value,
        });
    }

    /** Whether we hold a permission, such as `op` or `present`. */
    can(permission) {
        return this.permissions.includes(permission);
    }

    get isJoined() {
        return this.state === 'joined';
    }

    streams(direction) {
        return direction === 'up' ? this.up : this.down;
    }

    send(message) {
        if (this.#socket?.readyState === WebSocket.OPEN)
            this.#socket.send(JSON.stringify(message));
    }

    emit(name, detail) {
        this.dispatchEvent(new CustomEvent(name, { detail }));
    }

    /** A stream that cannot be set up ends, on both sides, with a word to the user. */
    giveUp(stream, error) {
        console.warn('stream failed', error);
        this.send({ type: stream.direction === 'up' ? 'close' : 'abort', id: stream.id });
        this.emit('stream', { kind: 'error', stream, error });
        stream.dispose();
    }

    #socket = null;
    #credentials = null;
    #wanted = false;
    #hasJoined = false;
    #attempts = 0;
    #retry = 0;
    #tick = 0;
    #heardAt = 0;

    #reset() {
        // A new id every time: the server may still hold the dead connection under the old one.
        this.id = randomId();
        this.state = 'closed';
        this.username = '';
        this.permissions = [];
        this.status = {};
        this.data = {};
        this.rtcConfiguration = {};
        this.users = new Map();
        this.up = new Map();
        this.down = new Map();
    }

    #open() {
        this.#reset();
        this.#setState('connecting');
        const socket = new WebSocket(this.endpoint);
        this.#socket = socket;
        this.#heardAt = performance.now();
        socket.onopen = () => {
            this.send({ type: 'handshake', version: ['2'], id: this.id });
            const { username, password, token, data } = this.#credentials;
            this.send({
                type: 'join', kind: 'join', group: this.group, username, password, token, data,
            });
        };
        socket.onmessage = (event) => {
            this.#heardAt = performance.now();
            this.#take(JSON.parse(event.data));
        };
        socket.onclose = (event) => {
            if (socket === this.#socket)
                this.#drop(event.reason);
        };
        this.#tick = setInterval(() => {
            const silentMs = performance.now() - this.#heardAt;
            if (silentMs >= DEAD_AFTER_MS)
                this.#drop('The server does not answer.');
            else if (silentMs >= PING_AFTER_MS)
                this.send({ type: 'ping' });
        }, TICK_MS);
    }

    /** The connection is gone: forget everything, and come back unless we meant to leave. */
    #drop(text) {
        clearInterval(this.#tick);
        const socket = this.#socket;
        this.#socket = null;
        socket?.close();
        // Not joined any more: the streams below end because the connection did.
        this.state = 'closed';
        for (const stream of [...this.up.values(), ...this.down.values()])
            stream.dispose();
        if (!this.#wanted || !this.#hasJoined) {
            this.#wanted = false;
            this.#setState('closed', { text });
            return;
        }
        const retryMs = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** this.#attempts)
            * (0.5 + Math.random() / 2);
        this.#attempts += 1;
        this.#setState('waiting', { text, retryMs });
        this.#retry = setTimeout(() => this.#open(), retryMs);
    }

    #setState(state, detail = {}) {
        this.state = state;
        this.emit('state', { state, ...detail });
    }

    #take(message) {
        switch (message.type) {
        case 'handshake':
        case 'pong':
            break;
        case 'ping':
            this.send({ type: 'pong' });
            break;
        case 'joined':
            this.#joined(message);
            break;
        case 'user':
            this.#user(message);
            break;
        case 'offer':
            this.#offer(message);
            break;
        case 'answer':
            this.up.get(message.id)?.takeAnswer(message.sdp);
            break;
        case 'renegotiate':
            this.up.get(message.id)?.negotiate({ iceRestart: true });
            break;
        case 'ice':
            (this.up.get(message.id) ?? this.down.get(message.id))
                ?.takeCandidate(message.candidate);
            break;
        case 'close':
            this.down.get(message.id)?.dispose();
            break;
        case 'abort':
            this.unpublish(message.id);
            break;
        case 'chat':
        case 'chathistory':
            this.emit('chat', { message, isHistory: message.type === 'chathistory' });
            break;
        case 'usermessage':
            this.#userMessage(message);
            break;
        default:
            console.warn('unknown message', message.type);
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
            location.assign(message.value);
            return;
        case 'leave':
            return;
        }
        this.username = message.username ?? this.username;
        this.permissions = message.permissions ?? [];
        this.status = message.status ?? {};
        this.data = message.data ?? this.data;
        this.rtcConfiguration = message.rtcConfiguration ?? {};
        if (message.kind === 'join') {
            this.#hasJoined = true;
            this.#attempts = 0;
            this.#setState('joined');
            this.send({ type: 'request', request: this.wishes });
        }
        this.emit('joined', { kind: message.kind });
    }

    #user(message) {
        const { kind, id, username = '', permissions = [], data = {} } = message;
        const user = { id, username, permissions, data };
        if (kind === 'delete')
            this.users.delete(id);
        else
            this.users.set(id, user);
        this.emit('user', { kind, user });
    }

    #offer(message) {
        let stream = this.down.get(message.id);
        if (!stream) {
            stream = new Stream(this, 'down', message);
            this.down.set(stream.id, stream);
            this.emit('stream', { kind: 'add', stream, replaces: message.replace });
            this.down.get(message.replace)?.dispose();
        }
        stream.takeOffer(message.sdp);
    }

    #userMessage(message) {
        // Anybody may send user messages: only those of the server and of operators are obeyed.
        if (!message.privileged)
            return;
        switch (message.kind) {
        case 'kicked':
            if (message.value === SHUTDOWN_TEXT)
                return;
            this.#wanted = false;
            this.emit('kicked', { text: message.value ?? '', by: message.username });
            break;
        case 'mute':
        case 'clearchat':
            this.emit('order', { kind: message.kind, message });
            break;
        case 'warning':
            if (message.error === 'stopping') {
                const seconds = Number(/\d+/.exec(message.value)?.[0] ?? 0);
                this.emit('stopping', { seconds });
                break;
            }
            // falls through
        case 'error':
        case 'info':
            this.emit('notice', { kind: message.kind, text: String(message.value ?? '') });
            break;
        }
    }
}
