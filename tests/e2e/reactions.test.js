/** Reactions: sent, counted, told and gone; the pace for operators; floods, odd ones, a class of two hundred. */

import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import { ALL, COLOURS, faultsOf } from './peer/axe.js';
import { joinGroup, peopleOf, screenshot } from './peer/browser.js';
import { fillClass } from './peer/pretend.js';
import { lower, raise, stepsWith } from './peer/stage.js';
import { sleep, until } from './peer/wait.js';

const SIZES = [
    ['desktop', { width: 1366, height: 768 }], ['phone', { width: 360, height: 740 }],
    ['zoom-200', { width: 683, height: 384 }], ['zoom-400', { width: 342, height: 192 }],
];
const LECTURE = {
    codecs: ['vp8', 'opus'],
    'allow-subgroups': true,
    users: {
        teacher: { password: 'chalk', permissions: 'op' },
        guest: { password: 'chalk', permissions: 'observe' },
    },
    'wildcard-user': { password: { type: 'wildcard' }, permissions: 'present' },
};

describe('reactions', { concurrency: 1 }, () => {
    let server;
    let browser;
    let teacher;
    let ann;
    let bob;
    const errors = [];
    const test = stepsWith(() => server);

    /** What the page sends, and what it tells those who listen, can be read. */
    const watch = (page) => page.addInitScript(() => {
        window.sent = [];
        window.announced = [];
        window.WebSocket = class extends WebSocket {
            send(data) {
                window.sent.push({ ...JSON.parse(data), at: performance.now() });
                super.send(data);
            }
        };
        document.addEventListener('DOMContentLoaded', () => {
            const announcer = document.getElementById('announcer');
            new MutationObserver(() => window.announced.push(announcer.textContent))
                .observe(announcer, { childList: true, characterData: true, subtree: true });
        });
    });
    const join = async (name, options) => {
        const page = await joinGroup(browser, name, { group: 'lecture', prepare: watch, ...options });
        page.on('pageerror', (error) => errors.push(`${name}: ${error.message}`));
        return page;
    };
    const react = async (page, name) => {
        await page.click('#reactions-button');
        await page.getByRole('menuitem', { name, exact: true }).click();
    };
    /** What is beside the videos: `applause 2, heart 1`. */
    const counts = (page) => page.evaluate(() => [...document.querySelectorAll('.reactions > span')]
        .map((chip) => `${/is-(\w+)/.exec(chip.firstChild.getAttribute('class'))[1]} ${chip.textContent}`).join(', '));
    const shows = (page, text) => until(`“${text}”`, async () => {
        const now = await counts(page);
        return now === text || Promise.reject(new Error(now));
    });
    /** Who has one beside the name: `ann: Applause`. */
    const badges = (page) => page.evaluate(() => [...document.querySelectorAll('.person')]
        .filter((row) => row.querySelector('.person-reaction'))
        .map((row) => `${row.querySelector('.person-name').textContent}: `
            + row.querySelector('.person-reaction').getAttribute('aria-label')).join(', '));
    const sent = (page) => page.evaluate(
        () => window.sent.filter(({ kind }) => kind === 'reaction').map(({ value }) => value).join());
    const focused = (page) => page.evaluate(() => document.activeElement.id || document.activeElement.textContent);
    const hears = (page, pattern) => until(`“${pattern}”`, async () => (await page.evaluate(
        () => window.announced)).some((text) => pattern.test(text)));
    const pace = async (page) => await page.locator('#pace').count() && page.getAttribute('#pace', 'data-text');
    const act = (kind, name) => teacher.evaluate(([kind, name]) => {
        const { connection } = window.aula;
        connection.userAction(kind, [...connection.users.values()].find(({ username }) => username === name).id);
    }, [kind, name]);
    const openPeople = async (page) => {
        if (!await page.isVisible('#people'))
            await page.click('#people-button');
    };

    before(async () => {
        ({ server, browser } = await raise({ groups: { lecture: LECTURE } }));
        teacher = await join('teacher', { password: 'chalk', start: 'both' });
        ann = await join('ann');
        bob = await join('bob');
    });

    after(async () => {
        await lower({ server, browser });
        assert.deepEqual(errors, []);
    });

    test('one is sent, shown to all on tile and name, told, and gone', async () => {
        for (const page of [teacher, bob])
            await openPeople(page);
        await bob.focus('#people-search, #people-close');
        await react(ann, 'Applause');
        assert.equal(await focused(ann), 'reactions-button', 'the focus is back');
        for (const page of [teacher, ann, bob])
            await shows(page, 'applause 1');
        assert.equal(await badges(bob), 'ann: Applause');
        await hears(ann, /^Your reaction: Applause\.$/);
        await hears(bob, /^1 reaction: Applause 1\.$/);
        assert.equal(await bob.locator('.tile-reaction').count(), 0, 'ann has no tile');
        await bob.waitForSelector('.tile:not([hidden])');
        await react(teacher, 'Heart');
        for (const page of [teacher, bob])
            await page.waitForSelector('.tile .tile-reaction .is-heart');
        assert.match(await bob.evaluate(() => [...document.querySelectorAll('.person-button')]
            .map(({ textContent }) => textContent).join()), /teacher/);
        await screenshot(bob, 'reactions-first');
        for (const page of [teacher, ann, bob]) {
            await shows(page, '');
            assert.equal(await page.locator('.tile-reaction, .person-reaction').count(), 0);
        }
        assert.equal(await sent(bob), '');
    });

    test('equal ones are counted together, and a person counts once', async () => {
        await react(ann, 'Thumbs up');
        await react(bob, 'Thumbs up');
        await react(teacher, 'Laughing');
        for (const page of [teacher, ann, bob])
            await shows(page, 'thumbsup 2, laugh 1');
        await react(ann, 'Laughing');
        await until('ann to have changed', async () => /ann: Laughing/.test(await badges(teacher)));
        await shows(teacher, '');
    });

    test('who is in a hurry sends the first and the last, a second apart', async () => {
        const tookMs = await ann.evaluate(async () => {
            window.sent.length = 0;
            const from = performance.now();
            for (const kind of ['heart', 'applause', 'surprise', 'laugh']) {
                document.getElementById('reactions-button').click();
                while (!document.querySelector('[role=menu]'))
                    await new Promise((resolve) => setTimeout(resolve));
                document.querySelector(`[role=menu] button:has(.is-${kind})`).click();
            }
            return performance.now() - from;
        });
        await until('the last', async () => /laugh$/.test(await sent(ann)));
        if (tookMs < 1_000)
            assert.equal(await sent(ann), 'heart,laugh');
        const times = await ann.evaluate(
            () => window.sent.filter(({ kind }) => kind === 'reaction').map(({ at }) => at));
        assert.ok(times.every((at, place) => place === 0 || at - times[place - 1] > 990), times.join());
        const now = await sent(ann);
        await sleep(1_500);
        assert.equal(await sent(ann), now, 'none follows');
        await shows(bob, '');
    });

    test('slower and faster: operators see for a minute how many find so', async () => {
        await react(ann, 'Slower');
        await react(bob, 'Slower');
        await until('two', async () => await pace(teacher) === 'Slower 2');
        await screenshot(teacher, 'reactions-pace');
        await react(bob, 'Faster');
        await until('one each', async () => await pace(teacher) === 'Slower 1, Faster 1');
        assert.equal(await pace(ann), 0, 'operators only');
        await react(ann, 'Heart');
        await shows(teacher, 'heart 1, faster 1');
        await shows(teacher, '');
        assert.equal(await pace(teacher), 'Slower 1, Faster 1', 'it stays, and a heart takes nothing back');
        await act('op', 'ann');
        await until('an operator to see it, too', async () => await pace(ann) === 'Slower 1, Faster 1');
        await act('unop', 'ann');
        await until('no longer', async () => await pace(ann) === 0);
        assert.deepEqual(await teacher.evaluate(async () => {
            const { Pace } = await import('/js/reaction-pace.js');
            const pace = new Pace();
            const at = (now) => [...pace.counts(now).values()].join();
            pace.take('slower', 'a', 'anna', 0);
            pace.take('slower', 'b', 'ben', 1_000);
            // Ben is back under another id, and thinks again; Mallory is somebody else each time.
            pace.take('faster', 'b2', 'ben', 2_000);
            for (const person of 'xyz')
                pace.take('faster', 'm', person, 3_000);
            const found = [at(3_000), at(59_999), at(60_000), at(62_500), at(63_000), pace.endsAt];
            for (let id = 0; id < 5_000; id += 1)
                pace.take('slower', `s${id}`, `p${id}`, 70_000);
            return [...found, at(70_000)];
        }), ['1,2', '1,2', '0,2', '0,1', '0,0', Infinity, '1000,0']);
    });

    test('by keyboard alone', async () => {
        await ann.focus('#grid');
        await ann.keyboard.press('r');
        await ann.waitForSelector('[role=menu]');
        assert.equal(await focused(ann), 'Heart', 'the last one is at hand');
        await ann.keyboard.press('Home');
        assert.equal(await focused(ann), 'Thumbs up');
        await ann.keyboard.press('ArrowUp');
        assert.equal(await focused(ann), 'Do not show reactions');
        await ann.keyboard.press('Escape');
        assert.equal(await ann.locator('[role=menu]').count(), 0);
        assert.equal(await focused(ann), 'reactions-button');
        await ann.keyboard.press('Enter');
        await ann.waitForSelector('[role=menu]');
        await ann.keyboard.press('ArrowDown');
        assert.equal(await focused(ann), 'Laughing');
        await ann.keyboard.press('Enter');
        assert.equal(await focused(ann), 'reactions-button');
        await shows(bob, 'laugh 1');
        await ann.keyboard.press('ArrowRight');
        assert.equal(await focused(ann), 'people-button', 'it is one of the controls');
        await ann.focus('#chat-input');
        await ann.keyboard.type('r');
        assert.equal(await ann.locator('[role=menu]').count(), 0);
        await ann.fill('#chat-input', '');
        await shows(bob, '');
    });

    test('odd ones, and those of nobody, are nothing', async () => {
        const ids = await bob.evaluate(() => {
            const { connection } = window.aula;
            const say = (source, value, more) => connection.hear(
                { type: 'usermessage', kind: 'reaction', source, username: 'x', value, privileged: true, ...more });
            const [ann] = [...connection.users.values()].filter(({ username }) => username === 'ann');
            for (const value of [undefined, null, 7, true, '', 'Heart', 'constructor', '__proto__', 'toString',
                ['heart'], { kind: 'heart' }, 'heart'.repeat(9_999), '<b>heart</b>'])
                say(ann.id, value);
            for (const source of [undefined, null, '', 'nobody', {}, 7])
                say(source, 'heart');
            say(ann.id, 'heart', { dest: connection.id });
            return [ann.id, connection.id];
        });
        // What follows comes after them.
        await teacher.evaluate(([id]) => window.aula.connection.userMessage('reaction', id, 'heart'), ids);
        await react(teacher, 'Surprised');
        for (const page of [ann, bob])
            await shows(page, 'surprise 1');
        assert.equal(await badges(bob), 'teacher: Surprised');
        await shows(bob, '');
    });

    test('a flood from one is one', async () => {
        await bob.evaluate(() => {
            window.taken = [];
            new MutationObserver(() => window.taken.push(document.querySelector('.reactions').textContent))
                .observe(document.getElementById('grid'), { childList: true, subtree: true, characterData: true });
        });
        const told = await bob.evaluate(() => window.announced.length);
        const mallory = await join('mallory');
        // Another client, that keeps to no limit but the server's.
        const outcome = await mallory.evaluate(async () => {
            const socket = new WebSocket(`wss://${location.host}/ws`);
            const say = (message) => socket.send(JSON.stringify(message));
            const heard = [];
            socket.onmessage = ({ data }) => {
                const message = JSON.parse(data);
                if (message.type === 'ping')
                    say({ type: 'pong' });
                heard.push(message);
            };
            await new Promise((resolve) => { socket.onopen = resolve; });
            say({ type: 'handshake', version: ['2'], id: 'raw-flood' });
            say({ type: 'join', kind: 'join', group: 'lecture', username: 'raw', password: '' });
            while (!heard.some(({ type }) => type === 'joined'))
                await new Promise((resolve) => setTimeout(resolve, 50));
            const kinds = ['thumbsup', 'applause', 'heart', 'laugh', 'surprise', 'slower', 'faster'];
            const FLOOD = 250;
            for (let at = 0; at < FLOOD; at += 1) {
                say({ type: 'usermessage', kind: 'reaction', dest: '', value: kinds[at % kinds.length] });
                await new Promise((resolve) => setTimeout(resolve, 10));
            }
            const own = () => heard.filter(({ kind, source }) => kind === 'reaction' && source === 'raw-flood').length;
            const errors = () => heard.filter(({ kind }) => kind === 'error').length;
            while (own() + errors() < FLOOD)
                await new Promise((resolve) => setTimeout(resolve, 50));
            return { passed: own(), refused: errors() };
        });
        assert.ok(outcome.passed > 10, `${outcome.passed} have passed the server`);
        assert.ok(outcome.refused > 0, 'the server has refused some');
        await until('raw among the people', async () => (await peopleOf(bob)).includes('raw'));
        const seen = await bob.evaluate(() => window.taken);
        assert.ok(seen.length > 0 && seen.every((text) => text === '1' || text === ''), seen.join());
        // Two a second are taken, and each takes the place of the one before.
        assert.ok(seen.length < outcome.passed, `${seen.length} changes for ${outcome.passed}`);
        const said = String(await pace(teacher)).match(/\d+/g) ?? [];
        assert.ok(said.reduce((all, count) => all + Number(count), 0) <= 3, `${said}: of ann, bob and one more`);
        await shows(bob, '');
        const more = await bob.evaluate((told) => window.announced.slice(told), told);
        assert.ok(more.filter((text) => /reaction/.test(text)).length <= 1, more.join(' | '));
        await mallory.close();
        await until('both to be gone', async () => (await peopleOf(bob)).join() === 'ann,bob,teacher');
    });

    test('who may not write, or may no longer, sees those of others and sends none', async () => {
        const guest = await join('guest', { password: 'chalk' });
        await guest.click('#reactions-button');
        await guest.waitForSelector('[role=menu]');
        const offers = (page) => page.getByRole('menuitem').allTextContents();
        assert.deepEqual(await offers(guest), ['Do not show reactions']);
        await guest.keyboard.press('Escape');
        await react(ann, 'Heart');
        await shows(guest, 'heart 1');
        await guest.close();
        await bob.click('#reactions-button');
        await bob.waitForSelector('[role=menu]');
        assert.equal((await offers(bob)).length, 8);
        await act('shutup', 'bob');
        await until('no menu', async () => await bob.locator('[role=menu]').count() === 0);
        assert.equal(await focused(bob), 'reactions-button');
        await bob.keyboard.press('Enter');
        await bob.waitForSelector('[role=menu]');
        assert.deepEqual(await offers(bob), ['Do not show reactions']);
        await bob.keyboard.press('Escape');
        await act('unshutup', 'bob');
        await until('all of them', async () => {
            await bob.keyboard.press('Enter');
            const now = await offers(bob);
            await bob.keyboard.press('Escape');
            return now.length === 8;
        });
        await shows(bob, '');
    });

    test('who does not want them sees their own only, also after a reload', async () => {
        await react(bob, 'Do not show reactions');
        await bob.waitForSelector('.notice:has-text("no longer shown")');
        await bob.reload();
        await bob.click('#join-button:not([disabled])');
        await bob.waitForSelector('#room:not([hidden])');
        await openPeople(bob);
        await react(ann, 'Applause');
        await shows(teacher, 'applause 1');
        await react(bob, 'Heart');
        await shows(bob, 'heart 1');
        await shows(teacher, 'applause 1, heart 1');
        assert.equal(await badges(bob), 'bob (you): Heart');
        await react(bob, 'Show reactions');
        await react(ann, 'Laughing');
        await until('ann', async () => /laugh 1/.test(await counts(bob)));
        await shows(bob, '');
    });

    test('in a breakout room they are the room’s', async () => {
        await teacher.evaluate(() => {
            const { breakouts } = window.aula.state;
            const people = Object.fromEntries([...window.aula.connection.users.values()]
                .filter(({ username }) => username !== 'teacher')
                .map(({ username, data }) => [data.person, { room: '1', name: username }]));
            breakouts.change({ rooms: ['1'], people, until: null, hasVoice: false });
        });
        for (const page of [ann, bob]) {
            await page.waitForSelector('#breakout:not([hidden])');
            await until('both in the room', async () => (await peopleOf(page)).join() === 'ann,bob');
        }
        await react(ann, 'Applause');
        await shows(bob, 'applause 1');
        assert.equal(await counts(teacher), '');
        await teacher.evaluate(() => window.aula.state.breakouts.change(false));
        for (const page of [ann, bob])
            await until('all together', async () => (await peopleOf(page)).join() === 'ann,bob,teacher');
        assert.equal(await counts(bob), '', 'nothing is left of the room’s');
        await react(ann, 'Heart');
        await shows(teacher, 'heart 1');
        await shows(teacher, '');
    });

    test('a class of two hundred claps', async (context) => {
        const page = await join('frau', { start: 'both' });
        // Cameras for the page, and so many more who only listen.
        await page.evaluate(fillClass, 40);
        await page.evaluate(() => {
            const { connection } = window.aula;
            for (let at = 40; at < 200; at += 1) {
                const id = `${at}0f3a9c`.padStart(8, '0');
                const user = { id, username: `Ann ${at}`, permissions: ['message'], data: {} };
                connection.users.set(user.id, user);
                connection.emit('user', { kind: 'add', user });
            }
        });
        await openPeople(page);
        await until('all tiles', async () => page.evaluate(() => document.querySelectorAll('.tile').length > 40));
        await until('a layout that rests', async () => {
            const once = await page.evaluate(boxes);
            await sleep(300);
            return JSON.stringify(once) === JSON.stringify(await page.evaluate(boxes));
        });
        const before = await page.evaluate(boxes);
        const cost = await page.evaluate(clap);
        assert.equal(cost.count, 200);
        await until('all of them', async () => (await page.evaluate(() => window.cost.seen))
            .includes('20 80 20 20 20'));
        assert.deepEqual(await page.evaluate(boxes), before, 'no tile has moved');
        assert.ok((await page.evaluate(() => window.cost.seen)).every((text) => text.split(' ').length <= 5));
        const { changes, drawn, drawMs } = await page.evaluate(() => window.cost);
        context.diagnostic(`200 reactions: ${cost.busyMs.toFixed(1)} ms to take, ${drawn} times drawn in `
            + `${drawMs.toFixed(1)} ms, ${changes} changes of counts`);
        assert.ok(drawn > 0 && drawn < 50, `${drawn} times drawn`);
        assert.ok(changes > 0 && changes < 100, `${changes} changes of counts`);
        await hears(page, /^\d+ reactions: Applause \d+/);
        await shows(page, '');
        assert.equal((await page.evaluate(() => window.announced)).filter((text) => /reaction/.test(text)).length, 1);
        await page.close();
    });

    test('at every size: nothing is covered, nothing scrolls sideways, and axe-core finds nothing', async () => {
        const page = await join('frau', { start: 'both' });
        await page.evaluate(fillClass, 29);
        await page.evaluate(() => Object.assign(window.aula.connection, { permissions: ['op', 'present', 'message'] }));
        await page.evaluate(() => window.aula.connection.emit('joined', { kind: 'change' }));
        const violations = [];
        for (const [colorScheme, rules] of [['light', ALL], ['dark', COLOURS]]) {
            await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
            for (const [size, viewport] of SIZES) {
                await page.setViewportSize(viewport);
                for (const screen of ['class', 'slides', 'menu']) {
                    if (screen === 'slides' && size === 'desktop' && colorScheme === 'light')
                        await page.evaluate(() => window.shareScreen());
                    await page.evaluate(() => window.aula.state.stage.layOut());
                    await page.evaluate(everybodyReacts);
                    await until('them', async () => /^thumbsup/.test(await counts(page)));
                    if (screen === 'menu') {
                        await page.click('#reactions-button');
                        await page.waitForSelector('[role=menu]');
                        assert.ok(await page.evaluate(isInView), `the menu at ${size}`);
                    }
                    await screenshot(page, `reactions-${screen}-${size}-${colorScheme}`);
                    violations.push(...(await check(page, rules))
                        .map((text) => `${screen} ${size} ${colorScheme}: ${text}`));
                    if (screen !== 'menu')
                        assert.deepEqual(await page.evaluate(covered), [], `${screen} at ${size}`);
                    await page.keyboard.press('Escape');
                }
            }
        }
        assert.deepEqual(violations, []);
        await page.close();
    });

    test('in Arabic, from right to left', async () => {
        const page = await join('frau', { locale: 'ar' });
        await page.evaluate(fillClass, 9);
        await page.evaluate(everybodyReacts);
        await until('them', async () => /^thumbsup/.test(await counts(page)));
        await page.keyboard.press('r');
        await page.waitForSelector('[role=menuitem]:has-text("تصفيق")');
        const { x } = await page.locator('.reactions').boundingBox();
        const grid = await page.locator('#grid').boundingBox();
        assert.ok(x > grid.x + grid.width / 2, 'on the right, where lines begin');
        await screenshot(page, 'reactions-ar');
        assert.deepEqual(await check(page, ALL), []);
        await page.close();
    });

    test('who wants no motion has none', async () => {
        const moves = async (reducedMotion) => {
            await bob.emulateMedia({ reducedMotion });
            await bob.evaluate(() => {
                window.moved = 0;
                document.addEventListener('animationstart', ({ animationName }) => {
                    window.moved += animationName === 'reacts';
                });
            });
            await react(ann, 'Surprised');
            await shows(bob, 'surprise 1');
            await bob.evaluate(() => new Promise((resolve) => {
                requestAnimationFrame(() => requestAnimationFrame(resolve));
            }));
            const { moved } = await bob.evaluate(() => ({ moved: window.moved }));
            await shows(bob, '');
            return moved;
        };
        assert.equal(await moves('reduce'), 0);
        assert.ok(await moves('no-preference') > 0, 'who has nothing against it has');
    });
});

