/**
 * WHIP and WHEP in browsers, from a page of another origin: CORS, credentials, late publishers,
 * ICE restart, layers, and the two pages for people without a client.
 */

import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, describe, test } from 'node:test';
import { joinGroup, launch, openPage, peopleOf, screenshot, seesAndHears } from './peer/browser.js';
import { Publisher } from './peer/ffmpeg.js';
import { ADDRESS, ORIGIN, request, Server } from './peer/server.js';
import { until } from './peer/wait.js';
import { helpers, play, publishCanvas } from './peer/web-session.js';

const FOREIGN_PORT = 9080;
const FOREIGN = `http://${ADDRESS}:${FOREIGN_PORT}/`;
const USERS = {
    users: {
        ann: { password: 'a', permissions: 'op' },
        whip: { password: 'sesame', permissions: 'present' },
        mute: { password: 'm', permissions: 'message' },
    },
    codecs: ['vp8', 'h264', 'opus'],
};
const basic = (pair) => ({ Authorization: `Basic ${Buffer.from(pair).toString('base64')}` });

async function elsewhere(browser, name) {
    const page = await openPage(browser, name);
    await page.addInitScript(helpers);
    await page.goto(FOREIGN);
    return page;
}

/** Waits until a player decodes so many more frames. */
async function plays(page, { more = 10, sound = false } = {}) {
    const first = await until('a first frame', async () => {
        const sums = await page.evaluate(() => window.incoming());
        return sums.frames > 0 && sums;
    });
    return until(`${more} more frames`, async () => {
        const sums = await page.evaluate(() => window.incoming());
        return sums.frames >= first.frames + more && (!sound || sums.energy > 0) && sums;
    });
}

const end = (page) => page.evaluate(async () => {
    const { status } = await fetch(window.session, { method: 'DELETE', headers: window.headers });
    window.pc.close();
    return status;
});

