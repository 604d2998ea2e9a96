/** The 2021 recipe, word for word, in an empty directory; and what other web origins may do. */

import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, describe, test } from 'node:test';
import { joinGroup, launch, openPage, peopleOf, seesAndHears } from './peer/browser.js';
import { Publisher } from './peer/ffmpeg.js';
import { ADDRESS, ORIGIN, request, Server } from './peer/server.js';
import { until } from './peer/wait.js';
import { helpers, publishCanvas } from './peer/web-session.js';

const FOREIGN_PORT = 9080;

describe('the recipe of 2021', { concurrency: 1 }, () => {
    let server;
    let browser;
    let foreign;

    before(async () => {
        server = await Server.start({
            isBare: true,
            args: ['-public-server'],
            groups: { test: '{"op":[{}],"allow-anonymous":true}' },
        });
        foreign = http.createServer((_, response) => response.end('<title>elsewhere</title>'));
        await new Promise((resolve) => foreign.listen(FOREIGN_PORT, ADDRESS, resolve));
        browser = await launch();
    });

    after(async () => {
        await browser?.close();
        foreign?.close();
        assert.equal(await server?.stop(), 0);
    });

    test('the group URL is a page for GET', async () => {
        const page = await request('/group/test/');
        assert.equal(page.status, 200);
        assert.match(page.headers['content-type'], /^text\/html/);
        assert.match(page.headers['content-security-policy'], /default-src 'self'/);
    });

    test('a page of another origin opens the WebSocket and reads the status', async () => {
        const page = await openPage(browser, 'elsewhere');
        await page.goto(`http://${ADDRESS}:${FOREIGN_PORT}/`);
        const reply = await page.evaluate((url) => new Promise((resolve) => {
            const socket = new WebSocket(url);
            socket.onopen = () => socket.send(JSON.stringify({
                type: 'handshake', version: ['2'], id: '0123456789abcdef0123456789abcdef',
            }));
            socket.onmessage = ({ data }) => resolve(JSON.parse(data));
            socket.onclose = ({ code }) => resolve({ code });
        }), `${ORIGIN.replace('https', 'wss')}/ws`);
        assert.deepEqual(reply, { type: 'handshake', version: ['2'] });
        const status = await page.evaluate(
            async (url) => (await fetch(url)).json(), `${ORIGIN}/group/test/.status`,
        );
        assert.equal(status.name, 'test');
        await page.close();
    });

    test('a page of another origin publishes over WHIP to the group URL', async () => {
        const ann = await joinGroup(browser, 'ann');
        const page = await openPage(browser, 'elsewhere');
        await page.addInitScript(helpers);
        await page.goto(`http://${ADDRESS}:${FOREIGN_PORT}/`);
        const reply = await page.evaluate(publishCanvas, { url: `${ORIGIN}/group/test/` });
        assert.equal(reply.status, 201);
        assert.match(reply.location, /^https:\/\/[^/]+\/group\/test\//);
        await seesAndHears(ann, 'whip');
        assert.equal(await page.evaluate(
            async (url) => (await fetch(url, { method: 'DELETE' })).status, reply.location,
        ), 200);
        await until('the publisher to leave the list',
            async () => (await peopleOf(ann)).join() === 'ann');
        await page.close();
        await ann.close();
    });

    test('an encoder publishes to the group URL', async () => {
        // A group that names no codecs has VP8 and opus: FFmpeg needs H.264.
        server.writeGroups({ test: '{"op":[{}],"allow-anonymous":true,"codecs":["h264","opus"]}' });
        const page = await joinGroup(browser, 'ann');
        const publisher = new Publisher(server, `${ORIGIN}/group/test/`);
        try {
            await seesAndHears(page, 'whip').catch((error) => {
                server.dump();
                throw new Error(`${error.message}\nFFmpeg: ${publisher.output}`);
            });
        } finally {
            await publisher.stop();
        }
    });
});
