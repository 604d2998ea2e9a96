/** The administrators' page: who may see it, what its charts and tables say, and that it is live. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, describe, test } from 'node:test';
import { joinGroup, openPage, screenshot, seesAndHears } from './peer/browser.js';
import { ORIGIN } from './peer/server.js';
import { lower, raise } from './peer/stage.js';
import { until } from './peer/wait.js';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

describe('statistics', { concurrency: 1 }, () => {
    let server;
    let browser;
    let page;

    before(async () => {
        ({ server, browser } = await raise({
            config: { users: { root: { password: 'secret', permissions: 'admin' } } },
        }));
        page = await openPage(browser, 'root');
    });

    after(async () => {
        await lower({ server, browser });
    });

    async function login(password) {
        await page.fill('#username', 'root');
        await page.fill('#password', password);
        await page.click('#form button');
    }

    test('only administrators see it', async () => {
        await page.goto(`${ORIGIN}/stats.html`);
        await login('wrong');
        await page.waitForSelector('#error:has-text("Wrong name or password")');
        await login('secret');
        await page.waitForSelector('#statistics:not([hidden])');
    });

    test('a class with media shows in charts and tables', async () => {
        const ann = await joinGroup(browser, 'ann', { start: 'both' });
        const bob = await joinGroup(browser, 'bob');
        await seesAndHears(bob, 'ann');
        const cells = () => page.$$eval('#groups tbody tr', (rows) => rows
            .map((row) => [...row.cells].map((cell) => cell.textContent))
            .find(([name]) => name === 'test'));
        await until('the group with its two members and rates', async () => {
            const row = await cells();
            return row && row[1] === '2' && row[2] === '1' && row[3] === '1'
                && /[1-9]/.test(row[4]) && /[1-9]/.test(row[5]);
        });
        await page.selectOption('#group', 'test');
        await until('both members', async () => await page.locator('#members tbody tr').count() === 2);
        await until('the path of each', async () => (await page.$$eval('#members td:last-child',
            (cells) => cells.map((cell) => cell.textContent).join())) === 'UDP,UDP');
        await until('a line in the chart', async () => (await page.getAttribute(
            '.chart:nth-child(2) polyline', 'points')).split(' ').length >= 3);
        const label = await page.getAttribute('.chart:nth-child(2) svg', 'aria-label');
        assert.match(label, /^Rate\. received: .+, sent: .+$/);
        await page.evaluate(`${AXE};0`);
        for (const [name, viewport, colorScheme] of [
            ['desktop', { width: 1366, height: 768 }, 'dark'], ['phone', { width: 360, height: 740 }, 'light'],
        ]) {
            await page.setViewportSize(viewport);
            await page.emulateMedia({ colorScheme });
            await screenshot(page, `statistics-${name}-${colorScheme}`);
            const { violations } = await page.evaluate(() => window.axe.run(document));
            assert.deepEqual(violations.map(({ id, nodes }) => `${id} ${nodes[0].html}`), []);
            assert.equal(await page.evaluate(
                () => document.documentElement.scrollWidth > innerWidth), false, name);
        }
        await ann.close();
        await bob.close();
    });

    test('a server that is gone is told, and the page goes on when it is back', async () => {
        await page.route('**/.stats', (route) => route.abort());
        await page.waitForSelector('#state:has-text("cannot be reached")');
        await page.unroute('**/.stats');
        await page.waitForSelector('#state:has-text("group")');
    });
});
