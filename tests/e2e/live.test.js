/** A class is watched while it is recorded: HTTP Live Streaming in FFmpeg and in Chromium. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { after, before, describe } from 'node:test';
import { promisify } from 'node:util';
import { joinGroup, openPage, screenshot } from './peer/browser.js';
import { FINE, group, record, timeline } from './peer/recorded.js';
import { ORIGIN, request } from './peer/server.js';
import { lower, raise, stepsWith } from './peer/stage.js';
import { until } from './peer/wait.js';

const run = promisify(execFile);
/** A player of others, for this test only. */
const HLS = join(dirname(createRequire(import.meta.url).resolve('hls.js')), 'hls.min.js');
const CODECS = ['vp9', 'h264', 'av1'];
const KEY = Buffer.alloc(32, 7).toString('base64url');
const keyed = (codec) => group(codec, { authKeys: [{ kty: 'oct', alg: 'HS256', k: KEY }] });
const GROUPS = Object.fromEntries([...CODECS, 'vp8'].map((codec) => [codec, keyed(codec)]));
/** A page of somebody else that may embed us. */
const FRIEND = 'https://friend.example';

/** A token that opens recordings, as an administrator of another site would make it. */
function token(name) {
    const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const nowS = Math.floor(Date.now() / 1000);
    const body = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({
        sub: 'embed', aud: `${ORIGIN}/group/${name}/`, permissions: ['record'],
        iat: nowS - 60, exp: nowS + 3600,
    })}`;
    const seal = createHmac('sha256', Buffer.from(KEY, 'base64url')).update(body).digest('base64url');
    return `${body}.${seal}`;
}

/** Plays so many seconds of a playlist, and returns how much was decoded; what is broken is an error. */
async function play(server, url, seconds, map) {
    const { stderr } = await run(process.env.FFMPEG, [
        '-hide_banner', '-v', 'error', '-stats', '-nostdin', '-i', url, '-map', map,
        '-t', String(seconds), '-fps_mode', 'passthrough', '-enc_time_base', 'demux', '-f', 'null', '-',
    ], { maxBuffer: 1 << 24, env: { ...process.env, SSL_CERT_FILE: server.certificate } });
    // A kept connection may end between two requests: FFmpeg says so, and opens another.
    const isFine = (line) => FINE.test(line) || /^\[(tls|https) @ .* End of file$/.test(line);
    const problems = stderr.split(/[\r\n]/).filter((line) => line && !isFine(line));
    assert.deepEqual(problems, [], url);
    const [, h, m, s] = /time=(\d+):(\d+):([\d.]+)(?![^]*time=)/.exec(stderr) ?? [];
    return Number(h) * 3600 + Number(m) * 60 + Number(s);
}

/** Runs in the page: plays a playlist by hls.js, which is there already. */
function embed(url) {
    const video = document.createElement('video');
    video.muted = true;
    document.body.replaceChildren(video);
    const problems = [];
    const hls = new window.Hls({ enableWorker: false, lowLatencyMode: true });
    hls.on(window.Hls.Events.ERROR, (event, { details, fatal, error }) => {
        problems.push({ details, fatal, text: String(error) });
    });
    hls.on(window.Hls.Events.MANIFEST_PARSED, () => video.play());
    hls.loadSource(url);
    hls.attachMedia(video);
    window.player = { hls, video, problems };
}

function played(page) {
    return page.evaluate(() => {
        const { hls, video, problems } = window.player;
        return {
            seconds: Array.from({ length: video.played.length }, (_, at) => (
                video.played.end(at) - video.played.start(at))).reduce((sum, more) => sum + more, 0),
            frames: video.getVideoPlaybackQuality().totalVideoFrames,
            bytes: video.webkitAudioDecodedByteCount,
            parts: hls.latestLevelDetails?.partList?.length ?? 0,
            fatal: problems.filter(({ fatal }) => fatal),
            problems,
            // What the browser says itself; the player only tells that there is something.
            error: video.error?.message,
        };
    });
}

describe('live view', { concurrency: 1 }, () => {
    let server;
    let browser;
    const test = stepsWith(() => server);

    before(async () => {
        ({ server, browser } = await raise({ groups: GROUPS, config: { allowOrigin: [FRIEND] } }));
    });

    after(async () => {
        await lower({ server, browser });
    });

    for (const codec of CODECS) {
        test(`${codec}: FFmpeg and hls.js play the class while it is recorded`, async () => {
            const ann = await joinGroup(browser, 'ann', { group: codec, start: 'both', password: 'teacher' });
            await record(ann);
            const query = `?token=${token(codec)}`;
            const latest = `${ORIGIN}/recordings/${codec}/live.m3u8${query}`;
            const viewer = await openPage(browser, 'viewer');
            await viewer.addInitScript({ path: HLS });
            await viewer.goto(`${ORIGIN}/404-not-there`).catch(() => {});
            // Nobody has asked for keyframes until now: the first answer waits for one.
            await viewer.evaluate(embed, latest);
            await until('ten seconds in the page', async () => {
                const now = await played(viewer);
                assert.deepEqual(now.fatal, []);
                return now.seconds > 10 && now.frames > 50 && now.bytes > 1000 && now.parts > 0 && now;
            }).catch(async (error) => {
                console.error(JSON.stringify(await played(viewer), null, 1));
                throw error;
            });
            await screenshot(viewer, `live-${codec}`);
            // A person by name, and a password instead of a token.
            const login = ORIGIN.replace('://', '://ann:teacher@');
            const [session] = timeline(server, codec);
            assert.equal(session.event, 'session');
            for (const [url, map] of [[latest, '0:v:0'], [latest, '0:a:0'],
                [`${login}/recordings/${codec}/live.m3u8`, '0:v:0'],
                [latest.replace('live', 'sound'), '0:a:0']]) {
                const seconds = await play(server, url, 6, map);
                assert.ok(seconds > 5, `${seconds} s of ${url}`);
            }
            const { headers: { location } } = await request(`/recordings/${codec}/live.m3u8${query}`);
            await ann.click('#record-button');
            await until('the end', () => timeline(server, codec).some(({ event }) => event === 'end'));
            await until('the playlist to say so', async () => {
                const { body } = await request(location.replace('live.m3u8', 'live/media.m3u8'));
                return body.toString().includes('#EXT-X-ENDLIST');
            });
            await ann.context().close();
            await viewer.context().close();
        });
    }

    test('VP8 is refused with a way out, and its sound is heard', async () => {
        const ann = await joinGroup(browser, 'ann', { group: 'vp8', start: 'both', password: 'teacher' });
        await record(ann);
        const query = `?token=${token('vp8')}`;
        const get = (name, options) => request(`/recordings/vp8/${name}${query}`, options);
        const { headers: { location } } = await get('live.m3u8');
        const refused = await until('a picture', async () => {
            const answer = await request(location);
            return answer.status === 409 && answer;
        });
        assert.match(refused.body.toString(), /"codecs": \["h264", "opus"\]/);
        const seconds = await play(server, `${ORIGIN}/recordings/vp8/sound.m3u8${query}`, 6, '0:a:0');
        assert.ok(seconds > 5, `${seconds} s of sound`);
        await ann.context().close();
    });

    test('only who may record watches, also from pages of friends', async () => {
        const session = timeline(server, 'vp9')[0];
        assert.equal(session.event, 'session');
        const none = await request('/recordings/vp9/live.m3u8');
        assert.equal(none.status, 401);
        const ended = await request(`/recordings/av1/live.m3u8?token=${token('av1')}`);
        assert.equal(ended.status, 404);
        assert.match(ended.body.toString(), /press Record first/);
        const wrong = await request(`/recordings/vp9/live.m3u8?token=${token('h264')}`);
        assert.equal(wrong.status, 401);
        for (const [origin, allowed] of [[FRIEND, FRIEND], ['https://evil.example', undefined]]) {
            const { headers } = await request(`/recordings/vp9/sound.m3u8?token=${token('vp9')}`, { headers: { origin } });
            assert.equal(headers['access-control-allow-origin'], allowed);
        }
        const asked = await request('/recordings/vp9/live.m3u8', {
            method: 'OPTIONS', headers: { origin: FRIEND, 'access-control-request-method': 'GET' },
        });
        assert.equal(asked.status, 204);
        assert.match(asked.headers['access-control-allow-headers'], /Authorization/);
    });
});
