/** Breakout rooms: out, between them, a word and a voice to all, over a reload, back; and the clock. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { inbound, joinGroup, openPage, peopleOf, screenshot, seesAndHears } from './peer/browser.js';
import { ORIGIN } from './peer/server.js';
import { lower, raise } from './peer/stage.js';
import { sleep, until } from './peer/wait.js';

const GROUP = {
    'auto-subgroups': true,
    users: { teacher: { password: 'secret', permissions: ['op', 'present', 'message', 'token'] } },
    'wildcard-user': { password: { type: 'wildcard' }, permissions: 'present' },
};

describe('breakout rooms', { concurrency: 1 }, () => {
    let server;
    let browser;
    let teacher;
    let ann;
    let bob;
    let cem;

    before(async () => {
        ({ server, browser } = await raise({
            groups: { class: GROUP, plain: { ...GROUP, 'auto-subgroups': false } },
        }));
        teacher = await joinGroup(browser, 'teacher', { group: 'class', password: 'secret', start: 'both' });
        ann = await joinGroup(browser, 'ann', { group: 'class', start: 'both' });
        bob = await joinGroup(browser, 'bob', { group: 'class', start: 'both' });
        cem = await invited('cem');
    });

    /** A guest who comes by a link that the teacher has made in the page. */
    async function invited(name) {
        await teacher.click('#people-button');
        await teacher.click('#invite-button');
        await teacher.click('#invite-form .primary');
        await teacher.waitForSelector('#invite-link:not([hidden])');
        const link = await teacher.inputValue('#invite-url');
        await teacher.keyboard.press('Escape');
        await teacher.click('#people-button');
        const guest = await openPage(browser, name);
        await guest.goto(link);
        await guest.fill('#username', name);
        await guest.selectOption('#start', 'nothing');
        await guest.click('#join-button:not([disabled])');
        await guest.waitForSelector('#room:not([hidden])');
        return guest;
    }

    after(async () => {
        await lower({ server, browser });
    });

    const groupOf = (page) => page.evaluate(() => (
        window.aula.connection.isJoined && window.aula.connection.group));
    const isIn = (page, group) => until(`the page to be in ${group}`,
        async () => await groupOf(page) === group);

    const focused = (page) => page.evaluate(() => document.activeElement.id || document.activeElement.tagName);

    async function openRooms() {
        if (!await teacher.isVisible('#people'))
            await teacher.click('#people-button');
        await teacher.click('#rooms-button');
        await teacher.waitForSelector('dialog.rooms[open]');
    }

    test('where the group\'s file does not allow them, it says so', async () => {
        const other = await joinGroup(browser, 'teacher', { group: 'plain', password: 'secret' });
        await other.click('#people-button');
        await other.click('#rooms-button');
        await other.waitForSelector('#rooms-error:has-text("auto-subgroups")');
        assert.equal(await other.isDisabled('#rooms-start'), true);
        await other.close();
    });

    test('everybody goes to the room of the plan, with camera and microphone', async () => {
        await openRooms();
        await screenshot(teacher, 'breakouts-plan');
        await teacher.fill('#rooms-count', '2');
        await teacher.fill('#rooms-minutes', '30');
        await teacher.press('#rooms-minutes', 'Tab');
        for (const [name, room] of [['ann', '1'], ['bob', '1'], ['cem', '2']])
            await teacher.selectOption(`select[aria-label="Room of ${name}"]`, room);
        await teacher.click('#rooms-start');
        await teacher.waitForSelector('#rooms-end');
        assert.equal(await focused(teacher), 'rooms-title', 'focus stays in the dialog');
        await isIn(ann, 'class/1');
        await isIn(bob, 'class/1');
        await isIn(cem, 'class/2');
        await teacher.waitForSelector('#rooms-left:has-text(":")');
        await seesAndHears(ann, 'bob');
        await seesAndHears(bob, 'ann');
        assert.deepEqual(await peopleOf(ann), ['ann', 'bob']);
        await ann.waitForSelector('#breakout-text:has-text("Room 1, back in 2")');
        assert.deepEqual(await peopleOf(teacher), ['ann', 'bob', 'cem', 'teacher'], 'nobody is lost');
        await screenshot(teacher, 'breakouts-running');
        await screenshot(ann, 'breakouts-room');
    });

    test('a word to all rooms, and a voice', async () => {
        await teacher.fill('#rooms-message', 'five minutes left');
        await teacher.click('button:has-text("Tell all rooms")');
        for (const page of [ann, cem])
            await page.waitForSelector('.chat-message:has-text("teacher to all rooms"):has-text("five minutes left")');
        const energy = () => cem.evaluate(async () => {
            let sum = 0;
            for (const { pc } of window.aula.state.breakouts.main.down.values()) {
                for (const report of (await pc.getStats()).values())
                    sum += report.type === 'inbound-rtp' ? report.totalAudioEnergy ?? 0 : 0;
            }
            return sum;
        });
        /** Whether the main group is heard within a second; a stream's statistics may outlast it. */
        const hears = async () => {
            const before = await energy();
            await sleep(1_000);
            return await energy() > before;
        };
        await until('the rooms to be among themselves', async () => !await hears());
        await teacher.check('#rooms-voice');
        await until('the teacher\'s voice', hears);
        await teacher.uncheck('#rooms-voice');
        await until('the voice to go', async () => !await hears());
    });

    test('somebody is moved, somebody reloads, somebody calls', async () => {
        await teacher.selectOption('select[aria-label="Room of cem"]', '1');
        await isIn(cem, 'class/1');
        await seesAndHears(cem, 'ann');
        await bob.reload();
        await bob.fill('#username', 'bob');
        await bob.click('#join-button:not([disabled])');
        await isIn(bob, 'class/1');
        await seesAndHears(bob, 'ann');
        await teacher.keyboard.press('Escape');
        await ann.click('#breakout-call');
        await teacher.waitForSelector('#hands-chip:has-text("ann")');
        await teacher.waitForSelector('.person:has-text("ann") [aria-label="In room 1"]');
        await openRooms();
        await teacher.waitForSelector('.rooms li:has-text("Room 1") .rooms-call:has-text("called by ann")');
        await screenshot(teacher, 'breakouts-call');
        await teacher.keyboard.press('Escape');
    });

    test('the teacher visits, and comes back', async () => {
        await openRooms();
        await teacher.click('#rooms-visit-1');
        await isIn(teacher, 'class/1');
        await seesAndHears(ann, 'teacher');
        await screenshot(teacher, 'breakouts-visit');
        await teacher.focus('#breakout-back');
        await teacher.keyboard.press('Enter');
        await isIn(teacher, 'class');
        assert.equal(await focused(teacher), 'room-name');
        await teacher.waitForSelector('#hands-chip:has-text("ann")');
        await teacher.waitForSelector('.chat-message:has-text("five minutes left")', { state: 'attached' });
    });

    test('all come back, even into a group that has been locked meanwhile', async () => {
        await teacher.click('#lock-button');
        await openRooms();
        await teacher.click('#rooms-end');
        await teacher.waitForSelector('#rooms-start');
        assert.equal(await focused(teacher), 'rooms-title');
        for (const page of [ann, bob, cem]) {
            await isIn(page, 'class');
            assert.equal(await page.isVisible('#breakout'), false);
        }
        await seesAndHears(teacher, 'ann');
        await seesAndHears(ann, 'teacher');
        assert.deepEqual(await peopleOf(ann), ['ann', 'bob', 'cem', 'teacher']);
        assert.equal((await inbound(ann)).filter(({ username }) => username === 'bob').length, 1);
        await teacher.keyboard.press('Escape');
        await teacher.click('#lock-button');
    });

    test('when the time is over they come back by themselves', async () => {
        await openRooms();
        await teacher.fill('#rooms-count', '1');
        await teacher.press('#rooms-count', 'Tab');
        await teacher.click('#rooms-start');
        await isIn(cem, 'class/1');
        await teacher.evaluate(() => {
            const { breakouts } = window.aula.state;
            breakouts.change({ until: Date.now() + 3_000 });
        });
        for (const page of [ann, bob, cem])
            await isIn(page, 'class');
        await teacher.waitForSelector('#rooms-start');
        assert.equal(await teacher.evaluate(() => window.aula.connection.data.breakouts), false);
    });

    test('two people of one name go to different rooms, and each comes back to the own one', async () => {
        const other = await joinGroup(browser, 'ann', { group: 'class' });
        const marks = async () => (await teacher.evaluate(() => [...document.querySelectorAll(
            'dialog.rooms select')].map((select) => select.getAttribute('aria-label'))))
            .filter((label) => label.startsWith('Room of ann ·'));
        await until('two Annas in the dialog', async () => (await marks()).length === 2);
        assert.equal(new Set(await marks()).size, 2, 'which can be told apart');
        const markOf = (page) => page.evaluate(() => window.aula.connection.ownData.person.slice(0, 3));
        const roomOf = async (page) => `select[aria-label="Room of ann · ${await markOf(page)}"]`;
        await teacher.fill('#rooms-count', '2');
        await teacher.press('#rooms-count', 'Tab');
        await teacher.selectOption(await roomOf(ann), '1');
        await teacher.selectOption(await roomOf(other), '2');
        await screenshot(teacher, 'breakouts-namesakes');
        await teacher.click('#rooms-start');
        await isIn(ann, 'class/1');
        await isIn(other, 'class/2');
        const rejoin = async (page) => {
            await page.fill('#username', 'ann');
            await page.click('#join-button:not([disabled])');
        };
        await other.reload();
        await rejoin(other);
        await isIn(other, 'class/2');
        // In another tab nobody is known; the place of that name is free, though.
        await other.close();
        await until('her to be gone', async () => (await teacher.evaluate(() => (
            [...window.aula.connection.users.values()].filter(({ username }) => username === 'ann').length))) === 1);
        const again = await openPage(browser, 'ann again');
        await again.goto(`${ORIGIN}/group/class/`);
        await rejoin(again);
        await isIn(again, 'class/2');
        assert.equal(await groupOf(ann), 'class/1');
        const csv = await teacher.evaluate(async () => (
            await import(new URL('attendance-table.js', document.querySelector('script[type=module]').src))
        ).csv(window.aula.state.room.attendance));
        assert.equal(csv.match(/"ann · [0-9a-f]{3}"/g).length, 2, csv);
        await teacher.click('#rooms-end');
        await isIn(ann, 'class');
        await again.close();
    });
});
