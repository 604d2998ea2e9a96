/**
 * One stream of a replay: a tile whose video follows the clock. Small differences are made good by
 * playing a little faster or slower, large ones by a seek.
 */

import { element } from './element.js';
import { t } from './language.js';
import { fileAt } from './replay-timeline.js';

/** From here on a difference is corrected, until it is below the second. A picture lasts 33 ms. */
const OFF_S = 0.02;
const FINE_S = 0.006;
/** Too much to be made good by another speed. */
const SEEK_S = 0.4;
/** The strongest correction, which nobody hears; and how fast a difference is made good, per second. */
const BEND_MAX = 0.06;
const BEND_PER_S = 3;
/** A seek takes time; until it is over another one would only begin anew. */
const PATIENCE_MS = 3_000;
/** So long the others wait for one; then they go on without it. */
const AWAITED_MS = 8_000;

export class ReplayTile {
    /** `addressOf(name)` gives a file's address; `onPin()` is called when somebody wants it large. */
    constructor(stream, addressOf, onPin) {
        this.stream = stream;
        this.isScreen = stream.label === 'screenshare';
        this.level = 0;
        this.#addressOf = addressOf;
        this.video = element('video', { playsInline: true, preload: 'auto', tabIndex: -1 });
        this.video.onerror = () => this.#fail();
        const name = stream.username || t('(anonymous)');
        this.name = this.isScreen ? t('{name}’s screen', { name }) : name;
        this.button = element('button', {
            type: 'button', className: 'pin', 'aria-pressed': 'false', 'aria-label': t('Show {name} large', { name: this.name }),
        });
        this.button.onclick = onPin;
        this.#note = element('span', { className: 'note' });
        const caption = element('figcaption', {}, element('span', { dir: 'auto' }, this.name), this.#note);
        this.node = element('figure', { className: 'replay-tile', hidden: true }, this.video, caption, this.button);
    }

    #addressOf;
    #note;
    #file = null;
    #broken = new Set();
    #soughtMs = -Infinity;
    #awaitedMs = 0;
    #isBending = false;

    /** How far it is from where it should be, in seconds; null while it has nothing to show. */
    get offS() {
        return this.#file && this.video.readyState > 0 ? this.#offAt(this.#wantedS) : null;
    }

    /** Where it is in the recording, in seconds. */
    get positionS() {
        return this.#file ? this.video.currentTime + this.#file.startS : null;
    }

    #wantedS = 0;

    /** Follows the clock; `nowMs` is the page's time. */
    follow(clock, nowMs) {
        this.#wantedS = clock.positionS;
        const file = fileAt(this.stream, this.#wantedS);
        if (file !== this.#file)
            this.#open(file ?? null);
        this.node.hidden = !file;
        this.node.classList.toggle('is-without-picture', !file?.hasVideo || this.#broken.has(file));
        if (!file || this.#broken.has(file) || this.video.readyState === 0)
            return;
        const off = this.#offAt(this.#wantedS);
        const isPatient = this.video.seeking && nowMs - this.#soughtMs < PATIENCE_MS;
        if (Math.abs(off) > SEEK_S && !isPatient && !this.#isAtItsEnd(off)) {
            this.#soughtMs = nowMs;
            this.video.currentTime = this.#wantedS - file.startS;
            this.#bend(clock.rate, 0);
        } else if (!this.video.seeking) {
            this.#bend(clock.rate, off);
        }
        if (clock.isRunning && this.video.paused)
            this.video.play().catch(() => { /* The next turn tries again. */ });
        else if (!clock.isRunning && !this.video.paused)
            this.video.pause();
    }

    /** Whether the others should wait for it. */
    isAwaited(nowMs) {
        const lacks = this.#file && !this.#broken.has(this.#file)
            && (this.video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA || this.video.seeking)
            && !this.video.ended;
        if (!lacks) {
            this.#awaitedMs = 0;
            return false;
        }
        this.#awaitedMs ||= nowMs;
        return nowMs - this.#awaitedMs < AWAITED_MS;
    }

    /** The last pictures of a file may be shorter than its timeline says. */
    #isAtItsEnd(off) {
        return this.video.ended && off < 0;
    }

    #offAt(wantedS) {
        return this.video.currentTime + this.#file.startS - wantedS;
    }

    #bend(rate, off) {
        if (Math.abs(off) > OFF_S)
            this.#isBending = true;
        else if (Math.abs(off) < FINE_S)
            this.#isBending = false;
        const bend = this.#isBending ? Math.max(-BEND_MAX, Math.min(BEND_MAX, off * BEND_PER_S)) : 0;
        const wanted = rate * (1 - bend);
        if (Math.abs(this.video.playbackRate - wanted) > 0.001)
            this.video.playbackRate = wanted;
    }

    #open(file) {
        this.#file = file;
        this.#soughtMs = -Infinity;
        this.#awaitedMs = 0;
        this.#note.textContent = file && this.#broken.has(file) ? t('cannot be shown in this browser') : '';
        if (file && !this.#broken.has(file)) {
            this.video.src = this.#addressOf(file.name);
            return;
        }
        this.video.removeAttribute('src');
        this.video.load();
    }

    #fail() {
        if (!this.#file)
            return;
        this.#broken.add(this.#file);
        this.#note.textContent = t('cannot be shown in this browser');
    }
}
