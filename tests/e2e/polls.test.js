/** Polls: asked, answered and changed, counted by all operators over reloads and losses, ended, shown; and odd ones. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { joinGroup, peopleOf, screenshot } from './peer/browser.js';
import { lower, raise } from './peer/stage.js';
import { sleep, until } from './peer/wait.js';

const LECTURE = {
    codecs: ['vp8', 'opus'],
    users: {
        teacher: { password: 'chalk', permissions: 'op' },
        helper: { password: 'chalk', permissions: 'op' },
        guest: { password: 'chalk', permissions: 'observe' },
    },
    'wildcard-user': { password: { type: 'wildcard' }, permissions: 'present' },
};

describe('polls', { concurrency: 1 }, () => {
    let server;
    let browser;
    let teacher;
    let helper;
    let ann;
    let bob;
    const errors = [];

    const join = async (name, options) => {
        const page = await joinGroup(browser, name, { group: 'lecture', prepare: watch, ...options });
        page.on('pageerror', (error) => errors.push(`${name}: ${error.message}`));
        return page;
    };

    /** Lets the connection of a page be cut, and what it sends be read. */
    const watch = (page) => page.addInitScript(() => {
        window.sockets = [];
        window.sent = [];
        window.WebSocket = class extends WebSocket {
            constructor(url, ...rest) {
                // Nobody answers there.
                super(window.isCut ? `${url}-cut` : url, ...rest);
                window.sockets.push(this);
            }

            send(data) {
                window.sent.push(JSON.parse(data));
                super.send(data);
            }
        };
    });
    const cut = async (page) => {
        await page.evaluate(() => {
            window.isCut = true;
            window.sockets.at(-1).close();
        });
        // The first attempt to come back has failed.
        await until('the connection to be lost', async () => page.evaluate(
            () => window.aula.connection.attempts > 1 && !window.aula.connection.can('message')));
    };
    const mend = async (page) => {
        await page.evaluate(() => { window.isCut = false; });
        await until('the connection to be back', async () => page.evaluate(() => {
            window.aula.connection.doubt();
            return window.aula.connection.isJoined;
        }));
    };
    const votes = (page) => page.evaluate(() => window.sent.filter(({ kind }) => kind === 'vote').length);
    const changeLanguage = (page) => page.evaluate(() => {
        document.dispatchEvent(new Event('languagechange'));
    });
    const noErrors = async (page) => {
        await page.evaluate(() => new Promise((resolve) => { window.aula.connection.whenDealtWith(resolve); }));
        assert.equal(await page.locator('.notice-error').count(), 0);
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

    /** What an operator, or everybody once it is shown, sees: `Yes 1 · 50%, No 1 · 50%; 2 of 2 have answered.` */
    const counts = (page) => page.evaluate(() => {
        const lines = [...document.querySelectorAll('.poll-counts li')].map(({ textContent }) => textContent);
        return `${lines.join(', ')}; ${document.querySelector('.poll-note').textContent}`;
    });
    const shows = (page, text) => until(text, async () => {
        const now = await counts(page);
        return now === text || Promise.reject(new Error(now));
    });
    const answer = (page, text) => page.locator('.poll-answers').getByRole('button', { name: text, exact: true });
    const isChosen = async (page, text) => await answer(page, text).getAttribute('aria-pressed') === 'true';
    const focused = (page) => page.evaluate(() => document.activeElement.id || document.activeElement.tagName);
    const reload = async (page, password = '') => {
        await page.reload();
        await page.fill('#password', password);
        await page.click('#join-button:not([disabled])');
        await page.waitForSelector('#room:not([hidden])');
    };
    const openPeople = async (page) => {
        if (!await page.isVisible('#people'))
            await page.click('#people-button');
    };
    const setPoll = (poll) => teacher.evaluate(
        (poll) => window.aula.connection.groupAction('setdata', { poll }), poll);

    test('is asked by an operator, and everybody sees it', async () => {
        assert.equal(await ann.isVisible('#poll-button'), false, 'for operators only');
        await openPeople(teacher);
        await teacher.click('#poll-button');
        await teacher.waitForSelector('dialog[open]');
        await screenshot(teacher, 'poll-dialog');
        await teacher.fill('#poll-answers', 'only one\n\n only one ');
        await teacher.getByRole('button', { name: 'Ask', exact: true }).click();
        await teacher.waitForSelector('#poll-error:has-text("two to eight")');
        assert.equal(await focused(teacher), 'poll-answers');
        await teacher.getByRole('button', { name: 'A to D' }).click();
        assert.equal(await teacher.inputValue('#poll-answers'), 'A\nB\nC\nD');
        await teacher.getByRole('button', { name: 'Yes / No' }).click();
        await teacher.fill('#poll-question', 'Is 91 <b>prime</b>?');
        await bob.focus('#chat-input');
        await teacher.keyboard.press('Enter');
        for (const page of [ann, bob])
            await page.waitForSelector('#poll:has-text("Only the teachers see your answer.")');
        assert.equal(await focused(teacher), 'poll-button', 'the focus is back');
        assert.equal(await focused(bob), 'chat-input', 'who types is left in peace');
        await until('it to be announced',
            async () => /Poll: Is 91 <b>prime<\/b>\?/.test(await bob.textContent('#announcer')));
        await shows(teacher, 'Yes 0 · 0%, No 0 · 0%; 0 of 2 have answered.');
        assert.equal(await ann.locator('.poll-counts').count(), 0, 'no counts for those who answer');
        await screenshot(ann, 'poll-open');
    });

    test('is answered and changed, and two operators count', async () => {
        await answer(ann, 'Yes').click();
        await shows(teacher, 'Yes 1 · 100%, No 0 · 0%; 1 of 2 has answered.');
        helper = await join('helper', { password: 'chalk' });
        await shows(helper, 'Yes 1 · 100%, No 0 · 0%; 1 of 2 has answered.');
        await answer(ann, 'No').click();
        assert.ok(await isChosen(ann, 'No') && !await isChosen(ann, 'Yes'));
        await ann.waitForSelector('#poll:has-text("You may still change it")');
        await answer(bob, 'Yes').click();
        for (const page of [teacher, helper])
            await shows(page, 'Yes 1 · 50%, No 1 · 50%; 2 of 2 have answered.');
        await screenshot(teacher, 'poll-counts');
        assert.equal(await bob.evaluate(() => JSON.stringify(window.aula.connection.data.poll)
            .includes('result')), false, 'the group is told no counts');
    });

    test('late comers see it; who reloads keeps the answer and counts once', async () => {
        const late = await join('late');
        await late.waitForSelector('.poll-answers');
        await shows(teacher, 'Yes 1 · 50%, No 1 · 50%; 2 of 3 have answered.');
        await answer(late, 'Yes').click();
        const all = 'Yes 2 · 67%, No 1 · 33%; 3 of 3 have answered.';
        for (const page of [teacher, helper])
            await shows(page, all);
        await reload(ann);
        await until('the own answer', async () => isChosen(ann, 'No'));
        await until('one ann', async () => (await peopleOf(teacher)).join() === 'ann,bob,helper,late,teacher');
        await shows(teacher, all);
        await answer(ann, 'Yes').click();
        for (const page of [teacher, helper])
            await shows(page, 'Yes 3 · 100%, No 0 · 0%; 3 of 3 have answered.');
        await answer(ann, 'No').click();
        for (const page of [teacher, helper])
            await shows(page, all);
        await late.close();
        await until('late to be gone', async () => !(await peopleOf(teacher)).includes('late'));
        await shows(teacher, all);
    });

    test('an operator who reloads keeps the counts; one who knows nothing asks those who are here', async () => {
        await reload(teacher, 'chalk');
        await shows(teacher, 'Yes 2 · 67%, No 1 · 33%; 3 of 3 have answered.');
        await helper.close();
        helper = await join('helper', { password: 'chalk' });
        await shows(helper, 'Yes 1 · 50%, No 1 · 50%; 2 of 2 have answered.');
    });

    test('who may not write is told so; who is no member of it sees no more', async () => {
        const guest = await join('guest', { password: 'chalk' });
        await guest.waitForSelector('#poll:has-text("You may not write here")');
        assert.equal(await guest.locator('.poll-answers').count(), 0);
        await shows(teacher, 'Yes 2 · 67%, No 1 · 33%; 3 of 3 have answered.');
        await guest.click('#leave-button');
        await guest.waitForSelector('#join:not([hidden])');
        assert.equal(await guest.locator('#poll, #poll-chip').count(), 0);
        await changeLanguage(guest);
        assert.equal(await guest.locator('#poll, #poll-chip').count(), 0);
        await guest.fill('#password', 'chalk');
        await guest.click('#join-button:not([disabled])');
        await guest.waitForSelector('#poll');
        await changeLanguage(guest);
        assert.equal(await guest.locator('#poll').count(), 1, 'that of the group left is gone');
        assert.equal(await guest.locator('#poll-chip').count(), 1);
        await guest.close();
    });

    test('an answer given while the connection is lost arrives; nobody sees less meanwhile', async () => {
        const two = 'Yes 2 · 67%, No 1 · 33%; 3 of 3 have answered.';
        const one = 'Yes 1 · 33%, No 2 · 67%; 3 of 3 have answered.';
        await shows(teacher, two);
        await cut(bob);
        await answer(bob, 'No').click();
        assert.ok(await isChosen(bob, 'No'));
        await changeLanguage(bob);
        assert.ok(await isChosen(bob, 'No'), 'and it stays');
        assert.equal(await bob.evaluate(() => document.activeElement.textContent), 'No', 'so does the focus');
        await mend(bob);
        await shows(teacher, one);
        await cut(helper);
        const before = await counts(helper);
        await changeLanguage(helper);
        assert.equal(await counts(helper), before);
        await helper.getByRole('button', { name: 'End the poll' }).click();
        await helper.waitForSelector('.notice-error:has-text("no connection at present")');
        await mend(helper);
        assert.ok(await isChosen(bob, 'No'), 'it has not ended');
        // Who is there is told after the joining: here the teacher later than a new answer.
        await bob.evaluate(() => {
            const { connection } = window.aula;
            window.teacher = [...connection.users.values()].find(({ username }) => username === 'teacher');
            connection.hear({ type: 'user', kind: 'delete', ...window.teacher });
        });
        const told = await votes(bob);
        await answer(bob, 'Yes').click();
        await until('the helper to be told', async () => await votes(bob) > told);
        assert.equal(await counts(teacher), one);
        await bob.evaluate(() => window.aula.connection.hear({ type: 'user', kind: 'add', ...window.teacher }));
        await shows(teacher, two);
    });

    test('an answer that is refused is no error to see', async () => {
        const setMessage = (kind) => teacher.evaluate((kind) => {
            const { connection } = window.aula;
            const { id } = [...connection.users.values()].find(({ username }) => username === 'ann');
            connection.userAction(kind, id);
        }, kind);
        await noErrors(ann);
        // An operator who has just gone.
        await ann.evaluate(() => {
            // Later than the click below.
            Math.random = () => 0.9;
            window.aula.connection.hear({
                type: 'user', kind: 'add', id: 'gone', username: 'gone', permissions: ['op', 'message'],
            });
        });
        const before = await votes(ann);
        await answer(ann, 'Yes').click();
        await until('all to be told', async () => await votes(ann) === before + 3);
        await noErrors(ann);
        await ann.evaluate(() => window.aula.connection.hear({ type: 'user', kind: 'delete', id: 'gone' }));
        await answer(ann, 'No').click();
        await until('both to be told', async () => await votes(ann) === before + 5);
        await setMessage('shutup');
        await ann.waitForSelector('#poll:has-text("You may not write here")');
        await ann.evaluate(() => { Math.random = () => 0; });
        await helper.close();
        helper = await join('helper', { password: 'chalk' });
        await shows(helper, 'Yes 1 · 100%, No 0 · 0%; 1 of 1 has answered.');
        await noErrors(ann);
        assert.equal(await votes(ann), before + 5, 'nothing is sent that is refused');
        await setMessage('unshutup');
        await shows(helper, 'Yes 1 · 50%, No 1 · 50%; 2 of 2 have answered.');
        assert.ok(await isChosen(ann, 'No'));
    });

    test('each client has one answer, and takes back nobody else’s', async () => {
        assert.deepEqual(await ann.evaluate(async () => {
            const { Tally } = await import('/js/ballot.js');
            const poll = { answers: ['Yes', 'No'] };
            const tally = new Tally(poll);
            tally.take('victim', 'v', 0);
            tally.take('victim', 'm', 1);
            tally.take('mallory', 'm', 1);
            // Over reconnects, and as an operator keeps it.
            for (const client of 'abcdefgh')
                tally.take('victim', client, 0);
            const kept = new Tally(poll, JSON.parse(JSON.stringify(tally.entries)));
            return [tally.entries, kept.entries, kept.counts, kept.has('new', 'm'), kept.has('new', 'n')];
        }), [
            [['victim', 0, 'h'], ['mallory', 1, 'm']], [['victim', 0, 'h'], ['mallory', 1, 'm']], [1, 1], true, false,
        ]);
    });

    test('odd votes count nothing', async () => {
        const asked = await votes(ann);
        await ann.evaluate(() => { Math.random = () => 0; });
        await bob.evaluate(() => {
            const { connection } = window.aula;
            const { id } = connection.data.poll;
            const { id: teacher } = [...connection.users.values()].find(({ username }) => username === 'teacher');
            for (const value of [null, 7, 'vote', [], {}, { poll: id }, { poll: 'other', answer: 0 },
                { poll: id, answer: 2 }, { poll: id, answer: -1 }, { poll: id, answer: 0.5 },
                { poll: id, answer: '0' }, { poll: id, answer: null }, { poll: id, answer: { valueOf: 0 } }])
                connection.userMessage('vote', teacher, value);
            // A student asks nobody for anything.
            connection.userMessage('askvotes', '', { poll: id });
            connection.userMessage('vote', teacher, { poll: id, answer: 1 });
        });
        await shows(teacher, 'Yes 1 · 33%, No 2 · 67%; 3 of 3 have answered.');
        await sleep(1_500);
        assert.equal(await votes(ann), asked);
        await teacher.evaluate(() => {
            const { connection } = window.aula;
            connection.userMessage('askvotes', '', { poll: connection.data.poll.id }, true);
        });
        await until('ann to tell the teacher, who asks', async () => await votes(ann) === asked + 1);
        await shows(teacher, 'Yes 2 · 67%, No 1 · 33%; 3 of 3 have answered.');
        // Under ever new names the same client has one answer.
        await bob.evaluate(async () => {
            const { connection } = window.aula;
            const { id } = connection.data.poll;
            const { person } = connection.ownData;
            const { id: teacher } = [...connection.users.values()].find(({ username }) => username === 'teacher');
            for (const digit of '0123') {
                connection.tellOfUs({ person: digit.repeat(16) });
                connection.userMessage('vote', teacher, { poll: id, answer: 0 });
            }
            connection.tellOfUs({ person });
            connection.userMessage('vote', teacher, { poll: id, answer: 1 });
        });
        await shows(teacher, 'Yes 1 · 33%, No 2 · 67%; 3 of 3 have answered.');
        await bob.evaluate(() => {
            const { connection } = window.aula;
            const { id } = [...connection.users.values()].find(({ username }) => username === 'teacher');
            connection.userMessage('vote', id, { poll: connection.data.poll.id, answer: 0 });
        });
        await shows(teacher, 'Yes 2 · 67%, No 1 · 33%; 3 of 3 have answered.');
    });

    test('is hidden and brought back, without losing the focus', async () => {
        await ann.getByRole('button', { name: 'Hide the poll' }).click();
        assert.equal(await ann.isVisible('#poll'), false);
        assert.equal(await focused(ann), 'poll-chip');
        assert.equal(await ann.getAttribute('#poll-chip', 'aria-expanded'), 'false');
        await ann.keyboard.press('Enter');
        assert.equal(await ann.isVisible('#poll'), true);
        await ann.setViewportSize({ width: 390, height: 844 });
        if (!await ann.isVisible('#chat'))
            await ann.click('#chat-button');
        await ann.click('#poll-chip');
        assert.equal(await ann.isVisible('#chat'), false, 'the panel that lay on it is gone');
        assert.equal(await ann.evaluate(() => document.activeElement.closest('#poll') !== null), true);
        await screenshot(ann, 'poll-phone');
        await ann.getByRole('button', { name: 'Hide the poll' }).click();
        await ann.setViewportSize({ width: 1100, height: 700 });
    });

    test('is ended, shown to all, and removed', async () => {
        await teacher.getByRole('button', { name: 'End the poll' }).dblclick();
        await bob.waitForSelector('#poll:has-text("The poll has ended. Your answer: Yes")');
        assert.equal(await bob.locator('.poll-answers').count(), 0);
        assert.equal(await teacher.evaluate(() => document.activeElement.textContent), 'Show the result to all');
        assert.equal(await bob.locator('.poll-counts').count(), 0, 'a double click shows it to nobody');
        // Whoever changes an answer now does so in vain, under a new name, too.
        await bob.evaluate(() => {
            const { connection } = window.aula;
            const { id } = [...connection.users.values()].find(({ username }) => username === 'teacher');
            const { person } = connection.ownData;
            connection.userMessage('vote', id, { poll: connection.data.poll.id, answer: 1 });
            connection.tellOfUs({ person: '4'.repeat(16) });
            connection.userMessage('vote', id, { poll: connection.data.poll.id, answer: 1 });
            connection.tellOfUs({ person });
            connection.chat('That was in vain.');
        });
        await until('what bob sent', async () => /in vain/.test(await teacher.textContent('#chat')));
        // The counts are drawn four times a second.
        await sleep(500);
        assert.equal(await counts(teacher), 'Yes 2 · 67%, No 1 · 33%; 3 of 3 have answered.');
        await reload(teacher, 'chalk');
        await shows(teacher, 'Yes 2 · 67%, No 1 · 33%; 3 of 3 have answered.');
        await teacher.getByRole('button', { name: 'Show the result to all' }).click();
        await shows(bob, 'Yes 2 · 67%, No 1 · 33%; 3 of 3 have answered. Your answer: Yes');
        await shows(ann, 'Yes 2 · 67%, No 1 · 33%; 3 of 3 have answered. Your answer: No');
        await shows(helper, 'Yes 2 · 67%, No 1 · 33%; 3 of 3 have answered.');
        assert.equal(await ann.isVisible('#poll'), true, 'also who had hidden the poll sees its result');
        await screenshot(bob, 'poll-result');
        await bob.focus('#poll-chip');
        await teacher.getByRole('button', { name: 'Remove the poll' }).click();
        for (const page of [teacher, helper, ann, bob]) {
            await page.waitForSelector('#poll', { state: 'detached' });
            assert.equal(await page.locator('#poll-chip').count(), 0);
        }
        assert.equal(await focused(bob), 'room-name');
        assert.equal(await focused(teacher), 'room-name');
    });

    test('odd polls are none, or shown cut', async () => {
        const good = { id: 'p1', question: 'Really?', answers: ['Yes', 'No'], state: 'open' };
        for (const poll of [true, 7, 'poll', [], {}, { ...good, id: 7 }, { ...good, id: 'x'.repeat(100) },
            { ...good, answers: 'AB' }, { ...good, answers: ['A'] }, { ...good, answers: [1, 2] },
            { ...good, answers: ['A', ' '] }, { ...good, answers: Array(9).fill('A') },
            { ...good, answers: { length: 2 } }, { ...good, state: 'asleep' }, { ...good, state: null }])
            await setPoll(poll);
        await setPoll({ ...good, question: '‮x'.repeat(5_000), answers: ['<i>y</i>'.repeat(1_000), 'n'] });
        await bob.waitForSelector('#poll');
        assert.ok((await bob.textContent('#poll-title')).length <= 302);
        assert.ok((await bob.locator('.poll-answers button').first().textContent()).length <= 102);
        assert.equal(await bob.locator('#poll i').count(), 0, 'text is text');
        await setPoll({ ...good, question: { text: 'x' }, state: 'ended', result: [1, 2, 3], voters: 'many' });
        await bob.waitForSelector('#poll:has-text("The poll has ended.")');
        assert.equal(await bob.locator('.poll-counts').count(), 0);
        for (const result of ['12', [1, '2'], [-1, 2], [1.5, 2], null, {}])
            await setPoll({ ...good, state: 'ended', result });
        await setPoll({ ...good, state: 'ended', result: [3, 1], voters: -4 });
        await shows(bob, 'Yes 3 · 75%, No 1 · 25%; 4 people have answered.');
        await setPoll({ ...good, state: 'ended', result: [0, 0], voters: 0 });
        await shows(bob, 'Yes 0 · 0%, No 0 · 0%; 0 of 0 have answered.');
        // Nobody should, but somebody may take away the answer that was given.
        await setPoll({ ...good, answers: ['Yes', 'No', 'Perhaps'] });
        await answer(bob, 'Perhaps').click();
        await shows(teacher, 'Yes 0 · 0%, No 0 · 0%, Perhaps 1 · 100%; 1 of 2 has answered.');
        await setPoll(good);
        await shows(teacher, 'Yes 0 · 0%, No 0 · 0%; 0 of 2 have answered.');
        await bob.waitForSelector('#poll:has-text("Only the teachers see your answer.")');
        await setPoll(false);
        await bob.waitForSelector('#poll', { state: 'detached' });
    });

    test('who asks beside another is told so', async () => {
        await openPeople(teacher);
        await teacher.click('#poll-button');
        await teacher.fill('#poll-question', 'Mine?');
        await helper.evaluate(() => window.aula.connection.groupAction('setdata', {
            poll: { id: 'theirs', question: 'Theirs?', answers: ['Yes', 'No'], state: 'open' },
        }));
        await teacher.waitForSelector('#poll:has-text("Theirs?")');
        await teacher.getByRole('button', { name: 'Ask', exact: true }).click();
        await teacher.waitForSelector('#poll-error:has-text("somebody else")');
        assert.equal(await teacher.inputValue('#poll-question'), 'Mine?', 'it is not lost');
        await setPoll(false);
        await teacher.waitForSelector('#poll', { state: 'detached' });
        await teacher.getByRole('button', { name: 'Ask', exact: true }).click();
        await bob.waitForSelector('#poll:has-text("Mine?")');
        await setPoll(false);
        await bob.waitForSelector('#poll', { state: 'detached' });
    });

    test('by keyboard alone', async () => {
        await teacher.focus('#grid');
        await teacher.keyboard.press('p');
        await teacher.focus('#poll-button');
        await teacher.keyboard.press('Enter');
        await teacher.waitForSelector('dialog[open]');
        assert.equal(await focused(teacher), 'poll-question');
        await teacher.keyboard.type('Ready?');
        await teacher.keyboard.press('Enter');
        await bob.waitForSelector('#poll-chip.is-due');
        await bob.focus('#poll-chip');
        // Hidden, and back, with the focus at the first answer.
        await bob.keyboard.press('Enter');
        await bob.keyboard.press('Enter');
        await bob.keyboard.press('Tab');
        await bob.keyboard.press('Space');
        assert.ok(await isChosen(bob, 'No'));
        assert.equal(await bob.evaluate(() => document.activeElement.textContent), 'No', 'the focus stays');
        assert.equal(await bob.locator('#poll-chip.is-due').count(), 0);
        await shows(teacher, 'Yes 0 · 0%, No 1 · 100%; 1 of 2 has answered.');
        await teacher.keyboard.press('Enter');
        for (const name of ['End the poll', 'Show the result to all', 'Remove the poll']) {
            await until(`the focus at “${name}”`, async () => await teacher.evaluate(
                () => document.activeElement.textContent) === name);
            await teacher.keyboard.press('Enter');
        }
        await bob.waitForSelector('#poll', { state: 'detached' });
        assert.notEqual(await focused(teacher), 'BODY');
    });
});
