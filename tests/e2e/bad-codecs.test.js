/** Codecs with layers, and H.264 in two sizes, to a viewer whose link gets slow and loses packets. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch } from './peer/browser.js';
import { canMakeLinks, Link } from './peer/link.js';
import { publishNoise, received } from './peer/noise.js';
import { ORIGIN, Server } from './peer/server.js';
import { until } from './peer/wait.js';
import { openBlank, play } from './peer/web-session.js';

const STREAMS = [
    { codec: 'vp9', scalabilityMode: 'L3T3_KEY' },
    { codec: 'av1', scalabilityMode: 'L3T3_KEY' },
    { codec: 'h264' },
    // Temporal layers only, which its descriptors name.
    { codec: 'vp8', scalabilityMode: 'L1T3', isOneSize: true },
];

describe('codecs on bad links', { concurrency: 1, skip: canMakeLinks() ? false : 'needs namespaces' }, () => {
    let server, link, browsers;

    before(async () => {
        const group = {
            codecs: ['vp9', 'av1', 'h264', 'vp8', 'opus'],
            'wildcard-user': { password: { type: 'wildcard' }, permissions: 'present' },
        };
        server = await Server.start({ groups: { test: group } });
        link = await Link.make();
        browsers = [await launch(), await link.launch()];
    });

    after(async () => {
        for (const browser of browsers ?? [])
            await browser.close();
        link?.end();
        assert.equal(await server?.stop(), 0);
    });

    for (const { codec, scalabilityMode, isOneSize = false } of STREAMS) {
        test(`${codec} ${scalabilityMode ?? 'in two sizes'}`, async () => {
            const publisher = await openBlank(browsers[0], 'publisher');
            const viewer = await openBlank(browsers[1], 'viewer');
            const seen = async () => (await viewer.evaluate(received)).video
                ?? { frameWidth: 0, framesDecoded: 0 };
            const more = async (what, count) => {
                const { framesDecoded } = await seen();
                await until(`${count} more frames ${what}`,
                    async () => (await seen()).framesDecoded >= framesDecoded + count);
            };
            const widths = async (what, fits) =>
                until(what, async () => fits((await seen()).frameWidth));
            try {
                const url = `${ORIGIN}/group/test/`;
                const { status } = await publisher.evaluate(
                    publishNoise, { url: `${url}.whip`, codec, scalabilityMode });
                assert.equal(status, 201);
                await until('the viewer to be let in', async () =>
                    (await viewer.evaluate(play, { url: `${url}.whep`, hasDescriptor: true })).status === 201);
                await widths('the large picture', (width) => width === 640);
                await more('of it', 20);
                link.rate(400);
                if (!isOneSize)
                    await widths('a smaller picture', (width) => width > 0 && width <= 320);
                await more('of it', 15);
                link.rate(0);
                await widths('the large picture again', (width) => width === 640);
                await more('of it', 15);
                link.loss(3);
                const { packetsLost } = await seen();
                await until('packets to be lost', async () => (await seen()).packetsLost > packetsLost + 3);
                await more('with loss', 40);
            } catch (error) {
                server.dump();
                throw error;
            } finally {
                link.rate(0);
                link.loss(0);
                for (const page of [publisher, viewer]) {
                    await page.evaluate(() => fetch(window.session, { method: 'DELETE' })).catch(() => {});
                    await page.context().close();
                }
            }
        });
    }
});
