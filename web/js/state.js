/** What the group page knows at present, in one place. The modules of the page share it. */

/** The group of this page's address. */
const mainGroup = decodeURIComponent(location.pathname)
    .replace(/^.*?\/group\//, '').replace(/\/+$/, '');

export const state = {
    mainGroup,
    /** The group that we are in, which may be a breakout room, and what the server says of it. */
    groupName: mainGroup,
    status: {},
    /** How far this device's clock is behind the server's. */
    clockSkewMs: 0,
    /** The membership; null before the first one. */
    connection: null,
    /** Its parts on the page (room.js), and what is planned for breakout rooms (breakouts.js). */
    room: null,
    breakouts: null,
    /** Whether and how media is encrypted end to end (encryption.js). */
    encryption: null,
    /** Where videos are (stage.js). */
    stage: null,
    /** Whether the room is on the screen, connected or not. */
    isInside: false,
    /** Our own tracks, which outlive the streams that carry them so that they can be published again. */
    own: { audio: null, video: null, screen: null, cameraStream: null, screenStream: null, wanted: null },
    /** Which panel is open: `chat`, `people` or null. */
    panel: null,
};

/** Whether `user` is ourselves. */
export function isSelf(user) {
    return user.id === state.connection?.id;
}

/** The server's time, in milliseconds of UTC. */
export function serverNow() {
    return Date.now() + state.clockSkewMs;
}
