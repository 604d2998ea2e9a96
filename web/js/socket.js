/**
 * The WebSocket to the server, which knows within seconds whether anybody still answers. TCP alone
 * takes a minute or more to notice that a network has gone.
 */

const TICK_MS = 300;
/** A tick this late means that the device slept or the page was throttled: nothing was missed. */
const SLEPT_AFTER_MS = 4_000;
/** An attempt to connect that takes longer is given up: its packets are waiting in a dead network. */
const OPEN_MAX_MS = 4_000;
/** We ask for a sign of life after this much silence; later while media shows that all is well. */
const PING_AFTER_MS = 700;
const PING_WITH_MEDIA_MS = 10_000;
const PING_EVERY_MS = 1_000;
/** Unanswered for so long the user is told, and the connection is given up. */
const SILENT_AFTER_MS = 900;
const DEAD_AFTER_MS = 6_000;
/**
 * The same, when there is reason to believe that the network has changed: the browser says so, or another
 * connection is answered while this one is not, as after a change of address that nobody reports.
 */
const DOUBTED_AFTER_MS = 2_500;
/**
 * The same, when media came and stopped together with the answers, and another connection has been answered
 * for a while: the network is another one. A slow device is none, since what has come in meanwhile is dealt
 * with between two ticks, and a slow server answers the other one no sooner.
 */
const CUT_OFF_AFTER_MS = 1_500;
const OTHER_OPEN_MS = 300;
const OTHER_OPEN_TICKS = 2;

export class Socket {
    /**
     * `handlers` are opened(), message(object), closed({text, isTimeout, other}), silent(isSilent) and
     * hearsMedia(), which tells whether media has come since it was last asked. `other` is a WebSocket
     * that is open already, for a Socket in this one's place: it is given as `ready` there.
     */
    constructor(endpoint, handlers, ready = null) {
        this.handlers = handlers;
        this.#endpoint = endpoint;
        this.#startedAt = this.#heardAt = this.#tickedAt = performance.now();
        this.#socket = ready ?? new WebSocket(endpoint);
        this.#socket.onopen = () => handlers.opened();
        if (ready)
            queueMicrotask(() => this.isOpen && handlers.opened());
        this.#socket.onmessage = ({ data }) => this.#take(data);
        this.#socket.onclose = ({ reason }) => this.#end(reason, false);
        this.#ticker = setInterval(() => this.#tick(), TICK_MS);
    }

    get isOpen() {
        return this.#socket.readyState === WebSocket.OPEN;
    }

    /** Whether we wait for an answer for longer than is usual. */
    get isSilent() {
        return this.#isSilent;
    }

    /** Whether the message could be handed to the browser. */
    send(message) {
        if (!this.isOpen)
            return false;
        this.#socket.send(JSON.stringify(message));
        return true;
    }

    /** Calls `done` when the server has dealt with everything sent so far; never after the end. */
    whenDealtWith(done) {
        this.#ping(performance.now(), done);
    }

    /** Asks for a sign of life now, because something happened to the network. */
    doubt() {
        this.#limitMs = DOUBTED_AFTER_MS;
        this.#ping(performance.now());
    }

    /** Ends the connection without a word to the handlers. */
    close() {
        clearInterval(this.#ticker);
        this.#compare(false);
        this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
        this.#socket.close();
    }

    #endpoint;
    #socket;
    /** The connection that this one is compared with while it is silent. */
    #other = null;
    #otherOpenAt = 0;
    #otherTicks = 0;
    /** Whether media has ever come over this network, and whether it has since we asked for a sign of life. */
    #hasHeardMedia = false;
    #hearsMedia = false;
    #ticker;
    #startedAt;
    #heardAt;
    #tickedAt;
    #hasAnswered = false;
    #pingedAt = 0;
    /** What to do at each pong to come: they come in the order of the pings. */
    #pongs = [];
    #askedAt = null;
    #limitMs = DEAD_AFTER_MS;
    #isSilent = false;

    #take(data) {
        this.#heardAt = performance.now();
        this.#hasAnswered = true;
        this.#askedAt = null;
        this.#limitMs = DEAD_AFTER_MS;
        this.#setSilent(false);
        let message;
        try {
            message = JSON.parse(data);
        } catch {
            console.warn('the server sent something that is no JSON');
            return;
        }
        if (message.type === 'pong')
            this.#pongs.shift()?.();
        else
            this.handlers.message(message);
    }

    #tick() {
        const now = performance.now();
        if (now - this.#tickedAt > SLEPT_AFTER_MS) {
            this.#heardAt = this.#startedAt = now;
            this.#askedAt = null;
            this.doubt();
        }
        this.#tickedAt = now;
        if (!this.#hasAnswered) {
            if (now - this.#startedAt >= OPEN_MAX_MS)
                this.#end('', true);
            return;
        }
        const hearsMedia = this.handlers.hearsMedia();
        this.#hasHeardMedia ||= hearsMedia;
        this.#hearsMedia ||= hearsMedia;
        const pingAfterMs = hearsMedia ? PING_WITH_MEDIA_MS : PING_AFTER_MS;
        if (now - this.#heardAt >= pingAfterMs && now - this.#pingedAt >= PING_EVERY_MS)
            this.#ping(now);
        const waitedMs = this.#askedAt === null ? 0 : now - this.#askedAt;
        this.#setSilent(waitedMs >= SILENT_AFTER_MS);
        if (waitedMs >= this.#limitMs || waitedMs >= CUT_OFF_AFTER_MS && this.#isCutOff(now))
            this.#end('', true);
    }

    /** Whether everything speaks for another network. */
    #isCutOff(now) {
        if (this.#other?.readyState !== WebSocket.OPEN || !this.#hasHeardMedia || this.#hearsMedia)
            return false;
        this.#otherTicks += 1;
        return this.#otherTicks >= OTHER_OPEN_TICKS && now - this.#otherOpenAt >= OTHER_OPEN_MS;
    }

    #ping(now, done = null) {
        if (!this.send({ type: 'ping' }))
            return;
        this.#pongs.push(done);
        this.#pingedAt = now;
        if (this.#askedAt === null) {
            this.#askedAt = now;
            this.#hearsMedia = false;
        }
    }

    #setSilent(isSilent) {
        if (isSilent === this.#isSilent)
            return;
        this.#isSilent = isSilent;
        this.#compare(isSilent);
        this.handlers.silent(isSilent);
    }

    #compare(isWanted) {
        this.#other?.close();
        this.#other = isWanted ? new WebSocket(this.#endpoint) : null;
        this.#otherTicks = 0;
        if (isWanted)
            this.#other.onopen = () => {
                this.#limitMs = DOUBTED_AFTER_MS;
                this.#otherOpenAt = performance.now();
            };
    }

    #end(text, isTimeout) {
        let other = null;
        // It is there already, and has shown that it works.
        if (isTimeout && this.#other?.readyState === WebSocket.OPEN)
            [other, this.#other] = [this.#other, null];
        this.close();
        this.handlers.closed({ text, isTimeout, other });
    }
}
