/** Who speaks: everybody is told, and in a large class only the loudest are heard. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { joinGroup, screenshot } from './peer/browser.js';
import { lower, raise } from './peer/stage.js';
import { until } from './peer/wait.js';

const OPEN = { password: { type: 'wildcard' }, permissions: 'present' };
const CODECS = ['vp8', 'opus'];
/** More than this are a large class. */
const LARGE = 50;

describe('who speaks', { concurrency: 1 }, () => {
    let server;
    let browser;

    before(async () => {
        ({ server, browser } = await raise({ groups: {
            seminar: { codecs: CODECS, 'wildcard-user': OPEN },
            lecture: { codecs: CODECS, 'wildcard-user': OPEN, loudest: 1 },
        } }));
    });

    after(async () => {
        await lower({ server, browser });
    });

    /** Publishes a tone, or with 0 silence, as a microphone would. */
    const speaker = async (name, group) => {
        const page = await joinGroup(browser, name, { group, prepare: (page) => page.addInitScript(() => {
            const given = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
            navigator.mediaDevices.getUserMedia = async (wishes) => {
                const stream = await given(wishes);
                if (!wishes.audio)
                    return stream;
                const context = new AudioContext();
                const tone = context.createOscillator();
                window.volume = context.createGain();
                window.volume.gain.value = 0;
                const out = context.createMediaStreamDestination();
                tone.connect(window.volume).connect(out);
                tone.start();
                return new MediaStream([...stream.getVideoTracks(), ...out.stream.getAudioTracks()]);
            };
        }) });
        await page.click('#mic-button');
        await page.waitForFunction(() => window.volume);
        return page;
    };

    const speak = (page, volume) => page.evaluate((value) => {
        window.volume.gain.value = value;
    }, volume);

    const marked = (page) => page.evaluate(() => [...document.querySelectorAll('.tile.is-speaking')]
        .map((tile) => tile.querySelector('.tile-name').textContent).sort().join());

    /** By name: packets of sound received, lost, and asked for again. */
    const sounds = (page) => page.evaluate(async () => {
        const found = {};
        for (const stream of window.aula.connection.down.values()) {
            for (const report of (await stream.pc.getStats()).values()) {
                if (report.type === 'inbound-rtp' && report.kind === 'audio') {
                    found[stream.username] = {
                        received: report.packetsReceived,
                        lost: report.packetsLost,
                        nacks: report.nackCount ?? 0,
                    };
                }
            }
        }
        return found;
    });

    test('whoever speaks is marked for all, and no longer after the last word', async () => {
        const ann = await speaker('ann', 'seminar');
        const bob = await speaker('bob', 'seminar');
        const carl = await joinGroup(browser, 'carl', { group: 'seminar' });
        await carl.waitForFunction(() => document.querySelectorAll('.tile').length === 2);
        await speak(ann, 0.3);
        await until('ann to be marked', async () => await marked(carl) === 'ann');
        assert.deepEqual(await carl.evaluate(() => window.aula.connection.speakers.length), 1);
        await screenshot(carl, 'speaker');
        await speak(bob, 0.3);
        await until('both to be marked', async () => await marked(carl) === 'ann,bob');
        await speak(ann, 0);
        await until('bob alone', async () => await marked(carl) === 'bob');
        // A microphone that is switched off ends it as well.
        await bob.click('#mic-button');
        await until('nobody', async () => await marked(carl) === '');
        for (const page of [ann, bob, carl])
            await page.close();
    });

    test('a large class hears the loudest, without a gap for anybody', async () => {
        const ann = await speaker('ann', 'lecture');
        const bob = await speaker('bob', 'lecture');
        const carl = await joinGroup(browser, 'carl', { group: 'lecture' });
        await until('both to be heard', async () => {
            const { ann, bob } = await sounds(carl);
            return ann?.received > 20 && bob?.received > 20;
        });
        await speak(ann, 0.3);
        await carl.evaluate(async (count) => {
            window.crowd = [];
            for (let at = 0; at < count; at += 1) {
                const socket = new WebSocket(`wss://${location.host}/ws`);
                window.crowd.push(socket);
                await new Promise((resolve, reject) => {
                    socket.onopen = resolve;
                    socket.onerror = reject;
                });
                const id = `crowd-${at}`;
                socket.onmessage = ({ data }) => (
                    JSON.parse(data).type === 'ping' && socket.send('{"type":"pong"}'));
                socket.send(JSON.stringify({ type: 'handshake', version: ['2'], id }));
                socket.send(JSON.stringify({
                    type: 'join', kind: 'join', group: 'lecture', username: id,
                }));
            }
        }, LARGE);
        /** Whose sound comes: that of which at least so many packets come while the other's stand still. */
        const heard = async () => {
            const before = await sounds(carl);
            await new Promise((resolve) => setTimeout(resolve, 1000));
            const now = await sounds(carl);
            return Object.keys(now).filter((name) => now[name].received > (before[name]?.received ?? 0))
                .sort().join();
        };
        await until('ann alone to be heard', async () => await heard() === 'ann');
        await speak(ann, 0);
        await speak(bob, 0.3);
        await until('bob alone to be heard', async () => await heard() === 'bob');
        assert.equal(await marked(carl), 'bob');
        await carl.evaluate(() => window.crowd.slice(0, 10).forEach((socket) => socket.close()));
        await until('both to be heard again', async () => await heard() === 'ann,bob');
        for (const [name, { lost, nacks }] of Object.entries(await sounds(carl)))
            assert.deepEqual({ name, lost, nacks }, { name, lost: 0, nacks: 0 });
    });
});
