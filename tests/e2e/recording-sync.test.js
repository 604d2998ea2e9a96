/** A clap is at one place in all files, and what was lost on the way leaves no broken picture. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe } from 'node:test';
import { promisify } from 'node:util';
import { joinGroup, seesAndHears } from './peer/browser.js';
import { canMakeLinks, Link } from './peer/link.js';
import { decode, films, folder, group, record, timeline } from './peer/recorded.js';
import { lower, raise, stepsWith } from './peer/stage.js';
import { until } from './peer/wait.js';

const run = promisify(execFile);
/** By how much the same moment may differ between two people's files. */
const APART_MAX_S = 0.04;
/** A flash is drawn when its camera takes the next picture, which differs between cameras. */
const PICTURE_S = 1 / 30;
const CLAPS_MIN = 4;
const CLAP_EVERY_S = 2;
const FRAGMENTS_PER_S = 2;

/** Runs in the page: camera and microphone that clap, a flash and a beep, every other second of the wall clock. */
function clapping(everyS) {
    const FLASH_MS = 300;
    const nextMs = () => (Math.floor(Date.now() / (1000 * everyS)) + 1) * 1000 * everyS;
    const camera = () => {
        const canvas = document.createElement('canvas');
        [canvas.width, canvas.height] = [320, 240];
        const context = canvas.getContext('2d', { alpha: false });
        setInterval(() => {
            const isFlash = Date.now() % (1000 * everyS) < FLASH_MS;
            context.fillStyle = isFlash ? '#fff' : '#000';
            context.fillRect(0, 0, 320, 240);
            // Something moves, or there would be no pictures in between.
            context.fillStyle = '#777';
            context.fillRect(performance.now() / 10 % 300, 0, 8, 8);
        }, 5);
        return canvas.captureStream(30).getVideoTracks()[0];
    };
    const microphone = () => {
        const sound = new AudioContext();
        const [tone, gain, end] = [sound.createOscillator(), sound.createGain(), sound.createMediaStreamDestination()];
        gain.gain.value = 0;
        tone.connect(gain).connect(end);
        tone.start();
        const clap = () => {
            const at = sound.currentTime + (nextMs() - Date.now()) / 1000;
            gain.gain.setValueAtTime(0.8, at);
            gain.gain.setValueAtTime(0, at + FLASH_MS / 1000);
            setTimeout(clap, nextMs() - Date.now() + FLASH_MS + 50);
        };
        clap();
        return end.stream.getAudioTracks()[0];
    };
    navigator.mediaDevices.getUserMedia = async ({ audio, video }) => new MediaStream(
        [...audio ? [microphone()] : [], ...video ? [camera()] : []]);
}

/** When somebody claps, by their files: seconds since the recording began. */
async function claps(server, name, username) {
    const lines = timeline(server, name);
    const stream = lines.find((line) => line.event === 'stream' && line.username === username);
    const heard = [];
    const seen = [];
    for (const { file, at_us: atUs } of lines.filter((line) => line.event === 'file' && line.stream === stream.stream)) {
        const path = join(folder(server, name), file);
        const { stderr } = await run(process.env.FFMPEG, ['-hide_banner', '-nostdin', '-i', path,
            '-map', '0:a:0?', '-af', 'silencedetect=noise=-30dB:d=0.5', '-f', 'null', '-'], { maxBuffer: 1 << 24 });
        heard.push(...[...stderr.matchAll(/silence_end: ([\d.]+)/g)].map(([, at]) => Number(at) + atUs / 1e6));
        const { stdout } = await run(process.env.FFMPEG, ['-v', 'error', '-nostdin', '-i', path, '-map', '0:v:0?',
            '-vf', 'signalstats,metadata=print:key=lavfi.signalstats.YAVG:file=-', '-fps_mode', 'passthrough',
            '-f', 'null', '-'], { maxBuffer: 1 << 26 }).catch(() => ({ stdout: '' }));
        let wasBright = true;
        for (const [, at, level] of stdout.matchAll(/pts_time:([\d.]+)\s+lavfi\.signalstats\.YAVG=([\d.]+)/g)) {
            const isBright = Number(level) > 120;
            if (isBright && !wasBright)
                seen.push(Number(at) + atUs / 1e6);
            wasBright = isBright;
        }
    }
    return { heard, seen };
}

