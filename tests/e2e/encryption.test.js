/** A class that is switched to encryption from end to end: with the key, without it, with a wrong one, and back. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { inbound, joinGroup, screenshot, seesAndHears } from './peer/browser.js';
import { Firefox } from './peer/firefox.js';
import { lower, raise } from './peer/stage.js';
import { until } from './peer/wait.js';

describe('encryption', { concurrency: 1 }, () => {
    let server;
    let browser;
    let teacher;
    let ann;
    let link;
    const asked = [];

    before(async () => {
        ({ server, browser } = await raise());
        teacher = await joinGroup(browser, 'teacher', {
            start: 'both', prepare: (page) => page.on('request', (request) => asked.push(request.url())),
        });
        ann = await joinGroup(browser, 'ann', { start: 'both' });
        await seesAndHears(ann, 'teacher');
    });

    after(async () => {
        await lower({ server, browser });
    });

    test('who has no key is shut out, and told what to do', async () => {
        await teacher.click('#people-button');
        await teacher.click('#encrypt-button');
        await teacher.click('#ask-yes');
        await teacher.waitForSelector('#room-encrypted:has-text("Encrypted")');
        await ann.waitForSelector('#room-encrypted:has-text("Key missing")');
        await ann.waitForSelector('#empty:has-text("Ask a teacher for the link")');
        await until('nothing to go out of ann\'s page',
            async () => ann.evaluate(() => window.aula.connection.up.size === 0));
        await ann.click('#mic-button');
        await ann.waitForSelector('.notice:has-text("Ask a teacher for the link")');
        assert.equal(await ann.getAttribute('#mic-button', 'aria-pressed'), 'false', 'nothing is open');
        const late = await joinGroup(browser, 'late', { start: 'both' });
        await late.waitForSelector('#room-encrypted:has-text("Key missing")');
        await late.waitForSelector('.notice:has-text("Ask a teacher for the link")');
        assert.equal(await late.getAttribute('#mic-button', 'aria-pressed'), 'false');
        assert.equal(await late.getAttribute('#camera-button', 'aria-pressed'), 'false');
        await late.close();
        await screenshot(ann, 'encryption-without-key');
        link = await teacher.evaluate(() => location.href);
        assert.match(link, /#key=[0-9a-f]{32}$/);
    });

    test('with the key in the link both see and hear each other', async () => {
        // Another fragment alone would not load the page again.
        await ann.goto('about:blank');
        await ann.goto(link);
        await ann.fill('#username', 'ann');
        await ann.selectOption('#start', 'both');
        await ann.click('#join-button:not([disabled])');
        await seesAndHears(ann, 'teacher');
        await seesAndHears(teacher, 'ann');
        await screenshot(ann, 'encryption-with-key');
        for (const { codecs } of await inbound(ann))
            assert.deepEqual([...codecs].sort(), ['audio/opus', 'video/vp8']);
    });

    test('Firefox takes part', { skip: !Firefox.isThere && 'there is none' }, async () => {
        const firefox = await Firefox.launch(link);
        try {
            await until('the entrance', async () => firefox.run(
                () => !document.getElementById('join-button').disabled));
            await firefox.run(() => {
                document.getElementById('username').value = 'fox';
                document.getElementById('join-button').click();
            });
            await seesAndHears(ann, 'fox', { sound: false });
            await until('pictures in Firefox', async () => firefox.run(async () => {
                for (const stream of window.aula.connection.down.values()) {
                    for (const report of (await stream.pc.getStats()).values()) {
                        if (report.type === 'inbound-rtp' && report.framesDecoded > 5)
                            return window.aula.state.encryption.unreadable.size === 0;
                    }
                }
                return false;
            }));
        } finally {
            await firefox.close();
        }
    });

    test('a wrong key shows and plays nothing', async () => {
        const eve = await joinGroup(browser, 'eve');
        await eve.evaluate(() => {
            // Eve's page takes her own key for the right one, as a dishonest one could.
            const { encryption } = window.aula.state;
            encryption.key = '0'.repeat(32);
            Object.defineProperty(encryption, 'hasKey', { get: () => true, set: () => {} });
            window.aula.connection.request({ '': ['audio', 'video'] });
        });
        await until('streams to come that cannot be read', async () => eve.evaluate(() => (
            window.aula.state.encryption.unreadable.size >= 2)));
        await eve.waitForSelector('.tile-note:has-text("not encrypted with the key")');
        for (const { framesDecoded, audioEnergy } of await inbound(eve))
            assert.deepEqual([framesDecoded, audioEnergy], [0, 0]);
        await eve.close();
    });

    test('the key is never sent, and the class can be switched back', async () => {
        const key = link.split('#key=')[1];
        assert.ok(asked.length > 10);
        assert.deepEqual(asked.filter((url) => url.includes(key)), []);
        assert.ok(!server.log.some((line) => line.includes(key)));
        await teacher.click('#encrypt-button');
        await teacher.click('#ask-yes');
        await ann.waitForSelector('#ask[open]:has-text("The server could hear and see you")');
        assert.equal(await ann.evaluate(() => window.aula.connection.up.size), 0, 'nothing before she agrees');
        await ann.click('#ask-yes');
        const bob = await joinGroup(browser, 'bob');
        await seesAndHears(bob, 'teacher');
        await seesAndHears(bob, 'ann');
        assert.equal(await bob.isVisible('#room-encrypted'), false);
    });
});
