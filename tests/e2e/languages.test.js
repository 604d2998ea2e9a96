/** Languages: every message in each, the browser's own taken, another one chosen, and Arabic from right to left. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { joinGroup, openPage, screenshot } from './peer/browser.js';
import { messageKeys, PARTS, placeholders, uncheckedCalls, WEB } from './peer/messages.js';
import { ORIGIN } from './peer/server.js';
import { lower, raise } from './peer/stage.js';

const FIRST_LOAD_MAX_BYTES = 300_000;
const read = (name) => JSON.parse(readFileSync(join(WEB, 'languages', `${name}.json`), 'utf8'));
const TAGS = Object.keys(read('index')).filter((tag) => tag !== 'en');

describe('messages', () => {
    const keys = messageKeys();

    test('are literal wherever they are used', () => {
        assert.ok(keys.size > 300, 'they are found at all');
        assert.deepEqual(uncheckedCalls(), []);
    });

    for (const tag of TAGS) {
        test(`${tag}: none is missing, unused or without its values`, () => {
            const messages = read(tag);
            const missing = (part) => [...messageKeys(part).keys()].filter((key) => !(key in messages));
            assert.deepEqual(missing('main'), [], 'missing');
            for (const part of PARTS) {
                const own = read(`${part}/${tag}`);
                assert.deepEqual(missing(part).filter((key) => !(key in own)), [], `missing in ${part}`);
            }
            Object.assign(messages, ...PARTS.map((part) => read(`${part}/${tag}`)));
            assert.deepEqual(Object.keys(messages).filter((key) => !keys.has(key)), [], 'unused');
            const forms = new Intl.PluralRules(tag).resolvedOptions().pluralCategories
                .filter((form) => form !== 'many' || tag === 'ar');
            for (const [key, message] of Object.entries(messages)) {
                if (!keys.get(key)) {
                    assert.equal(placeholders(message), placeholders(key), key);
                    continue;
                }
                for (const form of forms)
                    assert.ok(message[form], `${key} has no form "${form}"`);
                assert.equal(placeholders(message.other), placeholders(key), key);
            }
        });
    }
});

describe('languages', { concurrency: 1 }, () => {
    let server;
    let browser;

    before(async () => {
        ({ server, browser } = await raise());
    });

    after(async () => {
        await lower({ server, browser });
    });

    test('the browser\'s own is taken, and another one holds over a reload', async () => {
        const page = await openPage(browser, 'anne', { locale: 'fr-CA' });
        await page.goto(`${ORIGIN}/group/test/`);
        await page.waitForSelector('#join-button:has-text("Rejoindre"):not([disabled])');
        assert.equal(await page.getAttribute('html', 'lang'), 'fr');
        await page.click('#devices-button');
        await page.waitForSelector('#language option[value=de]', { state: 'attached' });
        await page.selectOption('#language', 'de');
        await page.waitForSelector('h2:has-text("Einstellungen")');
        await page.keyboard.press('Escape');
        await page.reload();
        await page.waitForSelector('#join-button:has-text("Beitreten")');
        await page.close();
    });

    test('pages with messages of their own have both', async () => {
        const page = await openPage(browser, 'anna', { locale: 'de' });
        for (const [path, text] of [['/stats.html', 'Statistik'], ['/stats.html', 'Passwort'],
            ['/group/test/publish', 'Auf Sendung gehen in'], ['/change-password.html', 'Neues Passwort'],
            ['/change-password.html', 'Passwort ändern']]) {
            await page.goto(ORIGIN + path);
            await page.waitForFunction((text) => document.documentElement.textContent.includes(text), text);
        }
        await page.close();
    });

    test('in the room the language changes without leaving', async () => {
        const ann = await joinGroup(browser, 'فاطمة', { start: 'both' });
        await ann.waitForSelector('.tile-name:has-text("(you)")');
        await ann.click('#people-button');
        await ann.click('#settings-button');
        await ann.waitForSelector('#language option[value=ar]', { state: 'attached' });
        await ann.selectOption('#language', 'ar');
        await ann.keyboard.press('Escape');
        await ann.waitForSelector('.tile-name:has-text("(أنت)")');
        await ann.waitForSelector('.person-name:has-text("(أنت)")');
        await ann.waitForSelector('#mute-all:has-text("كتم الجميع")');
        assert.equal(await ann.getAttribute('html', 'dir'), 'rtl');
        const panel = await ann.locator('#people').boundingBox();
        assert.equal(panel.x, 0, 'the panel is where lines end, on the left');
        await screenshot(ann, 'language-ar');
        assert.equal(await ann.evaluate(() => window.aula.connection.isJoined), true);
        await ann.close();
    });

    test('what a file lacks is English, and a broken file costs nothing else', async () => {
        const page = await openPage(browser, 'ann', { locale: 'es' });
        await page.route('**/languages/es.json', (route) => route.fulfill({ json: { Join: 'Entrar' } }));
        await page.goto(`${ORIGIN}/group/test/`);
        await page.waitForSelector('#join-button:has-text("Entrar")');
        await page.waitForSelector('label:has-text("Start with")');
        await page.unroute('**/languages/es.json');
        await page.route('**/languages/es.json', (route) => route.fulfill({ body: 'no JSON' }));
        await page.reload();
        await page.waitForSelector('#join-button:has-text("Join"):not([disabled])');
        await page.close();
    });

    test(`the first load stays under ${FIRST_LOAD_MAX_BYTES} bytes in every language`, async (context) => {
        for (const locale of ['en', ...TAGS]) {
            const page = await openPage(browser, locale, { locale });
            const bodies = [];
            page.on('response', (response) => bodies.push(response.body().catch(() => '')));
            await page.goto(`${ORIGIN}/group/test/`, { waitUntil: 'networkidle' });
            await page.waitForSelector('#join-button:not([disabled])');
            const bytes = (await Promise.all(bodies)).reduce((sum, body) => sum + body.length, 0);
            context.diagnostic(`${locale}: ${bytes} bytes in ${bodies.length} files`);
            assert.ok(bytes > 100_000 && bytes < FIRST_LOAD_MAX_BYTES, `${locale}: ${bytes}`);
            await page.close();
        }
    });
});
