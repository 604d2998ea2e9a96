/**
 * Streams of a lost connection. Media has a path of its own, which may still work: they go on until the new
 * connection has had time for its own.
 */

const KEPT_MS = 5_000;

export class Orphans {
    #streams = [];

    /** Takes the streams of a connection that has just been lost. */
    add(streams) {
        this.#streams.push(...streams);
    }

    /** Ends the one whose place is taken. */
    dispose(direction, id) {
        const at = this.#streams.findIndex((stream) => (
            stream.direction === direction && stream.id === id));
        if (at >= 0)
            this.#streams.splice(at, 1)[0].dispose();
    }

    disposeAll() {
        for (const stream of this.#streams.splice(0))
            stream.dispose();
    }

    /** We are back: what has not been replaced soon ends. */
    endSoon() {
        setTimeout(() => this.disposeAll(), KEPT_MS);
    }
}
