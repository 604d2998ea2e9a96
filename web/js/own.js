/** Our own microphone, camera and screen: opening, publishing, muting, stopping. */

import { capture, captureScreen, explain, listDevices, setBlur } from './capture.js';
import { byId } from './element.js';
import { t } from './language.js';
import { announce, notify } from './notices.js';
import { preferences, SEND } from './preferences.js';
import { state } from './state.js';

const { own } = state;
/** Called after every change; the page shows it. */
let changed = () => {};

export function onOwnChange(handler) {
    changed = handler;
}

/** Opens what is wanted and not open yet, closes what is no longer wanted, and publishes. */
export async function setCapture({ audio, video, isMuted = false }) {
    if ((audio || video) && isShutOut()) {
        // For when nothing is in the way any more.
        own.wanted = { audio, video, isMuted };
        return;
    }
    await open({ audio: audio && !own.audio, video: video && !own.video });
    if (isMuted && own.audio)
        own.audio.enabled = false;
    if (!video)
        drop('video');
    publishCamera();
    refreshDevices();
}

/** Opens what it can, and says what it could not: a busy camera does not cost the microphone. */
async function open(wanted) {
    if (wanted.audio && wanted.video) {
        try {
            take(await capture(wanted));
            return;
        } catch {
            // Which of the two it was shows when each is asked for alone.
        }
    }
    for (const [kind, what] of [['audio', 'microphone'], ['video', 'camera']]) {
        if (!wanted[kind])
            continue;
        try {
            take(await capture({ audio: kind === 'audio', video: kind === 'video' }));
        } catch (error) {
            notify(await explain(error, what));
        }
    }
}

async function take(media) {
    for (const track of media.getTracks()) {
        own[track.kind] = track;
        track.onended = () => {
            drop(track.kind);
            publishCamera();
            notify(track.kind === 'audio' ? t('The microphone was disconnected.')
                : t('The camera was disconnected.'));
        };
    }
    const [video] = media.getVideoTracks();
    if (video && !await setBlur(video))
        notify(t('What is behind you is not blurred: this browser, system or camera cannot do that by itself.'));
}

function drop(kind) {
    if (own[kind]) {
        own[kind].onended = null;
        own[kind].stop();
    }
    own[kind] = null;
}

/** Publishes microphone and camera as they now are, in place of how they were. */
export function publishCamera() {
    const { connection } = state;
    const tracks = [own.audio, own.video].filter(Boolean);
    if (connection?.isJoined && state.encryption.objection === '') {
        // Forgotten first, so that its end is not taken for the server's doing.
        const replaces = own.cameraStream?.id;
        own.cameraStream = null;
        if (tracks.length > 0) {
            own.cameraStream = connection.publish('camera', new MediaStream(tracks), {
                replaces,
                videoRate: SEND[preferences.send],
                simulcast: preferences.simulcast && preferences.send !== 'low',
            });
        } else {
            connection.unpublish(replaces);
        }
    }
    tellOwnChange();
}

export function publishScreen() {
    const { connection } = state;
    if (own.screen && connection?.isJoined && state.encryption.objection === '') {
        const replaces = own.screenStream?.id;
        own.screenStream = null;
        own.screenStream = connection.publish('screenshare', own.screen, { replaces });
    }
    tellOwnChange();
}

export function stopCamera() {
    drop('audio');
    drop('video');
    const stream = own.cameraStream;
    own.cameraStream = null;
    state.connection?.unpublish(stream?.id);
    tellOwnChange();
}

export async function startScreen() {
    if (isShutOut())
        return;
    try {
        own.screen = await captureScreen();
    } catch (error) {
        // The user closing the browser's dialogue is no error.
        if (error.name !== 'NotAllowedError')
            notify(await explain(error, 'screen'));
        return;
    }
    own.screen.getVideoTracks()[0].onended = () => stopScreen();
    publishScreen();
}

export function stopScreen() {
    for (const track of own.screen?.getTracks() ?? [])
        track.stop();
    own.screen = null;
    const stream = own.screenStream;
    own.screenStream = null;
    state.connection?.unpublish(stream?.id);
    tellOwnChange();
}

/** One of our streams has ended; if the server ended it, the devices must go dark too. */
export function streamClosed(stream) {
    if (!state.connection.isJoined)
        return;
    if (stream === own.cameraStream) {
        own.cameraStream = null;
        stopCamera();
    } else if (stream === own.screenStream) {
        own.screenStream = null;
        stopScreen();
    }
}

/** Publishes a stream again whose transport is beyond repair. */
export function renew(stream) {
    if (stream === own.cameraStream)
        publishCamera();
    else if (stream === own.screenStream)
        publishScreen();
}

export function setMuted(isMuted) {
    if (own.audio && own.audio.enabled === isMuted) {
        own.audio.enabled = !isMuted;
        announce(isMuted ? t('Microphone off.') : t('Microphone on.'));
    }
    tellOwnChange();
}

export async function toggleMicrophone() {
    if (own.audio)
        setMuted(own.audio.enabled);
    else
        await setCapture({ audio: true, video: Boolean(own.video) });
}

export async function toggleCamera() {
    await setCapture({ audio: Boolean(own.audio), video: !own.video });
}

/** Swaps the device under a running stream: no new offer, the others notice nothing else. */
export async function switchDevice(kind) {
    if (!own[kind])
        return;
    const isEnabled = own[kind].enabled;
    const old = own[kind];
    const sender = own.cameraStream?.pc.getSenders().find((other) => other.track === old);
    try {
        take(await capture({ audio: kind === 'audio', video: kind === 'video' }));
        own[kind].enabled = isEnabled;
        await sender?.replaceTrack(own[kind]);
        own.cameraStream?.media.removeTrack(old);
        own.cameraStream?.media.addTrack(own[kind]);
        old.onended = null;
        old.stop();
    } catch (error) {
        notify(await explain(error, kind === 'audio' ? 'microphone' : 'camera'));
    }
    tellOwnChange();
}

export async function refreshDevices() {
    await listDevices(byId('microphone'), 'audioinput', preferences.microphone);
    await listDevices(byId('camera'), 'videoinput', preferences.camera);
    await listDevices(byId('speaker'), 'audiooutput', preferences.speaker);
}

/** Nothing of ours may go out that the others could not read, or the server could: says so. */
export function isShutOut() {
    const { objection } = state.encryption;
    if (objection !== '')
        notify(objection);
    return objection !== '';
}

/** Lets the page and the others know what we send. */
export function tellOwnChange() {
    const now = { muted: own.audio?.enabled ? null : true, camera: own.video ? true : null };
    const { connection } = state;
    if (connection && Object.keys(now).some((key) => (connection.ownData[key] ?? null) !== now[key]))
        connection.tellOfUs(now);
    changed();
}
