/** Somebody far away whose link loses packets: what is lost comes again in time to be seen and heard. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { joinGroup, launch, seesAndHears } from './peer/browser.js';
import { filmNoise } from './peer/noise.js';
import { canMakeRoughLinks, RoughLink } from './peer/rough-link.js';
import { Server } from './peer/server.js';
import { until } from './peer/wait.js';

/** 200 ms there and back, a loss is ten packets long. */
const FAR = 'rate=3000k,queue=300ms,delay=100ms,jitter=30ms,loss=3%,burst=10';
/** So many seconds a picture waits before it is shown, once the server has seen what the path is like. */
const DEEP_S = 0.25;

describe('far links', { concurrency: 1, skip: canMakeRoughLinks() ? false : 'needs namespaces and TUN' }, () => {
    let server, link, browsers;

    before(async () => {
        server = await Server.start({ groups: { far: {
            codecs: ['vp8', 'opus'],
            'wildcard-user': { password: { type: 'wildcard' }, permissions: 'present' },
        } } });
        link = await RoughLink.make();
        browsers = [await launch(), await link.launch()];
    });

    after(async () => {
        for (const browser of browsers ?? [])
            await browser.close();
        link?.end();
        assert.equal(await server?.stop(), 0);
    });

    /** One sends and one watches, in these browsers, over the long link. */
    const watchOverFarLink = async (from, to) => {
        const options = { group: 'far', prepare: (page) => page.addInitScript(filmNoise) };
        const sender = await joinGroup(browsers[from], 'sender', { start: 'both', ...options });
        const watcher = await joinGroup(browsers[to], 'watcher', options);
        try {
            await seesAndHears(watcher, 'sender');
            const near = await since(watcher, await received(watcher));
            link.be(FAR);
            await until('pictures to wait for what is lost', async () => {
                const first = await received(watcher);
                await until('more pictures', async () => (await since(watcher, first)).pictures > 20);
                return (await since(watcher, first)).waitS > DEEP_S;
            });
            const first = await received(watcher);
            await until('twenty seconds of sound, with losses', async () => {
                const { heard, asked } = await since(watcher, first);
                return heard > 1000 && asked.video > 5;
            });
            const told = await since(watcher, first);
            console.log('over the far link', { before: near, after: told });
            // Three of a hundred are lost on the way.
            assert.ok(told.lost < told.heard / 100, `${told.lost} of ${told.heard}`);
            return told;
        } catch (error) {
            server.dump();
            throw error;
        } finally {
            link.be('');
            await sender.context().close();
            await watcher.context().close();
        }
    };

    test('a viewer sees and hears what was lost', async () => {
        const { asked } = await watchOverFarLink(0, 1);
        assert.ok(asked.audio > 0, 'sound was asked for again');
    });

    test('viewers nearby see and hear what a publisher far away has lost', async () => {
        await watchOverFarLink(1, 0);
    });
});

/** What a page has received of its one stream. */
function received(page) {
    return page.evaluate(async () => {
        const [stream] = window.aula.connection.down.values();
        const found = {};
        for (const report of (await stream.pc.getStats()).values()) {
            if (report.type === 'inbound-rtp')
                found[report.kind] = report;
        }
        return found;
    });
}

/** What has come since then. */
async function since(page, first) {
    const now = await received(page);
    const more = (kind, name) => (now[kind][name] ?? 0) - (first[kind][name] ?? 0);
    const pictures = more('video', 'jitterBufferEmittedCount');
    return {
        pictures,
        waitS: more('video', 'jitterBufferDelay') / Math.max(1, pictures),
        freezes: more('video', 'freezeCount'),
        frozenS: more('video', 'totalFreezesDuration'),
        heard: more('audio', 'packetsReceived'),
        lost: more('audio', 'packetsLost'),
        concealed: more('audio', 'concealedSamples') / Math.max(1, more('audio', 'totalSamplesReceived')),
        asked: { audio: more('audio', 'nackCount'), video: more('video', 'nackCount') },
    };
}
