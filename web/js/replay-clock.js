/** The time of a replay: every tile follows it. It stands still while the tiles wait for data. */

export class ReplayClock {
    constructor(durationS, now = () => performance.now()) {
        this.durationS = durationS;
        this.isPlaying = false;
        this.rate = 1;
        this.#now = now;
    }

    #now;
    #fromS = 0;
    #sinceMs = 0;
    #isHeld = false;

    /** Seconds since the recording began. */
    get positionS() {
        const ranMs = this.isRunning ? this.#now() - this.#sinceMs : 0;
        return Math.min(this.#fromS + ranMs / 1000 * this.rate, this.durationS);
    }

    /** Whether time goes on. */
    get isRunning() {
        return this.isPlaying && !this.#isHeld;
    }

    get isHeld() {
        return this.#isHeld;
    }

    play() {
        if (this.positionS >= this.durationS)
            this.seek(0);
        this.#change(() => { this.isPlaying = true; });
    }

    pause() {
        this.#change(() => { this.isPlaying = false; });
    }

    /** Waits for data, or goes on. */
    hold(isHeld) {
        if (isHeld !== this.#isHeld)
            this.#change(() => { this.#isHeld = isHeld; });
    }

    speed(rate) {
        this.#change(() => { this.rate = rate; });
    }

    seek(toS) {
        this.#change(() => { this.#fromS = Math.min(Math.max(toS, 0), this.durationS); });
    }

    #change(what) {
        this.#fromS = this.positionS;
        this.#sinceMs = this.#now();
        what();
    }
}