describe('WHIP and WHEP in browsers', { concurrency: 1 }, () => {
    let server;
    let browser;
    let foreign;

    before(async () => {
        server = await Server.start({
            args: ['--public-server', '--shards', '2', '--fill', '1'],
            groups: {
                test: {
                    codecs: ['vp8', 'h264', 'opus'],
                    'wildcard-user': { password: { type: 'wildcard' }, permissions: 'op' },
                },
                private: USERS,
            },
        });
        foreign = http.createServer((_, response) => {
            response.setHeader('Content-Type', 'text/html');
            response.end('<!DOCTYPE html><title>elsewhere</title><body></body>');
        });
        await new Promise((resolve) => foreign.listen(FOREIGN_PORT, ADDRESS, resolve));
        browser = await launch();
    });

    after(async () => {
        await browser?.close();
        foreign?.close();
        assert.equal(await server?.stop(), 0);
    });

    test('a player sees a WHIP publisher and an encoder, one after the other', async () => {
        const publisher = await elsewhere(browser, 'publisher');
        const player = await elsewhere(browser, 'player');
        const watched = await player.evaluate(play, { url: `${ORIGIN}/group/test/.whep` });
        assert.equal(watched.status, 201, watched.body);
        assert.match(watched.body, /a=sendonly/);
        const published = await publisher.evaluate(publishCanvas, { url: `${ORIGIN}/group/test/.whip` });
        assert.equal(published.status, 201, published.body);
        await plays(player, { sound: true });
        assert.equal(await end(publisher), 200);
        // The same seats show the next one: another codec, no negotiation.
        const encoder = new Publisher(server, `${ORIGIN}/group/test/.whip`);
        try {
            await plays(player, { more: 30 }).catch((error) => {
                server.dump();
                throw new Error(`${error.message}\nFFmpeg: ${encoder.output}`);
            });
        } finally {
            await encoder.stop();
        }
        assert.equal(await end(player), 200);
        await publisher.close();
        await player.close();
    });

    test('a WHEP player on the group URL sees and hears a member of the class', async () => {
        const ann = await joinGroup(browser, 'ann', { start: 'both' });
        const player = await elsewhere(browser, 'player');
        const watched = await player.evaluate(play, { url: `${ORIGIN}/group/test/?user=ann` });
        assert.equal(watched.status, 201, watched.body);
        await plays(player, { sound: true });
        assert.deepEqual(await peopleOf(ann), ['ann', 'whip']);
        await until('the player to be kicked', async () => {
            await ann.evaluate(() => {
                const { connection } = window.aula;
                for (const [id, user] of connection.users)
                    if (user.username === 'whip')
                        connection.userAction('kick', id, 'enough');
            });
            return (await peopleOf(ann)).join() === 'ann';
        });
        assert.equal(await end(player), 404, 'the session has ended with the kick');
        await ann.close();
        await player.close();
    });

    test('an ICE restart of publisher and player, while pictures go on', async () => {
        const publisher = await elsewhere(browser, 'publisher');
        const player = await elsewhere(browser, 'player');
        await publisher.evaluate(publishCanvas, { url: `${ORIGIN}/group/test/.whip` });
        await player.evaluate(play, { url: `${ORIGIN}/group/test/.whep` });
        await plays(player);
        for (const [page, name] of [[publisher, 'publisher'], [player, 'player']]) {
            const before = await page.evaluate(() => window.selected());
            // The longest time between two frames, as the player's own clock has it.
            await player.evaluate(() => {
                window.gap = { last: performance.now(), frames: 0, longest: 0 };
                window.gapTimer = setInterval(async () => {
                    const { frames } = await window.incoming();
                    const now = performance.now();
                    if (frames > window.gap.frames) {
                        window.gap.longest = Math.max(window.gap.longest, now - window.gap.last);
                        window.gap = { ...window.gap, last: now, frames };
                    }
                }, 50);
            });
            const restarted = await page.evaluate(() => window.restart());
            assert.equal(restarted.status, 200);
            assert.ok(restarted.etag);
            await until(`${name} to use the new path`, async () => {
                const now = await page.evaluate(() => window.selected());
                return now !== undefined && now !== before;
            });
            await plays(player, { more: 20 });
            const { longest } = await player.evaluate(() => {
                clearInterval(window.gapTimer);
                return window.gap;
            });
            console.log(`# ${name} restarted: at most ${Math.round(longest)} ms without a picture`);
        }
        await end(publisher);
        await end(player);
        await publisher.close();
        await player.close();
    });

    test('simulcast arrives, and a player chooses among its layers', async () => {
        const publisher = await elsewhere(browser, 'publisher');
        const player = await elsewhere(browser, 'player');
        const published = await publisher.evaluate(publishCanvas,
            { url: `${ORIGIN}/group/test/.whip`, rids: ['h', 'l'], codec: 'video/vp8' });
        assert.equal(published.status, 201, published.body);
        assert.match(published.body, /a=simulcast:recv h;l/);
        const watched = await player.evaluate(play, { url: `${ORIGIN}/group/test/.whep` });
        const session = new URL(watched.location).pathname;
        const made = await request(`${session}/events`, {
            method: 'POST', body: '["layers"]', headers: { 'Content-Type': 'application/json' },
        });
        assert.equal(made.status, 201, made.body);
        const choose = (layer) => request(`${session}/layer`, {
            method: 'POST', body: JSON.stringify(layer),
            headers: { 'Content-Type': 'application/json' },
        });
        // The encoder scales both layers with the load, so only the relation of the two counts.
        const shows = (rid) => until(`layer ${rid}`, async () => {
            const sent = await publisher.evaluate(() => window.outgoing());
            const { width } = await player.evaluate(() => window.incoming());
            return sent.h > sent.l && sent.l > 0 && width === sent[rid];
        });
        await shows('h');
        assert.equal((await choose({ rid: 'l' })).status, 200);
        await shows('l');
        assert.equal((await choose({ rid: 'none' })).status, 400);
        assert.equal((await choose({})).status, 200);
        await shows('h');
        await end(publisher);
        await end(player);
        await publisher.close();
        await player.close();
    });

    test('credentials: Basic, bearer and token, and errors that a foreign page can read', async () => {
        const page = await elsewhere(browser, 'publisher');
        const url = `${ORIGIN}/group/private/.whip`;
        const attempt = (headers, target = url) =>
            page.evaluate(publishCanvas, { url: target, headers });
        const refused = await attempt({});
        assert.equal(refused.status, 401);
        assert.equal(refused.challenge, 'Bearer', 'no Basic challenge: it would open a dialogue');
        assert.match(JSON.parse(refused.body).detail, /user and password/);
        assert.equal((await attempt({ Authorization: 'Bearer wrong' })).status, 401);
        assert.equal((await attempt(basic('ann:wrong'))).status, 401);
        assert.equal((await attempt(basic('mute:m'))).status, 403);
        assert.equal((await attempt({}, `${ORIGIN}/group/nothing/.whip`)).status, 404);
        for (const [headers, target] of [
            [basic('ann:a'), url], [{ Authorization: 'Bearer sesame' }, url],
            [{}, `${url}?token=sesame`],
        ]) {
            const published = await attempt(headers, target);
            assert.equal(published.status, 201, published.body);
            const other = await page.evaluate(async (session) => {
                const response = await fetch(session.replace(/\?.*/, ''), {
                    method: 'DELETE', headers: { Authorization: 'Bearer other' },
                });
                return { status: response.status, body: await response.json() };
            }, published.location);
            assert.equal(other.status, 403, 'somebody else\'s session');
            assert.equal(await end(page), 200);
            assert.equal(await end(page), 404);
        }
        const player = await elsewhere(browser, 'player');
        const watched = await player.evaluate(play,
            { url: `${ORIGIN}/group/private/.whep`, headers: basic('mute:m') });
        assert.equal(watched.status, 201, 'who may not present may watch');
        assert.equal(await end(player), 200);
        await page.close();
        await player.close();
    });

    test('the pages publish and watch by themselves', async () => {
        const publisher = await openPage(browser, 'publish page');
        await publisher.goto(`${ORIGIN}/group/test/publish`);
        await publisher.fill('#username', 'bob');
        await publisher.click('#button');
        await publisher.waitForSelector('#state[data-state=connected]');
        await screenshot(publisher, 'publish');
        const watcher = await openPage(browser, 'watch page');
        await watcher.goto(`${ORIGIN}/group/test/watch`);
        const playing = () => watcher.evaluate(() => [...document.querySelectorAll('#grid figure:not([hidden]) video')]
            .filter((video) => video.videoWidth > 0 && video.currentTime > 0).length);
        await until('one picture', async () => await playing() === 1);
        await screenshot(watcher, 'watch');
        const member = await joinGroup(browser, 'carol');
        await seesAndHears(member, 'bob');
        await watcher.waitForSelector('figcaption:has-text("bob")');
        await member.click('#screen-button');
        await watcher.waitForSelector('figure.is-slide:not([hidden]):has-text("carol – screen")');
        await until('both pictures', async () => await playing() === 2);
        const part = await watcher.evaluate(() => (
            document.querySelector('figure.is-slide').clientWidth / document.getElementById('grid').clientWidth));
        assert.ok(part > 0.7, `the slide has ${part} of the width`);
        await screenshot(watcher, 'watch-slide');
        await member.click('#screen-button');
        await until('the camera alone', async () => await playing() === 1);
        // Whoever is thrown out by a restart of the server comes back without being asked.
        await publisher.click('#button');
        await until('the picture to go', async () => await playing() === 0);
        await publisher.click('#button');
        await until('the picture to come back', async () => await playing() === 1);
        await watcher.close();
        await publisher.close();
        await member.close();
    });
});
