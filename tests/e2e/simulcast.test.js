/** Simulcast: each viewer gets the picture it asked for, and may change its mind. */

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
        } catch (error) {
            server.dump();
            throw error;
        }
    });
});
