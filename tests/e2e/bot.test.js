/** The examples of bots: the web client's library works outside our page, in Node and from any origin. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { joinGroup, openPage, peopleOf } from './peer/browser.js';
import { ADDRESS, ORIGIN, PORT } from './peer/server.js';
import { lower, raise } from './peer/stage.js';
import { until } from './peer/wait.js';

const BOT = fileURLToPath(new URL('../../docs/examples/bot.mjs', import.meta.url));
const PAGE = fileURLToPath(new URL('../../docs/examples/bot.html', import.meta.url));
/** Another origin at the same address: Chromium keeps public pages away from private networks. */
const ELSEWHERE = `http://${ADDRESS}:9099`;
const hasWebSocket = Number(process.versions.node.split('.')[0]) >= 20;

describe('bots', { concurrency: 1 }, () => {
    let server;
    let browser;
    let bot;
    let elsewhere;

    before(async () => {
        ({ server, browser } = await raise({ config: { allowOrigin: [ELSEWHERE] } }));
    });

    after(async () => {
        bot?.kill('SIGKILL');
        elsewhere?.close();
        elsewhere?.closeAllConnections();
        await lower({ server, browser });
    });

    test('in Node one names the next hand, lowers it, and leaves in order', {
        skip: !hasWebSocket && 'Node is too old',
    }, async () => {
        bot = spawn(process.execPath,
            ['--experimental-websocket', BOT, `wss://${ADDRESS}:${PORT}/ws`, 'test', 'robot'],
            { env: { ...process.env, NODE_EXTRA_CA_CERTS: server.certificate }, stdio: 'inherit' });
        const exited = once(bot, 'exit');
        const ann = await joinGroup(browser, 'ann');
        await until('the bot in the list', async () => (await peopleOf(ann)).join() === 'ann,robot');
        await ann.click('#hand-button');
        await until('the hand to be up', async () => await ann.getAttribute(
            '#hand-button', 'aria-pressed') === 'true');
        await ann.fill('#chat-input', 'next');
        await ann.press('#chat-input', 'Enter');
        await ann.waitForSelector('.chat-message:has-text("Next is ann.")');
        await until('the hand to be down', async () => await ann.getAttribute(
            '#hand-button', 'aria-pressed') === 'false');
        bot.kill('SIGTERM');
        assert.equal((await exited)[0], 0);
        await until('the bot to be gone', async () => (await peopleOf(ann)).join() === 'ann');
        await ann.close();
    });

    test('in a page of another origin one hears who speaks', async () => {
        const page = await openPage(browser, 'clock');
        await page.addInitScript(() => {
            window.connections = [];
            window.RTCPeerConnection = class extends RTCPeerConnection {
                constructor(...given) {
                    super(...given);
                    window.connections.push(this);
                }
            };
        });
        elsewhere = createServer((_, response) => {
            response.setHeader('Content-Type', 'text/html');
            response.end(readFileSync(PAGE));
        }).listen(9099, ADDRESS);
        const ann = await joinGroup(browser, 'ann', { start: 'audio' });
        const query = new URLSearchParams({ server: ORIGIN, group: 'test', name: 'clock' });
        await page.goto(`${ELSEWHERE}/bot.html?${query}`);
        await until('the bot in the list', async () => (await peopleOf(ann)).join() === 'ann,clock');
        // How loud the false microphone is is up to the browser: what counts is that sound comes.
        await until('sound of ann', async () => page.evaluate(async () => {
            for (const pc of window.connections) {
                for (const report of (await pc.getStats()).values()) {
                    if (report.type === 'inbound-rtp' && report.packetsReceived > 50)
                        return true;
                }
            }
            return false;
        }));
        await ann.fill('#chat-input', 'who');
        await ann.press('#chat-input', 'Enter');
        await until('its answer', async () =>
            (await ann.locator('.chat-message').allTextContents())
                .some((text) => /ann: \d+ s|Nobody has spoken yet/.test(text)));
    });
});
