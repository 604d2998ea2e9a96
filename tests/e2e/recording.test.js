/** Recording: an operator presses record, the server dies, and what was recorded plays. */

import assert from 'node:assert/strict';
import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe } from 'node:test';
import { joinGroup, openPage, screenshot, seesAndHears } from './peer/browser.js';
import { publish } from './peer/layers.js';
import { decode, films, folder, group, record, shown, timeline, timelines, wholePictures } from './peer/recorded.js';
import { lower, raise, stepsWith } from './peer/stage.js';
import { ORIGIN, Server } from './peer/server.js';
import { sleep, until } from './peer/wait.js';
import { openBlank } from './peer/web-session.js';

const CODECS = ['vp8', 'vp9', 'h264', 'av1'];
const GROUPS = Object.fromEntries(CODECS.map((codec) => [codec, group(codec)]));
GROUPS.asked = group('vp8', { 'recording-consent': 'asked' });
/** Layers within one stream. */
const MODES = [['vp9', 'L3T3_KEY'], ['vp9', 'L2T2'], ['vp9', 'L3T3'], ['av1', 'L3T3_KEY'], ['av1', 'L2T2']];
/** How often the server is killed with each codec; more of it by hand. */
const ROUNDS = Number(process.env.AULA_E2E_KILLS ?? 1);
/** What is written at the latest so long before the end. */
const LOST_MAX_S = 2.5;

/** How far a page of Chromium plays a file, as the address says. */
async function playTo(page, url) {
    return page.evaluate(async (url) => {
        const video = document.createElement('video');
        video.muted = true;
        document.body.append(video);
        video.src = url;
        await new Promise((resolve, reject) => {
            video.onloadeddata = resolve;
            video.onerror = () => reject(new Error(video.error.message));
        });
        video.playbackRate = 4;
        await video.play();
        await new Promise((resolve, reject) => {
            video.onended = resolve;
            video.onerror = () => reject(new Error(video.error.message));
        });
        return { seconds: video.currentTime, width: video.videoWidth };
    }, url);
}

