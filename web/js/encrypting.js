/** What the page does when a class is switched to encryption from end to end, or back. */

import { ask } from './ask.js';
import { byId } from './element.js';
import { publishFilm, stopFilm } from './film.js';
import { t } from './language.js';
import * as own from './own.js';
import { state } from './state.js';

let isAsking = false;

/** The main group may have been switched; at a join nothing is sent yet that would have to change. */
export function followEncryption({ isNew = false } = {}) {
    const { encryption, breakouts, connection } = state;
    const hasChanged = encryption.take(breakouts.main.data.encrypted);
    show();
    if (encryption.isDoubtful)
        doubt();
    if (encryption.objection !== '') {
        const { audio, video } = state.own;
        if (audio || video)
            state.own.wanted = { audio: Boolean(audio), video: Boolean(video), isMuted: !audio?.enabled };
        own.stopScreen();
        own.stopCamera();
        stopFilm();
        connection.request({});
    } else if (hasChanged && !isNew) {
        // Nobody's camera comes on by itself: whoever was shut out switches it on.
        state.own.wanted = null;
        publishAll();
    }
}

function publishAll() {
    state.connection.request(state.room.reception.wishes());
    own.publishCamera();
    own.publishScreen();
    publishFilm();
}

/** Never without a word from what nobody else can read to what the server can. */
async function doubt() {
    if (isAsking)
        return;
    isAsking = true;
    const goesOn = await ask(t('This class is not encrypted, or not any more, though the link of this page has '
        + 'a key. The server could hear and see you. Go on without encryption?'), t('Go on'), t('Stay silent'));
    isAsking = false;
    if (!goesOn || !state.encryption.isDoubtful)
        return;
    state.encryption.forget();
    show();
    publishAll();
    resume();
}

/** What was on before it had to be switched off, or was wished for meanwhile, is on again. */
function resume() {
    const { wanted } = state.own;
    state.own.wanted = null;
    if (wanted && state.connection.can('present'))
        own.setCapture(wanted);
}

/** The chip and the button, in the language of the page. */
export function show() {
    const { isOn, objection } = state.encryption;
    const chip = byId('room-encrypted');
    chip.hidden = !isOn;
    chip.textContent = objection === '' ? t('Encrypted') : t('Key missing');
    chip.title = objection;
    byId('encrypt-button').textContent = isOn ? t('End encryption') : t('Encrypt…');
    state.stage.layOut();
}