/** The median of how far claps of one are from those of the other. */
function apart(one, other) {
    const pairs = one.map((at) => other.map((their) => their - at)
        .reduce((best, off) => (Math.abs(off) < Math.abs(best) ? off : best), Infinity))
        .filter((off) => Math.abs(off) < CLAP_EVERY_S / 2).sort((a, b) => a - b);
    assert.ok(pairs.length >= CLAPS_MIN, `${pairs.length} claps in both`);
    return pairs[Math.floor(pairs.length / 2)];
}

describe('recorded time', { concurrency: 1 }, () => {
    let server;
    let browser;
    const test = stepsWith(() => server);

    before(async () => {
        ({ server, browser } = await raise({ groups: { vp8: group('vp8'), h264: group('h264') } }));
    });

    after(async () => {
        await lower({ server, browser });
    });

    test('a clap is at one place in the files of two', async (context) => {
        const prepare = (page) => page.addInitScript(clapping, CLAP_EVERY_S);
        const ann = await joinGroup(browser, 'ann', { group: 'vp8', start: 'both', password: 'teacher', prepare });
        const bob = await joinGroup(browser, 'bob', { group: 'vp8', start: 'both', prepare });
        await seesAndHears(ann, 'bob', { sound: false });
        await record(ann);
        await until('some claps to be written', () => ['ann', 'bob'].every((username) => {
            const lines = timeline(server, 'vp8');
            const stream = lines.find((line) => line.event === 'stream' && line.username === username);
            const files = lines.filter((line) => line.event === 'file' && line.stream === stream?.stream
                && line.tracks.some(({ kind }) => kind === 'video')).map(({ file }) => file);
            const written = lines.filter((line) => line.event === 'fragment' && files.includes(line.file));
            return written.length > FRAGMENTS_PER_S * CLAP_EVERY_S * (CLAPS_MIN + 4);
        }));
        await ann.click('#record-button');
        await until('the end', () => timeline(server, 'vp8').some(({ event }) => event === 'end'));
        const [hers, his] = [await claps(server, 'vp8', 'ann'), await claps(server, 'vp8', 'bob')];
        const [sound, pictures] = [apart(hers.heard, his.heard), apart(hers.seen, his.seen)];
        context.diagnostic(`sound ${1000 * sound} ms, pictures ${1000 * pictures} ms apart; of ann pictures `
            + `${1000 * apart(hers.heard, hers.seen)} ms after sound`);
        assert.ok(Math.abs(sound) < APART_MAX_S, `sound: ${sound} s`);
        assert.ok(Math.abs(pictures) < APART_MAX_S + PICTURE_S, `pictures: ${pictures} s`);
        await ann.context().close();
        await bob.context().close();
    });

    test('2 % of loss upstream leave no broken picture', {
        skip: canMakeLinks() ? false : 'needs namespaces',
    }, async () => {
        const link = await Link.make();
        const far = await link.launch();
        try {
            const ann = await joinGroup(far, 'ann', { group: 'h264', start: 'both', password: 'teacher' });
            link.lossUpstream(2);
            await record(ann);
            const asked = () => ann.evaluate(async () => {
                let sum = 0;
                for (const { pc } of window.aula.connection.up.values()) {
                    for (const report of (await pc.getStats()).values())
                        sum += report.type === 'outbound-rtp' ? report.nackCount ?? 0 : 0;
                }
                return sum;
            });
            await until('losses, and pictures in spite of them', async () => {
                const written = timeline(server, 'h264').filter(({ event }) => event === 'fragment');
                return await asked() > 5 && written.length > 15;
            });
            link.lossUpstream(0);
            await ann.click('#record-button');
            await until('the end', () => timeline(server, 'h264').some(({ event }) => event === 'end'));
            const lines = timeline(server, 'h264').filter(({ event }) => event === 'file');
            for (const file of films(server, 'h264')) {
                if (lines.find((line) => line.file === file).tracks.length === 2)
                    await decode(join(folder(server, 'h264'), file));
            }
        } finally {
            link.lossUpstream(0);
            await far.close();
            link.end();
        }
    });
});
