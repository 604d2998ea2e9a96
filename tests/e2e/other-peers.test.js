/** WHIP and WHEP with peers that are neither Chromium nor FFmpeg: aiortc, GStreamer and Firefox. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { joinGroup, peopleOf, seesAndHears } from './peer/browser.js';
import { Firefox } from './peer/firefox.js';
import { Aiortc, Gstreamer } from './peer/python-peer.js';
import { ORIGIN } from './peer/server.js';
import { lower, raise } from './peer/stage.js';
import { until } from './peer/wait.js';
import { helpers, play, publishCanvas } from './peer/web-session.js';

const GROUP = {
    users: {
        ann: { password: 'a', permissions: 'op' },
        whip: { password: 'sesame', permissions: 'present' },
    },
    codecs: ['vp8', 'h264', 'opus'],
};

describe('other peers', { concurrency: 1 }, () => {
    let server;
    let browser;

    before(async () => {
        ({ server, browser } = await raise({ groups: { test: GROUP } }));
    });

    after(async () => {
        await lower({ server, browser });
    });

    for (const credentials of [['--basic', 'ann:a'], ['--bearer', 'sesame']]) {
        test(`aiortc publishes and plays, ${credentials[0].slice(2)}`, async () => {
            const publisher = new Aiortc(server, 'publish', `${ORIGIN}/group/test/.whip`, credentials);
            const player = new Aiortc(server, 'play', `${ORIGIN}/group/test/.whep`, credentials);
            try {
                await player.hears((said) => said.status === 201);
                await player.hears((said) => said.frames === 'audio');
                await player.hears((said) => said.frames === 'video');
            } finally {
                await publisher.end();
                await player.end();
            }
            assert.ok(publisher.said.some((said) => said.deleted === 200), publisher.output);
            assert.ok(player.said.some((said) => said.deleted === 200), player.output);
        });
    }

    test('GStreamer publishes to Chromium and plays, under an RSA certificate', async (t) => {
        if (!Gstreamer.isThere)
            return t.skip('no GStreamer here');
        const ann = await joinGroup(browser, 'ann', { password: 'a' });
        const publisher = new Gstreamer(server, 'publish', `${ORIGIN}/group/test/.whip`, ['--bearer', 'sesame']);
        try {
            assert.equal((await publisher.hears((said) => said.status)).status, 201);
            await publisher.hears((said) => said.state === 'connected');
            await seesAndHears(ann, 'whip');
            const player = new Gstreamer(server, 'play', `${ORIGIN}/group/test/.whep`, ['--basic', 'ann:a']);
            try {
                await player.hears((said) => said.frames === 'audio');
                await player.hears((said) => said.frames === 'video');
            } catch (error) {
                t.diagnostic(player.output);
                throw error;
            } finally {
                await player.end();
            }
            assert.ok(player.said.some((said) => said.deleted === 200), player.output);
        } catch (error) {
            t.diagnostic(publisher.output);
            server.dump();
            throw error;
        } finally {
            await publisher.end();
            await ann.close();
        }
        assert.ok(publisher.said.some((said) => said.deleted === 200), publisher.output);
    });

    test('aiortc with a wrong password is told what to do', async () => {
        const peer = new Aiortc(server, 'publish', `${ORIGIN}/group/test/.whip`, ['--basic', 'ann:b']);
        const refused = await peer.hears((said) => said.status);
        assert.equal(refused.status, 401);
        assert.match(refused.detail, /user and password/);
        await peer.end();
    });

    test('Firefox publishes to Chromium and plays it, and restarts ICE', async (t) => {
        if (!Firefox.isThere)
            return t.skip('no Firefox here');
        const ann = await joinGroup(browser, 'ann', { password: 'a', start: 'both' });
        const firefox = await Firefox.launch(`${ORIGIN}/healthz`);
        const headers = { Authorization: `Basic ${btoa('ann:a')}` };
        try {
            await firefox.run(helpers);
            const published = await firefox.run(publishCanvas,
                { url: `${ORIGIN}/group/test/.whip`, headers: { Authorization: 'Bearer sesame' } });
            assert.equal(published.status, 201, published.body);
            await seesAndHears(ann, 'whip', { sound: false });
            await firefox.run(async () => {
                await fetch(window.session, { method: 'DELETE', headers: window.headers });
                window.pc.close();
            });
            await until('the publisher to leave', async () => (await peopleOf(ann)).length === 1);
            // VP8: H.264 is a download of Firefox's own, which may not be there.
            const watched = await firefox.run(play, { url: `${ORIGIN}/group/test/.whep`, headers });
            assert.equal(watched.status, 201, watched.body);
            const frames = async () => (await firefox.run(() => window.incoming())).frames;
            const first = await until('a frame in Firefox', frames);
            await until('more frames', async () => await frames() > first + 10);
            const restarted = await firefox.run(() => window.restart());
            assert.equal(restarted.status, 200);
            const then = await frames();
            await until('frames after the restart', async () => await frames() > then + 20);
        } catch (error) {
            server.dump();
            throw error;
        } finally {
            await firefox.close();
            await ann.close();
        }
    });
});
