/** Microphone, camera and screen: getting them, and saying in plain words why we could not. */

import { preferences } from './preferences.js';

/** Opens the devices asked for; falls back to the default one if the preferred one is gone. */
export async function capture({ audio, video }) {
    requireDevices('getUserMedia');
    const wish = (kind, wanted) => {
        if (!wanted)
            return false;
        const deviceId = preferences[kind === 'audio' ? 'microphone' : 'camera'];
        const constraints = kind === 'audio'
            ? { echoCancellation: true, noiseSuppression: true, autoGainControl: true }
            : { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { max: 30 } };
        return deviceId ? { ...constraints, deviceId: { exact: deviceId } } : constraints;
    };
    try {
        return await navigator.mediaDevices.getUserMedia({
            audio: wish('audio', audio), video: wish('video', video),
        });
    } catch (error) {
        if (error.name !== 'OverconstrainedError')
            throw error;
        return navigator.mediaDevices.getUserMedia({ audio, video });
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

/** Fills a <select> with the devices of one kind (`audioinput` or `videoinput`). */
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
        return `Your browser did not allow access to the ${what}. Allow it with the icon beside `
            + 'the address of this page, or in your system settings, and try again.';
    case 'NotFoundError':
        return `No ${what} was found. Is it plugged in and switched on?`;
    case 'NotReadableError':
    case 'AbortError':
        return `The ${what} could not be started. Another program may be using it.`;
    default:
        return error.message || `The ${what} could not be started.`;
    }
}

function requireDevices(method) {
    if (navigator.mediaDevices?.[method])
        return;
    throw new Error(window.isSecureContext
        ? 'This browser cannot do that.'
        : 'Browsers give camera, microphone and screen to https pages only.');
}
