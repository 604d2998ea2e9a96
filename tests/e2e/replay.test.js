/** A recorded class is replayed: all streams in step, the chat at its time, by mouse and by keys. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { appendFileSync, copyFileSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe } from 'node:test';
import { promisify } from 'node:util';
import { ALL, COLOURS, faultsOf } from './peer/axe.js';
import { joinGroup, openPage, screenshot, seesAndHears } from './peer/browser.js';
import { ORIGIN, Server } from './peer/server.js';
import { lower, raise, stepsWith } from './peer/stage.js';
import { until } from './peer/wait.js';

const run = promisify(execFile);
const group = (codec) => ({
    codecs: [codec, 'opus'],
    'allow-recording': true,
    users: { ann: { password: 'teacher', permissions: ['op', 'present', 'message', 'caption', 'record'] } },
    'wildcard-user': { password: { type: 'wildcard' }, permissions: 'present' },
});
const GROUPS = { vp8: group('vp8'), h264: group('h264') };
/** What players may be apart. */
const APART_MAX_S = 0.04;
const SIZES = [
    ['desktop', { width: 1366, height: 768 }], ['phone', { width: 360, height: 740 }],
    ['zoom-200', { width: 683, height: 384 }], ['zoom-400', { width: 342, height: 192 }],
];

const folder = (server, name) => join(server.directory, 'recordings', name);

function timelineName(server, name) {
    return readdirSync(folder(server, name)).find((file) => file.endsWith('.timeline.jsonl'));
}

function timeline(server, name) {
    const text = readFileSync(join(folder(server, name), timelineName(server, name)), 'utf8');
    return text.slice(0, text.lastIndexOf('\n')).split('\n').map(JSON.parse);
}

/** Seconds of pictures of this user. */
function recordedS(lines, username) {
    const stream = lines.find((line) => line.event === 'stream' && line.username === username);
    const files = lines.filter((line) => line.event === 'file' && line.stream === stream?.stream
        && line.tracks.some(({ kind }) => kind === 'video')).map(({ file }) => file);
    const fragments = lines.filter((line) => line.event === 'fragment' && files.includes(line.file));
    return fragments.reduce((sum, { start_us, end_us }) => sum + (end_us - start_us) / 1e6, 0);
}

async function say(page, text) {
    await page.fill('#chat-input', text);
    await page.press('#chat-input', 'Enter');
}

/** A class of two that talk; resolves when enough was recorded. */
async function recordClass(server, browser, name, { end }) {
    const ann = await joinGroup(browser, 'ann', { group: name, start: 'both', password: 'teacher' });
    const bob = await joinGroup(browser, 'bob', { group: name, start: 'both' });
    await seesAndHears(bob, 'ann');
    await seesAndHears(ann, 'bob');
    await ann.click('#people-button');
    await ann.click('#record-button');
    await ann.waitForSelector('#room-recording:not([hidden])');
    const both = (seconds) => until(`${seconds} s of both`, () => (
        timelineName(server, name) && ['ann', 'bob'].every(
            (username) => recordedS(timeline(server, name), username) > seconds)));
    await both(4);
    await ann.click('#chat-button');
    await say(ann, 'the first word');
    await both(9);
    await say(ann, 'the second word');
    await ann.evaluate(() => window.aula.connection.send({
        type: 'chat', kind: 'caption', source: window.aula.connection.id, username: 'ann', value: 'a caption',
    }));
    await bob.click('#hand-button');
    await both(17);
    if (end) {
        await ann.click('#people-button');
        await ann.click('#record-button');
        await until('the end', () => timeline(server, name).some(({ event }) => event === 'end'));
    } else {
        server.process.kill('SIGKILL');
        await server.exited;
    }
    await ann.context().close();
    await bob.context().close();
    return timeline(server, name);
}

