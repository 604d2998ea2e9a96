/** Whose tile is large, and who comes before whom on the stage. */

import { preferences } from './preferences.js';
import { state } from './state.js';

/** Of `all` tiles those that are large: pinned, else the slide `share`, else the one that is lit, else, if wished, the `speaker`. */
export function largeOf(all, share, speaker) {
    const pinned = all.filter((tile) => tile.isPinned);
    // A slide stays large: pinned cameras lead the strip then.
    if (share && !pinned.some((tile) => tile.isScreen))
        return [share];
    if (pinned.length > 0)
        return pinned.some((tile) => tile.isScreen) ? pinned.filter((tile) => tile.isScreen) : pinned;
    const lit = all.find((tile) => tile.isLit && !tile.isOwn);
    if (lit)
        return [lit];
    if (preferences.view !== 'speaker')
        return [];
    const shown = speaker ?? all.find((tile) => !tile.isOwn && tile.hasVideo) ?? all.find((tile) => !tile.isOwn);
    return shown ? [shown] : [];
}

/** The order of strip and grid: pinned, large for everybody, ourselves, pictures, mere voices. */
export function rankOf(tile) {
    if (tile.isPinned)
        return 0;
    if (tile.isLit)
        return 1;
    if (tile.isOwn)
        return 2;
    const { data } = state.connection?.users.get(tile.stream.source) ?? {};
    // A picture that is off the page is not sent, so its owner's word must do.
    const tells = data && ('muted' in data || 'camera' in data);
    return tile.hasVideo || !tells || data.camera ? 3 : 4;
}
