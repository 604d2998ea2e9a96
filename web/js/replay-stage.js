/**
 * Which tile of a replay is large: a pinned one, a shared screen, or who speaks. The timeline tells who
 * does; where it does not, as in older ones, it is heard here.
 */

import { speechAt } from './replay-timeline.js';

/** Quieter than this is nobody's speech; levels are from 0 to 1. */
const SPEECH = 0.02;
/** Who speaks must be so much louder than the one before. */
const LOUDER = 1.5;
/** A level forgets this much of itself with each look. */
const FADE = 0.7;
/** Nobody else becomes large so soon. */
const STAY_MS = 1_500;

export class ReplayStage {
    constructor(tiles, speeches) {
        this.tiles = tiles;
        this.speeches = speeches;
        this.pinned = null;
        this.large = null;
        this.speaker = null;
    }

    #context = null;
    #sources = [];
    #changedMs = 0;

    /** Begins to listen to who speaks; browsers allow that once somebody has pressed a button. */
    listen() {
        if (this.#context) {
            this.#context.resume();
            return;
        }
        this.#context = new AudioContext();
        for (const tile of this.tiles) {
            const analyser = new AnalyserNode(this.#context, { fftSize: 512 });
            this.#context.createMediaElementSource(tile.video).connect(analyser)
                .connect(this.#context.destination);
            this.#sources.push({ tile, analyser, samples: new Float32Array(analyser.fftSize) });
        }
    }

    pin(tile) {
        this.pinned = this.pinned === tile ? null : tile;
    }

    /** Looks who speaks at a time of the recording, and shows that. */
    look(nowMs, positionS) {
        for (const { tile, analyser, samples } of this.#sources) {
            analyser.getFloatTimeDomainData(samples);
            const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
            tile.level = Math.max(Math.sqrt(power), tile.level * FADE);
        }
        const present = this.tiles.filter((tile) => !tile.node.hidden);
        const speech = speechAt(this.speeches, positionS);
        if (this.speeches.length > 0)
            this.speaker = present.find((tile) => tile.stream.id === speech?.speaker) ?? null;
        else
            this.#hear(present, nowMs);
        const speaks = (tile) => (this.speeches.length > 0
            ? speech?.ids.includes(tile.stream.id) ?? false : tile.level > SPEECH);
        const large = [this.pinned, present.find((tile) => tile.isScreen), this.speaker,
            present.find((tile) => !tile.node.classList.contains('is-without-picture')), present[0]]
            .find((tile) => present.includes(tile));
        this.large = large ?? null;
        for (const tile of this.tiles) {
            tile.node.classList.toggle('is-large', tile === large && present.length > 0);
            tile.node.classList.toggle('is-speaking', speaks(tile) && !tile.node.hidden);
            tile.button.setAttribute('aria-pressed', String(tile === this.pinned));
        }
    }

    #hear(present, nowMs) {
        const loudest = present.reduce((best, tile) => (tile.level > (best?.level ?? SPEECH) ? tile : best), null);
        if (!present.includes(this.speaker))
            this.speaker = null;
        const isLouder = loudest && loudest !== this.speaker
            && loudest.level > LOUDER * (this.speaker?.level ?? 0);
        if (isLouder && (nowMs - this.#changedMs > STAY_MS || !this.speaker)) {
            this.speaker = loudest;
            this.#changedMs = nowMs;
        }
    }
}
