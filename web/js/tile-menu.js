/** What can be done with one tile. */

/** The entries of the menu of `tile` on `stage`, for menu.js. */
export function entriesOf(tile, stage) {
    const entries = [
        { text: tile.isPinned ? 'Unpin' : 'Pin', onclick: () => stage.pin(tile) },
    ];
    if (document.fullscreenEnabled) {
        entries.push({
            text: document.fullscreenElement ? 'End full screen' : 'Full screen',
            onclick: () => (document.fullscreenElement ? document.exitFullscreen()
                : tile.node.requestFullscreen()).catch(() => {}),
        });
    }
    if (document.pictureInPictureEnabled && tile.hasVideo) {
        entries.push({
            text: 'Picture in picture',
            onclick: () => tile.video.requestPictureInPicture().catch(() => {}),
        });
    }
    if (!tile.isOwn) {
        const { source: id, username } = tile.stream;
        entries.push({ text: 'Volume…', onclick: () => stage.deeds.volume({ id, username }) });
    }
    if (tile.isOwn && !tile.isScreen)
        entries.push({ text: 'Hide my picture', onclick: () => stage.setSelfHidden(true) });
    if (tile.isOwn && tile.isScreen)
        entries.push({ text: 'Stop sharing', onclick: () => stage.deeds.stopSharing(tile.stream) });
    return entries;
}
