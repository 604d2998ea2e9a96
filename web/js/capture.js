/** Microphone, camera and screen: getting them, and saying in plain words why we could not. */

import { t } from './language.js';
import { preferences } from './preferences.js';

/** Opens the devices asked for; falls back to the default one if the preferred one is gone. */
export async function capture({ audio, video }) {
    requireDevices('getUserMedia');
    const wish = (kind, wanted) => {
        if (!wanted)
            return false;
        const deviceId = preferences[kind === 'audio' ? 'microphone' : 'camera'];
        // Music and a whole room need the sound as it is; a blackboard needs every pixel.
        const { noise, sharp } = preferences;
        const constraints = kind === 'audio'
            ? { echoCancellation: noise, noiseSuppression: noise, autoGainControl: noise }
            : {
                width: { ideal: sharp ? 1920 : 1280 },
                height: { ideal: sharp ? 1080 : 720 },
                frameRate: { max: 30 },
            };
        return deviceId ? { ...constraints, deviceId: { exact: deviceId } } : constraints;
    };
    const media = await navigator.mediaDevices.getUserMedia({
        audio: wish('audio', audio), video: wish('video', video),
    }).catch((error) => {
        if (error.name !== 'OverconstrainedError')
            throw error;
        return navigator.mediaDevices.getUserMedia({ audio, video });
    });
    for (let track of media.getVideoTracks()) {
        if (!await setBlur(track))
            track = await replace(media, track, blur);
        if (preferences.rotation !== '0')
            await replace(media, track, turn);
    }
    for (const track of media.getVideoTracks())
        track.contentHint = preferences.sharp ? 'detail' : '';
    return media;
}

/** Whether this browser may blur backgrounds at all; the camera has a word in it, too. */
export function mayBlur() {
    return Boolean(navigator.mediaDevices?.getSupportedConstraints().backgroundBlur);
}

/** Blurs what is behind the person, as far as browser, system and camera can; whether it is as wished. */
export async function setBlur(track) {
    if (track.isBlurred)
        return preferences.blur;
    const can = track.getCapabilities?.().backgroundBlur ?? [];
    if (!can.includes(preferences.blur))
        return !preferences.blur;
    await track.applyConstraints({ backgroundBlur: preferences.blur }).catch(() => {});
    return Boolean(track.getSettings().backgroundBlur) === preferences.blur;
}

/** Puts what `make` makes of `track` in its place, and gives it. */
async function replace(media, track, make) {
    const made = await make(track);
    media.removeTrack(track);
    media.addTrack(made);
    return made;
}

// What works on pictures is loaded when somebody wants it.
async function turn(track) {
    const { turned } = await import('./rotation.js');
    return Object.assign(await turned(track, Number(preferences.rotation)), { isBlurred: track.isBlurred });
}

/** The track as it is where that cannot be done. */
async function blur(track) {
    try {
        const { blurred } = await import('./blur.js');
        return await blurred(track);
    } catch (error) {
        console.warn(error);
        return track;
    }
}

/** Lets the user choose a screen, window or tab. */
export async function captureScreen() {
    requireDevices('getDisplayMedia');
    const media = await navigator.mediaDevices.getDisplayMedia({ video: true, audio: true });
    for (const track of media.getVideoTracks())
        track.contentHint = 'detail';
    return media;
}

/** Fills a <select> with the devices of one kind (`audioinput`, `audiooutput`, ..). */
export async function listDevices(select, kind, chosen) {
    const devices = await navigator.mediaDevices?.enumerateDevices() ?? [];
    const options = [new Option(t('Default'), '')];
    for (const device of devices) {
        // Before the first permission browsers hide ids and names: such entries help nobody.
        if (device.kind === kind && device.deviceId && device.deviceId !== 'default')
            options.push(new Option(device.label || t('Device {number}', { number: options.length }), device.deviceId));
    }
    select.replaceChildren(...options);
    select.value = chosen;
    if (select.selectedIndex < 0)
        select.value = '';
}

/** What to tell the user when `what` ("camera", "microphone", ..) could not be opened. */
export async function explain(error, what) {
    try {
        const { explanation } = await import('./device-errors.js');
        return explanation(error, what);
    } catch {
        // Without a connection the browser's own words must do.
        return error.message || error.name;
    }
}

function requireDevices(method) {
    if (navigator.mediaDevices?.[method])
        return;
    throw new Error(window.isSecureContext
        ? t('This browser cannot do that. Try a current Firefox, Chrome, Edge or Safari.')
        : t('Browsers give camera, microphone and screen to https pages only. Open this page with https.'));
}
