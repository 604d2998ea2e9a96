/** Microphone, camera and screen: getting them, and saying in plain words why we could not. */

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
    for (const track of media.getVideoTracks())
        track.contentHint = preferences.sharp ? 'detail' : '';
    return media;
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
    const options = [new Option('Default', '')];
    for (const device of devices) {
        // Before the first permission browsers hide ids and names: such entries help nobody.
        if (device.kind === kind && device.deviceId && device.deviceId !== 'default')
            options.push(new Option(device.label || `Device ${options.length}`, device.deviceId));
    }
    select.replaceChildren(...options);
    select.value = chosen;
    if (select.selectedIndex < 0)
        select.value = '';
}

/** What to tell the user when `what` ("camera", "microphone", ..) could not be opened. */
export function explain(error, what) {
    switch (error.name) {
    case 'NotAllowedError':
    case 'SecurityError':
        return refusal(what);
    case 'NotFoundError':
        return `No ${what} was found. Is it plugged in and switched on? Everything else works.`;
    case 'NotReadableError':
    case 'AbortError':
        return `The ${what} could not be started. Another program may be using it: close that one, `
            + 'and try again.';
    default:
        return error.message || `The ${what} could not be started.`;
    }
}

/** Where the permission is given, which is elsewhere in every browser. */
function refusal(what) {
    if (window !== window.top && !isAllowedInFrame(what)) {
        return `The page around this one does not pass the ${what} on. Open this page in a tab of `
            + 'its own, or ask for allow="camera; microphone; display-capture" on its frame.';
    }
    const agent = navigator.userAgent;
    let where = 'the icon beside the address of this page';
    if (/Firefox/.test(agent))
        where = `the crossed-out ${what} beside the address of this page`;
    else if (/Android/.test(agent))
        where = 'the icon left of the address, then Permissions';
    else if (/iPhone|iPad/.test(agent))
        where = 'the aA button beside the address, then Website Settings';
    else if (/Safari/.test(agent) && !/Chrom/.test(agent))
        where = 'the menu Safari, Settings for This Website';
    else if (/Edg|Chrom/.test(agent))
        where = 'the icon left of the address of this page';
    return `The browser may not use the ${what}. Allow it with ${where}, `
        + 'and in the settings of your system; then try again.';
}

function isAllowedInFrame(what) {
    const feature = what === 'screen' ? 'display-capture' : what;
    return document.featurePolicy?.allowsFeature(feature) ?? true;
}

function requireDevices(method) {
    if (navigator.mediaDevices?.[method])
        return;
    throw new Error(window.isSecureContext
        ? 'This browser cannot do that.'
        : 'Browsers give camera, microphone and screen to https pages only.');
}
