/** Knocking: who comes to a locked group waits at its door; operators let in or refuse; crowds, odd names, rooms. */

import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import { ALL, COLOURS, faultsOf, NO_COLOURS } from './peer/axe.js';
import { joinGroup, openPage, peopleOf, screenshot } from './peer/browser.js';
import { crowd, focused, hears, isAt, isIn, press, sees, sendAnn, sent, waiting, watchPage } from './peer/door.js';
import { fillClass } from './peer/pretend.js';
import { ORIGIN } from './peer/server.js';
import { lower, raise, stepsWith } from './peer/stage.js';
import { sleep, until } from './peer/wait.js';

const GROUP = {
    codecs: ['vp8', 'opus'],
    'allow-subgroups': true,
    users: {
        teacher: { password: 'chalk', permissions: 'op' },
        helper: { password: 'chalk', permissions: 'op' },
    },
    'wildcard-user': { password: { type: 'wildcard' }, permissions: 'present' },
};
const SIZES = [
    ['desktop', { width: 1366, height: 768 }, 'light', ALL],
    ['phone', { width: 360, height: 740 }, 'light', ALL],
    ['phone', { width: 360, height: 740 }, 'dark', COLOURS],
    ['zoom-200', { width: 683, height: 384 }, 'light', NO_COLOURS],
];

