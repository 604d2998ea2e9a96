/** What those get who may not come in, or not any more: a clear word, and nothing else. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { joinGroup, openPage, peopleOf } from './peer/browser.js';
import { ORIGIN, request } from './peer/server.js';
import { lower, raise } from './peer/stage.js';
import { sleep, until } from './peer/wait.js';

/** So long after a list has moved a press is meant for what stands there. */
const SETTLED_MS = 600;

describe('doors', { concurrency: 1 }, () => {
    let server;
    let browser;
    let teacher;

    before(async () => {
        ({ server, browser } = await raise({
            config: { writableGroups: true },
            groups: {
                lecture: {
                    users: { teacher: { password: 'chalk', permissions: 'op' } },
                    'wildcard-user': { password: { type: 'wildcard' }, permissions: 'message' },
                },
            },
        }));
        teacher = await joinGroup(browser, 'teacher', { group: 'lecture', password: 'chalk' });
    });

    after(async () => {
        await lower({ server, browser });
    });

    async function refused(name, password, group = 'lecture') {
        const page = await openPage(browser, name);
        await page.goto(`${ORIGIN}/group/${group}/`);
        await page.fill('#username', name);
        await page.fill('#password', password);
        await page.click('#join-button:not([disabled])');
        const place = await page.waitForSelector('#join-error:not(:empty), .outside-reason:not(:empty)');
        const text = await place.textContent();
        await page.close();
        return text;
    }

    test('a wrong password is refused in plain words', async () => {
        assert.equal(await refused('teacher', 'cheese'), 'Wrong name or password.');
    });

    test('an empty or impossible name is objected to before the server is asked', async () => {
        assert.equal(await refused('', ''), 'Please enter your name.');
        assert.match(await refused('a\\b', ''), /cannot contain/);
    });

    test('a lock says that it is one, with the teacher\'s words', async () => {
        await teacher.evaluate(() => window.aula.connection.groupAction('lock', 'Exam until ten'));
        await teacher.waitForSelector('#room-locked:not([hidden])');
        assert.match(await refused('student', ''), /locked.*Exam until ten/);
        await teacher.evaluate(() => window.aula.connection.groupAction('unlock'));
        await teacher.waitForSelector('#room-locked', { state: 'hidden' });
    });

    test('a member changes the password, and the old one is no good any more', async () => {
        await teacher.click('#settings-button');
        const [page] = await Promise.all([
            teacher.context().waitForEvent('page'), teacher.click('#password-link a'),
        ]);
        await page.fill('#old', 'cheese');
        await page.fill('#new', 'sponge');
        await page.fill('#again', 'sponges');
        await page.click('.primary');
        await page.waitForSelector('#error:has-text("not the same")');
        await page.fill('#again', 'sponge');
        await page.click('.primary');
        await page.waitForSelector('#error:has-text("Wrong")');
        await page.fill('#old', 'chalk');
        await page.click('.primary');
        await page.waitForSelector('#done:not(:empty)');
        await page.close();
        await teacher.keyboard.press('Escape');
        assert.equal(await refused('teacher', 'chalk'), 'Wrong name or password.');
    });

    test('a guest with an invitation may load the page again', async () => {
        const token = await teacher.evaluate(() => new Promise((resolve) => {
            const { connection } = window.aula;
            connection.addEventListener('order', ({ detail }) => (
                detail.kind === 'token' && resolve(detail.message.value.token)));
            connection.groupAction('maketoken', {
                group: 'lecture', expires: 3_600_000, permissions: ['message'],
            });
        }));
        const guest = await openPage(browser, 'guest');
        await guest.goto(`${ORIGIN}/group/lecture/?token=${token}`);
        await until('the token to leave the address', async () => !guest.url().includes(token));
        await guest.reload();
        await guest.fill('#username', 'guest');
        await guest.selectOption('#start', 'nothing');
        await guest.click('#join-button:not([disabled])');
        await guest.waitForSelector('#room:not([hidden])');
        await guest.close();
        await until('the guest to leave the list',
            async () => (await peopleOf(teacher)).join() === 'teacher');
    });

    test('a student may chat but not present', async () => {
        const student = await joinGroup(browser, 'student', { group: 'lecture' });
        assert.equal(await student.isVisible('#mic-button'), false);
        assert.equal(await student.isVisible('#chat-form'), true);
        await student.close();
    });

    test('a locked group says so', async () => {
        await teacher.click('#people-button');
        await teacher.click('#lock-button');
        await teacher.waitForSelector('#room-locked:not([hidden])');
        assert.match(await refused('student', ''), /locked/);
        await teacher.click('#lock-button');
        await teacher.waitForSelector('#room-locked', { state: 'hidden' });
    });

    test('a student who was given the floor may present, and is told when removed', async () => {
        const student = await joinGroup(browser, 'student', { group: 'lecture' });
        const act = (kind) => teacher.evaluate((kind) => {
            const { connection } = window.aula;
            const user = [...connection.users.values()].find((other) => other.username === 'student');
            connection.userAction(kind, user.id);
        }, kind);
        await until('the student in the list',
            async () => (await peopleOf(teacher)).includes('student'));
        await act('present');
        await student.waitForSelector('#mic-button', { state: 'visible' });
        await act('kick');
        await student.waitForSelector('#join-error:not(:empty)');
        assert.match(await student.textContent('#join-error'), /kicked out.*teacher/i);
        await until('the student to leave the list',
            async () => (await peopleOf(teacher)).join() === 'teacher');
    });

    test('all who are there may present, or no longer, and are counted', async () => {
        const students = await Promise.all(['anna', 'ben'].map(
            (name) => joinGroup(browser, name, { group: 'lecture' })));
        await until('both in the list', async () => (await peopleOf(teacher)).join() === 'anna,ben,teacher');
        if (!await teacher.isVisible('#people'))
            await teacher.click('#people-button');
        const choose = async (name) => {
            await teacher.click('#present-button');
            await teacher.getByRole('button', { name, exact: true }).click();
        };
        await choose('Allow 2 people to present');
        await teacher.waitForSelector('.notice:has-text("2 more people may present now.")');
        for (const student of students)
            await student.waitForSelector('#mic-button', { state: 'visible' });
        const late = await joinGroup(browser, 'late', { group: 'lecture' });
        await until('late in the list', async () => (await peopleOf(teacher)).includes('late'));
        await teacher.click('#present-button');
        await teacher.waitForSelector('dialog[open]:has-text("Allow 1 person to present")');
        await teacher.keyboard.press('Enter');
        assert.equal(await teacher.evaluate(() => document.activeElement.id), 'present-button', 'nothing by mistake');
        // The connection is lost after the first.
        await teacher.evaluate(() => {
            const { connection } = window.aula;
            let isLost = false;
            connection.userAction = (...action) => {
                const { userAction } = Object.getPrototypeOf(connection);
                const isSent = !isLost && userAction.apply(connection, action);
                isLost = true;
                return isSent;
            };
        });
        await choose('Take it from 2 people');
        await teacher.waitForSelector('.notice:has-text("1 person may no longer present. '
            + 'The connection was lost: try again for the other one.")');
        await teacher.evaluate(() => {
            delete window.aula.connection.userAction;
        });
        await until('one left', async () => await teacher.evaluate(() => [...window.aula.connection.users.values()]
            .filter(({ permissions }) => permissions.includes('present') && !permissions.includes('op')).length) === 1);
        await choose('Take it from 1 person');
        for (const student of [...students, late]) {
            await student.waitForSelector('#mic-button', { state: 'hidden' });
            await student.close();
        }
    });

    test('“Let speak” gives the word to one person a press, by what that one may do now', async () => {
        const names = ['anna', 'ben', 'carl'];
        const students = [];
        const queue = () => teacher.evaluate(() => [...document.querySelectorAll('#hands-list li span')]
            .map((node) => node.textContent).join());
        for (const name of names) {
            students.push(await joinGroup(browser, name, { group: 'lecture' }));
            await students.at(-1).click('#hand-button');
            await until('the hand', async () => (await queue()).endsWith(name));
        }
        const [anna, ben, carl] = students;
        await teacher.click('#hands-chip');
        await teacher.getByRole('button', { name: 'Let speak: anna' }).waitFor();
        // While the hand is up, presenting is allowed and taken back.
        for (const [kind, state] of [['present', 'visible'], ['unpresent', 'hidden']]) {
            await teacher.evaluate((kind) => {
                const { connection } = window.aula;
                const user = [...connection.users.values()].find(({ username }) => username === 'anna');
                connection.userAction(kind, user.id);
            }, kind);
            await anna.waitForSelector('#mic-button', { state });
            await until('the teacher to know', async () => await teacher.evaluate(() => [...window.aula.connection.users.values()]
                .find(({ username }) => username === 'anna').permissions.includes('present')) === (kind === 'present'));
        }
        await teacher.evaluate(() => {
            const { connection } = window.aula;
            window.given = [];
            const userAction = connection.userAction.bind(connection);
            connection.userAction = (kind, id, value) => {
                window.given.push(`${kind} ${connection.users.get(id).username}`);
                return userAction(kind, id, value);
            };
            // A press as early as it can be after the list has moved.
            const list = document.getElementById('hands-list');
            new MutationObserver((records, observer) => {
                const first = list.querySelector('button');
                if (!first.getAttribute('aria-label').includes('ben'))
                    return;
                observer.disconnect();
                window.hasPressed = true;
                first.click();
            }).observe(list, { childList: true });
        });
        const given = () => teacher.evaluate(() => window.given.join());
        const { x, y } = await teacher.getByRole('button', { name: 'Let speak: anna' }).boundingBox();
        await teacher.mouse.click(x + 5, y + 5);
        await until('anna out of the queue', async () => await queue() === 'ben,carl');
        await anna.waitForSelector('#mic-button', { state: 'visible' });
        assert.equal(await teacher.evaluate(() => window.hasPressed), true);
        await sleep(SETTLED_MS);
        await teacher.mouse.down({ clickCount: 2 });
        await teacher.mouse.up({ clickCount: 2 });
        assert.equal(await given(), 'present anna', 'a double click');
        assert.equal(await teacher.evaluate(() => document.activeElement.getAttribute('aria-label')), 'Let speak: ben');
        await teacher.keyboard.down('Enter');
        await until('ben out of the queue', async () => await queue() === 'carl');
        await sleep(SETTLED_MS);
        await teacher.keyboard.down('Enter');
        await teacher.keyboard.up('Enter');
        assert.equal(await given(), 'present anna,present ben', 'a key that is held');
        await teacher.keyboard.press('Enter');
        await carl.waitForSelector('#mic-button', { state: 'visible' });
        await ben.waitForSelector('#mic-button', { state: 'visible' });
        assert.equal(await given(), 'present anna,present ben,present carl');
        for (const student of students)
            await student.close();
    });

    test('unknown and crooked group names are not found', async () => {
        for (const path of ['/group/nothing/', '/group/..%2f..%2fetc%2fpasswd/', '/group/.x/',
            '/group/a%5cb/', '/nothing'])
            assert.equal((await request(path)).status, 404, path);
    });
});
