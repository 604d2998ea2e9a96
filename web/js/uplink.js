/**
 * Whether what we send arrives. Who sends over a bad network may hear and see all others well, and would
 * not know: the page says so to them, and their public data say it to the others. Where it does not, less
 * is sent.
 */

import { need, t } from './language.js';
import { state } from './state.js';
import { Thrift } from './thrift.js';

await need('tools');

const LOOK_MS = 3_000;
/** Of a hundred packets of sound so many lost are heard, whatever is done about it; so few are not. */
const LOSS_BAD = 0.1;
const LOSS_GOOD = 0.04;
/** Seconds to the server and back with which nobody can talk. */
const RTT_BAD_S = 1;
/** Bits per second that carry sound, and nobody's picture. */
const ROOM_BAD = 80_000;
/** As many looks, more or less, until it is believed. */
const LOOKS = 3;

export class Uplink {
    /** `onChange()` is called when `words` have changed. */
    constructor(connection, onChange, signal) {
        this.connection = connection;
        this.onChange = onChange;
        // Said before the connection was lost.
        this.#isWeak = Boolean(connection.ownData.weak);
        /** What the user should know; empty if all is well. */
        this.words = '';
        const timer = setInterval(() => this.#look(), LOOK_MS);
        signal.addEventListener('abort', () => {
            clearInterval(timer);
            this.#isOver = true;
            this.words = '';
            this.#tell(false);
        });
    }

    #isOver = false;
    #thrift = new Thrift();
    #isWeak = false;
    #doubts = 0;

    async #look() {
        const streams = [state.own.cameraStream, state.own.screenStream].filter((stream) => (
            stream?.connection === this.connection && stream.pc.connectionState === 'connected'));
        const told = await Promise.all(streams.map(async ({ pc }) => [...(await pc.getStats()).values()]));
        if (this.#isOver)
            return;
        this.#spare(streams, told);
        const fares = told.map(fare);
        if (fares.includes('bad'))
            this.#doubts = Math.min(LOOKS, this.#doubts + 1);
        else if (!fares.includes('middling'))
            this.#doubts = Math.max(0, this.#doubts - 1);
        if (this.#doubts === LOOKS || this.#doubts === 0)
            this.#tell(this.#doubts > 0);
        const words = this.#isWeak ? advice() : '';
        if (words !== this.words) {
            this.words = words;
            this.onChange();
        }
    }

    /** Sees to it that the small picture flows where both do not. */
    #spare(streams, told) {
        const { cameraStream } = state.own;
        const at = streams.indexOf(cameraStream);
        if (at >= 0)
            this.#thrift.look(cameraStream, told[at]);
    }

    #tell(isWeak) {
        if (isWeak === this.#isWeak)
            return;
        this.#isWeak = isWeak;
        this.connection.tellOfUs({ weak: isWeak || null });
    }
}

function advice() {
    return state.own.video
        ? t('Your network loses or delays what you send: others may not hear and see you well. Switch the camera '
            + 'off, or go nearer to the Wi-Fi.')
        : t('Your network loses or delays what you send: others may not hear you well. Go nearer to the Wi-Fi, '
            + 'or use a cable.');
}

/** How a transport fares, as the server tells of it and the browser reckons: good, middling or bad. */
function fare(stats) {
    const told = stats.filter(({ type }) => type === 'remote-inbound-rtp');
    // Pictures that are lost are sent again; sound seldom is.
    const sound = told.filter(({ kind }) => kind === 'audio');
    const reports = sound.length > 0 ? sound : told;
    const loss = Math.max(0, ...reports.map(({ fractionLost }) => fractionLost ?? 0));
    const rtt = Math.max(0, ...reports.map(({ roundTripTime }) => roundTripTime ?? 0));
    // A way that nothing is to go by seems narrow, too.
    const isTight = stats.some(({ type, qualityLimitationReason }) => (
        type === 'outbound-rtp' && qualityLimitationReason === 'bandwidth'));
    const isNarrow = stats.some(({ type, availableOutgoingBitrate }) => (
        type === 'candidate-pair' && availableOutgoingBitrate < ROOM_BAD));
    if (loss > LOSS_BAD || rtt > RTT_BAD_S || isTight && isNarrow)
        return 'bad';
    return loss > LOSS_GOOD ? 'middling' : 'good';
}
