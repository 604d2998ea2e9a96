/** Showing a video or sound file to everybody: it is played here and sent as it plays. */

import { byId } from './element.js';
import { state } from './state.js';

/** What is being shown: {player, media, stream}; null when nothing is. */
let film = null;
/** Called when a film begins, ends, pauses or goes on. */
let changed = () => {};

export function onFilmChange(handler) {
    changed = handler;
}

/** `playing` or `paused`; empty when no film is shown. */
export function filmState() {
    return !film ? '' : film.player.paused ? 'paused' : 'playing';
}

export async function toggleFilm() {
    if (film?.player.paused)
        await film.player.play().catch(() => {});
    else
        film?.player.pause();
}

/** Lets the user choose a file when `film-button` is pressed. */
export function wireFilm() {
    byId('film-button').addEventListener('click', () => byId('film-file').click());
    byId('film-file').addEventListener('change', ({ target }) => {
        const [file] = target.files;
        target.value = '';
        if (file)
            import('./film-choice.js').then(({ show }) => show(file));
    });
}

/** What `player` plays is shown from now on. */
export function begin(player, media) {
    film = { player, media, stream: null };
    player.onended = stopFilm;
    player.onpause = player.onplay = () => changed();
    publishFilm();
    changed();
}

/** Sends what is being shown, again after a lost connection. */
export function publishFilm() {
    if (!film || !state.connection?.isJoined || state.encryption.objection !== '')
        return;
    const replaces = film.stream?.id;
    film.stream = null;
    film.stream = state.connection.publish('video', film.media, { replaces });
}

export function stopFilm() {
    if (!film)
        return;
    const { player, media, stream } = film;
    film = null;
    player.onpause = player.onplay = null;
    player.pause();
    URL.revokeObjectURL(player.src);
    for (const track of media.getTracks())
        track.stop();
    state.connection?.unpublish(stream?.id);
    changed();
}

/** One of our streams has ended; perhaps the server ended this one. */
export function filmClosed(stream) {
    if (film?.stream === stream && state.connection.isJoined)
        stopFilm();
}
