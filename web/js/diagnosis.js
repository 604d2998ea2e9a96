/**
 * Why sound or pictures do not come, found from what the browser knows of each stream. A stream is
 * looked at until its media has come once; what breaks afterwards is the business of healer.js.
 */

import { need, t } from './language.js';
import { state } from './state.js';

await need('tools');

const TICK_MS = 1_500;
/** Transports are up within a second or two, unless something is wrong. */
const CONNECTED_WITHIN_MS = 7_000;
/** After that media comes at once, unless something is wrong. */
const MEDIA_WITHIN_MS = 7_000;

export class Diagnosis {
    /** `onChange()` is called when `findings` or `network` have changed. */
    constructor(connection, onChange, signal) {
        this.connection = connection;
        this.onChange = onChange;
        /** A sentence for each stream that something is wrong with. */
        this.findings = new Map();
        /** What keeps all streams away; empty if any gets through. */
        this.network = '';
        connection.addEventListener('stream', ({ detail }) => this.#took(detail), { signal });
        connection.addEventListener('state', ({ detail }) => {
            clearInterval(this.#timer);
            if (detail.state === 'joined')
                this.#timer = setInterval(() => this.#look(), TICK_MS);
            if (detail.state !== 'joined')
                this.#since.clear();
        }, { signal });
        if (connection.isJoined)
            this.#timer = setInterval(() => this.#look(), TICK_MS);
        signal.addEventListener('abort', () => clearInterval(this.#timer));
    }

    #timer = 0;
    #isLooking = false;
    /** Streams whose media has come. */
    #proven = new WeakSet();
    /** When each was first expected, by what stays when a stream is made anew. */
    #since = new Map();
    #connectedAt = new WeakMap();
    /** What had come at the last look. */
    #bytes = new WeakMap();

    #took({ kind, stream }) {
        if (kind === 'close' && this.findings.delete(stream))
            this.onChange();
    }

    async #look() {
        if (this.#isLooking)
            return;
        this.#isLooking = true;
        try {
            await this.#lookAtAll();
        } finally {
            this.#isLooking = false;
        }
    }

    async #lookAtAll() {
        const { up, down, isSilent } = this.connection;
        const streams = [...up.values(), ...down.values()];
        const before = [this.network, ...this.findings.values()].join('\n');
        let isAnyThrough = false;
        const stuck = [];
        for (const stream of streams) {
            const now = performance.now();
            const key = `${stream.direction} ${stream.source} ${stream.label}`;
            if (stream.pc.connectionState === 'connected') {
                isAnyThrough = true;
                this.#since.delete(key);
                await this.#lookForMedia(stream, now);
                continue;
            }
            this.#connectedAt.delete(stream);
            if (!this.#since.has(key))
                this.#since.set(key, now);
            // What has worked before is interrupted, and healer.js says so.
            if (!stream.connectedAt && !isSilent && now - this.#since.get(key) > CONNECTED_WITHIN_MS)
                stuck.push(stream);
            else
                this.findings.delete(stream);
        }
        for (const stream of stuck)
            this.findings.set(stream, whyUnconnected(stream));
        this.network = isAnyThrough || stuck.length === 0 || stuck.length < streams.length
            ? '' : this.findings.get(stuck[0]);
        if ([this.network, ...this.findings.values()].join('\n') !== before)
            this.onChange();
    }

    async #lookForMedia(stream, now) {
        if (state.encryption.unreadable.has(stream.id)) {
            this.findings.set(stream, t('What comes from them is not encrypted with the key of this class, and '
                + 'is not shown. Ask them to open the link with the key.'));
            return;
        }
        if (this.#proven.has(stream) || stream.isHeld) {
            this.findings.delete(stream);
            return;
        }
        const { isExpected, bytes, codec } = await media(stream);
        const before = this.#bytes.get(stream);
        this.#bytes.set(stream, bytes);
        if (!isExpected) {
            this.findings.delete(stream);
            this.#connectedAt.delete(stream);
            return;
        }
        if (!this.#connectedAt.has(stream))
            this.#connectedAt.set(stream, now);
        // What comes first may be out of the server's memory; a slide may rest for long.
        const isLasting = before !== undefined && bytes > before
            || bytes > 0 && (stream.direction === 'up' || stream.label !== 'camera');
        if (isLasting && !codec) {
            this.#proven.add(stream);
            this.findings.delete(stream);
        } else if (now - this.#connectedAt.get(stream) > MEDIA_WITHIN_MS) {
            this.findings.set(stream, whyWithoutMedia(stream, codec));
        }
    }
}

/** A sentence with a next step, for a transport that does not come about. */
function whyUnconnected({ pc, path }) {
    if (pc.signalingState === 'have-local-offer')
        return t('The server has not answered. Wait a moment, or load the page again.');
    if (pc.iceGatheringState === 'complete' && !/a=candidate:/.test(pc.localDescription?.sdp ?? ''))
        return t('The browser keeps its network address to itself, so that nothing can be sent to it. '
            + 'Allow WebRTC for this page in the privacy extension or setting that forbids it.');
    if (['connected', 'completed'].includes(pc.iceConnectionState))
        return t('The server is reached, but something on the way disturbs the encryption. Switch off '
            + 'a proxy or VPN, or try another network.');
    if (path?.state === 'checked')
        return t('Something on the way holds back part of the packets. Switch off a proxy or VPN, or try '
            + 'another network.');
    if (pc.getConfiguration().iceTransportPolicy === 'relay')
        return t('The relay server of this place cannot be reached. Try another network, or tell '
            + 'whoever runs the server.');
    const port = /a=candidate:\S+ 1 udp \d+ \S+ (\d+) /i.exec(pc.remoteDescription?.sdp ?? '')?.[1];
    return port
        ? t('Sound and pictures do not get through: this network seems to block UDP port {port}. Try '
            + 'another network, such as that of a phone, or ask its administrators to open the port.',
        { port })
        : t('The server has named no address for sound and pictures. Tell whoever runs it.');
}

/** The same for one that is connected; `codec` is what comes and cannot be shown. */
function whyWithoutMedia({ direction }, codec) {
    if (codec) {
        return t('The picture comes, but this browser cannot show it ({codec}). Try another browser, '
            + 'or ask them to switch the camera off and on.', { codec });
    }
    return direction === 'up'
        ? t('Nothing comes from your camera or microphone. Is it covered, switched off or used by '
            + 'another program? Try another one in the settings.')
        : t('Nothing comes from them. Their network or camera may be at fault: ask them to switch '
            + 'camera or microphone off and on.');
}

/** Whether media is expected, what has come or gone of it, and the codec that cannot be decoded. */
async function media({ direction, pc }) {
    const stats = [...(await pc.getStats()).values()];
    if (direction === 'up') {
        const sent = stats.filter(({ type }) => type === 'outbound-rtp');
        return {
            isExpected: pc.getSenders().some(({ track }) => track?.readyState === 'live'),
            bytes: sent.reduce((sum, { bytesSent }) => sum + bytesSent, 0),
            codec: '',
        };
    }
    const got = stats.filter(({ type }) => type === 'inbound-rtp');
    const dark = got.find(({ kind, bytesReceived, framesDecoded }) => (
        kind === 'video' && bytesReceived > 0 && !framesDecoded));
    return {
        isExpected: pc.getTransceivers().some((other) => other.currentDirection === 'recvonly'),
        // Of pictures only frames count: what a probe of the path repeats is nothing new.
        bytes: got.reduce((sum, { kind, bytesReceived, framesReceived }) => (
            sum + (kind === 'video' ? framesReceived ?? 0 : bytesReceived)), 0),
        codec: dark && (stats.find(({ id }) => id === dark.codecId)?.mimeType?.split('/')[1] ?? '?'),
    };
}
