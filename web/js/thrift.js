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
/** What the small one may take meanwhile. Chromium tries whether there is room for twice as much, and no more. */
const SMALL_MAX = 350_000;
/** With so much the large one comes back. */
const BACK = 700_000;
/** It stays away for so long at least, and twice as long if it had come back for less than the second. */
const AWAY_MS = 5_000;
const IN_VAIN_MS = 30_000;

export class Thrift {
    /** For one of our own streams with two pictures. */
    constructor(stream) {
        this.stream = stream;
    }

    /** Pictures of the large one so far, and when that was. */
    #before = null;
    /** When the large one was left out, came back, and how long it stays away. */
    #leftAt = null;
    #backAt = -Infinity;
    #awayMs = AWAY_MS;
    #smallMax;

    /** Looks at what RTCPeerConnection.getStats() tells, every few seconds. */
    look(stats) {
        const large = stats.find(({ type, rid }) => type === 'outbound-rtp' && rid === LARGE);
        const room = stats.find(({ availableOutgoingBitrate }) => availableOutgoingBitrate > 0)
            ?.availableOutgoingBitrate;
        if (!large || !room)
            return;
        const now = large.timestamp;
        if (this.#leftAt !== null) {
            if (room >= BACK && now - this.#leftAt >= this.#awayMs) {
                [this.#leftAt, this.#backAt] = [null, now];
                this.#leaveOut(null);
            }
            return;
        }
        const camera = stats.find(({ type, kind }) => type === 'media-source' && kind === 'video')
            ?.framesPerSecond ?? 0;
        const rate = this.#rate(large);
        if (rate < FEW && camera >= 2 * rate && room < ENOUGH && large.qualityLimitationReason !== 'cpu') {
            this.#awayMs = now - this.#backAt < IN_VAIN_MS ? 2 * this.#awayMs : AWAY_MS;
            this.#leftAt = now;
            this.#before = null;
            this.#leaveOut(LARGE);
        }
    }

    /** Pictures a second since the last look; Infinity while that is not known. */
    #rate({ active, framesEncoded, timestamp }) {
        const before = this.#before;
        this.#before = active && framesEncoded > 0 ? { framesEncoded, timestamp } : null;
        return before && this.#before
            ? 1000 * (framesEncoded - before.framesEncoded) / (timestamp - before.timestamp) : Infinity;
    }

    #leaveOut(rid) {
        const { stream } = this;
        stream.spared = rid;
        stream.encode((encoding) => {
            if (encoding.rid !== SMALL)
                return;
            this.#smallMax ??= encoding.maxBitrate;
            encoding.maxBitrate = rid ? SMALL_MAX : this.#smallMax;
        });
        stream.sendOnly(stream.wanted ?? [LARGE, SMALL]);
    }
}
