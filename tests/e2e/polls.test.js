/** Polls: asked, answered and changed, counted by all operators over reloads, ended, shown; and odd ones. */

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
        const page = await joinGroup(browser, name, { group: 'lecture', ...options });
        page.on('pageerror', (error) => errors.push(`${name}: ${error.message}`));
        return page;
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
        await guest.close();
    });

    test('odd votes count nothing', async () => {
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
        await answer(bob, 'No').click();
        await answer(bob, 'Yes').click();
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
            connection.userMessage('vote', teacher, { poll: id, answer: 0 });
        });
        await sleep(1_000);
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
        // Whoever changes an answer now does so in vain.
        await bob.evaluate(() => {
            const { connection } = window.aula;
            const { id } = [...connection.users.values()].find(({ username }) => username === 'teacher');
            connection.userMessage('vote', id, { poll: connection.data.poll.id, answer: 1 });
        });
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
