/** Offers that browsers and encoders really make, in groups that cannot use all of them. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { inbound, joinGroup, openPage, seesAndHears } from './peer/browser.js';
import { Publisher } from './peer/ffmpeg.js';
import { ORIGIN } from './peer/server.js';
import { lower, raise } from './peer/stage.js';
import { until } from './peer/wait.js';

const ROUNDS = 200;
const open = (codecs) => ({
    codecs, 'wildcard-user': { password: { type: 'wildcard' }, permissions: 'op' },
});

/**
 * In the page: makes offers of every shape that the interface allows, sends each to the server,
 * and applies what comes back. Gives the shapes whose answer the browser did not take.
 */
async function exchangeOffers({ rounds, groups }) {
    let state = 42;
    const below = (limit) => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return Math.floor(state / 2 ** 32 * limit);
    };
    const one = (list) => list[below(list.length)];
    const faults = [];
    const counts = {};
    const note = (what) => { counts[what] = (counts[what] ?? 0) + 1; };

    /** Adds what a page might add. */
    function grow(pc, log, direction) {
        const steps = 1 + below(4);
        for (let step = 0; step < steps; step++) {
            const what = one(['audio', 'video', 'video', 'audio', 'data', 'simulcast']);
            log.push(what);
            if (what === 'data') {
                pc.createDataChannel('chat');
                continue;
            }
            const simulcast = what === 'simulcast' && direction === 'sendonly';
            const transceiver = pc.addTransceiver(what === 'audio' ? 'audio' : 'video', {
                direction: one([direction, direction, direction, 'inactive']),
                ...simulcast && { sendEncodings: [{ rid: 'a' }, { rid: 'b', active: below(2) > 0 }] },
            });
            if (below(3) === 0) {
                const { codecs } = RTCRtpReceiver.getCapabilities(what === 'audio' ? 'audio' : 'video');
                const first = one(codecs.filter(({ mimeType }) => !/rtx|red|fec|CN|telephone/i.test(mimeType)));
                log.push(`${first.mimeType} ${first.sdpFmtpLine ?? ''}`);
                transceiver.setCodecPreferences([first]);
            }
        }
    }

    async function take(pc, log, sdp) {
        const offered = pc.localDescription.sdp.split('\nm=').length;
        if (sdp.split('\nm=').length !== offered)
            faults.push({ log, error: 'another number of sections', sdp });
        try {
            await pc.setRemoteDescription({ type: 'answer', sdp });
        } catch (error) {
            faults.push({ log, error: String(error), sdp, offer: pc.localDescription.sdp });
        }
    }

    async function overHttp(round) {
        const protocol = one(['whip', 'whep']);
        const group = one(groups);
        const log = [round, protocol, group];
        const pc = new RTCPeerConnection({ bundlePolicy: one(['max-bundle', 'balanced', 'max-compat']) });
        grow(pc, log, protocol === 'whip' ? 'sendonly' : 'recvonly');
        await pc.setLocalDescription();
        const response = await fetch(`/group/${group}/.${protocol}`, {
            method: 'POST', headers: { 'content-type': 'application/sdp' }, body: pc.localDescription.sdp,
        });
        note(`${protocol} ${response.status}`);
        if (response.status === 201) {
            await take(pc, log, await response.text());
            await fetch(response.headers.get('location'), { method: 'DELETE' });
        } else if (![422].includes(response.status)) {
            faults.push({ log, error: `${response.status} ${await response.text()}` });
        }
        pc.close();
    }

    /** The native protocol, with a second offer that turns sections off. */
    async function overSocket(round) {
        const group = one(groups);
        const log = [round, 'native', group];
        const socket = new WebSocket(`wss://${location.host}/ws`);
        const say = (message) => socket.send(JSON.stringify(message));
        const waiting = [];
        const inbox = [];
        socket.onmessage = ({ data }) => {
            inbox.push(JSON.parse(data));
            waiting.shift()?.();
        };
        const hear = async (...types) => {
            for (;;) {
                const at = inbox.findIndex(({ type }) => types.includes(type));
                if (at >= 0)
                    return inbox.splice(at, 1)[0];
                await new Promise((resolve) => waiting.push(resolve));
            }
        };
        await new Promise((resolve) => { socket.onopen = resolve; });
        const id = crypto.randomUUID().replaceAll('-', '');
        say({ type: 'handshake', version: ['2'], id });
        say({ type: 'join', kind: 'join', group, username: `n${round}`, password: '' });
        await hear('joined');
        const pc = new RTCPeerConnection();
        grow(pc, log, 'sendonly');
        for (let offer = 0; offer < 3; offer++) {
            await pc.setLocalDescription();
            say({ type: 'offer', id: `s${id}`, label: 'camera', sdp: pc.localDescription.sdp });
            const reply = await hear('answer', 'abort');
            note(`native ${reply.type}`);
            if (reply.type === 'abort')
                break;
            await take(pc, log, reply.sdp);
            const transceiver = one(pc.getTransceivers());
            const change = one(['stop', 'inactive', 'add', 'restart']);
            log.push(change);
            if (change === 'stop')
                transceiver?.stop();
            else if (change === 'inactive' && transceiver && !transceiver.stopped)
                transceiver.direction = 'inactive';
            else if (change === 'restart')
                pc.restartIce();
            else
                grow(pc, log, 'sendonly');
        }
        pc.close();
        socket.close();
    }

    for (let round = 0; round < rounds && faults.length < 5; round++)
        await (round % 3 ? overHttp : overSocket)(round);
    return { faults, counts };
}

