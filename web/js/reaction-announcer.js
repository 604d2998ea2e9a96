/**
 * Tells those who listen to the page how others react: several together, and the more seldom the longer it goes
 * on, so that applause leaves room for the voice that they listen to.
 */

import { KINDS, wordOf } from './reaction-kinds.js';
import { list, need, number, t, tn } from './language.js';
import { announce } from './notices.js';

await need('tools');

/** After the first one others are waited for. */
const GATHER_MS = 2_000;
/** Between two announcements; each time twice as long, up to a limit. */
const GAP_MS = 10_000;
const GAP_MAX_MS = 60_000;

export class ReactionAnnouncer {
    /** Each client counts once an announcement, with the last that it has said. */
    note(source, kind) {
        this.#heard.set(source, kind);
        if (this.#timer !== null)
            return;
        const now = performance.now();
        if (now - this.#saidAt > 2 * GAP_MAX_MS)
            this.#gapMs = 0;
        this.#timer = setTimeout(() => this.#say(), Math.max(GATHER_MS, this.#saidAt + this.#gapMs - now));
    }

    clear() {
        clearTimeout(this.#timer);
        this.#timer = null;
        this.#heard.clear();
    }

    #heard = new Map();
    #timer = null;
    #saidAt = -Infinity;
    #gapMs = 0;

    #say() {
        const kinds = [...this.#heard.values()];
        const counts = KINDS.map((kind) => [kind, kinds.filter((other) => other === kind).length])
            .filter(([, count]) => count > 0).sort(([, a], [, b]) => b - a)
            .map(([kind, count]) => t('{reaction} {count}', { reaction: wordOf(kind), count: number(count) }));
        announce(tn(kinds.length, '{count} reaction: {reactions}.', '{count} reactions: {reactions}.',
            { reactions: list(counts) }));
        this.clear();
        this.#saidAt = performance.now();
        this.#gapMs = Math.min(GAP_MAX_MS, 2 * this.#gapMs || GAP_MS);
    }
}
