/**
 * What the server is asked to send: the sound of everybody, and pictures only of those whose tiles
 * are on the screen, the small picture for a small tile.
 */

import { preferences } from './preferences.js';

/** With so few cameras all come at once, without being asked for one by one. */
const CAMERAS_AT_ONCE = 4;
/** Whoever leafs through pages asks once, at the end. */
const SETTLE_MS = 200;
/** A tile wider than this wants the large picture. */
export const LARGE_FROM_PX = 400;

export class Reception {
    constructor(connection) {
        this.connection = connection;
        this.visible = new Map();
        this.isCrowded = false;
        this.connection.wishes = this.#general();
    }

    /** `visible` maps stream ids to `large` or `small`. */
    show(visible) {
        this.visible = visible;
        clearTimeout(this.#timer);
        this.#timer = setTimeout(() => this.#ask(), SETTLE_MS);
    }

    /** The user chose to receive something else. */
    preferenceChanged() {
        this.#ask();
        this.connection.request(this.#general());
    }

    #timer = 0;
    /** What was asked for single streams, by stream. */
    #asked = new WeakMap();

    /** What is wished for in general, for all streams that nothing else is said of. */
    wishes() {
        return this.#general();
    }

    #general() {
        if (preferences.receive === 'nothing')
            return {};
        const screen = preferences.receive === 'audio' ? ['audio'] : ['audio', 'video'];
        // Sound alone would leave out cameras without a microphone.
        return { screenshare: screen, '': this.#wish('', this.isCrowded ? 'small' : 'large') };
    }

    #ask() {
        const { connection } = this;
        if (!connection.isJoined)
            return;
        const cameras = [...connection.down.values()].filter(({ label }) => label !== 'screenshare');
        const becomesCrowded = !this.isCrowded && cameras.length > CAMERAS_AT_ONCE;
        this.isCrowded ||= becomesCrowded;
        const general = this.#general();
        for (const stream of connection.down.values()) {
            if (stream.media.getTracks().length === 0)
                continue;
            // Without anything at all the stream would end, and be lost to this page.
            const isSilent = stream.media.getAudioTracks().length === 0;
            const size = this.visible.get(stream.id) ?? (isSilent ? 'small' : undefined);
            const wish = this.#wish(stream.label, size);
            const usual = general[stream.label] ?? general[''] ?? [];
            const special = String(wish) === String(usual) ? null : wish;
            if (this.#asked.get(stream) === String(special))
                continue;
            if (special !== null || this.#asked.has(stream))
                connection.requestStream(stream.id, special);
            this.#asked.set(stream, String(special));
        }
        // Afterwards, so that what is on the screen is never switched off in between.
        if (becomesCrowded)
            connection.request(general);
    }

    /** What to ask for of a stream with this label in a tile of this size. */
    #wish(label, size) {
        const isScreen = label === 'screenshare';
        switch (preferences.receive) {
        case 'nothing':
            return [];
        case 'audio':
            return ['audio'];
        case 'screenshare':
            return isScreen && size ? ['audio', 'video'] : ['audio'];
        case 'low':
            return !size ? ['audio'] : ['audio', isScreen ? 'video' : 'video-low'];
        default:
            return !size ? ['audio'] : ['audio', isScreen || size === 'large' ? 'video' : 'video-low'];
        }
    }
}
