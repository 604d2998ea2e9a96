/**
 * Every screen in every state, for axe-core and, with AULA_E2E_SHOTS, for human eyes. A class of
 * thirty is played by members that exist only inside the page: their streams carry a canvas.
 */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ALL, COLOURS, NO_COLOURS, faultsOf } from './peer/axe.js';
import { joinGroup, openPage, screenshot } from './peer/browser.js';
import { fillClass } from './peer/pretend.js';
import { ORIGIN } from './peer/server.js';
import { lower, raise } from './peer/stage.js';
import { until } from './peer/wait.js';

const SIZES = [
    ['desktop', { width: 1366, height: 768 }], ['phone', { width: 360, height: 740 }],
    // What 200 % and 400 % zoom leave of a desktop.
    ['zoom-200', { width: 683, height: 384 }], ['zoom-400', { width: 342, height: 192 }],
];
const STUDENTS = 29;

// Arabic runs from right to left, and German words are the longest.
for (const locale of ['en', 'ar', 'de'])
    describe(`screens in ${locale}`, { concurrency: 1 }, () => allScreens(locale));

function allScreens(locale) {
    let server;
    let browser;
    let page;

    before(async () => {
        ({ server, browser } = await raise());
    });

    after(async () => {
        await lower({ server, browser });
    });

    /** Fails on any violation, and takes pictures at every size. Colours are the same in every language. */
    async function look(page, name) {
        const violations = [];
        for (const [colorScheme, rules] of locale === 'en' ? [['light', ALL], ['dark', COLOURS]] : [['light', NO_COLOURS]]) {
            await page.emulateMedia({ colorScheme });
            for (const [size, viewport] of SIZES) {
                await page.setViewportSize(viewport);
                await page.evaluate(settled);
                await screenshot(page, `${locale}-${name}-${size}-${colorScheme}`);
                violations.push(...(await faultsOf(page, rules)).map((text) => `${size} ${colorScheme}: ${text}`));
                const isTooWide = await page.evaluate(
                    () => document.documentElement.scrollWidth > innerWidth);
                assert.equal(isTooWide, false, `${name} at ${size} scrolls sideways`);
                assert.deepEqual(await page.evaluate(covered), [], `${name} at ${size} is covered`);
            }
        }
        assert.deepEqual(violations, [], name);
        await page.emulateMedia({ colorScheme: 'light' });
        await page.setViewportSize(SIZES[0][1]);
    }

    for (const [name, path] of [
        ['landing', '/'], ['publish', '/group/test/publish'], ['watch', '/group/test/watch'],
        ['password', '/change-password.html'], ['missing', '/nothing'], ['statistics', '/stats.html'],
    ]) {
        test(name, async () => {
            const other = await openPage(browser, name, { locale });
            await other.goto(ORIGIN + path);
            await look(other, name);
            await other.close();
        });
    }

    test('the entrance, with a preview and with a refusal', async () => {
        page = await openPage(browser, 'teacher', { locale });
        await page.goto(`${ORIGIN}/group/test/`);
        await page.waitForSelector('#preview-box:not([hidden])');
        await page.click('#join-button:not([disabled])');
        await page.waitForSelector('#join-error:not(:empty)');
        await look(page, 'entrance');
        await page.close();
    });

    test('a class of thirty: grid, pages, slides, hands, chat, people, menus', async () => {
        page = await joinGroup(browser, 'Frau Dr. Müller', { start: 'both', locale });
        await page.evaluate(fillClass, STUDENTS);
        await until('thirty tiles', async () => page.evaluate(
            (count) => document.querySelectorAll('.tile').length > count, STUDENTS));
        await look(page, 'class-grid');
        assert.ok(await page.isVisible('#pager'), 'not all fit');
        await page.click('#page-on');
        await page.waitForSelector('#page-back[aria-disabled=false]');
        await page.click('#people-button');
        await page.waitForSelector('#people:not([hidden])');
        await look(page, 'class-people');
        await page.locator('.person-button').nth(3).click();
        await page.waitForSelector('[role=menu]');
        await screenshot(page, `${locale}-class-menu`);
        assert.deepEqual(await faultsOf(page), []);
        await page.keyboard.press('Escape');
        await page.evaluate(() => window.shareScreen());
        await page.waitForSelector('.tile.is-large');
        await page.click('#people-close');
        await look(page, 'class-slides');
        await page.click('#chat-button');
        await look(page, 'class-chat');
    });

    test('dialogs and notices', async () => {
        for (const [button, dialog] of [['#settings-button', '#settings'], ['#keys-button', '#keys'],
            ['#leave-button', '#ask'], ['#invite-button', '#invite']]) {
            if (button === '#invite-button')
                await page.click('#people-button');
            await page.click(button);
            await page.waitForSelector(`${dialog}[open]`);
            await look(page, `dialog-${dialog.slice(1)}`);
            await page.keyboard.press('Escape');
            await page.waitForSelector(dialog, { state: 'hidden' });
        }
        await page.click('#rooms-button');
        await page.waitForSelector('dialog.rooms[open]');
        await look(page, 'dialog-rooms');
        await page.keyboard.press('Escape');
        await page.click('#poll-button');
        await page.waitForSelector('dialog[open]');
        await look(page, 'dialog-poll');
        await page.keyboard.press('Escape');
        await page.click('#present-button');
        await page.waitForSelector('dialog[open]');
        await look(page, 'dialog-presenting');
        await page.keyboard.press('Escape');
        await page.evaluate(() => window.aula.connection.emit('notice',
            { kind: 'warning', text: 'the bell rings in five minutes' }));
        await page.evaluate(() => window.aula.connection.emit('silent', {}));
        await look(page, 'notice');
        await page.evaluate(() => {
            document.getElementById('film-bar').hidden = false;
            document.getElementById('film-pause').textContent = 'Pause';
        });
        await page.fill('#people-search', 'nobody at all');
        await page.waitForSelector('#people-none:not(:empty)');
        await look(page, 'film-and-search');
    });

    test('a poll: counted, answered, shown', async () => {
        await page.click('#people-close');
        const poll = {
            id: 'p', question: 'Which of these is a prime number?', state: 'open',
            answers: ['91', '97', 'none of them, because each can be divided by seven'],
        };
        const become = (permissions, change = {}) => page.evaluate(([permissions, poll]) => {
            const { connection } = window.aula;
            Object.assign(connection, { permissions, data: { poll } });
            connection.emit('joined', { kind: 'change' });
        }, [permissions, { ...poll, ...change }]);
        await become(['op', 'present', 'message']);
        await page.waitForSelector('.poll-counts');
        await look(page, 'poll-counted');
        await become(['present', 'message']);
        await page.waitForSelector('.poll-answers');
        await look(page, 'poll-open');
        await become(['present', 'message'], { state: 'ended', result: [3, 20, 1], voters: STUDENTS });
        await page.waitForSelector('.poll-counts');
        await look(page, 'poll-result');
    });
}

/** Runs in the page: what was to move after a change of its size has moved, and is painted. */
async function settled() {
    const paint = () => new Promise((resolve) => {
        requestAnimationFrame(() => requestAnimationFrame(resolve));
    });
    await paint();
    const ending = document.getAnimations().filter(
        ({ playState, effect }) => playState === 'running' && Number.isFinite(effect?.getComputedTiming().endTime));
    await Promise.allSettled(ending.map(({ finished }) => finished));
    await paint();
}

/** Runs in the page: the controls that something else lies on, unless a dialog is open. */
function covered() {
    if (document.querySelector('dialog[open]'))
        return [];
    return [...document.querySelectorAll('.control')].filter((control) => {
        const { left, top, width, height } = control.getBoundingClientRect();
        const [x, y] = [left + width / 2, top + height / 2];
        return width > 0 && y < innerHeight && !control.contains(document.elementFromPoint(x, y));
    }).map(({ id }) => id);
}
