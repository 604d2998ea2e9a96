/** Simulcast: each viewer gets the picture it asked for, and may change its mind. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { inbound, joinGroup, seesAndHears } from './peer/browser.js';
import { lower, raise } from './peer/stage.js';
import { until } from './peer/wait.js';

describe('simulcast', { concurrency: 1 }, () => {
    let server;
    let browser;

    before(async () => {
        ({ server, browser } = await raise());
    });

    after(async () => {
        await lower({ server, browser });
    });

    test('a viewer switches to the small picture and back', async () => {
        const ann = await joinGroup(browser, 'ann', { start: 'both' });
        const bob = await joinGroup(browser, 'bob');
        const eve = await joinGroup(browser, 'eve');
        const receive = (page, what) => page.evaluate((what) => {
            const select = document.getElementById('receive');
            select.value = what;
            select.dispatchEvent(new Event('change'));
        }, what);
        const width = async (page) => (await inbound(page))[0].width;
        try {
            await seesAndHears(bob, 'ann');
            await seesAndHears(eve, 'ann');
            await until('two pictures to be sent', async () => {
                const widths = await ann.evaluate(async () => {
                    const [stream] = window.aula.connection.up.values();
                    return [...(await stream.pc.getStats()).values()]
                        .filter(({ type, kind }) => type === 'outbound-rtp' && kind === 'video')
                        .map(({ frameWidth }) => frameWidth ?? 0);
                });
                return widths.length === 2 && widths.every((width) => width > 0);
            });
            // The encoder scales both with the load, so only the relation of the two counts.
            await receive(bob, 'low');
            await until('bob to have the small picture and eve the large one',
                async () => await width(bob) > 0 && await width(bob) <= await width(eve) / 2);
            await receive(bob, 'everything');
            await until('both to have the large picture',
                async () => await width(bob) === await width(eve));
            await seesAndHears(bob, 'ann');
            // What nobody wishes to have is not sent.
            const sent = async () => {
                const bytes = () => ann.evaluate(async () => {
                    const [stream] = window.aula.connection.up.values();
                    const found = {};
                    for (const report of (await stream.pc.getStats()).values()) {
                        if (report.type === 'outbound-rtp' && report.kind === 'video')
                            found[report.rid] = report.bytesSent;
                    }
                    return found;
                });
                const before = await bytes();
                await new Promise((resolve) => setTimeout(resolve, 1000));
                const now = await bytes();
                return Object.keys(now).filter((rid) => now[rid] > before[rid]).sort().join();
            };
            assert.equal(await sent(), 'h,l');
            await receive(bob, 'low');
            await receive(eve, 'low');
            await until('the large picture to be left out', async () => await sent() === 'l');
            await seesAndHears(bob, 'ann');
            await receive(eve, 'everything');
            await until('eve alone to have the large picture',
                async () => await width(bob) > 0 && await width(bob) <= await width(eve) / 2);
            assert.equal(await sent(), 'h,l');
        } catch (error) {
            server.dump();
            throw error;
        }
    });
});
