/**
 * The group page: ties the protocol to the join form, the stage, the chat and the user list.
 *
 * For tests and the curious, `window.aula.connection` is the ServerConnection of the current
 * membership (null before the first one); its `up` and `down` map stream ids to Streams, each
 * with its RTCPeerConnection in `pc`.
 */

import { capture, captureScreen, explain, listDevices } from './capture.js';
import { Chat } from './chat.js';
import { byId, element, ROOT } from './element.js';
import { People } from './people.js';
import { prefer, preferences, RECEIVE, SEND } from './preferences.js';
import { ServerConnection } from './protocol.js';
import { Stage } from './stage.js';

const NOTICE_MS = 8_000;

const groupName = decodeURIComponent(location.pathname)
    .replace(/^.*?\/group\//, '').replace(/\/+$/, '');
const token = new URLSearchParams(location.search).get('token');

let status = {};
let connection = null;
let chat = null;
let people = null;

/** Our own tracks; they outlive the streams that carry them, so that we can publish them again. */
const own = { audio: null, video: null, screen: null, cameraStream: null, screenStream: null };

const stage = new Stage(() => stopScreen());

window.aula = { connection: null };

// ---- Notices ------------------------------------------------------------------------------

function notify(text, kind = 'error') {
    const notice = element('div', { className: `notice notice-${kind}` },
        element('span', {}, text),
        element('button', {
            type: 'button', className: 'plain', 'aria-label': 'Dismiss',
            onclick: () => notice.remove(),
        }, '×'));
    byId('notices').append(notice);
    setTimeout(() => notice.remove(), NOTICE_MS);
}

let countdown = null;

/** The server ends in so many seconds: people see how long they have. */
function countDown(seconds) {
    const banner = byId('stopping');
    const end = performance.now() + 1000 * seconds;
    clearInterval(countdown);
    const show = () => {
        const left = Math.max(0, Math.ceil((end - performance.now()) / 1000));
        banner.hidden = false;
        banner.textContent = left > 0
            ? `The server restarts in ${left} s; you come back by yourself`
            : 'The server restarts; you come back by yourself';
    };
    show();
    countdown = setInterval(show, 250);
}

function endCountDown() {
    clearInterval(countdown);
    byId('stopping').hidden = true;
}

function sentence(text) {
    const trimmed = text.trim();
    return trimmed && trimmed[0].toUpperCase() + trimmed.slice(1) + (/[.!?]$/.test(trimmed) ? '' : '.');
}

// ---- Joining ------------------------------------------------------------------------------

async function start() {
    byId('group-name').textContent = groupName;
    document.title = `${groupName} – Aula`;
    byId('username').value = preferences.username;
    byId('start').value = preferences.start;
    if (token) {
        // The token is a secret: keep it out of the address bar, history and screenshots.
        history.replaceState(null, '', location.pathname);
        byId('password-row').hidden = true;
        byId('username-hint').hidden = false;
    }
    try {
        const response = await fetch('.status', { cache: 'no-store' });
        if (!response.ok)
            throw new Error(response.status === 404
                ? 'This group does not exist.' : `The server says: ${response.statusText}`);
        status = await response.json();
    } catch (error) {
        refuse(error instanceof TypeError ? 'The server cannot be reached.' : error.message);
        return;
    }
    if (status.redirect) {
        location.assign(status.redirect);
        return;
    }
    if (status.authPortal && !token) {
        location.assign(status.authPortal);
        return;
    }
    showStatus();
    byId('join-button').disabled = false;
    await refreshDevices();
}

function showStatus() {
    const title = status.displayName || groupName;
    document.title = `${title} – Aula`;
    byId('group-name').textContent = title;
    byId('room-name').textContent = title;
    byId('group-description').textContent = status.description ?? '';
}

function refuse(text) {
    byId('join-error').textContent = text;
    byId('join-button').disabled = !status.name;
    byId('join-button').textContent = 'Join';
}

async function join(event) {
    event.preventDefault();
    const username = byId('username').value.trim();
    const password = byId('password').value;
    prefer('username', username);
    prefer('start', byId('start').value);
    byId('join-error').textContent = '';
    byId('join-button').disabled = true;
    byId('join-button').textContent = 'Joining…';
    let credentials = { username, password };
    if (token)
        credentials = { token, username: username || undefined };
    else if (status.authServer) {
        try {
            credentials = await askAuthServer(username, password);
        } catch (error) {
            refuse(`The login server refused: ${error.message}`);
            return;
        }
    }
    const endpoint = status.endpoint ?? `${location.origin.replace(/^http/, 'ws')}${ROOT}ws`;
    connection = new ServerConnection(endpoint);
    window.aula.connection = connection;
    connection.wishes = RECEIVE[preferences.receive] ?? RECEIVE.everything;
    chat = new Chat(connection, raiseHand);
    people = new People(connection, (user) => {
        openPanel('chat');
        chat.writeTo(user);
    });
    listen();
    connection.join(groupName, credentials);
}

async function askAuthServer(username, password) {
    const response = await fetch(status.authServer, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ location: location.href, username, password }),
    });
    if (response.status === 204)
        return { username, password };
    if (!response.ok)
        throw new Error(response.statusText || `status ${response.status}`);
    return { username, token: await response.text() };
}

