/**
 * An uplink that is too narrow for both of our pictures. The browser divides what there is, and neither
 * flows then: the large one comes at one picture a second, and each that is lost costs a keyframe of both.
 * So the large one is left out and the small one gets more, until the browser finds that there is room
 * again. Browsers that do not tell what the uplink takes are left alone.
 */

/** By the names that member.js gives them. */
const LARGE = 'h';
const SMALL = 'l';
/** Where the uplink takes more, in bits per second, it is not the uplink that makes pictures few. */
const ENOUGH = 1_000_000;
/** So many a second of the large picture are too few, if the camera has at least twice as many. */
const FEW = 5;
/** What was sent before an outage, or before the computer slept, tells nothing about now. */
const WINDOW_MS = 6_000;
/** What the small one may take meanwhile. */
const SMALL_MAX = 350_000;
/** With so much the large one comes back. Chromium tries whether there is room for twice what it sends. */
const BACK = 600_000;
/** It stays away for so long at least, and twice as long if it had come back for less than the second. */
const AWAY_MS = 5_000;
const AWAY_MAX_MS = 60_000;
const IN_VAIN_MS = 30_000;
/** After so many times that it comes back whatever the browser reckons: who sends little finds little room. */
const TRIES_AFTER = 12;

export class Thrift {
    /** The stream it was last, and what was told of its large picture. */
    #stream = null;
    #before = null;
    #wanted;
    /** What the small one may take when both are sent. */
    #smallMax;
    /** When the large one was left out, came back, and how long it stays away. */
    #leftAt = null;
    #backAt = -Infinity;
    #awayMs = AWAY_MS;

    /** Looks at what RTCPeerConnection.getStats() tells of our camera's stream, every few seconds. */
    look(stream, stats) {
        if (stream !== this.#stream) {
            this.#stream = stream;
            this.#before = this.#leftAt = null;
            this.#smallMax = undefined;
        }
        const video = stream.pc.getSenders().find(({ track }) => track?.kind === 'video');
        const encodings = new Map(video?.getParameters().encodings?.map((encoding) => [encoding.rid, encoding]));
        const [large, small] = [encodings.get(LARGE), encodings.get(SMALL)];
        if (!large || !small)
            return;
        // What is written on the blackboard cannot be read in the small picture; and one that is to be had
        // for less than the small one may take is no load.
        const isNeeded = video.track.contentHint === 'detail' || large.maxBitrate < SMALL_MAX;
        const room = stats.find(({ availableOutgoingBitrate }) => availableOutgoingBitrate > 0)
            ?.availableOutgoingBitrate;
        const isFew = this.#isFew(stats);
        const now = performance.now();
        if (this.#leftAt !== null) {
            const since = now - this.#leftAt;
            const isTime = since >= this.#awayMs && room >= BACK || since >= TRIES_AFTER * this.#awayMs;
            if (isNeeded || isTime)
                [this.#leftAt, this.#backAt] = [null, now];
        } else if (!isNeeded && room < Math.min(ENOUGH, sum(large, small)) && isFew) {
            this.#awayMs = now - this.#backAt < IN_VAIN_MS ? Math.min(2 * this.#awayMs, AWAY_MAX_MS) : AWAY_MS;
            this.#leftAt = now;
        }
        this.#apply(large, small);
    }

    /** Whether few pictures of the large one were sent since the last look, of those that the camera had. */
    #isFew(stats) {
        const [before, wanted] = [this.#before, this.#wanted];
        const large = stats.find(({ type, rid }) => type === 'outbound-rtp' && rid === LARGE);
        this.#before = large?.active && large.framesEncoded > 0 ? large : null;
        this.#wanted = this.#stream.wanted;
        if (!before || !this.#before || wanted !== this.#wanted || large.qualityLimitationReason === 'cpu')
            return false;
        const window = large.timestamp - before.timestamp;
        const rate = 1000 * (large.framesEncoded - before.framesEncoded) / window;
        const camera = stats.find(({ type, kind }) => type === 'media-source' && kind === 'video')
            ?.framesPerSecond ?? 0;
        return window <= WINDOW_MS && rate < FEW && camera >= FEW && camera >= 2 * rate;
    }

    /** Has the browser send what it should, if it does not; a change may have failed. */
    #apply(large, small) {
        const stream = this.#stream;
        const isLeftOut = this.#leftAt !== null;
        const wanted = stream.wanted ?? [LARGE, SMALL];
        const isWanted = wanted.includes(LARGE);
        this.#smallMax ??= small.maxBitrate;
        // Whoever wants the small one only has a narrow link, too.
        const max = isLeftOut && isWanted ? SMALL_MAX : this.#smallMax;
        stream.spared = isLeftOut ? LARGE : null;
        if (large.active === (isWanted && !isLeftOut) && small.maxBitrate === max)
            return;
        stream.sendOnly(wanted, (encoding) => {
            if (encoding.rid === SMALL)
                encoding.maxBitrate = max;
        });
    }
}

function sum(...encodings) {
    return encodings.reduce((total, { maxBitrate = Infinity }) => total + maxBitrate, 0);
}