describe('offers', { concurrency: 1 }, () => {
    let server;
    let browser;

    before(async () => {
        ({ server, browser } = await raise({
            groups: {
                sound: open(['opus']),
                all: open(['vp8', 'vp9', 'av1', 'h264', 'opus', 'g722', 'pcmu', 'pcma']),
                film: open(['h264', 'opus']),
                quiet: open(['vp8']),
            },
        }));
    });

    after(async () => {
        await lower({ server, browser });
    });

    test(`Chromium takes every answer to ${ROUNDS} offers of its own`, async () => {
        // Refusals are part of the test, and would fill the console.
        const page = await browser.newPage({ ignoreHTTPSErrors: true });
        await page.goto(`${ORIGIN}/`);
        const { faults, counts } = await page.evaluate(
            exchangeOffers, { rounds: ROUNDS, groups: ['sound', 'all', 'film', 'quiet'] },
        );
        assert.deepEqual(faults, [], JSON.stringify(faults, null, 1).replaceAll('\\r\\n', '\n'));
        for (const what of ['whip 201', 'whip 422', 'whep 201', 'native answer'])
            assert.ok(counts[what] > 3, `${what}: ${JSON.stringify(counts)}`);
        await page.close();
    });

    test('a camera in a group without video does not cost the microphone', async () => {
        const ann = await joinGroup(browser, 'ann', { group: 'sound', start: 'both' });
        const bob = await joinGroup(browser, 'bob', { group: 'sound' });
        await until('bob to hear ann', async () => {
            const [entry] = await inbound(bob);
            return entry?.audioEnergy > 0;
        });
        const player = await openPage(browser, 'player');
        await player.goto(`${ORIGIN}/group/sound/watch`);
        await until('the player to play', () => player.evaluate(
            () => [...document.querySelectorAll('video, audio')].some(
                (element) => element.srcObject?.getAudioTracks().length > 0),
        ));
        await Promise.all([ann, bob, player].map((page) => page.close()));
    });

    test('H.264 high from an encoder is seen on the group page', async () => {
        const ann = await joinGroup(browser, 'ann', { group: 'film' });
        const publisher = new Publisher(server, `${ORIGIN}/group/film/.whip`, { profile: 'high' });
        try {
            await seesAndHears(ann, 'whip').catch((error) => {
                server.dump();
                throw new Error(`${error.message}\nFFmpeg: ${publisher.output}`);
            });
        } finally {
            await publisher.stop();
            await ann.close();
        }
    });
});