function failureText(error, text) {
    if (error === 'need-username')
        return 'Please enter a name.';
    if (error === 'duplicate-username')
        return 'This name is reserved for somebody else. Please choose another one.';
    if (text === 'not authorised')
        return token ? 'This link is not valid, or no longer.' : 'Wrong name or password.';
    return sentence(text || 'The server refused without a reason');
}

// ---- What the connection tells us ------------------------------------------------------------

function listen() {
    let refusal = null;
    const on = (name, handler) => connection.addEventListener(name, ({ detail }) => handler(detail));

    on('failed', ({ error, text }) => {
        refusal = failureText(error, text);
    });
    on('kicked', ({ text, by }) => {
        refusal = sentence(text || 'you have been removed') + (by ? ` (By ${by}.)` : '');
    });
    on('state', ({ state, retryMs, text }) => {
        document.body.dataset.connection = state;
        byId('connection-state').textContent = {
            connecting: 'Connecting…',
            waiting: `Connection lost. Trying again in ${Math.ceil((retryMs ?? 0) / 1000)} s…`,
        }[state] ?? '';
        if (state === 'closed') {
            const wasJoined = !byId('room').hidden;
            showJoinForm();
            refuse(refusal ?? (text || (wasJoined ? '' : 'The server cannot be reached.')));
        }
        if (state === 'connecting') {
            byId('people-list').replaceChildren();
            byId('chat-list').replaceChildren();
            own.cameraStream = own.screenStream = null;
        }
    });
    on('joined', async ({ kind }) => {
        if (kind === 'leave')
            return;
        if (kind === 'join')
            endCountDown();
        status = { ...status, ...connection.status, locked: Boolean(connection.status.locked) };
        showStatus();
        showPermissions();
        people.refresh();
        if (kind === 'join')
            await entered();
    });
    on('user', ({ kind, user }) => {
        people.update(kind, user);
        if (user.id === connection.id)
            setPressed('hand-button', Boolean(user.data?.raisehand), 'Lower hand', 'Raise hand');
    });
    on('stream', ({ kind, stream, replaces, error }) => {
        if (kind === 'add')
            stage.add(stream, replaces);
        else if (kind === 'close')
            closed(stream);
        else if (kind === 'error')
            notify(`A video of ${stream.username || 'somebody'} failed: ${error.message}`);
        else
            stage.update(stream);
    });
    on('chat', ({ message, isHistory }) => chat.show(message, isHistory));
    on('notice', ({ kind, text }) => notify(sentence(text), kind));
    on('stopping', ({ seconds }) => countDown(seconds));
    on('order', ({ kind, message }) => {
        if (kind === 'clearchat') {
            chat.clear(message.value ?? {});
        } else if (own.audio?.enabled) {
            setMuted(true);
            notify(`${message.username || 'An operator'} muted your microphone.`, 'info');
        }
    });
}

async function entered() {
    const isFirst = byId('room').hidden;
    byId('join').hidden = true;
    byId('room').hidden = false;
    if (isFirst)
        openPanel(matchMedia('(min-width: 60rem)').matches ? 'chat' : null);
    if (!connection.can('present'))
        return;
    if (isFirst && preferences.start !== 'nothing') {
        await setCapture({ audio: true, video: preferences.start === 'both' });
        return;
    }
    // We are back after a lost connection: publish again what we were publishing.
    publishCamera();
    publishScreen();
}

function showJoinForm() {
    stopCamera();
    stopScreen();
    byId('room').hidden = true;
    byId('join').hidden = false;
    byId('password').value = '';
}

