/** The example of a bot in Node: the web client's library works outside a page. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { joinGroup, launch, peopleOf } from './peer/browser.js';
import { ADDRESS, PORT, Server } from './peer/server.js';
import { until } from './peer/wait.js';

const BOT = fileURLToPath(new URL('../../docs/examples/bot.mjs', import.meta.url));
const hasWebSocket = Number(process.versions.node.split('.')[0]) >= 20;

describe('a bot', { concurrency: 1, skip: !hasWebSocket && 'Node is too old' }, () => {
    let server;
    let browser;
    let bot;

    before(async () => {
        server = await Server.start();
        browser = await launch();
    });

    after(async () => {
        bot?.kill('SIGKILL');
        await browser?.close();
        await server?.stop();
    });

    test('names the next hand, lowers it, and leaves in order', async () => {
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
    });
});
