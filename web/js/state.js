/** What the group page knows at present, in one place. The modules of the page share it. */

export const state = {
    /** The group of this page's address, and what the server says of it. */
    groupName: decodeURIComponent(location.pathname)
        .replace(/^.*?\/group\//, '').replace(/\/+$/, ''),
    status: {},
    /** The membership; null before the first one. */
    connection: null,
    /** Whether the room is on the screen, connected or not. */
    isInside: false,
    /** Our own tracks, which outlive the streams that carry them so that they can be published again. */
    own: { audio: null, video: null, screen: null, cameraStream: null, screenStream: null },
    /** Which panel is open: `chat`, `people` or null. */
    panel: null,
};

/** Whether `user` is ourselves. */
export function isSelf(user) {
    return user.id === state.connection?.id;
}