function showPermissions() {
    const mayPresent = connection.can('present');
    for (const id of ['mic-button', 'camera-button', 'screen-button'])
        byId(id).hidden = !mayPresent;
    byId('screen-button').hidden = !mayPresent || !navigator.mediaDevices?.getDisplayMedia;
    byId('chat-form').hidden = !connection.can('message');
    byId('op-tools').hidden = !connection.can('op');
    byId('lock-button').textContent = status.locked ? 'Unlock group' : 'Lock group';
    byId('room-locked').hidden = !status.locked;
}

// ---- Our own media -----------------------------------------------------------------------------

/** Opens what is wanted and not open yet, closes what is no longer wanted, and publishes. */
async function setCapture({ audio, video }) {
    const missing = { audio: audio && !own.audio, video: video && !own.video };
    if (missing.audio || missing.video) {
        try {
            await openDevices(missing);
        } catch (error) {
            const what = missing.audio && missing.video ? 'camera and microphone'
                : missing.audio ? 'microphone' : 'camera';
            notify(explain(error, what));
            if (!(missing.audio && missing.video && error.name === 'NotFoundError'))
                return;
            // A computer without a camera may still have a microphone.
            await openDevices({ audio: true, video: false }).catch(() => {});
        }
    }
    if (!video)
        dropTrack('video');
    publishCamera();
    refreshDevices();
}

async function openDevices(wanted) {
    const media = await capture(wanted);
    for (const track of media.getTracks()) {
        own[track.kind] = track;
        track.onended = () => {
            dropTrack(track.kind);
            publishCamera();
            notify(`The ${track.kind === 'audio' ? 'microphone' : 'camera'} was disconnected.`);
        };
    }
}

function dropTrack(kind) {
    if (own[kind]) {
        own[kind].onended = null;
        own[kind].stop();
    }
    own[kind] = null;
}

/** Publishes microphone and camera as they now are, in place of how they were. */
function publishCamera() {
    const tracks = [own.audio, own.video].filter(Boolean);
    if (connection?.isJoined) {
        // Forgotten first, so that its end is not taken for the server's doing.
        const replaces = own.cameraStream?.id;
        own.cameraStream = null;
        if (tracks.length > 0) {
            own.cameraStream = connection.publish('camera', new MediaStream(tracks), {
                replaces,
                videoRate: SEND[preferences.send],
                simulcast: preferences.simulcast,
            });
        } else {
            connection.unpublish(replaces);
        }
    }
    showOwn();
}

function publishScreen() {
    if (own.screen && connection?.isJoined)
        own.screenStream = connection.publish('screenshare', own.screen);
    showOwn();
}

function stopCamera() {
    dropTrack('audio');
    dropTrack('video');
    const stream = own.cameraStream;
    own.cameraStream = null;
    connection?.unpublish(stream?.id);
    showOwn();
}

async function startScreen() {
    try {
        own.screen = await captureScreen();
    } catch (error) {
        // The user closing the browser's dialogue is no error.
        if (error.name !== 'NotAllowedError')
            notify(explain(error, 'screen'));
        return;
    }
    own.screen.getVideoTracks()[0].onended = () => stopScreen();
    publishScreen();
}

function stopScreen() {
    for (const track of own.screen?.getTracks() ?? [])
        track.stop();
    own.screen = null;
    const stream = own.screenStream;
    own.screenStream = null;
    connection?.unpublish(stream?.id);
    showOwn();
}

/** A stream has ended; if the server ended one of ours, the devices must go dark too. */
function closed(stream) {
    stage.remove(stream);
    if (stream.direction !== 'up' || !connection.isJoined)
        return;
    if (stream === own.cameraStream) {
        own.cameraStream = null;
        stopCamera();
    } else if (stream === own.screenStream) {
        own.screenStream = null;
        stopScreen();
    }
}

function setMuted(isMuted) {
    if (own.audio)
        own.audio.enabled = !isMuted;
    if (own.cameraStream)
        stage.update(own.cameraStream);
    showOwn();
}

async function toggleMicrophone() {
    if (own.audio)
        setMuted(own.audio.enabled);
    else
        await setCapture({ audio: true, video: Boolean(own.video) });
}

function raiseHand(isRaised) {
    connection.userAction('setdata', connection.id, { raisehand: isRaised ? true : null });
}

