/** The settings dialog, before joining and in the room. */

import { mayBlur, setBlur } from './capture.js';
import { byId } from './element.js';
import { languages, setLanguage, t } from './language.js';
import * as own from './own.js';
import { prefer, preferences, SEND } from './preferences.js';
import { restartPreview } from './preview.js';
import { testSpeaker } from './sound.js';
import { state } from './state.js';

/** `reception()` gives what decides on pictures, or nothing before joining. */
export function wireSettings(stage, reception) {
    for (const id of ['settings-button', 'devices-button']) {
        byId(id).addEventListener('click', () => {
            byId('settings').showModal();
            own.refreshDevices();
            offerBlur();
        });
    }
    for (const [id, kind] of [['microphone', 'audio'], ['camera', 'video']]) {
        byId(id).addEventListener('change', ({ target }) => {
            prefer(id, target.value);
            own.switchDevice(kind);
            restartPreview();
        });
    }
    byId('speaker-row').hidden = !('setSinkId' in HTMLMediaElement.prototype);
    byId('speaker').addEventListener('change', ({ target }) => {
        prefer('speaker', target.value);
        stage.setSpeaker(target.value);
    });
    byId('speaker-test').addEventListener('click', () => testSpeaker(preferences.speaker));
    choice('captions-size', () => {}, 'captions');
    choice('receive', () => {
        reception()?.preferenceChanged();
        stage.layOut();
    });
    choice('send', (value) => state.own.cameraStream?.setVideoRate(SEND[value]));
    box('simulcast', 'simulcast', () => state.own.video && own.publishCamera());
    box('mirror', 'mirror', () => {
        if (state.own.cameraStream)
            stage.update(state.own.cameraStream);
    });
    box('hide-self', 'hideSelf', () => stage.layOut());
    box('tell-muted', 'tellMuted', () => own.tellOwnChange());
    box('hand-sound', 'handSound', () => {});
    box('use-keys', 'keys', () => {});
    choice('rotation', () => own.switchDevice('video').then(restartPreview));
    box('blur', 'blur', async () => {
        const { video } = state.own;
        if (preferences.rotation !== '0' || (video && !await setBlur(video)))
            await own.switchDevice('video');
        await showBlur();
        restartPreview();
    });
    for (const id of ['noise', 'sharp'])
        box(id, id, () => own.switchDevice(id === 'noise' ? 'audio' : 'video'));
    offerLanguages();
    navigator.mediaDevices?.addEventListener('devicechange', own.refreshDevices);
}

/** Says so where the background stays sharp against the user's wish. */
async function showBlur() {
    const { video } = state.own;
    byId('blur-note').hidden = !video || await setBlur(video);
}

/** Background blur, if the browser or this page may be able to. */
async function offerBlur() {
    const can = mayBlur() || await import('./blur.js').then(({ isThere }) => isThere());
    byId('blur').disabled = !can;
    if (can)
        await showBlur();
}

/** The languages that there are, which are asked for when somebody looks. */
async function offerLanguages() {
    const select = byId('language');
    select.addEventListener('change', () => setLanguage(select.value));
    const show = (names) => {
        const options = Object.entries(names).map(([tag, name]) => {
            const option = new Option(name, tag);
            option.lang = tag;
            return option;
        });
        select.replaceChildren(new Option(t('As in the browser'), ''), ...options);
        select.value = preferences.language;
    };
    show({});
    const names = await languages();
    show(names);
    document.addEventListener('languagechange', () => show(names));
}

function choice(id, changed, name = id) {
    byId(id).value = preferences[name];
    byId(id).addEventListener('change', ({ target }) => {
        prefer(name, target.value);
        changed(target.value);
    });
}

function box(id, name, changed) {
    byId(id).checked = preferences[name];
    byId(id).addEventListener('change', ({ target }) => {
        prefer(name, target.checked);
        changed();
    });
}
