/**
 * Tells who speaks while their microphone is off that nobody hears it. What is listened to stays on this
 * device. Loaded when a microphone is off for the first time.
 */

import { need, t } from './language.js';
import { notify } from './notices.js';
import { preferences } from './preferences.js';
import { state } from './state.js';

await need('tools');

const TICK_MS = 200;
/** Speech at a usual distance is above this; breath and rooms are below. */
const LOUD_RMS = 0.04;
/** Who speaks is loud in so many of so many ticks; who coughs or types is not. */
const LOUD_TICKS = 6;
const TICKS = 10;
const AGAIN_MS = 60_000;

let ear = null;
/** A track that cannot be listened to: some browsers refuse some rates. */
let deafTo = null;
let toldAt = -Infinity;

/** Listens while the microphone is off; to be called when that may have changed. */
export function heed() {
    const { audio } = state.own;
    // Without the removal of echo it would be what comes out of the loudspeakers.
    const isDue = preferences.tellMuted && preferences.noise && state.isInside
        && audio?.readyState === 'live' && !audio.enabled && audio !== deafTo;
    if (ear && (!isDue || ear.source !== audio))
        stop();
    if (isDue && !ear)
        ear = listen(audio);
}

function listen(source) {
    // The track itself is silent.
    const track = source.clone();
    track.enabled = true;
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    try {
        context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
    } catch {
        deafTo = source;
        context.close();
        track.stop();
        return null;
    }
    const samples = new Float32Array(analyser.fftSize);
    const loud = [];
    const timer = setInterval(() => {
        analyser.getFloatTimeDomainData(samples);
        const rms = Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
        loud.push(rms > LOUD_RMS);
        loud.splice(0, loud.length - TICKS);
        if (loud.filter(Boolean).length >= LOUD_TICKS)
            tell();
    }, TICK_MS);
    return { source, track, context, timer };
}

function tell() {
    // Where all are muted everybody knows.
    if (performance.now() - toldAt < AGAIN_MS || state.room?.floor.isTaken)
        return;
    toldAt = performance.now();
    notify(t('You are speaking, but your microphone is off: nobody hears you.'), 'warning');
}

function stop() {
    clearInterval(ear.timer);
    ear.context.close();
    ear.track.stop();
    ear = null;
}