function showOwn() {
    setPressed('mic-button', Boolean(own.audio?.enabled), 'Mute', 'Unmute');
    setPressed('camera-button', Boolean(own.video), 'Stop camera', 'Start camera');
    setPressed('screen-button', Boolean(own.screen), 'Stop sharing', 'Share screen');
}

function setPressed(id, isOn, textOn, textOff) {
    const button = byId(id);
    button.setAttribute('aria-pressed', String(isOn));
    button.querySelector('.label').textContent = isOn ? textOn : textOff;
    button.title = isOn ? textOn : textOff;
}

// ---- Panels and settings -------------------------------------------------------------------------

function openPanel(name) {
    byId('room').dataset.panel = name ?? '';
    for (const panel of ['chat', 'people']) {
        byId(panel).hidden = panel !== name;
        byId(`${panel}-button`).setAttribute('aria-expanded', String(panel === name));
    }
    if (name === 'chat')
        chat?.markRead();
}

/** Browsers name the devices only to pages that have used one: open and close them once. */
async function askForNames() {
    if (byId('microphone').length < 2) {
        const media = await capture({ audio: true, video: true }).catch(() => null);
        for (const track of media?.getTracks() ?? [])
            track.stop();
    }
    await refreshDevices();
}

async function refreshDevices() {
    await listDevices(byId('microphone'), 'audioinput', preferences.microphone);
    await listDevices(byId('camera'), 'videoinput', preferences.camera);
}

/** Swaps the device under a running stream: no new offer, the others notice nothing else. */
async function switchDevice(kind) {
    if (!own[kind])
        return;
    const isEnabled = own[kind].enabled;
    const sender = own.cameraStream?.pc.getSenders().find((other) => other.track?.kind === kind);
    try {
        const old = own[kind];
        await openDevices({ audio: kind === 'audio', video: kind === 'video' });
        own[kind].enabled = isEnabled;
        await sender?.replaceTrack(own[kind]);
        own.cameraStream?.media.removeTrack(old);
        own.cameraStream?.media.addTrack(own[kind]);
        old.onended = null;
        old.stop();
    } catch (error) {
        notify(explain(error, kind === 'audio' ? 'microphone' : 'camera'));
    }
    if (own.cameraStream)
        stage.update(own.cameraStream);
}

function wire() {
    const onClick = (id, handler) => byId(id).addEventListener('click', handler);
    byId('join-form').addEventListener('submit', join);
    onClick('mic-button', toggleMicrophone);
    onClick('camera-button', () => setCapture({ audio: Boolean(own.audio), video: !own.video }));
    onClick('screen-button', () => (own.screen ? stopScreen() : startScreen()));
    onClick('hand-button', () => raiseHand(
        byId('hand-button').getAttribute('aria-pressed') !== 'true',
    ));
    for (const name of ['chat', 'people']) {
        onClick(`${name}-button`, () => openPanel(byId(name).hidden ? name : null));
        onClick(`${name}-close`, () => openPanel(null));
    }
    onClick('settings-button', () => {
        byId('settings').showModal();
        refreshDevices();
    });
    onClick('devices-button', () => {
        byId('settings').showModal();
        askForNames();
    });
    onClick('leave-button', () => connection.leave());
    onClick('lock-button', () => connection.groupAction(status.locked ? 'unlock' : 'lock'));
    onClick('clear-button', () => connection.groupAction('clearchat'));

    for (const [id, kind] of [['microphone', 'audio'], ['camera', 'video']]) {
        byId(id).addEventListener('change', ({ target }) => {
            prefer(id, target.value);
            switchDevice(kind);
        });
    }
    byId('receive').value = preferences.receive;
    byId('receive').addEventListener('change', ({ target }) => {
        prefer('receive', target.value);
        connection?.request(RECEIVE[target.value]);
    });
    byId('send').value = preferences.send;
    byId('send').addEventListener('change', ({ target }) => {
        prefer('send', target.value);
        own.cameraStream?.setVideoRate(SEND[target.value]);
    });
    byId('simulcast').checked = preferences.simulcast;
    byId('simulcast').addEventListener('change', ({ target }) => {
        prefer('simulcast', target.checked);
        if (own.video)
            publishCamera();
    });
    navigator.mediaDevices?.addEventListener('devicechange', refreshDevices);
    window.addEventListener('pagehide', () => connection?.leave());
    showOwn();
}

wire();
start();