/** Where the tiles that are there are, and the clock, all at one moment. */
function positions(page) {
    return page.evaluate(() => {
        const { clock, stage } = window.replay;
        const tiles = stage.tiles.filter((tile) => !tile.node.hidden);
        return {
            clock: clock.positionS,
            tiles: tiles.map((tile) => tile.positionS),
            frames: tiles.map((tile) => tile.video.getVideoPlaybackQuality().totalVideoFrames),
            states: tiles.map(({ video }) => [video.readyState, video.seeking, video.paused, video.playbackRate]),
        };
    });
}

/** Waits until both tiles play in step, look after look. */
async function inStep(page, count = 2) {
    let looks = 0;
    let worst = 0;
    let last;
    await until('both to be in step', async () => {
        last = await positions(page);
        const apart = Math.max(...last.tiles.map((at) => Math.abs(at - last.clock)));
        const isGood = last.tiles.length === count && apart < APART_MAX_S;
        looks = isGood ? looks + 1 : 0;
        worst = isGood ? Math.max(worst, apart) : 0;
        return looks >= 10;
    }).catch((error) => {
        throw new Error(`${error.message}: ${JSON.stringify(last)}`);
    });
    return worst;
}

async function openReplay(browser, name, file) {
    const page = await openPage(browser, 'viewer');
    await page.context().setHTTPCredentials({ username: 'ann', password: 'teacher' });
    await page.goto(`${ORIGIN}/recordings/${name}/`);
    await page.click(`tr:has-text("${file}") a:has-text("Replay")`);
    await page.waitForSelector('#play:not([disabled])');
    return page;
}

const chatOf = (page) => page.$$eval('#chat li span', (nodes) => nodes.map((node) => node.textContent));
const seekTo = (page, seconds) => page.$eval('#position', (slider, value) => {
    slider.value = value;
    slider.dispatchEvent(new Event('input'));
}, Math.floor(seconds));

