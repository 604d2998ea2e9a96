/** Before joining: our own picture and a meter of the microphone, so that nobody joins in the dark. */

import { capture, explain } from './capture.js';
import { byId } from './element.js';
import { refreshDevices } from './own.js';
import { preferences } from './preferences.js';
import { state } from './state.js';

const METER_MS = 100;
/** Speech at a usual distance fills most of the meter. */
const LOUD_RMS = 0.15;

let media = null;
let meter = null;
let generation = 0;

/** Wires the preview; it starts by itself only where the browser has been given permission before. */
export async function startPreview() {
    byId('preview-button').addEventListener('click', show);
    byId('start').addEventListener('change', () => media && restartPreview());
    await refreshDevices();
    if (await isAllowed())
        await show();
}

export function stopPreview() {
    generation += 1;
    clearInterval(meter?.timer);
    meter?.context.close();
    meter = null;
    for (const track of media?.getTracks() ?? [])
        track.stop();
    media = null;
    byId('preview').srcObject = null;
    byId('preview-box').hidden = true;
    byId('preview-button').hidden = false;
}

/** Another device or another start was chosen. */
export async function restartPreview() {
    if (state.isInside || !media)
        return;
    stopPreview();
    await show();
}

async function show() {
    const { start } = preferences;
    const wanted = byId('start').value || start;
    byId('preview-error').textContent = '';
    if (wanted === 'nothing' || state.isInside)
        return;
    const mine = ++generation;
    const tracks = [];
    const problems = [];
    for (const [kind, what] of [['audio', 'microphone'], ['video', 'camera']]) {
        if (kind === 'video' && wanted !== 'both')
            continue;
        try {
            const found = await capture({ audio: kind === 'audio', video: kind === 'video' });
            tracks.push(...found.getTracks());
        } catch (error) {
            problems.push(await explain(error, what));
        }
    }
    if (mine !== generation || state.isInside) {
        for (const track of tracks)
            track.stop();
        return;
    }
    byId('preview-error').textContent = problems.join(' ');
    media = new MediaStream(tracks);
    byId('preview-box').hidden = tracks.length === 0;
    byId('preview-button').hidden = tracks.length > 0;
    byId('preview').hidden = media.getVideoTracks().length === 0;
    byId('preview').srcObject = media;
    byId('preview').classList.toggle('is-mirrored', preferences.mirror);
    byId('meter').hidden = media.getAudioTracks().length === 0;
    measure();
    await refreshDevices();
}

function measure() {
    if (media.getAudioTracks().length === 0)
        return;
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    context.createMediaStreamSource(new MediaStream(media.getAudioTracks())).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    const timer = setInterval(() => {
        analyser.getFloatTimeDomainData(samples);
        const rms = Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0)
            / samples.length);
        byId('meter').value = Math.min(1, rms / LOUD_RMS);
    }, METER_MS);
    meter = { context, timer };
}

async function isAllowed() {
    try {
        const { state: given } = await navigator.permissions.query({ name: 'microphone' });
        return given === 'granted';
    } catch {
        return false;
    }
}
