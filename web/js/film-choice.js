/** Plays a file that was chosen to be shown; loaded when there is the first. */

import { element } from './element.js';
import { begin, stopFilm } from './film.js';
import { need, t } from './language.js';
import { notify } from './notices.js';
import { isShutOut } from './own.js';

await need('tools');

export async function show(file) {
    if (isShutOut())
        return;
    stopFilm();
    const player = element('video', { src: URL.createObjectURL(file), playsInline: true });
    const captureStream = player.captureStream ?? player.mozCaptureStream;
    if (!captureStream) {
        notify(t('This browser cannot send a file. Share a window that plays it instead.'));
        return;
    }
    try {
        await player.play();
    } catch {
        URL.revokeObjectURL(player.src);
        notify(t('The browser cannot play {file}. MP4 with H.264 and WebM work everywhere.',
            { file: file.name }));
        return;
    }
    begin(player, captureStream.call(player));
}