describe('recording', { concurrency: 1 }, () => {
    let server;
    let browser;
    const test = stepsWith(() => server);

    before(async () => {
        ({ server, browser } = await raise({ groups: GROUPS }));
    });

    after(async () => {
        await lower({ server, browser });
    });

    const rounds = CODECS.flatMap((codec) => Array.from({ length: ROUNDS }, (_, at) => [codec, at]));
    for (const [codec, round] of rounds) {
        test(`${codec}, round ${round + 1}: what was recorded before the server died plays`, async () => {
            const ann = await joinGroup(browser, 'ann', { group: codec, start: 'both', password: 'teacher' });
            const bob = await joinGroup(browser, 'bob', { group: codec });
            await seesAndHears(bob, 'ann');
            assert.equal(await bob.isVisible('#record-button'), false, 'bob may not');
            await record(ann);
            // Everybody sees it, and who comes later from the beginning.
            await bob.waitForSelector('#room-recording:not([hidden])');
            const eve = await joinGroup(browser, 'eve', { group: codec });
            assert.equal(await eve.isVisible('#room-recording'), true);
            await until('some seconds to be written', () => {
                const written = timeline(server, codec).filter(({ event }) => event === 'fragment');
                return written.length >= 6;
            });
            // At any moment of a fragment.
            await sleep(Math.random() * 1000);
            const before = timeline(server, codec);
            const { directory } = server;
            server.process.kill('SIGKILL');
            await server.exited;
            for (const page of [ann, bob, eve])
                await page.context().close();
            // A change of size begins another file.
            const begun = before.find(({ event, tracks }) => (
                event === 'file' && tracks.some(({ kind }) => kind === 'video')));
            const { file } = begun;
            assert.match(file, new RegExp(`^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}-ann\\.${codec === 'vp8' ? 'webm' : 'mp4'}$`));
            const last = before.findLast((line) => line.event === 'fragment' && line.file === begun.file);
            const seconds = (last.end_us - begun.at_us) / 1e6;
            const { video, audio } = await decode(join(folder(server, codec), file));
            assert.ok(video > seconds - LOST_MAX_S, `${video} of ${seconds} s of pictures`);
            assert.ok(audio > seconds - LOST_MAX_S, `${audio} of ${seconds} s of sound`);
            const names = before.map(({ event }) => event);
            assert.equal(names[0], 'session');
            for (const name of ['stream', 'file', 'joined', 'clock'])
                assert.ok(names.includes(name), `${name} in ${names}`);
            // Chromium plays it from the next server, unrepaired.
            const next = await Server.start({
                groups: GROUPS, args: ['--recordings', join(directory, 'recordings')],
            });
            try {
                const page = await openPage(browser, 'viewer');
                await page.context().setHTTPCredentials({ username: 'ann', password: 'teacher' });
                await page.goto(`${ORIGIN}/recordings/${codec}/`);
                const href = await page.getAttribute(`tr:has-text("${file}") a`, 'href');
                const played = await playTo(page, new URL(href, page.url()).href);
                assert.ok(played.seconds > seconds - LOST_MAX_S, `${played.seconds} of ${seconds}`);
                assert.ok(played.width > 0);
                await page.context().close();
            } finally {
                await next.stop();
                rmSync(directory, { recursive: true, force: true });
            }
            server = await Server.start({ groups: GROUPS });
        });
    }

    for (const [codec, scalabilityMode] of MODES) {
        test(`${codec} ${scalabilityMode}: the highest layer is recorded, as one track`, async (context) => {
            const ann = await joinGroup(browser, 'ann', { group: codec, password: 'teacher' });
            await record(ann);
            await until('the recording', () => timelines(server, codec).length > 0);
            const before = new Set(films(server, codec));
            const page = await openBlank(browser, 'publisher');
            const sent = await page.evaluate(publish,
                { url: `${ORIGIN}/group/${codec}/.whip`, codec, scalabilityMode });
            assert.equal(sent.status, 201, sent.body);
            // How many layers there are depends on what the encoder thinks of the machine.
            const { file, width } = await until('six seconds of all layers', async () => {
                const [width] = Object.values(await page.evaluate(() => window.outgoing()));
                const lines = timelines(server, codec);
                const large = lines.findLast(({ event, file, tracks }) => event === 'file' && !before.has(file)
                    && tracks.some((track) => track.width >= width));
                const last = lines.findLast(({ event, file }) => event === 'fragment' && file === large?.file);
                return last && last.end_us - large.at_us > 6e6
                    && { file: large.file, width };
            });
            await ann.click('#record-button');
            await until('the end', () => timelines(server, codec).some(
                (line) => line.event === 'file-end' && line.file === file));
            const path = join(folder(server, codec), file);
            const { sizes, held, tracks } = await shown(path);
            assert.equal(tracks, 1);
            // Each picture once, whatever it is made of. An encoder that is late leaves the highest layer out;
            // dav1d shows no picture of AV1 without it.
            assert.equal(sizes.length, codec === 'av1' ? await wholePictures(path) : held);
            const widths = sizes.map((size) => Number(size.split('x')[0]));
            const largest = Math.max(...widths);
            assert.ok(largest >= width, `${largest} of ${width}`);
            const smaller = widths.filter((shown) => shown < largest).length + held - sizes.length;
            context.diagnostic(`${smaller} of ${held} are smaller`);
            await decode(path, ['video']);
            const viewer = await openPage(browser, 'viewer');
            await viewer.context().setHTTPCredentials({ username: 'ann', password: 'teacher' });
            await viewer.goto(`${ORIGIN}/recordings/${codec}/`);
            const played = await playTo(viewer, `${ORIGIN}/recordings/${codec}/${encodeURIComponent(file)}`);
            assert.ok(played.width > 0);
            for (const each of [ann, page, viewer])
                await each.context().close();
        });
    }

    test('who does not agree is not recorded, and all see who does', async () => {
        const ann = await joinGroup(browser, 'ann', { group: 'asked', start: 'both', password: 'teacher' });
        const bob = await joinGroup(browser, 'bob', { group: 'asked', start: 'both' });
        const eve = await joinGroup(browser, 'eve', { group: 'asked', start: 'both' });
        for (const name of ['bob', 'eve'])
            await seesAndHears(ann, name);
        await record(ann);
        assert.equal(await ann.isVisible('#consent'), false, 'who has pressed the button has agreed');
        await bob.click('#consent button:has-text("Record me")');
        await bob.waitForSelector('#consent', { state: 'detached' });
        // No answer is none.
        await eve.waitForSelector('#consent[open]');
        await screenshot(eve, 'consent');
        await eve.keyboard.press('Escape');
        const row = (name) => `.person:has(.person-name:has-text("${name}"))`;
        for (const page of [ann, eve]) {
            if (page === eve)
                await eve.click('#people-button');
            for (const name of ['ann', 'bob'])
                await page.waitForSelector(`${row(name)} .badge-record`);
            assert.equal(await page.isVisible(`${row('eve')} .badge-record`), false);
        }
        const written = (username) => {
            const lines = timeline(server, 'asked');
            const stream = lines.find((line) => line.event === 'stream' && line.username === username);
            return lines.filter((line) => line.event === 'file' && line.stream === stream?.stream);
        };
        await until('something of both', () => ['ann', 'bob'].every((name) => written(name).length > 0));
        // She changes her mind, and he his.
        await eve.click(`${row('eve')} .person-button`);
        await eve.click('[role=menuitem]:has-text("Record me")');
        await ann.waitForSelector(`${row('eve')} .badge-record`);
        await until('something of eve', () => written('eve').length > 0);
        await bob.click('#people-button');
        await bob.click(`${row('bob')} .person-button`);
        await bob.click('[role=menuitem]:has-text("Do not record me")');
        await ann.waitForSelector(`${row('bob')} .badge-record`, { state: 'detached' });
        await until('the end of his stream', () => timeline(server, 'asked')
            .some(({ event, username }) => event === 'left' && username === 'bob'));
        await ann.click('#record-button');
        await eve.waitForSelector(`${row('eve')} .badge-record`, { state: 'detached' });
        for (const page of [ann, bob, eve])
            await page.context().close();
    });

    test('who may not record sees nothing, and who may deletes', async () => {
        const ann = await joinGroup(browser, 'ann', { group: 'vp8', start: 'both', password: 'teacher' });
        await record(ann);
        // On a slow machine sound begins before the first picture, in a file of its own.
        const file = await until('a second of pictures to be written', () => {
            const written = timeline(server, 'vp8');
            const begun = written.find(({ event, tracks }) => (
                event === 'file' && tracks.some(({ kind }) => kind === 'video')));
            return begun && written.some((line) => line.event === 'fragment' && line.file === begun.file)
                && begun.file;
        });
        await ann.click('#record-button');
        await ann.waitForSelector('#room-recording', { state: 'hidden' });
        await until('the end to be written',
            () => timeline(server, 'vp8').some(({ event }) => event === 'end'));
        const path = join(folder(server, 'vp8'), file);
        assert.equal(statSync(path).mode & 0o777, 0o600);
        await decode(path);
        const fetched = (path, options = {}) => ann.evaluate(async ([path, options]) => {
            // Without a dialogue that asks for a password, and without a lock on what is cached.
            const response = await fetch(path, { ...options, cache: 'no-store', credentials: 'omit' });
            return { status: response.status, range: response.headers.get('content-range') };
        }, [path, options]);
        const as = (user, password) => ({ headers: { authorization: `Basic ${btoa(`${user}:${password}`)}` } });
        const url = `/recordings/vp8/${encodeURIComponent(file)}`;
        assert.equal((await fetched(url)).status, 401);
        assert.equal((await fetched(url, as('ann', 'wrong'))).status, 401);
        assert.equal((await fetched(url, as('bob', 'any'))).status, 401);
        const part = { headers: { ...as('ann', 'teacher').headers, range: 'bytes=0-3' } };
        const { status, range } = await fetched(url, part);
        assert.equal(status, 206);
        assert.match(range, /^bytes 0-3\//);
        const page = await openPage(browser, 'owner');
        await page.context().setHTTPCredentials({ username: 'ann', password: 'teacher' });
        await page.goto(`${ORIGIN}/recordings/vp8/`);
        await page.click(`tr:has-text("${file}") button`);
        await page.waitForURL(`${ORIGIN}/recordings/vp8/`);
        await until('the file to be gone', () => !films(server, 'vp8').includes(file));
        await page.context().close();
        await ann.context().close();
    });
});
