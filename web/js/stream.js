/** One stream of media and its RTCPeerConnection; the side that sends makes the offer. */

import { takeDescriptors, withSoundRepeated } from './extensions.js';
import { callForHelp, withoutRelays } from './relays.js';

/** Remote candidates kept while their description is still on its way; more are dropped. */
const CANDIDATES_MAX = 64;

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

        const { rtcConfiguration } = connection;
        const direct = connection.needsRelay ? rtcConfiguration : withoutRelays(rtcConfiguration);
        this.pc = new RTCPeerConnection(direct);
        if (direct !== rtcConfiguration)
            callForHelp(this.pc, () => this.#useRelays());
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
            await this.pc.setLocalDescription(withSoundRepeated(await this.pc.createOffer({ iceRestart })));
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
            takeDescriptors(this.pc);
            this.connection.prepare?.(this);
            await this.pc.setLocalDescription(withSoundRepeated(await this.pc.createAnswer()));
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
    setVideoRate(bitsPerSecond) {
        return this.#encode((encoding) => {
            if (encoding.rid === 'l')
                return;
            delete encoding.maxBitrate;
            if (bitsPerSecond > 0)
                encoding.maxBitrate = bitsPerSecond;
        });
    }

    /** Leaves encodings out that nobody wishes to have, and the one that is `spared`: the other is for all. */
    sendOnly(rids, change) {
        this.wanted = rids;
        return this.#encode((encoding) => {
            const { rid } = encoding;
            encoding.active = !rid || rid !== this.spared && (rids.includes(rid) || rids.includes(this.spared));
            change?.(encoding);
        });
    }

    /** Changes how the video is encoded, one change after the other. */
    #encode(change) {
        return this.#encoding = this.#encoding.then(async () => {
            for (const sender of this.pc.getSenders()) {
                if (sender.track?.kind !== 'video')
                    continue;
                const parameters = sender.getParameters();
                (parameters.encodings ?? []).forEach(change);
                await sender.setParameters(parameters);
            }
        }).catch((error) => console.warn('not encoded so', error));
    }

    /** Whether packets of the other side have come since the last call. */
    heardMedia() {
        let hasMoved = false;
        for (const receiver of this.pc.getReceivers()) {
            const times = receiver.getSynchronizationSources().map((source) => source.rtpTimestamp);
            const newest = times.join();
            if (newest !== '' && newest !== this.#rtpTimes.get(receiver)) {
                this.#rtpTimes.set(receiver, newest);
                hasMoved = true;
            }
        }
        return hasMoved;
    }

    /** Ends the stream here; the caller tells the server if it must know. */
    dispose() {
        if (this.closed)
            return;
        this.closed = true;
        this.pc.onconnectionstatechange = null;
        this.pc.close();
        // After a lost connection another stream may have this one's id.
        const streams = this.connection.streams(this.direction);
        if (streams.get(this.id) === this)
            streams.delete(this.id);
        this.connection.emit('stream', { kind: 'close', stream: this });
    }

    #described = false;
    #again = null;
    #localCandidates = [];
    #remoteCandidates = [];
    #rtpTimes = new Map();
    #work = Promise.resolve();
    #encoding = Promise.resolve();

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

    /** No check is answered: from now on this client's streams may go over relays. */
    #useRelays() {
        if (this.closed)
            return;
        this.connection.needsRelay = true;
        this.pc.setConfiguration(this.connection.rtcConfiguration);
        this.connection.restart(this.id);
    }

    #stateChanged() {
        const state = this.pc.connectionState;
        if (state === 'connected')
            this.connectedAt ??= performance.now();
        this.connection.emit('stream', { kind: 'state', stream: this });
    }
}
