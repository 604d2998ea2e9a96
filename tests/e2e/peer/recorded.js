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
    return file ? linesOf(join(folder(server, name), file)) : [];
}

/** The lines of all timelines of a group, in order. */
export function timelines(server, name) {
    const files = readdirSync(folder(server, name)).filter((file) => file.endsWith('.jsonl')).sort();
    return files.flatMap((file) => linesOf(join(folder(server, name), file)));
}

function linesOf(path) {
    return readFileSync(path, 'utf8').trim().split('\n').map(JSON.parse);
}

/** What FFmpeg says although all is well. */
export const FINE = /^(frame|size)=/;

/** Decodes all of a file; what is broken is an error. Returns the seconds of each kind. */
export async function decode(path, kinds = ['video', 'audio']) {
    const seconds = {};
    for (const kind of kinds) {
        const map = `0:${kind[0]}:0`;
        const { stderr } = await run(process.env.FFMPEG, [
            '-hide_banner', '-v', 'error', '-stats', '-nostdin', '-i', path, '-map', map,
            // Cameras have no constant rate.
            '-fps_mode', 'passthrough', '-enc_time_base', 'demux',
            '-f', 'null', '-',
        ], { maxBuffer: 1 << 24 });
        const problems = stderr.split(/[\r\n]/).filter((line) => line && !FINE.test(line));
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

/** What FFmpeg says of the pictures of a file. */
function show(path, ...how) {
    return run(process.env.FFMPEG, [
        '-hide_banner', '-nostdin', '-i', path, '-map', '0:v', ...how, '-f', 'null', '-',
    ], { maxBuffer: 1 << 28 });
}

/** How many pictures of a file in AV1 hold the highest spatial layer that it has. */
export async function wholePictures(path) {
    const { stderr } = await show(path, '-c', 'copy', '-bsf:v', 'trace_headers');
    // What comes before the first one describes the track.
    const highest = stderr.split(/\] Packet: /).slice(1).map((packet) => (
        Math.max(0, ...[...packet.matchAll(/ spatial_id +[01]+ = (\d)/g)].map(([, layer]) => Number(layer)))));
    return highest.filter((layer) => layer === Math.max(...highest)).length;
}

/** The sizes of all pictures of a file as FFmpeg shows them, one after the other, and how many it holds. */
export async function shown(path) {
    const { stderr } = await show(path, '-vf', 'showinfo', '-noautoscale', '-fps_mode', 'passthrough');
    const sizes = [...stderr.matchAll(/ n: *\d+ .* s:(\d+x\d+) /g)].map(([, size]) => size);
    const { stderr: copied } = await show(path, '-c', 'copy');
    const held = Number(/frame= *(\d+)(?![^]*frame=)/.exec(copied)[1]);
    return { sizes, held, tracks: stderr.split('Output #0')[0].match(/Stream #0:\d+.*: Video/g).length };
}
