/** A server that goes away and comes back: browsers return by themselves, and publish again. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { joinGroup, peopleOf, seesAndHears } from './peer/browser.js';
import { Server } from './peer/server.js';
import { lower, raise } from './peer/stage.js';
import { until } from './peer/wait.js';

describe('a restart', { concurrency: 1 }, () => {
    let server;
    let browser;
    let ann;
    let bob;

    before(async () => {
        ({ server, browser } = await raise());
        ann = await joinGroup(browser, 'ann', { start: 'both' });
        bob = await joinGroup(browser, 'bob');
        await seesAndHears(bob, 'ann');
    });

    after(async () => {
        await lower({ server, browser });
    });

    const isJoined = (page) => page.evaluate(() => window.aula.connection.isJoined);

    async function allNoticeAndComeBack() {
        for (const page of [ann, bob]) {
            await until('the loss to be noticed', async () => !await isJoined(page));
            assert.equal(await page.isVisible('#join'), false, 'nobody is sent to the join form');
        }
        server = await Server.start();
        for (const page of [ann, bob]) {
            await until('everybody to be back',
                async () => await isJoined(page) && (await peopleOf(page)).join() === 'ann,bob');
        }
        await seesAndHears(bob, 'ann');
    }

    test('after SIGTERM the server ends in order and browsers come back', async () => {
        assert.equal(await server.stop(), 0);
        await allNoticeAndComeBack();
    });

    test('after a crash browsers come back', async () => {
        await server.crash();
        await allNoticeAndComeBack();
    });
});
