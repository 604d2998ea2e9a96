/** A device that gets another address while a class is on: it is back by itself, once, with sound and pictures. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { joinGroup, launch, peopleOf, seesAndHears } from './peer/browser.js';
import { canMakeLinks, Link } from './peer/link.js';
import { Server } from './peer/server.js';
import { until } from './peer/wait.js';

describe('another address', { concurrency: 1, skip: canMakeLinks() ? false : 'needs namespaces' }, () => {
    let server, link, browsers;

    before(async () => {
        server = await Server.start();
        link = await Link.make();
        browsers = [await launch(), await link.launch()];
    });

    after(async () => {
        for (const browser of browsers ?? [])
            await browser.close();
        link?.end();
        assert.equal(await server?.stop(), 0);
    });

    for (const [title, happens] of [
        ['another address', (link) => link.readdress()],
        ['a NAT that starts again, which nobody reports', (link) => link.forget()],
    ]) {
        test(`${title}: both directions come back, and nobody is there twice`, async (context) => {
            const ann = await joinGroup(browsers[0], 'ann', { start: 'both' });
            const bob = await joinGroup(browsers[1], 'bob', { start: 'both' });
            await seesAndHears(bob, 'ann');
            await seesAndHears(ann, 'bob');
            await bob.fill('#chat-input', 'half a sent');
            await bob.evaluate(() => {
                window.told = [];
                const text = document.getElementById('banner-text');
                new MutationObserver(() => window.told.push(text.textContent))
                    .observe(text, { childList: true });
            });
            happens(link);
            const movedAt = performance.now();
            const ms = () => Math.round(performance.now() - movedAt);
            await until('the page to say so', async () => bob.evaluate(() => window.told.length > 0));
            context.diagnostic(`told after ${ms()} ms`);
            await until('bob to have joined again', async () => bob.evaluate(() => (
                window.told.length > 1 && window.aula.connection.isJoined)));
            context.diagnostic(`back after ${ms()} ms`);
            await seesAndHears(bob, 'ann');
            await seesAndHears(ann, 'bob');
            context.diagnostic(`pictures and sound again after ${ms()} ms`);
            await until('the banner to go', async () => !await bob.isVisible('#banner'));
            await until('each of them once', async () => (await peopleOf(ann)).join() === 'ann,bob'
                && (await peopleOf(bob)).join() === 'ann,bob');
            assert.equal(await bob.inputValue('#chat-input'), 'half a sent');
            context.diagnostic(`said: ${(await bob.evaluate(() => window.told)).join(' | ')}`);
            await ann.close();
            await bob.close();
        });
    }

    test('whoever is not heard of any more is shown so, until they are back', async () => {
        const ann = await joinGroup(browsers[0], 'ann');
        const bob = await joinGroup(browsers[1], 'bob', { start: 'both' });
        await seesAndHears(ann, 'bob');
        link.silence(true);
        await ann.waitForSelector('.tile-name:has-text("nothing comes from their network")');
        link.silence(false);
        await until('the words to go', async () => (
            await ann.locator('.tile-name:has-text("nothing comes from their network")').count() === 0));
        await seesAndHears(ann, 'bob');
        await ann.close();
        await bob.close();
    });
});
