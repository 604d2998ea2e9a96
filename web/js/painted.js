/** The camera's picture by way of a canvas, for those who paint something else of it; loaded with them. */

import { element } from './element.js';

export const FRAMES_PER_SECOND = 25;

/** What shows the picture of the track `source`, to be painted from. */
export async function shown(source) {
    const video = element('video', { muted: true, playsInline: true, srcObject: new MediaStream([source]) });
    await video.play();
    return video;
}

/** A track with what is on `canvas`. Its end is that of `source`, and then `onStop` is called. */
export function painted(canvas, { source, video, onStop }) {
    const [track] = canvas.captureStream(FRAMES_PER_SECOND).getVideoTracks();
    const stop = track.stop.bind(track);
    track.stop = () => {
        onStop();
        video.srcObject = null;
        source.stop();
        stop();
    };
    source.addEventListener('ended', () => track.dispatchEvent(new Event('ended')));
    return track;
}
