/** Below a prefix, behind a proxy that takes it off, as nginx does with a slash behind proxy_pass. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { launch, openPage, seesAndHears } from './peer/browser.js';
import { ADDRESS, PORT, Server } from './peer/server.js';
import { until } from './peer/wait.js';

const FRONT_PORT = 8444;
const FRONT = `https://${ADDRESS}:${FRONT_PORT}/aula`;

/** Passes everything below /aula/ on without it; anything else is somebody else's. */
function frontOf(server) {
    const file = (name) => readFileSync(join(server.directory, 'data', name));
    const below = (url) => url.replace(/^\/aula(?=\/)/, '');
    const strangers = [];
    const front = https.createServer({ cert: file('cert.pem'), key: file('key.pem') });
    const pass = (request) => https.request({
        host: ADDRESS, port: PORT, path: below(request.url), method: request.method,
        headers: request.headers, rejectUnauthorized: false,
    });
    front.on('request', (request, response) => {
        if (!request.url.startsWith('/aula/')) {
            strangers.push(request.url);
            response.writeHead(404).end();
            return;
        }
        const call = pass(request);
        call.on('response', (answer) => {
            response.writeHead(answer.statusCode, answer.headers);
            answer.pipe(response);
        });
        call.on('error', () => response.destroy());
        request.pipe(call);
    });
    front.on('upgrade', (request, socket, head) => {
        if (!request.url.startsWith('/aula/')) {
            strangers.push(request.url);
            socket.destroy();
            return;
        }
        const call = pass(request);
        call.on('upgrade', (answer, upstream, rest) => {
            const lines = Object.entries(answer.headers).map(([name, value]) => `${name}: ${value}`);
            socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join('\r\n')}\r\n\r\n`);
            socket.write(rest);
            upstream.write(head);
            upstream.pipe(socket).pipe(upstream);
            for (const one of [socket, upstream])
                one.on('error', () => one.destroy());
        });
        call.on('response', () => socket.destroy());
        call.on('error', () => socket.destroy());
        call.end();
    });
    return { front, strangers };
}

describe('a prefix', { concurrency: 1 }, () => {
    let server;
    let browser;
    let front;
    let strangers;

    before(async () => {
        server = await Server.start({ files: { 'data/config.json': JSON.stringify({ proxyURL: FRONT }) } });
        ({ front, strangers } = frontOf(server));
        await new Promise((resolve) => front.listen(FRONT_PORT, ADDRESS, resolve));
        browser = await launch();
    });

    after(async () => {
        await browser?.close();
        front?.closeAllConnections();
        front?.close();
        assert.equal(await server?.stop(), 0);
    });

    test('from the landing page into a group, publishing and watching, all below it', async () => {
        const ann = await openPage(browser, 'ann');
        await ann.goto(`${FRONT}/`);
        await ann.fill('#group', 'test');
        await ann.press('#group', 'Enter');
        await ann.waitForURL(`${FRONT}/group/test/`);
        await ann.fill('#username', 'ann');
        await ann.selectOption('#start', 'both');
        await ann.click('#join-button:not([disabled])');
        await ann.waitForSelector('#room:not([hidden])');
        const bob = await openPage(browser, 'bob');
        await bob.goto(`${FRONT}/group/test`);
        assert.equal(bob.url(), `${FRONT}/group/test/`);
        await bob.fill('#username', 'bob');
        await bob.click('#join-button:not([disabled])');
        await seesAndHears(bob, 'ann');
        const player = await openPage(browser, 'player');
        await player.goto(`${FRONT}/group/test/watch`);
        await until('the player to play', () => player.evaluate(
            () => [...document.querySelectorAll('video')].some((video) => video.videoWidth > 0),
        ));
        // A browser looks for an icon where it likes.
        assert.deepEqual(strangers.filter((url) => url !== '/favicon.ico'), []);
        await Promise.all([ann, bob, player].map((page) => page.close()));
    });
});