describe('knocking', { concurrency: 1 }, () => {
    let server;
    let browser;
    let teacher;
    const errors = [];
    /** Those that this test has opened; they go with it. */
    let pages = [];
    const step = stepsWith(() => server);
    const test = (name, body) => step(name, async (context) => {
        try {
            await body(context);
        } finally {
            for (const page of pages)
                await page.close();
            pages = [];
        }
        await until('all to be gone', async () => (await peopleOf(teacher)).join() === 'teacher');
        await sees(teacher, '');
    });

    const watch = (name) => (page) => {
        page.on('pageerror', (error) => errors.push(`${name}: ${error.message}`));
        return page.addInitScript(watchPage);
    };
    const join = (name, options) => joinGroup(browser, name, {
        group: 'lecture', ...options,
        prepare: (page) => {
            pages.push(page);
            return watch(name)(page);
        },
    });
    const open = async (name, options) => {
        const page = await openPage(browser, name, options);
        pages.push(page);
        await watch(name)(page);
        return page;
    };
    /** Comes to a locked group, and stands at its door. */
    const knock = async (name, { group = 'lecture', start = 'nothing', ...options } = {}) => {
        const page = await open(name, options);
        await page.goto(`${ORIGIN}/group/${group}/`);
        await page.fill('#username', name);
        await page.selectOption('#start', start);
        await page.click('#join-button:not([disabled])');
        await page.waitForSelector('#outside');
        return page;
    };
    /** Lets go what the last test left, and locks the group. */
    const isLocked = async (wanted, page = teacher) => {
        await page.evaluate((wanted) => window.aula.connection.groupAction(wanted ? 'lock' : 'unlock'), wanted);
        await page.waitForSelector('#room-locked', { state: wanted ? 'visible' : 'hidden' });
    };
    before(async () => {
        ({ server, browser } = await raise({
            groups: { lecture: GROUP, auto: { ...GROUP, autolock: true }, test: GROUP },
        }));
        teacher = await join('teacher', { password: 'chalk' });
        pages = [];
    });

    after(async () => {
        await lower({ server, browser });
        assert.deepEqual(errors, []);
    });

    test('who comes waits, keeps the devices chosen, and is let in', async () => {
        assert.match(await teacher.getAttribute('#lock-button', 'title'), /waits at the door/);
        await teacher.evaluate(() => window.aula.connection.groupAction('lock', 'Exam until ten'));
        await teacher.waitForSelector('#room-locked:not([hidden])');
        await until('the other title', async () => /^Lets all in/.test(await teacher.getAttribute('#lock-button', 'title')));
        await teacher.focus('#chat-input');
        const ann = await knock('ann', { start: 'both' });
        assert.match(await ann.textContent('.outside-reason'), /locked, and says: Exam until ten\./);
        assert.match(await ann.textContent('#outside'), /teachers are told.*opens by itself.*keep this page open/);
        assert.equal(await ann.title(), 'Waiting: lecture');
        assert.equal(await focused(ann), 'outside-title');
        await hears(ann, /Exam until ten.*teachers are told.*keep this page open/);
        for (const id of ['username', 'password', 'join-button'])
            assert.equal(await ann.isVisible(`#${id}`), false, id);
        // How to begin can still be chosen.
        await ann.waitForSelector('#preview-box:not([hidden])');
        await ann.selectOption('#start', 'audio');
        await ann.check('#join-muted');
        await sees(teacher, 'ann');
        assert.equal(await teacher.textContent('#door-chip'), '1');
        assert.equal(await teacher.getAttribute('#door-chip', 'aria-label'), '1 person would like to come in');
        await hears(teacher, /^ann would like to come in\.$/);
        assert.equal(await teacher.evaluate(() => window.chimes), 1);
        assert.equal(await focused(teacher), 'chat-input', 'it takes no focus');
        await screenshot(teacher, 'knock-one');
        await press(teacher, 'Let in');
        await isIn(ann);
        await ann.waitForSelector('.notice:has-text("You have been let in")');
        assert.equal(await ann.title(), 'lecture – Aula');
        assert.equal(await focused(ann), 'room-name');
        assert.ok(await ann.evaluate(() => window.chimes) > 0);
        await until('a microphone that is off, and no camera', () => ann.evaluate(() => {
            const { own } = window.aula.state;
            return own.audio && !own.audio.enabled && !own.video;
        }));
        await sees(teacher, '');
        assert.equal(await teacher.locator('#door, #door-chip').count(), 0);
    });

    test('whose page is in the background is called by the title of its tab', async () => {
        await isLocked(true);
        const ann = await knock('ann');
        await ann.evaluate(() => Object.defineProperty(document, 'hidden', { value: true, configurable: true }));
        await sees(teacher, 'ann');
        await press(teacher, 'Let in');
        await until('the title', async () => await ann.title() === 'Let in: lecture');
        await ann.evaluate(() => {
            Object.defineProperty(document, 'hidden', { value: false });
            document.dispatchEvent(new Event('visibilitychange'));
        });
        assert.equal(await ann.title(), 'lecture – Aula');
    });

    test('who is refused is told so, and does not come again by itself', async () => {
        await isLocked(true);
        const ann = await knock('ann');
        await sees(teacher, 'ann');
        await press(teacher, 'Don’t let in');
        await ann.waitForSelector('#join-error:has-text("A teacher did not let you in.")');
        assert.equal(await ann.locator('#outside').count(), 0);
        assert.equal(await ann.inputValue('#username'), 'ann');
        assert.equal(await focused(ann), 'join-button');
        assert.equal(await ann.title(), 'lecture – Aula');
        await sees(teacher, '');
        await sleep(2_500);
        assert.equal(await sent(ann, 'join'), 1, 'one attempt');
        // An operator's own words, which Galene's client could send, too.
        await ann.click('#join-button');
        await ann.waitForSelector('#outside');
        await sees(teacher, 'ann');
        await teacher.evaluate(() => {
            const { connection } = window.aula;
            connection.userAction('refuse', [...connection.knocking.keys()][0], 'come back after the break');
        });
        await ann.waitForSelector('#join-error:has-text("A teacher did not let you in: Come back after the break.")');
    });

    test('who gives up has the form again, and the name', async () => {
        await isLocked(true);
        const ann = await knock('ann');
        await sees(teacher, 'ann');
        await teacher.focus('#chat-input');
        await teacher.focus('#door .door-admit');
        await ann.click('#outside button');
        await ann.waitForSelector('#join-button:not([disabled])');
        assert.equal(await ann.textContent('#join-error'), '');
        assert.equal(await ann.inputValue('#username'), 'ann');
        assert.equal(await focused(ann), 'join-button');
        await sees(teacher, '');
        assert.equal(await focused(teacher), 'chat-input', 'the focus is where it was');
    });

    test('unlocking lets all in', async () => {
        await isLocked(true);
        const ann = await knock('ann');
        const bob = await knock('bob');
        await sees(teacher, 'ann, bob');
        await press(teacher, 'Unlock group');
        for (const page of [ann, bob])
            await isIn(page);
        await sees(teacher, '');
    });

    test('two operators see the same, also who comes or becomes one later', async () => {
        await isLocked(true);
        const ann = await knock('ann');
        const bob = await knock('bob');
        const helper = await join('helper', { password: 'chalk' });
        for (const page of [teacher, helper])
            await sees(page, 'ann, bob');
        await hears(helper, /^ann,? (and )?bob would like to come in\.$/);
        // At the same moment: one is late, and neither is bothered.
        await sleep(600);
        await Promise.all([teacher, helper].map((page) => page.evaluate(
            () => document.querySelector('#door .door-admit').click())));
        await isIn(ann);
        for (const page of [teacher, helper]) {
            await sees(page, 'bob');
            assert.equal(await sent(page, 'admit'), page === helper ? 1 : 3);
        }
        await helper.evaluate(() => new Promise((resolve) => window.aula.connection.whenDealtWith(resolve)));
        for (const page of [teacher, helper])
            assert.equal(await page.locator('.notice-error').count(), 0);
        const act = (kind, name) => teacher.evaluate(([kind, name]) => {
            const { connection } = window.aula;
            connection.userAction(kind, [...connection.users.values()].find(({ username }) => username === name).id);
        }, [kind, name]);
        await act('op', 'ann');
        await sees(ann, 'bob');
        await act('unop', 'ann');
        await sees(ann, '');
        await ann.keyboard.press('k');
        assert.equal(await ann.locator('#door, #door-chip').count(), 0);
        await press(helper, 'Let in');
        await isIn(bob);
        await sees(teacher, '');
    });

    test('a class that is locked until a teacher comes', async () => {
        const ann = await knock('ann', { group: 'auto' });
        assert.match(await ann.textContent('.outside-reason'), /^This group is locked\.$/);
        const helper = await join('helper', { password: 'chalk', group: 'auto' });
        await sees(helper, 'ann');
        await press(helper, 'Let in');
        await isIn(ann);
    });

    test('by keyboard alone', async () => {
        await isLocked(true);
        const ann = await knock('ann');
        const bob = await knock('bob');
        const cem = await knock('cem');
        await sees(teacher, 'ann, bob, cem');
        await teacher.focus('#grid');
        await teacher.keyboard.press('?');
        await teacher.waitForSelector('#keys dd:has-text("who waits at the door")');
        await teacher.keyboard.press('Escape');
        await teacher.keyboard.press('k');
        assert.equal(await focused(teacher), 'Let in: ann');
        await teacher.keyboard.press('Escape');
        assert.equal(await focused(teacher), 'door-chip');
        assert.equal(await teacher.isVisible('#door'), false);
        assert.equal(await teacher.textContent('#door-chip'), '3');
        await teacher.keyboard.press('Enter');
        assert.equal(await focused(teacher), 'Let in: ann');
        await teacher.keyboard.press('ArrowRight');
        assert.equal(await focused(teacher), 'Don’t let in: ann');
        await teacher.keyboard.press('ArrowDown');
        assert.equal(await focused(teacher), 'Let in: bob');
        await sleep(600);
        await teacher.keyboard.press('Enter');
        await isIn(bob);
        await until('the next to have the focus', async () => await focused(teacher) === 'Let in: cem');
        await teacher.keyboard.press('ArrowRight');
        await sleep(600);
        await teacher.keyboard.press('Space');
        await cem.waitForSelector('#join-error:not(:empty)');
        await until('the one before', async () => await focused(teacher) === 'Don’t let in: ann');
        await teacher.keyboard.press('ArrowLeft');
        await sleep(600);
        await teacher.keyboard.press('Enter');
        await isIn(ann);
        await until('the grid', async () => await focused(teacher) === 'grid');
        await teacher.evaluate(() => { window.announced.length = 0; });
        await teacher.keyboard.press('k');
        await hears(teacher, /Nobody waits at the door\.$/);
    });

    test('a connection that is lost while waiting is made again, and so is the place at the door', async () => {
        await isLocked(true);
        const ann = await knock('ann');
        await sees(teacher, 'ann');
        const before = await ann.evaluate(() => window.aula.connection.id);
        await ann.evaluate(() => {
            window.states = [];
            new MutationObserver(() => window.states.push(document.querySelector('.outside-state').textContent))
                .observe(document.querySelector('.outside-state'), { childList: true, characterData: true, subtree: true });
            window.sockets.at(-1).close();
        });
        await sees(teacher, '');
        await sees(teacher, 'ann');
        assert.notEqual(await ann.evaluate(() => window.aula.connection.id), before);
        assert.match((await ann.evaluate(() => window.states)).join('|'), /^The connection was lost.*\|Since /);
        assert.equal(await ann.title(), 'Waiting: lecture');
        await press(teacher, 'Let in');
        await isIn(ann);
    });

    test('an operator who comes back is told nothing anew', async () => {
        await isLocked(true);
        await teacher.evaluate(() => { window.announced.length = 0; });
        const ann = await knock('ann');
        const idOfAnn = () => ann.evaluate(() => window.aula.connection.id);
        const before = await idOfAnn();
        await hears(teacher, /ann would/);
        await teacher.evaluate(() => {
            Object.assign(window, { isLate: true, announced: [], chimes: 0 });
            window.sockets.at(-1).close();
        });
        await sees(teacher, '');
        await sees(teacher, 'ann');
        await teacher.evaluate(() => { window.isLate = false; });
        await knock('cem');
        await hears(teacher, /come in/);
        const told = await teacher.evaluate(() => window.announced.filter((text) => /come in/.test(text)));
        const names = before === await idOfAnn() ? 'cem' : 'ann, cem'; // She may have had to come anew.
        assert.deepEqual([told, await teacher.evaluate(() => window.chimes)], [[`${names} would like to come in.`], 1]);
        await press(teacher, 'Let all in');
        await Promise.all(pages.map(isIn));
    });

    test('names are shown as they are meant, whatever they are', async () => {
        await isLocked(true);
        const names = ['<b>bold</b>', 'فاطمة الزهراء', '👩‍🏫 Zoë', '\u{1f3f4}\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f} Isla', 'W'.repeat(80)];
        for (const name of names)
            await knock(name);
        await sees(teacher, names.join(', '));
        await screenshot(teacher, 'knock-names');
        await until('a card that is not too wide', () => teacher.evaluate(
            () => document.documentElement.scrollWidth <= innerWidth
                && document.querySelector('#door').scrollWidth <= document.querySelector('#door').clientWidth));
        await press(teacher, 'Let all in');
        await Promise.all(pages.map(isIn));
        // What no server of ours would send.
        const shown = await teacher.evaluate(() => {
            const { connection } = window.aula;
            const say = (message) => connection.hear({ type: 'knock', kind: 'add', ...message });
            say({ id: 'a', username: 'evil\u202e\u{e0067}eman\u0007\n\u{1f3f4}\u{e0067}\u{e0062}\u{e007f}' });
            say({ id: 'b', username: 'x'.repeat(5_000) });
            say({ id: 'c', username: '' });
            say({ id: 'd' });
            say({ id: 'd', username: { toString: null } });
            for (const id of [undefined, null, 7, {}, '', ['a']])
                say({ id, username: `id ${JSON.stringify(id)}` });
            say({ kind: 'delete', id: 'nobody' });
            say({ kind: 'delete' });
            say({ kind: 'other', id: 'e', username: 'ed' });
            for (let at = 0; at < 5_000; at += 1)
                say({ id: `m${at}`, username: `m ${at}` });
            return connection.knocking.size;
        });
        assert.ok(shown <= 1_000, `${shown} are taken`);
        await until('them', async () => /^evileman🏴, x{80}…, \(anonymous\)/.test(await waiting(teacher)));
        await teacher.evaluate(() => {
            window.aula.connection.knocking.clear();
            window.aula.connection.hear({ type: 'knock', kind: 'delete', id: 'a' });
        });
    });

    test('two hundred knock at once', async (context) => {
        await isLocked(true);
        const page = await open('crowd');
        await page.goto(`${ORIGIN}/`);
        await teacher.evaluate(() => {
            Object.assign(window, { announced: [], chimes: 0, longest: 0, drawn: 0 });
            new PerformanceObserver((list) => {
                window.longest = Math.max(window.longest, ...list.getEntries().map(({ duration }) => duration));
            }).observe({ type: 'longtask' });
        });
        await page.evaluate(crowd, 201);
        await until('all', async () => await teacher.locator('#door-list li').count() === 200);
        assert.deepEqual(await page.evaluate(() => window.crowdTold()), { wait: 200, fail: 1 });
        assert.equal(await teacher.textContent('#door-chip'), '200');
        await hears(teacher, /^\d+ people would like to come in\.$/);
        await screenshot(teacher, 'knock-200');
        // Two clicks in one place: the second is not for the next.
        const before = await sent(teacher, 'admit');
        await sleep(600);
        await teacher.dblclick('#door .door-admit');
        await until('one less', async () => await teacher.locator('#door-list li').count() === 199);
        await sleep(600);
        assert.equal(await sent(teacher, 'admit'), before + 1);
        await teacher.click('#door .door-all');
        await until('all to be in', async () => {
            const told = await page.evaluate(() => window.crowdTold());
            return told.join === 200 || Promise.reject(new Error(JSON.stringify(told)));
        });
        assert.equal(await sent(teacher, 'admit'), before + 200);
        await sees(teacher, '');
        const { longest, told, chimes } = await teacher.evaluate(
            () => ({ longest: window.longest, told: window.announced.filter((text) => /come in/.test(text)).length, chimes: window.chimes }));
        context.diagnostic(`the longest task took ${longest.toFixed(0)} ms; ${told} announcements, ${chimes} chimes`);
        assert.ok(longest < 1_000, `${longest} ms`);
        assert.ok(told <= 3 && chimes <= 3, `${told} announcements, ${chimes} chimes`);
        assert.equal(await teacher.locator('.notice-error').count(), 0);
    });

    test('who removes somebody may lock the group with it', async () => {
        await isLocked(false);
        const ann = await join('ann');
        if (!await teacher.isVisible('#people'))
            await teacher.click('#people-button');
        const remove = async () => {
            await teacher.click('.person-button:has-text("ann")');
            await teacher.click('.menu .is-danger');
            await teacher.waitForSelector('#ask[open]');
        };
        // What cannot be loaded is said, and loaded the next time.
        await teacher.route('**/js/operating.js', (route) => route.abort(), { times: 1 });
        await teacher.click('.person-button:has-text("ann")');
        await teacher.waitForSelector('.notice-error:has-text("cannot be reached")');
        await teacher.keyboard.press('Escape');
        await remove();
        await teacher.check('#ask-lock');
        await screenshot(teacher, 'knock-remove');
        await teacher.click('#ask-yes');
        await ann.waitForSelector('#join-error:not(:empty)');
        await teacher.waitForSelector('#room-locked:not([hidden])');
        await ann.click('#join-button');
        await ann.waitForSelector('#outside');
        await sees(teacher, 'ann');
        await press(teacher, 'Let in');
        await isIn(ann);
        await remove();
        assert.equal(await teacher.locator('#ask-lock').count(), 0, 'it is locked already');
        await teacher.click('#ask-no');
    });

    test('who was inside comes back into a locked group unasked', async () => {
        await isLocked(false);
        const ann = await join('ann', { start: 'both' });
        const tiles = (count) => until(`${count} tiles`, async () => await ann.locator('.tile').count() === count);
        await isLocked(true);
        await ann.evaluate(() => window.sockets.at(-1).close());
        await ann.waitForSelector('body[data-connection=joined] #banner[data-mood=good]');
        await tiles(1);
        assert.equal(await waiting(teacher), '');
        // Whom the server does not know any more, as after a restart, waits in the room.
        await ann.fill('#chat-input', 'I was about to');
        await ann.evaluate(() => {
            window.isForgotten = true;
            window.sockets.at(-1).close();
        });
        await ann.waitForSelector('#stage #outside');
        await ann.waitForSelector('#banner', { state: 'hidden' });
        assert.equal(await ann.locator('.tile').count(), 0, 'nothing of before is left');
        await sees(teacher, 'ann');
        await press(teacher, 'Let in');
        await ann.waitForSelector('#outside', { state: 'detached' });
        await until('ann', async () => (await peopleOf(teacher)).join() === 'ann,teacher');
        assert.equal(await ann.inputValue('#chat-input'), 'I was about to');
        await tiles(1);
        await ann.evaluate(() => window.sockets.at(-1).close());
        await ann.click('#outside button:has-text("Do not wait any longer")');
        await ann.waitForSelector('#join-button:not([disabled])');
        assert.equal(await focused(ann), 'join-button');
    });

    test('the pages that only watch or send say why they do not', async () => {
        await isLocked(true);
        const page = await open('kiosk');
        await page.goto(`${ORIGIN}/group/lecture/watch`);
        await page.waitForSelector('#state:has-text("locked"), #error:has-text("locked")');
        await page.goto(`${ORIGIN}/group/lecture/publish`);
        await page.fill('#username', 'kiosk');
        await page.click('#button');
        await page.waitForSelector('#error:has-text("locked")');
    });

    test('breakout rooms that are locked, and who knocks at the main group meanwhile', async () => {
        await isLocked(false);
        const ann = await join('ann');
        await teacher.evaluate(() => window.aula.state.breakouts.change(
            { rooms: ['1'], people: {}, until: null, hasVoice: false }));
        await until('the plan', () => teacher.evaluate(() => window.aula.state.breakouts.isRunning));
        await teacher.evaluate(() => window.aula.state.breakouts.visit('1'));
        await isAt(teacher, 'lecture/1');
        await isLocked(true);
        await sendAnn(teacher);
        await ann.waitForSelector('#stage #outside');
        assert.equal(await ann.isVisible('#banner'), false);
        await screenshot(ann, 'knock-room');
        await sees(teacher, 'ann');
        await press(teacher, 'Let in');
        await isAt(ann, 'lecture/1');
        await isIn(ann);
        // The main group has a door, too.
        await teacher.evaluate(() => window.aula.state.breakouts.main.groupAction('lock'));
        const bob = await knock('bob');
        await sees(teacher, 'bob');
        assert.match(await teacher.textContent('#door-list li'), /into the main group/);
        assert.equal(await teacher.isVisible('.door-unlock'), false);
        await press(teacher, 'Let in');
        await isIn(bob);
        // Sent back, and sent again, she would rather be with the others.
        await teacher.evaluate(() => window.aula.state.breakouts.change({ people: {} }));
        await isAt(ann, 'lecture');
        await sendAnn(teacher);
        await ann.waitForSelector('#stage #outside');
        await ann.click('#outside button');
        await isAt(ann, 'lecture');
        assert.equal(await ann.locator('#outside').count(), 0);
        await teacher.evaluate(() => window.aula.state.breakouts.change(false));
        await isAt(teacher, 'lecture');
    });

    test('who is in a room when the main group does not take them back is told so', async () => {
        await isLocked(false);
        const ann = await join('ann');
        const send = async () => {
            await sendAnn(teacher, { rooms: ['2'], until: null, hasVoice: false }, '2');
            await isAt(ann, 'lecture/2');
        };
        const lose = async () => {
            await sees(teacher, '');
            await ann.evaluate(() => {
                window.isForgotten = true;
                window.sockets.findLast(({ isMain }) => isMain).close();
            });
            await ann.waitForSelector('.notice:has-text("you are waiting at its door")');
            await sees(teacher, 'ann');
        };
        await send();
        await isLocked(true);
        await lose();
        assert.equal(await ann.locator('#outside').count(), 0);
        await press(teacher, 'Let in');
        await ann.waitForSelector('.notice:has-text("has let you in again")');
        await isAt(ann, 'lecture/2');
        // The time of the rooms is up meanwhile.
        await lose();
        await ann.evaluate(() => { window.aula.state.breakouts.plan.until = 1; });
        await ann.waitForSelector('#stage #outside .outside-reason:has-text("This group is locked.")');
        await teacher.evaluate(() => window.aula.state.breakouts.change(false));
        await press(teacher, 'Let in');
        await isAt(ann, 'lecture');
        await send();
        await lose();
        await press(teacher, 'Don’t let in');
        await ann.waitForSelector('#join-error:has-text("A teacher did not let you in.")');
        await teacher.evaluate(() => window.aula.state.breakouts.change(false));
    });

    test('with a server that does not know it all is as before', async () => {
        await isLocked(true);
        const page = await open('ann');
        await page.addInitScript(() => { window.isGalene = true; });
        await page.goto(`${ORIGIN}/group/lecture/`);
        await page.fill('#username', 'ann');
        await page.click('#join-button:not([disabled])');
        await page.waitForSelector('#join-error:has-text("Ask a teacher to unlock it, and try again.")');
        await page.fill('#username', 'helper');
        await page.fill('#password', 'chalk');
        await page.click('#join-button:not([disabled])');
        await page.waitForSelector('#room:not([hidden])');
        assert.equal(await page.getAttribute('#lock-button', 'title'), null);
        await isLocked(false);
    });

    test('at every size, dark and light, and from right to left: axe-core finds nothing', async () => {
        await isLocked(true);
        const found = [];
        const look = async (page, name, sizes = SIZES) => {
            for (const [size, viewport, colorScheme, rules] of sizes) {
                await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
                await page.setViewportSize(viewport);
                await page.evaluate(() => window.aula.state.stage.layOut());
                await screenshot(page, `${name}-${size}-${colorScheme}`);
                assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name} at ${size}`);
                found.push(...(await faultsOf(page, rules)).map((text) => `${name} ${size}: ${text}`));
            }
        };
        const guest = await knock('Zoë', { start: 'both' });
        const fatima = await knock('فاطمة', { locale: 'ar' });
        const helper = await join('helper', { password: 'chalk', locale: 'ar' });
        const other = await join('helper', { password: 'chalk' });
        await other.evaluate(fillClass, 12);
        await other.evaluate(() => {
            const names = ['Ben', 'Çağla Öztürk', 'Ann', 'فاطمة الزهراء', 'Maximilian-Alexander von Hohenstein-Waldburg', 'Ann'];
            for (let at = 0; at < 38; at += 1) {
                window.aula.connection.hear({ type: 'knock', kind: 'add', id: `${at}3fc`, username: names[at % 6] + (at > 5 ? ` ${at}` : '') });
            }
            document.getElementById('chat-close').click();
        });
        await until('forty', async () => await other.locator('#door-list li').count() === 40);
        await look(other, 'knock-door');
        await look(guest, 'knock-outside', SIZES.slice(0, 3));
        await sees(helper, 'Zoë, فاطمة');
        for (const [page, name] of [[helper, 'door'], [fatima, 'outside']]) {
            await screenshot(page, `knock-${name}-ar`);
            found.push(...(await faultsOf(page, NO_COLOURS)).map((text) => `${name} ar: ${text}`));
        }
        assert.deepEqual(found, []);
        assert.match(await fatima.textContent('#outside-title'), /الباب/);
    });
});