describe('replay', { concurrency: 1 }, () => {
    let server;
    let browser;
    let lines;
    const test = stepsWith(() => server);

    before(async () => {
        ({ server, browser } = await raise({ groups: GROUPS }));
    });

    after(async () => {
        await lower({ server, browser });
    });

    test('both streams play in step, and the chat comes at its time', async (context) => {
        lines = await recordClass(server, browser, 'vp8', { end: true });
        const page = await openReplay(browser, 'vp8', timelineName(server, 'vp8'));
        const said = lines.filter(({ event, kind }) => event === 'chat' && kind !== 'caption')
            .map(({ at_us }) => at_us / 1e6);
        assert.equal(said.length, 2);
        await page.click('#play');
        await seekTo(page, said[0] - 1);
        const first = await until('frames of both', async () => {
            const now = await positions(page);
            return now.tiles.length === 2 && now.frames.every((count) => count > 0) && now;
        });
        context.diagnostic(`apart by ${1000 * await inStep(page)} ms at most`);
        await until('more frames of both', async () => {
            const { frames } = await positions(page);
            return frames.every((count, at) => count > first.frames[at] + 20);
        });
        await page.click('#play');
        await seekTo(page, said[0] - 1);
        assert.deepEqual(await chatOf(page), []);
        await seekTo(page, said[0] + 1);
        assert.deepEqual(await chatOf(page), ['the first word']);
        await seekTo(page, said[1] + 1);
        assert.deepEqual(await chatOf(page), ['the first word', 'the second word']);
        const caption = lines.find(({ event, kind }) => event === 'chat' && kind === 'caption');
        await seekTo(page, caption.at_us / 1e6 + 2);
        assert.equal(await page.textContent('#caption'), 'ann: a caption');
        await page.click('#chat li >> nth=0 >> button');
        assert.deepEqual(await chatOf(page), ['the first word']);
        // Time and all goes on from there.
        await page.click('#play');
        await page.waitForSelector('#chat li:has-text("the second word")');
        await page.close();
    });

    test('seeking, speed and the end, by keys alone', async () => {
        const page = await openReplay(browser, 'vp8', timelineName(server, 'vp8'));
        const at = async () => (await positions(page)).clock;
        await page.keyboard.press('Space');
        await page.waitForSelector('#play:has-text("Pause")');
        await page.keyboard.press('k');
        await page.waitForSelector('#play:has-text("Play")');
        await page.keyboard.press('Home');
        assert.equal(await at(), 0);
        await page.keyboard.press('ArrowRight');
        assert.equal(await at(), 5);
        await page.keyboard.press('ArrowRight');
        await page.keyboard.press('ArrowLeft');
        assert.equal(await at(), 5);
        await page.keyboard.press('l');
        assert.equal(await at(), 15);
        await page.keyboard.press('j');
        await page.keyboard.press('+');
        await page.keyboard.press('+');
        await page.keyboard.press('+');
        assert.equal(await page.inputValue('#speed'), '2');
        await page.keyboard.press(' ');
        await inStep(page);
        assert.match(await page.getAttribute('#position', 'aria-valuetext'), /^\d+:\d\d of \d+:\d\d$/);
        await page.keyboard.press('m');
        await until('silence', () => page.$$eval('video', (all) => all.every(({ muted }) => muted)));
        await page.keyboard.press('End');
        await page.waitForSelector('#play:has-text("Play")');
        await page.waitForSelector('#chat li:has-text("bob raised a hand.")');
        // Somebody can be kept large.
        await page.keyboard.press('Home');
        await seekTo(page, 8);
        await page.focus('button[aria-label="Show bob large"]');
        await page.keyboard.press('Enter');
        await page.waitForSelector('.is-large button[aria-label="Show bob large"]');
        await page.close();
    });

    test('who is large speaks, as the timeline tells', async () => {
        const path = join(folder(server, 'vp8'), timelineName(server, 'vp8'));
        const written = readFileSync(path, 'utf8');
        const streamOf = (name) => lines.find((line) => line.event === 'stream' && line.username === name).stream;
        const [ann, bob] = ['ann', 'bob'].map(streamOf);
        // Both beep all the time: what is heard would not tell.
        const told = [[5, [bob]], [7, [ann, bob]], [9, [ann]], [11, []]].map(([atS, streams]) => (
            JSON.stringify({ event: 'speakers', streams, at_us: atS * 1e6 })));
        const others = written.split('\n').filter((line) => !line.includes('"event":"speakers"'));
        writeFileSync(path, [...others.filter(Boolean), ...told, ''].join('\n'));
        const page = await openReplay(browser, 'vp8', timelineName(server, 'vp8'));
        // Back and forth.
        for (const [atS, large, speaking] of [[6, bob, [bob]], [10, ann, [ann]], [8, bob, [ann, bob]],
            [12, ann, []]]) {
            await seekTo(page, atS);
            await until(`the speaker at ${atS} s`, async () => {
                const now = await page.evaluate(() => ({
                    large: window.replay.stage.large?.stream.id,
                    speaking: window.replay.tiles.filter(({ node }) => node.classList.contains('is-speaking'))
                        .map(({ stream }) => stream.id),
                }));
                return now.large === large && now.speaking.sort().join() === [...speaking].sort().join();
            });
        }
        await page.close();
        writeFileSync(path, written);
    });

    test('on every screen, and for axe-core', async () => {
        const page = await openReplay(browser, 'vp8', timelineName(server, 'vp8'));
        await seekTo(page, 11);
        await page.click('#play');
        await inStep(page);
        await page.click('#play');
        const violations = [];
        for (const [colorScheme, rules] of [['light', ALL], ['dark', COLOURS]]) {
            await page.emulateMedia({ colorScheme });
            for (const [size, viewport] of SIZES) {
                await page.setViewportSize(viewport);
                await screenshot(page, `replay-${size}-${colorScheme}`);
                violations.push(...(await faultsOf(page, rules)).map((text) => `${size} ${colorScheme} ${text}`));
                assert.equal(await page.evaluate(
                    () => document.documentElement.scrollWidth > innerWidth), false, `${size} scrolls sideways`);
            }
        }
        assert.deepEqual(violations, []);
        await page.close();
    });

    test('aulactl exports a file for each, in step, and all sound', async () => {
        // Ann comes a second time, later.
        const file = lines.findLast(({ event, tracks }) => event === 'file'
            && tracks.some(({ kind }) => kind === 'video'));
        const place = folder(server, 'vp8');
        const again = `again-${file.file}`;
        copyFileSync(join(place, file.file), join(place, again));
        const startS = Math.ceil(lines.at(-1).at_us / 1e6) + 5;
        const more = [{ ...file, file: again, at_us: startS * 1e6 },
            { event: 'fragment', file: again, start_us: startS * 1e6, end_us: (startS + 4) * 1e6 }];
        appendFileSync(join(place, timelineName(server, 'vp8')), `${more.map(JSON.stringify).join('\n')}\n`);
        const out = join(server.directory, 'exported');
        const { stdout } = await run(join(dirname(process.env.AULA_BIN), 'aulactl'), [
            'recordings', 'export', '-recordings', join(server.directory, 'recordings'), '-group', 'vp8',
            '-session', timelineName(server, 'vp8'), '-out', out, '-ffmpeg', process.env.FFMPEG,
        ]);
        assert.deepEqual(readdirSync(out).sort(), ['all-sound.m4a', 'ann.mkv', 'bob.mkv'], stdout);
        const seconds = async (name, map) => {
            const { stderr } = await run(process.env.FFMPEG, ['-v', 'error', '-stats', '-nostdin', '-i',
                join(out, name), '-map', map, '-fps_mode', 'passthrough', '-f', 'null', '-']);
            const [, m, s] = /time=\d+:(\d+):([\d.]+)(?![^]*time=)/.exec(stderr);
            return Number(m) * 60 + Number(s);
        };
        const twice = lines.find(({ event, stream }) => event === 'stream' && stream === file.stream).username;
        assert.ok(await seconds(`${twice}.mkv`, '0:v:0') >= startS + 3.5);
        for (const name of ['all-sound.m4a', `${twice}.mkv`])
            assert.ok(await seconds(name, '0:a:0') >= startS + 3.5, name);
    });

    test('nobody else gets in', async () => {
        const page = await openPage(browser, 'nobody');
        const session = timelineName(server, 'vp8').replace('.timeline.jsonl', '');
        const status = (user) => page.evaluate(async ([path, user]) => {
            const headers = user ? { authorization: `Basic ${btoa(user)}` } : {};
            return (await fetch(path, { headers, credentials: 'omit' })).status;
        }, [`/recordings/vp8/${session}/`, user]);
        await page.goto(`${ORIGIN}/`);
        assert.equal(await status(''), 401);
        assert.equal(await status('bob:any'), 401);
        assert.equal(await status('ann:teacher'), 200);
        await page.close();
    });

    for (const name of ['vp8', 'h264']) {
        test(`${name}: what a crash has left can be sought, too`, async () => {
            rmSync(folder(server, name), { recursive: true, force: true });
            const { directory } = server;
            const before = await recordClass(server, browser, name, { end: false });
            const next = await Server.start({
                groups: GROUPS, args: ['--recordings', join(directory, 'recordings')],
            });
            try {
                const page = await openReplay(browser, name, timelineName(server, name));
                await page.waitForSelector('#state:has-text("no end yet")');
                await page.click('#play');
                const [late] = before.filter(({ event }) => event === 'chat').slice(-1);
                await seekTo(page, late.at_us / 1e6);
                await inStep(page);
                await seekTo(page, late.at_us / 1e6 - 4);
                await inStep(page);
                await page.close();
            } finally {
                await next.stop();
                rmSync(directory, { recursive: true, force: true });
            }
            server = await Server.start({ groups: GROUPS });
        });
    }
});
