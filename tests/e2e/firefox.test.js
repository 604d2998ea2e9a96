/** The group page in Firefox: it publishes both pictures, and is a member like any other. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { inbound, joinGroup, peopleOf, seesAndHears } from './peer/browser.js';
import { Firefox } from './peer/firefox.js';
import { ORIGIN } from './peer/server.js';
import { lower, raise } from './peer/stage.js';
import { until } from './peer/wait.js';

describe('Firefox', { concurrency: 1, skip: !Firefox.isThere && 'there is none' }, () => {
    let server;
    let browser;
    let firefox;
    let ann;

    before(async () => {
        ({ server, browser } = await raise());
        ann = await joinGroup(browser, 'ann', { start: 'both' });
        firefox = await Firefox.launch(`${ORIGIN}/group/test/`);
    });

    after(async () => {
        await firefox?.close();
        await lower({ server, browser });
    });

    test('joins, sees, is seen, raises a hand and writes', async () => {
        await until('the entrance', async () => firefox.run(
            () => !document.getElementById('join-button').disabled));
        await firefox.run(() => {
            document.getElementById('username').value = 'fox';
            document.getElementById('join-button').click();
        });
        await until('both in the list', async () => (await peopleOf(ann)).join() === 'ann,fox');
        await seesAndHears(ann, 'fox', { sound: false });
        await until('pictures of ann in Firefox', async () => firefox.run(async () => {
            for (const stream of window.aula.connection.down.values()) {
                for (const report of (await stream.pc.getStats()).values()) {
                    if (report.type === 'inbound-rtp' && report.framesDecoded > 5)
                        return true;
                }
            }
            return false;
        }));
        await firefox.run(() => {
            document.getElementById('hand-button').click();
            document.getElementById('chat-input').value = 'from Firefox';
            document.getElementById('chat-form').requestSubmit();
        });
        await ann.waitForSelector('#hands-chip:has-text("fox")');
        await ann.waitForSelector('.chat-message:has-text("from Firefox")');
        assert.equal(await firefox.run(
            () => document.querySelectorAll('.chat-message.is-pending').length), 0);
    });

    test('gives small pictures to small tiles', async () => {
        const width = async () => (await inbound(ann))
            .find(({ username }) => username === 'fox')?.width;
        /** The widths that Firefox sends at present; it scales both with the load. */
        const sent = () => firefox.run(async () => {
            const widths = [];
            for (const stream of window.aula.connection.up.values()) {
                for (const report of (await stream.pc.getStats()).values()) {
                    if (report.type === 'outbound-rtp' && report.frameWidth > 0)
                        widths.push(report.frameWidth);
                }
            }
            return widths.sort((a, b) => a - b);
        });
        await until('the large picture', async () => {
            const widths = await sent();
            return widths.length === 2 && await width() === widths[1];
        });
        await ann.click('#settings-button');
        await ann.selectOption('#receive', 'low');
        await until('the small picture', async () => await width() === (await sent())[0]);
    });
});
