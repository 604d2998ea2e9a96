/** What a page does over WHIP and WHEP with nothing but the browser's own API and fetch. */

import assert from 'node:assert/strict';
import { openPage } from './browser.js';
import { ORIGIN } from './server.js';

/** Runs in the page: publishes a moving canvas and a tone. `window.pc` stays. */
export async function publishCanvas({ url, headers = {}, rids = [], codec }) {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = rids.length > 0 ? [640, 360] : [320, 180];
    const context = canvas.getContext('2d');
    setInterval(() => {
        context.fillStyle = `hsl(${performance.now() / 10 % 360} 80% 50%)`;
        context.fillRect(0, 0, canvas.width, canvas.height);
    }, 50);
    const sound = new AudioContext();
    const oscillator = sound.createOscillator();
    const speaker = sound.createMediaStreamDestination();
    oscillator.connect(speaker);
    oscillator.start();
    const pc = window.pc = new RTCPeerConnection();
    pc.addTransceiver(speaker.stream.getTracks()[0], { direction: 'sendonly' });
    const sendEncodings = rids.map((rid, at) => ({ rid, scaleResolutionDownBy: 2 ** at }));
    const video = pc.addTransceiver(canvas.captureStream(15).getTracks()[0], {
        direction: 'sendonly', ...(rids.length > 0 && { sendEncodings }),
    });
    if (codec)
        window.prefer(video, codec);
    return window.post(pc, url, headers);
}

/**
 * Runs in the page: plays one sound and one picture, with dependency descriptors if they are wanted
 * (Chromium offers them when it is asked to). `window.pc` stays.
 */
export async function play({ url, headers = {}, pairs = 1, hasDescriptor = false }) {
    const pc = window.pc = new RTCPeerConnection();
    for (let at = 0; at < pairs; at++) {
        for (const kind of ['audio', 'video']) {
            const transceiver = pc.addTransceiver(kind, { direction: 'recvonly' });
            const { receiver } = transceiver;
            if (kind === 'video' && hasDescriptor) {
                const extensions = transceiver.getHeaderExtensionsToNegotiate();
                extensions.find(({ uri }) => uri.includes('dependency-descriptor')).direction = 'sendrecv';
                transceiver.setHeaderExtensionsToNegotiate(extensions);
            }
            const element = document.createElement(kind);
            element.autoplay = true;
            element.srcObject = new MediaStream([receiver.track]);
            document.body.append(element);
        }
    }
    return window.post(pc, url, headers);
}

/** A page of our origin from which WHIP and WHEP work. */
export async function openBlank(browser, name) {
    const page = await openPage(browser, name);
    await page.addInitScript(helpers);
    await page.goto(`${ORIGIN}/404-not-there`).catch(() => {});
    return page;
}

/** Goes into every page first: the HTTP part, as any web developer would write it. */
export function helpers() {
    /** Offers one codec of pictures alone, by its media type. */
    window.prefer = (transceiver, codec) => {
        const { codecs } = RTCRtpSender.getCapabilities('video');
        transceiver.setCodecPreferences(codecs.filter(({ mimeType }) => mimeType.toLowerCase() === codec));
    };
    /** A busy machine shall cost pictures, not their size. */
    window.keepSize = async ({ sender }) => {
        const parameters = sender.getParameters();
        parameters.degradationPreference = 'maintain-resolution';
        await sender.setParameters(parameters);
    };
    window.post = async (pc, url, headers) => {
        await pc.setLocalDescription();
        while (pc.iceGatheringState !== 'complete')
            await new Promise((resolve) => setTimeout(resolve, 50));
        const response = await fetch(url, {
            method: 'POST',
            headers: { 'Content-Type': 'application/sdp', ...headers },
            body: pc.localDescription.sdp,
        });
        const sdp = await response.text();
        if (response.status === 201)
            await pc.setRemoteDescription({ type: 'answer', sdp });
        window.session = new URL(response.headers.get('Location') ?? '', url).href;
        window.headers = headers;
        return {
            status: response.status, location: window.session, body: sdp,
            etag: response.headers.get('ETag'), link: response.headers.get('Link'),
            challenge: response.headers.get('WWW-Authenticate'),
        };
    };
    window.restart = async () => {
        const { pc } = window;
        pc.restartIce();
        await pc.setLocalDescription();
        const lines = pc.localDescription.sdp.split('\r\n');
        const line = (prefix) => lines.find((text) => text.startsWith(prefix));
        const response = await fetch(window.session, {
            method: 'PATCH',
            headers: {
                'Content-Type': 'application/trickle-ice-sdpfrag', 'If-Match': '*',
                ...window.headers,
            },
            body: `${['a=ice-ufrag:', 'a=ice-pwd:', 'm=', 'a=mid:'].map(line).join('\r\n')}\r\n`,
        });
        const fragment = await response.text();
        const value = (name) => new RegExp(`^a=${name}:(.*)$`, 'm').exec(fragment)?.[1].trim();
        const sdp = pc.remoteDescription.sdp
            .replace(/a=ice-ufrag:.*/g, `a=ice-ufrag:${value('ice-ufrag')}`)
            .replace(/a=ice-pwd:.*/g, `a=ice-pwd:${value('ice-pwd')}`);
        await pc.setRemoteDescription({ type: 'answer', sdp });
        return { status: response.status, etag: response.headers.get('ETag'), fragment };
    };
    /** Sums over what comes in. */
    window.incoming = async () => {
        const sums = { frames: 0, energy: 0, width: 0, packets: 0 };
        const stats = await window.pc.getStats();
        for (const report of stats.values()) {
            if (report.type !== 'inbound-rtp')
                continue;
            sums.frames += report.framesDecoded ?? 0;
            sums.energy += report.totalAudioEnergy ?? 0;
            sums.packets += report.packetsReceived ?? 0;
            sums.width = Math.max(sums.width, report.frameWidth ?? 0);
        }
        return sums;
    };
    /** Picture widths by rid. */
    window.outgoing = async () => {
        const stats = [...(await window.pc.getStats()).values()];
        const video = stats.filter(({ type, kind }) => type === 'outbound-rtp' && kind === 'video');
        return Object.fromEntries(video.map(({ rid, frameWidth }) => [rid, frameWidth ?? 0]));
    };
    /** The user name fragment of the path in use. */
    window.selected = async () => {
        const stats = await window.pc.getStats();
        const transport = [...stats.values()].find((report) => report.type === 'transport');
        const pair = stats.get(transport?.selectedCandidatePairId);
        return stats.get(pair?.localCandidateId)?.usernameFragment;
    };
}

/** The TURN servers of a `Link` header. */
export function serversOf(link) {
    const server = /<(turns?:[^>]*)>; rel="ice-server"; username="([^"]*)"; credential="([^"]*)"/g;
    const found = [...link.matchAll(server)];
    assert.ok(found.length > 0, link);
    return found.map(([, urls, username, credential]) => ({ urls, username, credential }));
}
