/** What the recorder has written, and how a page makes it. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Whoever teaches has a password, and may record. */
export const group = (codec, more = {}) => ({
    codecs: [codec, 'opus'],
    'allow-recording': true,
    users: { ann: { password: 'teacher', permissions: 'op' } },
    'wildcard-user': { password: { type: 'wildcard' }, permissions: 'present' },
    ...more,
});

/** Where a group's recordings are. */
export const folder = (server, name) => join(server.directory, 'recordings', name);

/** The media files of a group, in order. */
export function films(server, name) {
    return readdirSync(folder(server, name)).filter((file) => /\.(webm|mp4|mkv)$/.test(file)).sort();
}

/** The lines of a group's timeline. */
export function timeline(server, name) {
    const file = readdirSync(folder(server, name)).find((file) => file.endsWith('.jsonl'));
    if (!file)
        return [];
    return readFileSync(join(folder(server, name), file), 'utf8').trim().split('\n').map(JSON.parse);
}

/** Decodes all of a file; what is broken is an error. Returns the seconds of pictures and sound. */
export async function decode(path) {
    const seconds = {};
    for (const [kind, map] of [['video', '0:v:0'], ['audio', '0:a:0']]) {
        const { stderr } = await run(process.env.FFMPEG, [
            '-hide_banner', '-v', 'error', '-stats', '-nostdin', '-i', path, '-map', map,
            // Cameras have no constant rate.
            '-fps_mode', 'passthrough', '-enc_time_base', 'demux',
            '-f', 'null', '-',
        ], { maxBuffer: 1 << 24 });
        // FFmpeg shows the layers of VP9 one by one at one time, of which its null muxer complains.
        const fine = /^(frame|size)=|^\[null .*non monotonically/;
        const problems = stderr.split(/[\r\n]/).filter((line) => line && !fine.test(line));
        assert.deepEqual(problems, [], `${kind} of ${path}`);
        const [, h, m, s] = /time=(\d+):(\d+):([\d.]+)(?![^]*time=)/.exec(stderr) ?? [];
        seconds[kind] = Number(h) * 3600 + Number(m) * 60 + Number(s);
    }
    return seconds;
}

/** Presses the button. */
export async function record(page) {
    await page.click('#people-button');
    await page.click('#record-button');
    await page.waitForSelector('#room-recording:not([hidden])');
}
