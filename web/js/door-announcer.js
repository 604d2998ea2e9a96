/** Tells operators that somebody waits at the door: several together, and the more seldom the more come. */

import { list, need, tn } from './language.js';
import { announce } from './notices.js';
import { preferences } from './preferences.js';
import { chime } from './sound.js';

await need('tools');

/** After the first one others are waited for. */
const GATHER_MS = 1_000;
/** Between two announcements; while many come each time twice as long, up to a limit. */
const GAP_MS = 10_000;
const GAP_MAX_MS = 60_000;
/** More are told as a number. */
const NAMES_MAX = 3;

export class DoorAnnouncer {
    /** `entries()` gives those who wait: {key, name}. */
    constructor(entries) {
        this.entries = entries;
    }

    /** The one with this key has come. */
    note(key) {
        this.#new.add(key);
        if (this.#timer !== null)
            return;
        const now = performance.now();
        if (now - this.#saidAt > 2 * this.#gapMs)
            this.#gapMs = GAP_MS / 2;
        this.#timer = setTimeout(() => this.#say(), Math.max(GATHER_MS, this.#saidAt + this.#gapMs - now));
    }

    #new = new Set();
    #timer = null;
    #saidAt = -Infinity;
    #gapMs = GAP_MS / 2;

    #say() {
        this.#timer = null;
        const names = this.entries().filter(({ key }) => this.#new.has(key)).map(({ name }) => name);
        this.#new.clear();
        // Who is in already, or gone again, is no news.
        if (names.length === 0)
            return;
        this.#saidAt = performance.now();
        const areMany = names.length > NAMES_MAX;
        this.#gapMs = areMany ? Math.min(GAP_MAX_MS, 2 * this.#gapMs) : GAP_MS;
        announce(areMany
            ? tn(names.length, '{count} person would like to come in.', '{count} people would like to come in.')
            : tn(names.length, '{names} would like to come in.', '{names} would like to come in.', { names: list(names) }));
        if (preferences.handSound)
            chime();
    }
}