/** Runs in the page: two hundred react within a second or so. What is drawn is counted in `window.cost`. */
async function clap() {
    const { connection, state } = window.aula;
    await state.room.reactions();
    const { name } = performance.getEntriesByType('resource').find((entry) => /reaction-view\.js$/.test(entry.name));
    const { ReactionView } = await import(name);
    const cost = window.cost = { changes: 0, drawn: 0, drawMs: 0, seen: [] };
    const { show } = ReactionView.prototype;
    ReactionView.prototype.show = function(...view) {
        const from = performance.now();
        show.apply(this, view);
        cost.drawn += 1;
        cost.drawMs += performance.now() - from;
    };
    new MutationObserver((records) => {
        cost.seen.push([...document.querySelectorAll('.reactions > span')].map((chip) => chip.textContent).join(' '));
        cost.changes += records.filter(({ target }) => target.closest?.('.reactions')).length;
    }).observe(document.getElementById('grid'), { childList: true, subtree: true });
    window.announced.length = 0;
    let busyMs = 0;
    const pretended = [...connection.users.keys()].filter((id) => id.endsWith('0f3a9c'));
    const kinds = ['applause', 'applause', 'applause', 'applause', 'heart', 'thumbsup', 'laugh', 'surprise', 'slower',
        'faster'];
    for (const [at, source] of pretended.entries()) {
        const from = performance.now();
        connection.hear({ type: 'usermessage', kind: 'reaction', source, value: kinds[at % kinds.length] });
        busyMs += performance.now() - from;
        if (at % 20 === 19)
            await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return { busyMs, count: pretended.length };
}

/** Runs in the page: where all tiles are. */
function boxes() {
    return [...document.querySelectorAll('.tile:not([hidden]), #grid, #stage')].map((node) => {
        const { left, top, width, height } = node.getBoundingClientRect();
        return [left, top, width, height].map(Math.round).join();
    });
}

/** Runs in the page: those who are pretended say all there is, as if just now. */
function everybodyReacts() {
    const { connection } = window.aula;
    const kinds = ['applause', 'applause', 'heart', 'thumbsup', 'laugh', 'surprise', 'slower', 'faster'];
    const pretended = [...connection.users.keys()].filter((id) => id.endsWith('0f3a9c'));
    for (const [at, source] of pretended.entries())
        connection.hear({ type: 'usermessage', kind: 'reaction', source, value: kinds[at % kinds.length] });
    connection.emit('chat', {
        message: {
            kind: 'caption', source: pretended[0], username: 'Anna', value: 'and so we see that it is true for all n',
        },
    });
}

/** Runs in the page: whether the menu can be reached. */
function isInView() {
    const { left, top, right, bottom } = document.querySelector('[role=menu]').getBoundingClientRect();
    return left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight;
}

async function check(page, rules) {
    const isTooWide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    return [...isTooWide ? ['scrolls sideways'] : [], ...await faultsOf(page, rules)];
}

/** Runs in the page: what lies on controls, on the buttons of tiles and pages, or on captions. */
function covered() {
    // What lets presses through is found all the same.
    const marks = document.querySelectorAll(':is(.reactions, .tile-reaction, #captions), '
        + ':is(.reactions, .tile-reaction, #captions) *');
    for (const mark of marks)
        mark.style.pointerEvents = 'auto';
    const found = [];
    for (const node of document.querySelectorAll('.control, .tile-menu, #pager:not([hidden]) button, #captions p')) {
        const { left, top, width, height } = node.getBoundingClientRect();
        const [x, y] = [left + width / 2, top + height / 2];
        const above = document.elementFromPoint(x, y);
        if (width > 0 && above?.closest('.reactions, .tile-reaction, #pace'))
            found.push(`${node.id || node.className}: ${above.outerHTML.slice(0, 80)}`);
    }
    for (const mark of marks)
        mark.style.pointerEvents = '';
    return found;
}
