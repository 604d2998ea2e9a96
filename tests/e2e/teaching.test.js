/** What a teacher needs in a class: hands, slides, pages of students, quiet, and a keyboard. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { inbound, joinGroup, openPage, peopleOf, screenshot, seesAndHears } from './peer/browser.js';
import { fillClass } from './peer/pretend.js';
import { recordedFilm, tones } from './peer/sources.js';
import { lower, raise } from './peer/stage.js';
import { sleep, until } from './peer/wait.js';

const LECTURE = {
    codecs: ['vp8', 'opus'],
    users: { teacher: { password: 'chalk', permissions: 'op' }, guest: { password: 'chalk', permissions: 'observe' } },
    'wildcard-user': { password: { type: 'wildcard' }, permissions: 'present' },
};

/** So long after the list has moved a press is meant for what stands there. */
const SETTLED_MS = 600;

describe('teaching', { concurrency: 1 }, () => {
    let server;
    let browser;
    let teacher;
    let ann;
    let bob;

    const join = (name, options) => joinGroup(browser, name, { group: 'lecture', ...options });

    before(async () => {
        ({ server, browser } = await raise({ groups: { lecture: LECTURE } }));
        teacher = await join('teacher', { password: 'chalk', start: 'both' });
        ann = await join('ann');
        bob = await join('bob');
    });

    after(async () => {
        await lower({ server, browser });
    });

    const queue = (page) => page.evaluate(() => [...document.querySelectorAll('#hands-list li span')]
        .map((node) => node.textContent.replace(' (you)', '')));

    test('hands queue in the order of raising, for all and for those who come later', async () => {
        await bob.click('#hand-button');
        await teacher.waitForSelector('#hands-chip:has-text("bob")');
        assert.equal(await teacher.isVisible('#chat'), true, 'seen while the chat is open');
        await until('it to be announced',
            async () => /bob raised a hand/.test(await teacher.textContent('#announcer')));
        await ann.click('#hand-button');
        for (const page of [teacher, ann, bob])
            await until('bob before ann', async () => (await queue(page)).join() === 'bob,ann');
        const late = await join('late');
        await until('the same order', async () => (await queue(late)).join() === 'bob,ann');
        await late.close();
        await screenshot(teacher, 'hands');
    });

    test('the teacher lowers one hand, then all; focus stays in the page', async () => {
        await teacher.click('#hands-chip');
        await teacher.getByRole('button', { name: 'Lower the hand of bob' }).click();
        await until('ann alone', async () => (await queue(teacher)).join() === 'ann');
        assert.equal(await bob.getAttribute('#hand-button', 'aria-pressed'), 'false');
        assert.notEqual(await focused(teacher), 'BODY');
        await bob.click('#hand-button');
        await until('bob last', async () => (await queue(teacher)).join() === 'ann,bob');
        await teacher.click('#lower-all');
        for (const page of [teacher, ann, bob])
            await until('no hands', async () => (await queue(page)).length === 0);
        assert.notEqual(await focused(teacher), 'BODY');
    });

    test('who is first in the queue is let speak by one click, which lowers the hand; by keyboard, too', async () => {
        const guest = await join('guest', { password: 'chalk' });
        for (const [page, name] of [[bob, 'bob'], [guest, 'guest'], [ann, 'ann']]) {
            await page.click('#hand-button');
            await until('the hand', async () => (await queue(teacher)).includes(name));
        }
        assert.equal(await ann.getByRole('button', { name: /^Let speak: / }).count(), 0, 'for operators only');
        await teacher.focus('#hands-chip');
        await teacher.keyboard.press('Enter');
        const label = () => teacher.evaluate(() => document.activeElement.getAttribute('aria-label'));
        assert.equal(await label(), 'Let speak: bob');
        await screenshot(teacher, 'let-speak');
        await teacher.keyboard.press('Enter');
        await bob.waitForSelector('.notice:has-text("teacher lets you speak. Your microphone is still off.")');
        await until('bob out of the queue', async () => (await queue(teacher)).join() === 'guest,ann');
        assert.equal(await bob.getAttribute('#hand-button', 'aria-pressed'), 'false');
        assert.equal(await label(), 'Let speak: guest');
        assert.equal(await guest.isVisible('#mic-button'), false);
        await bob.click('#hand-button');
        await until('bob last', async () => (await queue(teacher)).join() === 'guest,ann,bob');
        assert.equal(await label(), 'Let speak: guest', 'the focus stays');
        await sleep(SETTLED_MS);
        await teacher.keyboard.press('Enter');
        await guest.waitForSelector('.notice:has-text("You may speak now")');
        await guest.waitForSelector('#mic-button:visible');
        await guest.close();
        await teacher.click('#lower-all');
        await until('no hands', async () => (await queue(teacher)).length === 0);
    });

    test('muting all sticks, until somebody is let speak', async () => {
        await ann.click('#mic-button');
        await until('ann to speak',
            async () => await ann.getAttribute('#mic-button', 'aria-pressed') === 'true');
        await teacher.click('#mute-all');
        await until('ann to be muted',
            async () => await ann.getAttribute('#mic-button', 'aria-pressed') === 'false');
        await ann.click('#mic-button');
        await ann.waitForSelector('.notice:has-text("Raise your hand")');
        assert.equal(await ann.getAttribute('#mic-button', 'aria-pressed'), 'false');
        await teacher.getByRole('button', { name: /^ann/ }).click();
        await teacher.getByRole('menuitem', { name: 'Let speak' }).click();
        await ann.waitForSelector('.notice:has-text("lets you speak")');
        await ann.click('#mic-button');
        assert.equal(await ann.getAttribute('#mic-button', 'aria-pressed'), 'true');
        const late = await join('late', { start: 'audio' });
        await late.waitForSelector('.notice:has-text("Everybody is muted for now. Raise your hand")');
        assert.match(await late.getAttribute('#mic-button', 'title'), /^Everybody is muted/);
        await until('the microphone to be open, and off',
            async () => late.evaluate(() => window.aula.state.own.audio?.enabled === false));
        assert.equal(await late.getAttribute('#mic-button', 'aria-pressed'), 'false');
        await late.close();
        await teacher.click('#mute-all');
        await ann.waitForSelector('#room-quiet', { state: 'hidden' });
        await ann.click('#mic-button');
    });

    test('who speaks with the microphone off is told, once', async () => {
        const speaker = await join('speaker', { start: 'audio', prepare: (page) => page.addInitScript(tones) });
        await until('the microphone to be on',
            async () => await speaker.getAttribute('#mic-button', 'aria-pressed') === 'true');
        await speaker.click('#mic-button');
        await speaker.waitForSelector('.notice:has-text("nobody hears you")');
        assert.equal(await speaker.evaluate(() => window.aula.state.own.audio.enabled), false, 'it stays off');
        await speaker.focus('#chat-input');
        await speaker.focus('.notice button');
        await speaker.keyboard.press('Enter');
        assert.equal(await focused(speaker), 'chat-input', 'the focus is back');
        await speaker.close();
    });

    test('two shared screens: one is large, the other a choice away', async () => {
        // As most screens are: without sound. A stream of which nothing is asked would end.
        for (const page of [teacher, bob]) {
            await page.evaluate(() => {
                navigator.mediaDevices.getDisplayMedia = async () => {
                    const canvas = document.createElement('canvas');
                    const context = canvas.getContext('2d');
                    setInterval(() => context.fillRect(Math.random() * 200, 0, 20, 90), 100);
                    return canvas.captureStream();
                };
            });
            await page.click('#screen-button');
        }
        const large = () => ann.evaluate(() => (
            document.querySelector('.tile.is-large')?.querySelector('.tile-name').textContent));
        await until('a picker', async () => await ann.locator('#shares button').count() === 2);
        const before = await large();
        await ann.locator('#shares button[aria-pressed=false]').click();
        await until('the other screen', async () => await large() !== before);
        assert.equal(await ann.locator('.tile.is-large').count(), 1);
        const frames = async () => (await inbound(ann)).filter(({ label }) => label === 'screenshare')
            .map(({ framesDecoded }) => framesDecoded);
        const then = await frames();
        assert.equal(then.length, 2, 'the other one is not lost');
        await until('both pictures to go on', async () => (await frames())
            .every((count, at) => count > then[at] + 3));
        const part = await ann.evaluate(() => (
            document.querySelector('.tile.is-large').clientWidth
            / document.getElementById('grid').clientWidth));
        assert.ok(part > 0.7, `the slide has ${part} of the stage`);
        await screenshot(ann, 'two-screens');
        // The teacher may choose for all, who may choose again.
        const other = ann.locator('#shares button[aria-pressed=false]');
        const chosen = await other.textContent();
        const menu = teacher.locator('.tile', { has: teacher.locator('.tile-name', {
            hasText: chosen.startsWith('bob') ? /^bob.*screen/ : /^teacher.*screen/ }) }).locator('.tile-menu');
        await menu.click();
        await teacher.getByRole('menuitem', { name: 'Show large for everybody', exact: true }).click();
        await until('the chosen screen', async () => await large() === chosen);
        await other.click();
        await until('the other screen', async () => await large() !== chosen);
        await menu.click();
        await teacher.getByRole('menuitem', { name: 'No longer show large for everybody' }).click();
        await bob.click('#screen-button');
        await until('no picker', async () => !await ann.isVisible('#shares'));
        await teacher.click('#screen-button');
        await until('no slide', async () => await ann.locator('.tile.is-large').count() === 0);
    });

    test('an operator shows somebody large for everybody, until they leave', async () => {
        const carl = await join('carl', { start: 'both' });
        const tile = (page, name) => page.locator('.tile', { has: page.locator('.tile-name', { hasText: name }) });
        const isLarge = async (page, name = 'carl') => /is-large/.test(await tile(page, name).getAttribute('class'));
        const choose = async (text, name = 'carl') => {
            await tile(teacher, name).locator('.tile-menu').click();
            await teacher.getByRole('menuitem', { name: text, exact: true }).click();
        };
        await seesAndHears(ann, 'carl', { sound: false });
        const viewport = bob.viewportSize();
        const size = () => bob.evaluate(() => {
            const { connection, state } = window.aula;
            const { id } = [...connection.down.values()].find(({ username }) => username === 'carl');
            return state.room.reception.visible.get(id);
        });
        await bob.setViewportSize({ width: 360, height: 640 });
        if (await bob.isVisible('#chat-close'))
            await bob.click('#chat-close');
        await until('the small picture to be asked for', async () => await size() === 'small');
        await tile(ann, 'carl').locator('.tile-menu').click();
        assert.equal(await ann.getByRole('menuitem', { name: /for everybody/ }).count(), 0, 'for operators only');
        await ann.keyboard.press('Escape');
        await choose('Show large for everybody');
        await carl.waitForSelector('.notice:has-text("carl (you) is large for everybody.")');
        for (const page of [teacher, ann, bob])
            await until('carl to be large', async () => isLarge(page));
        await until('it to be announced',
            async () => /carl is large for everybody/.test(await bob.textContent('#announcer')));
        assert.equal(await isLarge(carl), false, 'a mirror is not for oneself');
        for (const page of [ann, carl])
            await page.getByRole('figure', { name: /^Large for everybody\s*carl/ }).waitFor();
        await until('the large picture to be asked for', async () => await size() === 'large');
        await screenshot(ann, 'spotlight');
        await screenshot(bob, 'spotlight-phone');
        await bob.setViewportSize(viewport);

        const late = await join('late');
        await until('carl to be large', async () => isLarge(late).catch(() => false));
        await late.close();

        await tile(bob, 'teacher').dblclick();
        await until('the own pin to win', async () => await isLarge(bob, 'teacher') && !await isLarge(bob));
        assert.equal(await isLarge(ann), true);
        await tile(bob, 'teacher').dblclick();
        await until('carl again', async () => isLarge(bob));

        await carl.click('#camera-button');
        await until('no picture', async () => /audio-only/.test(await tile(ann, 'carl').getAttribute('class')));
        assert.equal(await isLarge(ann), true, 'a person, not a stream');
        await choose('No longer show large for everybody');
        for (const page of [teacher, ann, bob])
            await until('nobody to be large', async () => await page.locator('.tile.is-large').count() === 0);
        assert.equal(await ann.locator('.tile-spotlight').count(), 0);

        if (!await teacher.isVisible('#people'))
            await teacher.click('#people-button');
        await teacher.getByRole('button', { name: /^carl/ }).click();
        await teacher.getByRole('menuitem', { name: 'Show large for everybody', exact: true }).click();
        await until('carl once more', async () => isLarge(ann));
        await carl.close();
        await until('its end', async () => await ann.evaluate(
            () => window.aula.connection.data.spotlight) === false);
        assert.equal(await ann.locator('.tile.is-large').count(), 0);
    });

    test('only what is on the page is requested, and thumbnails are small', async () => {
        const student = await join('student', { start: 'both' });
        await seesAndHears(student, 'teacher', { sound: false });
        const pictures = async () => (await inbound(student)).filter((entry) => entry.width > 0)
            .map((entry) => entry.username);
        assert.deepEqual(await pictures(), ['teacher']);
        await student.evaluate(() => {
            const { connection } = window.aula;
            const { send } = connection;
            connection.send = (message) => {
                if (message.type === 'requestStream')
                    window.lastWish = String(message.request);
                return send.call(connection, message);
            };
        });
        const wish = () => student.evaluate(() => window.lastWish);
        await student.setViewportSize({ width: 360, height: 640 });
        await student.click('#chat-close');
        await student.setViewportSize({ width: 1800, height: 1100 });
        await until('a large tile to go back to the large picture', async () => await wish() === 'null');
        await student.setViewportSize({ width: 360, height: 640 });
        await until('a small tile to ask for the small picture',
            async () => await wish() === 'audio,video-low');
        await until('the low layer to arrive', async () => {
            const [entry] = await inbound(student);
            return entry.width > 0 && entry.width <= 640;
        });
        await student.close();
    });

    test('an invitation is made, listed and ended', async () => {
        const makeLink = async () => {
            await teacher.click('#invite-form .primary');
            await teacher.waitForSelector('#invite-link:not([hidden])');
            return teacher.inputValue('#invite-url');
        };
        if (!await teacher.isVisible('#people'))
            await teacher.click('#people-button');
        await teacher.click('#invite-button');
        await teacher.fill('#invite-name', 'gast');
        const link = await makeLink();
        await until('it in the list',
            async () => /gast/.test(await teacher.textContent('#invite-list')));
        const guest = await openPage(browser, 'guest');
        await guest.goto(link);
        await guest.selectOption('#start', 'nothing');
        await guest.click('#join-button:not([disabled])');
        await guest.waitForSelector('#room:not([hidden])');
        await guest.close();
        await teacher.getByRole('button', { name: 'End the invitation of gast' }).click();
        await until('the list to be empty', async () => teacher.isVisible('#invite-none'));
        const late = await openPage(browser, 'late guest');
        await late.goto(link);
        await late.selectOption('#start', 'nothing');
        await late.click('#join-button:not([disabled])');
        await late.waitForSelector('#join-error:has-text("not valid")');
        await late.close();
        await screenshot(teacher, 'invite');
        await teacher.keyboard.press('Escape');
        assert.equal(await focused(teacher), 'invite-button');
    });

    test('commands of the other client do here what they do there', async () => {
        if (!await teacher.isVisible('#chat'))
            await teacher.click('#chat-button');
        const say = async (text) => {
            await teacher.fill('#chat-input', text);
            await teacher.press('#chat-input', 'Enter');
        };
        const answer = async (text) => {
            const line = teacher.locator('.chat-message', { hasText: text }).last();
            await line.waitFor();
            return line;
        };
        await say('/help');
        const help = await answer('/identify NAME');
        assert.match(await help.textContent(), /\/warn NAME TEXT/);
        assert.match(await help.textContent(), /^Aula only you see this/, 'not signed by the server');
        await say('/subgroups');
        await answer('Nobody is in a group below this one.');
        await say('/warn ann please sit down');
        await ann.waitForSelector('.notice-warning:has-text("teacher: please sit down")');
        await ann.waitForSelector('.chat-message:has-text("please sit down")', { state: 'attached' });
        await say('/identify bob');
        await answer('bob has the address ');
        await say('/invite visitor 7d');
        const made = await answer('visitor, until');
        const link = await made.locator('a').getAttribute('href');
        assert.match(link, /\?token=/);
        await say('/listtokens');
        await until('the invitation in the list', async () => (
            await teacher.locator(`.chat-message a[href="${link}"]`).count()) === 2);
        await say(`/reinvite ${link} nonsense`);
        await answer('That is no time');
        await say(`/reinvite ${link} 2h`);
        await until('it once more', async () => (
            await teacher.locator(`.chat-message a[href="${link}"]`).count()) === 3);
        await say(`/revoke ${link}`);
        await answer('The invitation is over.');
        await say('/listtokens');
        await answer('There are none.');
        await say('/set receive low');
        await until('the setting to be another one', async () => (
            await teacher.inputValue('#receive')) === 'low');
        await say('/set receive everything');
        await say('/set receive sometimes');
        await answer('receive can be everything, low,');
        await say('/set');
        await answer('hide-self: off');
        await teacher.fill('#chat-input', '/sendfile bob');
        await Promise.all([teacher.waitForEvent('filechooser'), teacher.press('#chat-input', 'Enter')]);
        await teacher.fill('#chat-input', '/presentfile');
        await Promise.all([teacher.waitForEvent('filechooser'), teacher.press('#chat-input', 'Enter')]);
        await teacher.fill('#chat-input', '');
        await screenshot(teacher, 'commands');
        const [download] = await Promise.all([
            teacher.waitForEvent('download'), teacher.click('#chat-save'),
        ]);
        assert.match(await readFile(await download.path(), 'utf8'), /^\d{4}-\d\d-\d\dT[\d:]{8}[+-]\d\d:\d\d \S/m);
    });

    test('diagnostics can be copied by hand, and tell the way of media in words', async () => {
        const page = await join('facts', { start: 'both' });
        await page.focus('#grid');
        await page.keyboard.press('s');
        await page.waitForSelector('.tile-facts:has-text("Over UDP, the direct way.")');
        await page.keyboard.press('s');
        await page.evaluate(() => {
            navigator.clipboard.writeText = async () => { throw new Error('not allowed'); };
        });
        await page.click('#settings-button');
        await page.click('#copy-facts');
        await page.waitForSelector('dialog[open] textarea');
        assert.match(await page.inputValue('dialog[open] textarea'), /"streams"/);
        assert.equal(await page.evaluate(() => document.activeElement.selectionEnd
            - document.activeElement.selectionStart > 20), true, 'it is selected already');
        await page.keyboard.press('Escape');
        await page.waitForSelector('dialog[open] textarea', { state: 'detached' });
        assert.equal(await focused(page), 'copy-facts');
        await page.close();
    });

    test('a search for somebody who is not there says so', async () => {
        const page = await join('seeker');
        await page.evaluate(fillClass, 20);
        await page.click('#people-button');
        await page.fill('#people-search', 'nobody at all');
        await page.waitForSelector('#people-none:has-text("Nobody of that name is here.")');
        await page.fill('#people-search', 'Ben');
        await until('the words to go', async () => await page.textContent('#people-none') === '');
        await page.fill('#people-search', 'ozturk');
        await page.waitForSelector('.person:has-text("Çağla Öztürk"):visible');
        await page.fill('#people-search', 'lukasz');
        await page.waitForSelector('.person:has-text("Łukasz"):visible');
        await page.close();
    });

    test('who leaves takes the menu along, and the focus stays in the list', async () => {
        const page = await join('seeker');
        const guest = await join('zebra');
        await page.click('#people-button');
        await page.getByRole('button', { name: /^zebra/ }).click();
        await page.waitForSelector('[role=menu]');
        await guest.close();
        await page.waitForSelector('[role=menu]', { state: 'detached' });
        assert.match(await page.evaluate(() => document.activeElement.className), /person-button/);
        await page.close();
    });

    test('a long chat stays at its end, tells who reads above of what is new, and is one Tab stop', async () => {
        const page = await join('reader', { password: '' });
        await page.evaluate(fillClass, 30);
        if (!await page.isVisible('#chat'))
            await page.click('#chat-button');
        const list = page.locator('#chat-list');
        const toEnd = () => list.evaluate((node) => node.scrollHeight - node.scrollTop - node.clientHeight);
        await list.evaluate((node) => { node.scrollTop = node.scrollHeight; });
        await until('the end', async () => await toEnd() < 2);
        await page.setViewportSize({ width: 1100, height: 420 });
        await until('the end after a keyboard has come up', async () => await toEnd() < 2);
        await page.evaluate(() => window.aula.connection.emit('chat', { message: {
            id: 'm1', source: 'x', username: 'x', time: new Date().toISOString(), value: 'followed' } }));
        await until('the end still', async () => await toEnd() < 2);
        // At once, so that the line is there before the page hears of the scrolling.
        await list.evaluate((node) => {
            node.scrollTop = 0;
            window.aula.connection.emit('chat', { message: {
                id: 'm2', source: 'x', username: 'x', time: new Date().toISOString(), value: 'further down' } });
        });
        await page.waitForSelector('#chat-below:has-text("1 new message below")');
        await teacher.evaluate(() => window.aula.connection.chat('still further'));
        await page.waitForSelector('#chat-below:has-text("2 new messages below")');
        assert.ok(await toEnd() > 100, 'who reads is left in peace');
        await page.click('#chat-below');
        await page.waitForSelector('#chat-below', { state: 'hidden' });
        assert.ok(await toEnd() < 2);
        assert.equal(await focused(page), 'chat-list');
        assert.equal(await page.locator('.chat-delete[tabindex="0"]').count(), 1);
        await page.close();
    });

    test('attendance is saved as a table that no spreadsheet takes for formulas', async () => {
        if (!await teacher.isVisible('#people'))
            await teacher.click('#people-button');
        const odd = await join('=1+1');
        await until('them to be seen', async () => (await peopleOf(teacher)).includes('=1+1'));
        await odd.close();
        const [download] = await Promise.all([
            teacher.waitForEvent('download'), teacher.click('#attendance-button'),
        ]);
        const text = await readFile(await download.path(), 'utf8');
        assert.match(text, /^"name","first seen","last seen","minutes present"\r\n/);
        assert.match(text, /\r\n"ann","\d{4}-/);
        assert.match(text, /\r\n"'=1\+1",/);
    });

    test('captions are shown over the stage and kept as a transcript', async () => {
        await teacher.evaluate(() => window.aula.connection.chat('two and two are four',
            { kind: 'caption' }));
        await ann.waitForSelector('#captions p:has-text("two and two")');
        assert.equal(await ann.locator('.chat-message:has-text("two and two")').count(), 0);
        const [download] = await Promise.all([
            ann.waitForEvent('download'), ann.click('#transcript'),
        ]);
        assert.match(await readFile(await download.path(), 'utf8'), /teacher: two and two are four/);
    });

    test('a file goes from one to another', async () => {
        const content = 'homework '.repeat(20_000);
        await ann.click('#people-button');
        await ann.getByRole('button', { name: /^bob/ }).click();
        const [chooser] = await Promise.all([
            ann.waitForEvent('filechooser'),
            ann.getByRole('menuitem', { name: 'Give a file' }).click(),
        ]);
        await chooser.setFiles({ name: 'work.txt', mimeType: 'text/plain', buffer: Buffer.from(content) });
        await bob.getByRole('button', { name: 'Accept' }).click();
        await ann.waitForSelector('#files li:has-text("arrived")');
        const [download] = await Promise.all([
            bob.waitForEvent('download'),
            bob.locator('#files').getByRole('button', { name: 'Save' }).click(),
        ]);
        assert.equal(download.suggestedFilename(), 'work.txt');
        assert.equal(await readFile(await download.path(), 'utf8'), content);
        await bob.locator('#files').getByRole('button', { name: 'Close' }).click();
        await ann.locator('#files').getByRole('button', { name: 'Close' }).click();
        assert.notEqual(await focused(ann), 'BODY');
    });

    test('a file is shown to all as it plays', async () => {
        await teacher.setInputFiles('#film-file', { name: 'film.webm', mimeType: 'video/webm',
            buffer: Buffer.from(await recordedFilm(ann), 'base64') });
        await until('ann to see it large', async () => (await inbound(ann)).some(
            ({ label, framesDecoded }) => label === 'video' && framesDecoded > 3));
        await ann.waitForSelector('.tile.is-large:has-text("film")');
        await teacher.waitForSelector('#film-bar:has-text("You are showing a film")');
        await teacher.click('#film-pause');
        await teacher.waitForSelector('#film-pause:has-text("Go on")');
        await screenshot(teacher, 'film-paused');
        // A film of colours that change all the time; what is sent of a still one may still be refined.
        const change = () => ann.evaluate(async () => {
            const colour = () => {
                const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
                canvas.drawImage(document.querySelector('.tile.is-large video'), 0, 0, 1, 1);
                return [...canvas.getImageData(0, 0, 1, 1).data];
            };
            let most = 0;
            let last = colour();
            for (let count = 0; count < 10; count += 1) {
                await new Promise((resolve) => setTimeout(resolve, 150));
                const now = colour();
                most = Math.max(most, ...now.map((value, at) => Math.abs(value - last[at])));
                last = now;
            }
            return most;
        });
        await until('the film to stand still', async () => await change() < 16);
        await teacher.click('#film-pause');
        await until('the film to go on', async () => await change() > 64);
        await until('the end of the film', async () => (await inbound(ann)).every(
            ({ label }) => label !== 'video'));
        assert.equal(await teacher.isVisible('#film-bar'), false);
        await teacher.setInputFiles('#film-file',
            { name: 'notes.txt', mimeType: 'text/plain', buffer: Buffer.from('no film') });
        await teacher.waitForSelector('.notice:has-text("cannot play notes.txt")');
    });

    test('a whole class by keyboard alone', async () => {
        const page = await join('keys');
        await page.keyboard.press('h');
        await teacher.waitForSelector('#hands-chip:has-text("keys")');
        await page.keyboard.press('h');
        await page.keyboard.press('m');
        await until('the microphone to be on',
            async () => await page.getAttribute('#mic-button', 'aria-pressed') === 'true');
        await page.keyboard.press('m');
        await page.focus('#grid');
        await page.keyboard.down('Space');
        await until('push to talk',
            async () => await page.getAttribute('#mic-button', 'aria-pressed') === 'true');
        await page.keyboard.up('Space');
        await until('silence',
            async () => await page.getAttribute('#mic-button', 'aria-pressed') === 'false');
        await page.keyboard.press('c');
        await page.keyboard.type('typed by hand');
        await page.keyboard.press('Enter');
        await teacher.waitForSelector('.chat-message:has-text("typed by hand")', { state: 'attached' });
        await page.keyboard.press('Escape');
        assert.equal(await focused(page), 'chat-button');
        await page.keyboard.press('?');
        await page.waitForSelector('#keys[open]');
        await page.keyboard.press('Escape');
        assert.equal(await focused(page), 'chat-button');
        await page.keyboard.press('p');
        await until('a person to have the focus',
            async () => page.evaluate(() => document.activeElement.className.includes('person')));
        await page.keyboard.press('ArrowDown');
        await page.keyboard.press('Enter');
        await page.waitForSelector('[role=menu]');
        await page.keyboard.press('Escape');
        assert.equal(await page.locator('[role=menu]').count(), 0);
        assert.ok(await page.evaluate(() => document.activeElement.className.includes('person')));
        await page.focus('#mic-button');
        await page.keyboard.press('End');
        assert.equal(await focused(page), 'leave-button');
        assert.equal(await page.locator('.control[tabindex="0"]').count(), 1, 'one Tab stop');
        await page.keyboard.press('Enter');
        await page.waitForSelector('#join:not([hidden])');
    });

    test('names of controls stay; a teacher is asked before leaving', async () => {
        for (const name of ['Microphone', 'Camera', 'Raise hand'])
            assert.equal(await teacher.getByRole('button', { name, exact: true }).count(), 1, name);
        await teacher.click('#leave-button');
        await teacher.waitForSelector('#ask[open]');
        await teacher.keyboard.press('Escape');
        assert.equal(await focused(teacher), 'leave-button');
        assert.equal(await teacher.isVisible('#room'), true);
    });

    function focused(page) {
        return page.evaluate(() => document.activeElement.id || document.activeElement.tagName);
    }
});
