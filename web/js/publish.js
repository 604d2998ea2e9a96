/** The page that publishes with one button (WHIP): camera and microphone, or a screen. */

import { byId } from './element.js';
import { basic, HttpSession, keepUp } from './http-session.js';
import { t } from './language.js';
import { withoutWebRtc } from './requirements.js';

const group = location.pathname.replace(/\/publish$/, '');
const token = new URLSearchParams(location.search).get('token');
/** Enough for slides to be read and faces to be seen, on an ordinary uplink. */
const BITS_PER_SECOND_MAX = { camera: 1_500_000, screen: 2_500_000 };

let stop;
let media;

async function capture(source) {
    if (source === 'screen') {
        const screen = await navigator.mediaDevices.getDisplayMedia({ video: true, audio: true });
        for (const track of screen.getVideoTracks())
            track.contentHint = 'detail';
        return screen;
    }
    const video = source === 'camera' && { width: { ideal: 1280 }, height: { ideal: 720 } };
    return navigator.mediaDevices.getUserMedia({ audio: true, video });
}

async function open(source, authorization) {
    const pc = new RTCPeerConnection();
    for (const track of media.getTracks()) {
        const encoding = track.kind === 'video'
            ? { maxBitrate: BITS_PER_SECOND_MAX[source] } : {};
        pc.addTransceiver(track, {
            direction: 'sendonly', streams: [media], sendEncodings: [encoding],
        });
    }
    const query = token === null ? '' : `?token=${encodeURIComponent(token)}`;
    const session = new HttpSession(`${location.origin}${group}/.whip${query}`, authorization);
    await session.open(pc);
    return session;
}

function show(state, error) {
    const words = {
        connecting: t('Connecting…'),
        connected: t('You are live.'),
        waiting: t('The connection is lost. Trying again…'),
        refused: '',
        over: '',
    };
    byId('state').textContent = words[state];
    byId('error').textContent = state === 'refused' || (state === 'waiting' && error)
        ? error.message : '';
    byId('state').dataset.state = state;
    const isOn = state !== 'refused' && state !== 'over';
    byId('button').textContent = isOn ? t('Stop') : t('Go live');
    byId('form').querySelectorAll('input, select').forEach((field) => {
        field.disabled = isOn;
    });
    if (state === 'refused')
        end();
}

function end() {
    stop?.();
    stop = undefined;
    media?.getTracks().forEach((track) => track.stop());
    byId('preview').hidden = true;
}

async function toggle(event) {
    event.preventDefault();
    if (stop) {
        end();
        show('over');
        return;
    }
    byId('error').textContent = '';
    const source = byId('source').value;
    try {
        media = await capture(source);
    } catch (error) {
        byId('error').textContent = error.name === 'NotAllowedError'
            ? t('The browser may not use it: allow it in the address bar, and try again.')
            : t('It cannot be opened: {reason}', { reason: error.message });
        return;
    }
    byId('preview').srcObject = media;
    byId('preview').hidden = media.getVideoTracks().length === 0;
    // The user ends a shared screen from the browser's own bar.
    for (const track of media.getVideoTracks()) {
        track.addEventListener('ended', () => {
            end();
            show('over');
        });
    }
    const username = byId('username').value.trim();
    const password = byId('password').value;
    const authorization = token !== null || username === '' && password === ''
        ? '' : basic(username, password);
    stop = keepUp(() => open(source, authorization), show);
}

byId('group').textContent = decodeURIComponent(group.replace(/^\/group\//, ''));
byId('back').href = `${group}/`;
byId('credentials').hidden = token !== null;
byId('screen-option').hidden = !navigator.mediaDevices?.getDisplayMedia;
byId('form').addEventListener('submit', toggle);
addEventListener('pagehide', end);
if (typeof RTCPeerConnection === 'undefined') {
    byId('error').textContent = withoutWebRtc();
    byId('button').disabled = true;
} else if (!navigator.mediaDevices) {
    byId('error').textContent = t('Browsers give camera, microphone and screen to https pages only. Open this page with https.');
    byId('button').disabled = true;
}
