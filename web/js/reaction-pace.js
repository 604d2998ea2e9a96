/** How the pace of the class is found: what each person has last said of it, within the last minute. */

import { PACE_KINDS } from './reaction-kinds.js';

const KEPT_MS = 60_000;
/** No class has more; what comes beyond is somebody who comes in again and again. */
const PERSONS_MAX = 1_000;

export class Pace {
    /** Takes what the client `source` says as `person`. What it has said before, or they, counts no longer. */
    take(kind, source, person, now = performance.now()) {
        for (const [id, said] of this.#said) {
            if (id === source || said.person === person)
                this.#said.delete(id);
        }
        if (this.#said.size >= PERSONS_MAX)
            this.#said.delete(this.#said.keys().next().value);
        this.#said.set(source, { kind, person, at: now });
    }

    /** A Map of each kind to how many persons have said so. */
    counts(now = performance.now()) {
        const counts = new Map(PACE_KINDS.map((kind) => [kind, 0]));
        for (const [source, { kind, at }] of this.#said) {
            if (now - at >= KEPT_MS)
                this.#said.delete(source);
            else
                counts.set(kind, counts.get(kind) + 1);
        }
        return counts;
    }

    /** When somebody's word ends to count; Infinity if there is none. */
    get endsAt() {
        const [first] = this.#said.values();
        return first ? first.at + KEPT_MS : Infinity;
    }

    /** By clients' ids, the oldest first. */
    #said = new Map();
}
