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
export function explain(error, what) {
    const words = wordsFor(what);
    switch (error.name) {
    case 'NotAllowedError':
    case 'SecurityError':
        return refusal(what, words);
    case 'NotFoundError':
        return words.missing;
    case 'NotReadableError':
    case 'AbortError':
        return words.busy;
    default:
        return error.message || words.busy;
    }
}

/** Whole sentences for each device: other languages decline them. */
function wordsFor(what) {
    switch (what) {
    case 'microphone':
        return {
            missing: t('No microphone was found. Is it plugged in and switched on? Everything else works.'),
            busy: t('The microphone could not be started. Another program may be using it: close that '
                + 'one, and try again.'),
            forbidden: t('The browser may not use the microphone.'),
        };
    case 'camera':
        return {
            missing: t('No camera was found. Is it plugged in and switched on? Everything else works.'),
            busy: t('The camera could not be started. Another program may be using it: close that one, '
                + 'and try again.'),
            forbidden: t('The browser may not use the camera.'),
        };
    default:
        return {
            missing: t('There is no screen that could be shared.'),
            busy: t('The screen could not be shared. Try again, or share a single window.'),
            forbidden: t('The browser may not share the screen.'),
        };
    }
}

/** Where the permission is given, which is elsewhere in every browser. */
function refusal(what, words) {
    if (window !== window.top && !isAllowedInFrame(what)) {
        return `${words.forbidden} ${t('The page around this one does not pass it on. Open this page in a '
            + 'tab of its own, or ask for {attribute} on its frame.',
        { attribute: 'allow="camera; microphone; display-capture"' })}`;
    }
    const agent = navigator.userAgent;
    let where = t('Allow it with the icon beside the address of this page');
    if (/Firefox/.test(agent))
        where = t('Allow it with the crossed-out icon beside the address of this page');
    else if (/Android/.test(agent))
        where = t('Allow it with the icon left of the address, then “Permissions”');
    else if (/iPhone|iPad/.test(agent))
        where = t('Allow it with the button aA beside the address, then “Website Settings”');
    else if (/Safari/.test(agent) && !/Chrom/.test(agent))
        where = t('Allow it in the menu Safari, “Settings for This Website”');
    else if (/Edg|Chrom/.test(agent))
        where = t('Allow it with the icon left of the address of this page');
    return `${words.forbidden} ${where}${t(', and in the settings of your system; then try again.')}`;
}

function isAllowedInFrame(what) {
    const feature = what === 'screen' ? 'display-capture' : what;
    return document.featurePolicy?.allowsFeature(feature) ?? true;
}

function requireDevices(method) {
    if (navigator.mediaDevices?.[method])
        return;
    throw new Error(window.isSecureContext
        ? t('This browser cannot do that. Try a current Firefox, Chrome, Edge or Safari.')
        : t('Browsers give camera, microphone and screen to https pages only. Open this page with https.'));
}
