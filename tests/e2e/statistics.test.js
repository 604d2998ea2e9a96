/** The administrators' page: who may see it, what its charts and tables say, and that it is live. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { faultsOf } from './peer/axe.js';
import { joinGroup, openPage, screenshot, seesAndHears } from './peer/browser.js';
import { ORIGIN } from './peer/server.js';
import { lower, raise } from './peer/stage.js';
import { until } from './peer/wait.js';


const DESKTOP = { width: 1366, height: 768 };

/** So many who all get a hundred streams, the later ones with the greater losses. */
function crowd(size) {
    const states = [{ held: 'path' }, { held: 'publisher' }, { held: 'keyframe' }, { rid: 'l' }, { maxSid: 1, maxTid: 2 }];
    return Array.from({ length: size }, (_, at) => ({
        id: `member-${at}`,
        down: Array.from({ length: 100 }, (_, from) => ({
            id: `stream-${from}`, path: { state: 'flowing', over: 'udp' },
            tracks: ['audio', 'video'].map((kind) => ({
                kind, codec: kind === 'audio' ? 'opus' : 'vp8', sid: 0, tid: 0, maxSid: 0, maxTid: 0, bitrate: 40_000,
                loss: at / 1000, rtt: 20, ...(kind === 'video' ? { freezes: 1, frozen: 2.5, keyframes: 3, ...states[from % 5] } : {}),
            })),
        })),
    }));
}

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

    /** The rows of a table, by the names of its columns. */
    function table(selector) {
        return page.$$eval(`${selector} tbody tr`, (rows) => rows.map((row) => Object.fromEntries(
            [...row.cells].map((cell, at) => [
                cell.closest('table').tHead.rows[0].cells[at].textContent.trim(), cell.textContent]))));
    }

    /** Wide, narrow, and enlarged to twice its size: axe has no complaint, and only tables are scrolled sideways. */
    async function looksWell(name, part, isLarge = false) {
        for (const [size, viewport, colorScheme] of [
            ['desktop', DESKTOP, 'dark'], ['phone', { width: 360, height: 740 }, 'light'],
            ['twice', { width: DESKTOP.width / 2, height: DESKTOP.height / 2 }, 'light'],
        ]) {
            await page.setViewportSize(viewport);
            await page.emulateMedia({ colorScheme });
            await page.$eval(part, (node) => node.scrollIntoView());
            await screenshot(page, `statistics-${name}-${size}-${colorScheme}`);
            // It takes half a minute for what has hundreds of rows, which are all alike.
            assert.deepEqual(isLarge ? [] : await faultsOf(page), []);
            assert.equal(await page.evaluate(
                () => document.documentElement.scrollWidth > innerWidth), false, `${name} ${size}`);
        }
    }

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
        await looksWell('members', '#members-title');
        await page.setViewportSize(DESKTOP);

        // By keyboard alone: to the members' only Tab stop, to the one who watches, and to what it gets.
        const watcher = (await page.$$eval('#members tbody tr', (rows) => rows
            .map((row) => row.cells[2].textContent))).indexOf('1');
        await page.focus('#members thead th:last-child button');
        await page.keyboard.press('Tab');
        if (watcher === 1)
            await page.keyboard.press('ArrowDown');
        await page.keyboard.press('Enter');
        await page.waitForSelector('#streams-title:focus');
        await until('what goes out to it, with its numbers', async () => {
            const [sound, pictures] = await table('#gets');
            return sound?.What === 'sound opus' && /^pictures (VP8|VP9|AV1|H264)$/.test(pictures?.What)
                && [sound, pictures].every((row) => /[1-9]/.test(row.Rate) && /[1-9]/.test(row['Round trip'])
                    && /%/.test(row.Loss) && /ms$|–/.test(row.Jitter) && row.Path === 'UDP' && row['Sent now'] !== '–')
                && /bit\/s/.test(pictures['Room on the path']) && pictures.Target === pictures['Sent now']
                && /\d/.test(pictures['Stood still']) && /\d/.test(pictures['Keyframe requests'])
                && pictures.From.length === 12;
        });
        await looksWell('gets', '#streams-title');
        await page.keyboard.press('Escape');
        assert.equal(await page.evaluate(
            () => document.activeElement.closest('#members tr').sectionRowIndex), watcher, 'the focus comes back');
        await page.keyboard.press(watcher === 1 ? 'ArrowUp' : 'ArrowDown');
        await page.keyboard.press('Enter');
        await until('what it sends, with what is wanted of it', async () => {
            const rows = await table('#sends');
            return rows.some(({ Encoding, Wanted, Rate }) => Encoding !== '–' && Wanted === 'yes' && /[1-9]/.test(Rate))
                && rows.every((row) => /%/.test(row.Loss) && /^(yes|no|–)$/.test(row.Wanted) && row.Path === 'UDP');
        });
        await looksWell('sends', '#streams-title');
        await page.setViewportSize(DESKTOP);
        await page.click('#streams-close');
        await ann.close();
        await bob.close();
    });

    test('two hundred members are sorted by what is wrong, and rows keep the focus', async () => {
        await page.route('**/.stats', (route) => route.fulfill({ json: [{ name: 'test', clients: crowd(200) }] }));
        await until('all of them', async () => await page.locator('#members tbody tr').count() === 200);
        await page.click('#members th:has-text("Loss out") button');
        assert.equal(await page.getAttribute('#members th:has-text("Loss out")', 'aria-sort'), 'descending');
        const first = page.locator('#members tbody tr').first();
        assert.match(await first.textContent(), /^member-199.*⚠ 19\.9%/);
        await first.locator('button').click();
        await until('a hundred pictures and their sound', async () => await page.locator('#gets tbody tr').count() === 200);
        const reasons = (await table('#gets')).map((row) => row['Sent now']);
        for (const reason of ['⚠ nothing: no room on the path', 'nothing: the sender sends none',
            'nothing until the next keyframe', 'l', 'S1/2 T1/3'])
            assert.ok(reasons.includes(reason), reason);
        await looksWell('crowd', '#members-title', true);
        await looksWell('crowd-gets', '#gets-title', true);
        await page.setViewportSize(DESKTOP);
        await page.click('#streams-close');
        await page.focus('#members tbody tr:first-child button');
        await page.click('#members th:has-text("Member") button');
        await page.focus('#members tbody tr:first-child button');
        await page.unroute('**/.stats');
        await page.route('**/.stats', (route) => route.fulfill({ json: [{ name: 'test', clients: crowd(150) }] }));
        await until('those who are left', async () => await page.locator('#members tbody tr').count() === 150);
        assert.equal(await page.evaluate(() => document.activeElement.textContent), 'member-0');
        await page.unroute('**/.stats');
    });

    test('a server that is gone is told, and the page goes on when it is back', async () => {
        await page.route('**/.stats', (route) => route.abort());
        await page.waitForSelector('#state:has-text("cannot be reached")');
        await page.unroute('**/.stats');
        await page.waitForSelector('#state:has-text("group")');
    });
});
