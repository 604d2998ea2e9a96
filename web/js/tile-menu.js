/** What can be done with one tile. */

import { filmState, toggleFilm } from './film.js';
import { t } from './language.js';
import { state } from './state.js';

/** The entries of the menu of `tile` on `stage`, for menu.js. */
export function entriesOf(tile, stage) {
    const entries = [
        { text: tile.isPinned ? t('Unpin') : t('Pin'), onclick: () => stage.pin(tile) },
        ...state.room?.spotlight?.entriesOf(tile) ?? [],
    ];
    if (document.fullscreenEnabled) {
        entries.push({
            text: document.fullscreenElement ? t('End full screen') : t('Full screen'),
            onclick: () => (document.fullscreenElement ? document.exitFullscreen()
                : tile.node.requestFullscreen()).catch(() => {}),
        });
    }
    if (document.pictureInPictureEnabled && tile.hasVideo) {
        entries.push({
            text: t('Picture in picture'),
            onclick: () => tile.video.requestPictureInPicture().catch(() => {}),
        });
    }
    if (!tile.isOwn) {
        const { source: id, username } = tile.stream;
        entries.push({ text: t('Volume…'), onclick: () => stage.deeds.volume({ id, username }) });
    }
    if (tile.isOwn && !tile.isScreen)
        entries.push({ text: t('Hide my picture'), onclick: () => stage.setSelfHidden(true) });
    if (tile.isOwn && tile.stream.label === 'video')
        entries.push({ text: filmState() === 'paused' ? t('Go on') : t('Pause'), onclick: toggleFilm });
    if (tile.isOwn && tile.isScreen)
        entries.push({ text: t('Stop sharing'), onclick: () => stage.deeds.stopSharing(tile.stream) });
    return entries;
}
