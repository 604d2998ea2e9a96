/** Who speaks: the server tells, of those whose sound says how loud it is; of others we hear it. */

import { state } from './state.js';

const TICK_MS = 400;
/** RFC 6464 levels arrive as 0..1; about -40 dB counts as speech. */
const LEVEL_MIN = 0.01;
/** Somebody who has been silent for so long gives the place to the next speaker. */
const HOLD_MS = 2_000;

/**
 * Marks the tiles of `tiles()` whose people speak, and calls `speaks(tile, isNewSpeaker)` with the
 * loudest of them, now and again.
 */
export function listenFor(tiles, speaks) {
    let speaker = null;
    setInterval(() => {
        const now = performance.now();
        const loudest = markAll(tiles(), now);
        if (!loudest)
            return;
        const isNew = loudest !== speaker && (!speaker || now - speaker.spokeAt >= HOLD_MS);
        if (isNew)
            speaker = loudest;
        speaks(loudest, isNew);
    }, TICK_MS);
}

/** Of some tiles the one whose place is missed least; null if all have just spoken. */
export function longestSilent(tiles) {
    const [quietest] = tiles.filter((tile) => !tile.isOwn && !tile.isPinned)
        .sort((a, b) => a.spokeAt - b.spokeAt);
    return quietest && performance.now() - quietest.spokeAt >= HOLD_MS ? quietest : null;
}

function markAll(tiles, now) {
    let loudest = null;
    let level = LEVEL_MIN;
    for (const tile of tiles) {
        if (tile.isOwn)
            continue;
        const heard = toldLevel(tile.stream) ?? levelOf(tile.stream);
        tile.node.classList.toggle('is-speaking', heard > LEVEL_MIN);
        if (heard > LEVEL_MIN)
            tile.spokeAt = now;
        if (heard > level)
            [loudest, level] = [tile, heard];
    }
    return loudest;
}

/** The louder the earlier in the server's list. Encoders need not tell levels. */
function toldLevel({ id, label }) {
    const told = state.connection?.speakers;
    if (!told || label !== 'camera')
        return null;
    const place = told.indexOf(id);
    return place < 0 ? 0 : 1 / (1 + place);
}

function levelOf(stream) {
    const levels = stream.pc.getReceivers()
        .filter((receiver) => receiver.track?.kind === 'audio')
        .flatMap((receiver) => receiver.getSynchronizationSources())
        .map((source) => source.audioLevel ?? 0);
    return Math.max(0, ...levels);
}
