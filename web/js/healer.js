/**
 * Brings media back that has lost its way while the connection to the server still works: first
 * ICE is restarted, then the stream is made anew. A lost connection is the business of
 * ServerConnection; this module tells it when the browser sees the network change.
 */

/** ICE mends short gaps by itself. */
const RESTART_AFTER_MS = 1_500;
const RENEW_AFTER_MS = 5_000;
/** Restarts and renewals of one stream; then the user must do something about the network. */
const TRIES_MAX = 8;

export class Healer {
    /** `onChange()` is called when `ailing` has changed; `signal` ends the healing. */
    constructor(connection, onChange, signal) {
        this.connection = connection;
        this.onChange = onChange;
        /** What is being tried, by stream: `ice` or `new`. */
        this.ailing = new Map();
        connection.addEventListener('stream', ({ detail }) => this.#took(detail), { signal });
        const doubt = () => connection.doubt();
        window.addEventListener('online', doubt, { signal });
        window.addEventListener('offline', doubt, { signal });
        navigator.connection?.addEventListener?.('change', doubt, { signal });
        document.addEventListener('visibilitychange', () => {
            if (!document.hidden)
                doubt();
        }, { signal });
        window.addEventListener('pageshow', ({ persisted }) => persisted && doubt(), { signal });
        signal.addEventListener('abort', () => {
            for (const timer of this.#timers.values())
                clearTimeout(timer);
        });
    }

    #tries = new Map();
    #timers = new Map();

    #took({ kind, stream }) {
        if (kind === 'close') {
            this.#forget(stream);
            return;
        }
        if (kind !== 'state' || this.connection.streams(stream.direction).get(stream.id) !== stream)
            return;
        const { connectionState } = stream.pc;
        if (connectionState === 'connected')
            this.#recovered(stream);
        else if (connectionState === 'disconnected')
            this.#schedule(stream, RESTART_AFTER_MS);
        else if (connectionState === 'failed')
            this.#schedule(stream, 0);
    }

    #schedule(stream, delayMs) {
        if (delayMs > 0 && this.#timers.has(stream))
            return;
        clearTimeout(this.#timers.get(stream));
        this.#timers.set(stream, setTimeout(() => this.#treat(stream), delayMs));
    }

    #treat(stream) {
        this.#timers.delete(stream);
        const { connection } = this;
        if (stream.closed || stream.pc.connectionState === 'connected')
            return;
        if (!connection.isJoined || connection.isSilent) {
            // Nothing can be asked for now, and a new connection will make everything new.
            this.#schedule(stream, RESTART_AFTER_MS);
            return;
        }
        // The same person's streams share their tries, because each renewal is another stream.
        const key = `${stream.direction} ${stream.source} ${stream.label}`;
        const tries = (this.#tries.get(key) ?? 0) + 1;
        this.#tries.set(key, tries);
        if (tries > TRIES_MAX)
            return;
        const step = this.ailing.get(stream) === 'ice' ? 'new' : 'ice';
        this.ailing.set(stream, step);
        this.onChange();
        if (step === 'ice')
            connection.restart(stream.id);
        else
            connection.renew(stream.id);
        this.#schedule(stream, RENEW_AFTER_MS);
    }

    #recovered(stream) {
        this.#tries.delete(`${stream.direction} ${stream.source} ${stream.label}`);
        this.#forget(stream);
    }

    #forget(stream) {
        clearTimeout(this.#timers.get(stream));
        this.#timers.delete(stream);
        if (this.ailing.delete(stream))
            this.onChange();
    }
}
