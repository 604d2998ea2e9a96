/** What a member can say to the server. How it gets there is the business of ServerConnection. */

import { randomId } from './random.js';
import { Stream } from './stream.js';

/** The second picture of a simulcast. */
const LOW_ENCODING = { scaleResolutionDownBy: 2, maxBitrate: 100_000 };

export class Member extends EventTarget {
    constructor() {
        super();
        this.wishes = { '': ['audio', 'video'] };
        /** What others may know of us; told at every join. */
        this.ownData = {};
        this.users = new Map();
        /** Who waits at the door of a locked group, as operators are told: Map of id to {id, username}. */
        this.knocking = new Map();
        /** Set before joining: of a locked group we are told who waits, and wait ourselves where the server knows that. */
        this.mayKnock = false;
        /** What the server does of what we want beyond Galene's protocol. */
        this.met = [];
        /** Whether errors now are about votes. */
        this.isVoting = false;
        /** Called with each stream before it is negotiated, for codec preferences and transforms. */
        this.prepare = null;
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
        this.prepare?.(stream);
        this.emit('stream', { kind: 'add', stream, replaces });
        this.up.get(stream.replace)?.dispose();
        this.disposeOrphan('up', replaces);
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

    /** Asks the server how our streams fare, which it tells once a second at most; others never do. */
    askNumbers() {
        if (this.met.includes('numbers'))
            this.send({ type: 'numbers' });
    }

    /** Gives a stream up that ICE cannot mend, and asks for a new one in its place. */
    renew(id) {
        const stream = this.up.get(id) ?? this.down.get(id);
        if (!stream)
            return;
        if (stream.direction === 'up') {
            this.emit('stream', { kind: 'renew', stream });
            return;
        }
        this.send({ type: 'abort', id });
        stream.dispose();
        // The general wishes, told again, bring it back.
        this.send({ type: 'request', request: this.wishes });
    }

    /** `id` names a message to all, so that we know it again; whether it could be sent. */
    chat(value, { kind = '', dest = '', id } = {}) {
        return this.send({ ...this.#signed('chat', kind), dest, id, value });
    }

    /** `noecho`: a message to all does not come back to us. */
    userMessage(kind, dest, value, noecho) {
        return this.send({ ...this.#signed('usermessage', kind), dest, value, noecho });
    }

    userAction(kind, dest, value) {
        return this.send({ ...this.#signed('useraction', kind), dest, value });
    }

    groupAction(kind, value) {
        return this.send({ ...this.#signed('groupaction', kind), value });
    }

    /** Tells everybody something of us, which is told again at every join; null takes it back. */
    tellOfUs(data) {
        for (const [key, value] of Object.entries(data)) {
            if (value === null)
                delete this.ownData[key];
            else
                this.ownData[key] = value;
        }
        if (this.isJoined)
            this.userAction('setdata', this.id, data);
    }

    /** Whether we hold a permission, such as `op` or `present`. */
    can(permission) {
        return this.permissions.includes(permission);
    }

    emit(name, detail) {
        this.dispatchEvent(new CustomEvent(name, { detail }));
    }

    #signed(type, kind) {
        return { type, kind, source: this.id, username: this.username };
    }
}
