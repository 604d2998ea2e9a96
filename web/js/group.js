/**
 * The group page: ties the protocol to the entrance, the stage, the chat and the list of people.
 *
 * For tests and the curious, `window.aula.connection` is the ServerConnection of the current
 * membership (null before the first one); its `up` and `down` map stream ids to Streams, each
 * with its RTCPeerConnection in `pc`.
 */

import { ask } from './ask.js';
import { Attendance } from './attendance.js';
import { hideBanner, showBanner } from './banner.js';
import { Captions } from './captions.js';
import { Chat } from './chat.js';
import { Commands } from './commands.js';
import { openPanel, showOwn, wireControls } from './controls.js';
import { byId, ROOT } from './element.js';
import { failureText, openEntrance, refuse, showStatus } from './entrance.js';
import { Facts } from './facts.js';
import { Files } from './files.js';
import { filmClosed, publishFilm, stopFilm, wireFilm } from './film.js';
import { Floor } from './floor.js';
import { Hands } from './hands.js';
import { Healer } from './healer.js';
import { Invitations } from './invitations.js';
import { closeMenu } from './menu.js';
import { notify, sentence } from './notices.js';
import * as own from './own.js';
import { People } from './people.js';
import { preferences } from './preferences.js';
import { startPreview, stopPreview } from './preview.js';
import { ServerConnection } from './protocol.js';
import { Reception } from './reception.js';
import { wireSettings } from './settings.js';
import { Stage } from './stage.js';
import { state } from './state.js';
import { countDown, endCountDown } from './stopping.js';
import { askVolume } from './volume.js';
import { keepAwake, sleepAgain } from './wake.js';

/** The parts of a membership; made anew when the user joins, kept over lost connections. */
let room = null;

window.aula = { connection: null };

const stage = new Stage({
    stopSharing: ({ label }) => (label === 'video' ? stopFilm() : own.stopScreen()),
    volume: (user) => askVolume(stage, user),
    shown: (visible) => room?.reception.show(visible),
});

const facts = new Facts(stage);

/** What the server says to a person, in more helpful words. */
const WORDS = {
    'permission denied': 'You may not present any more: camera, microphone and screen are off.',
    'not authorised': 'You may not do that here.',
};

function enter(credentials) {
    const endpoint = state.status.endpoint
        ?? `${location.origin.replace(/^http/, 'ws')}${ROOT}ws`;
    const connection = new ServerConnection(endpoint);
    state.connection = window.aula.connection = connection;
    room = { connection, refusal: null, isGuest: Boolean(credentials.token) };
    room.reception = new Reception(connection);
    room.floor = new Floor(connection);
    room.invitations = new Invitations(connection);
    room.attendance = new Attendance();
    room.captions = new Captions();
    room.hands = new Hands(connection, (places) => {
        room.people?.showHands(places);
        stage.showHands(places);
    });
    room.people = new People(connection, {
        writeTo: (user) => {
            openPanel('chat');
            room.chat.writeTo(user);
        },
        lowerHand: (user) => room.hands.lower(user),
        letSpeak: (user) => room.floor.letSpeak(user),
        giveFile: (user) => room.files.choose(user),
        volume: (user) => askVolume(stage, user),
    });
    room.files = new Files(connection);
    const commands = new Commands(connection, {
        raise: (isRaised) => room.hands.raise(isRaised),
        say: (text, how) => room.chat.send(text, how),
        muteAll: () => room.floor.muteAll(true),
        leave,
    });
    room.chat = new Chat(connection, (text) => commands.obey(text));
    room.healer = new Healer(connection, () => showBanner(connection, room.healer));
    listen(room);
    connection.join(state.groupName, credentials);
}

function listen(room) {
    const { connection } = room;
    const on = (name, handler) => connection.addEventListener(name, ({ detail }) => handler(detail));
    on('failed', ({ error, text }) => {
        room.refusal = failureText(error, text);
    });
    on('redirect', ({ url }) => {
        if (/^https?:/.test(url))
            location.assign(url);
    });
    on('kicked', ({ text, by }) => {
        room.refusal = sentence(text || 'you have been removed') + (by ? ` (By ${by}.)` : '');
    });
    on('state', ({ state: now, text }) => stateChanged(now, text));
    on('silent', () => showBanner(connection, room.healer));
    on('joined', ({ kind }) => joined(kind));
    on('stopping', ({ seconds }) => countDown(seconds));
    on('user', ({ kind, user }) => userChanged(kind, user));
    on('stream', streamChanged);
    on('chat', ({ message, isHistory }) => {
        const place = message.kind === 'caption' ? room.captions : room.chat;
        place.show(message, isHistory);
    });
    on('notice', ({ kind, text }) => {
        if (kind !== 'error' || !room.chat.outbox.takeError(text))
            notify(WORDS[text] ?? sentence(text), kind);
    });
    on('order', ({ kind, message }) => obey(kind, message));
}

function stateChanged(now, text) {
    document.body.dataset.connection = now;
    if (now === 'closed') {
        const wasInside = state.isInside;
        showEntrance();
        refuse(room.refusal ?? (text ? sentence(text)
            : wasInside ? '' : 'The server cannot be reached. Check the network, and try again.'));
        return;
    }
    if (now === 'waiting')
        room.attendance.blind();
    showBanner(room.connection, room.healer);
}

function joined(kind) {
    if (kind === 'leave')
        return;
    const { connection } = room;
    state.status = { ...state.status, ...connection.status, locked: Boolean(connection.status.locked) };
    showStatus();
    if (kind === 'join') {
        endCountDown();
        room.people.clear();
        room.hands.clear();
    }
    showPermissions();
    room.people.refresh();
    room.floor.refresh();
    if (kind === 'join')
        entered();
}

function entered() {
    const isFirst = !state.isInside;
    state.isInside = true;
    byId('join').hidden = true;
    byId('room').hidden = false;
    showBanner(room.connection, room.healer);
    stage.layOut();
    if (isFirst) {
        stopPreview();
        keepAwake();
        openPanel(matchMedia('(min-width: 60rem)').matches ? 'chat' : null);
        byId('room-name').focus();
    }
    if (!room.connection.can('present')) {
        // Permission may have gone while we were away.
        if (!isFirst)
            own.stopCamera();
        return;
    }
    if (isFirst && preferences.start !== 'nothing') {
        own.setCapture({
            audio: true,
            video: preferences.start === 'both',
            isMuted: preferences.joinMuted || room.floor.isTaken,
        });
        return;
    }
    // We are back after a lost connection: publish again what we were publishing.
    own.publishCamera();
    own.publishScreen();
    publishFilm();
}

function showEntrance() {
    state.isInside = false;
    closeMenu();
    for (const dialog of document.querySelectorAll('dialog[open]'))
        dialog.close();
    hideBanner();
    own.stopCamera();
    own.stopScreen();
    stopFilm();
    sleepAgain();
    byId('room').hidden = true;
    byId('join').hidden = false;
    byId('password').value = '';
    byId('join-button').focus();
}

function showPermissions() {
    const { connection } = room;
    const mayPresent = connection.can('present');
    for (const id of ['mic-button', 'camera-button', 'film-button'])
        byId(id).hidden = !mayPresent;
    byId('screen-button').hidden = !mayPresent || !navigator.mediaDevices?.getDisplayMedia;
    byId('chat-form').hidden = !connection.can('message');
    document.body.classList.toggle('is-op', connection.can('op'));
    byId('invite-button').hidden = !connection.can('token');
    byId('lock-button').textContent = state.status.locked ? 'Unlock group' : 'Lock group';
    byId('password-link').hidden = !state.status.canChangePassword || room.isGuest;
    byId('password-link').firstElementChild.href = `/change-password.html?${new URLSearchParams({
        group: state.groupName, username: connection.username,
    })}`;
    byId('room-locked').hidden = !state.status.locked;
}

function userChanged(kind, user) {
    room.people.update(kind, user);
    room.attendance.update(kind, user);
    room.hands.update(kind, user);
    stage.userChanged(user);
}

function streamChanged({ kind, stream, replaces, error }) {
    if (kind === 'add') {
        stage.add(stream, replaces);
    } else if (kind === 'close') {
        stage.remove(stream);
        if (stream.direction === 'up')
            own.streamClosed(stream);
        filmClosed(stream);
    } else if (kind === 'renew') {
        own.renew(stream);
    } else if (kind === 'error') {
        notify(`A video of ${stream.username || 'somebody'} failed: ${error.message}`);
    } else {
        stage.update(stream);
    }
}

/** What operators ask for. Requests that we do not know are no harm. */
function obey(kind, message) {
    if (kind === 'clearchat')
        room.chat.clear(message.value ?? {});
    else if (kind === 'mute')
        room.floor.mute(message.username);
    else if (kind === 'mayspeak')
        room.floor.mayspeak(message.username);
    else if (kind === 'lowerhand')
        room.hands.raise(false);
    else if (kind === 'token' || kind === 'tokenlist')
        room.invitations.took(kind, message);
}

async function leave() {
    const { connection } = room;
    const isTeaching = connection.isJoined
        && (state.own.screen || connection.can('op') && connection.users.size > 1);
    if (!isTeaching || await ask('Leave the group? The others stay.', 'Leave', 'Stay'))
        connection.leave();
}

window.addEventListener('pagehide', () => state.connection?.leave());
own.onOwnChange(() => {
    showOwn();
    if (state.own.cameraStream)
        stage.update(state.own.cameraStream);
});
wireControls({
    stage,
    leave,
    toggleMicrophone: () => room.floor.refuses() || own.toggleMicrophone(),
    setMuted: (isMuted) => (!isMuted && room.floor.refuses()) || own.setMuted(isMuted),
    toggleHand: () => room.hands.raise(!room.hands.isRaised),
    readChat: () => room.chat.markRead(),
    toggleFacts: () => facts.toggle(),
    retry: () => room.connection.doubt(),
    toggleLock: () => room.connection.groupAction(state.status.locked ? 'unlock' : 'lock'),
    clearChat: async () => {
        if (await ask('Clear the chat for everybody?', 'Clear chat'))
            room.connection.groupAction('clearchat');
    },
    isQuiet: () => room?.floor.isTaken,
});
byId('invite-button').addEventListener('click', () => room.invitations.open());
byId('attendance-button').addEventListener('click', () => room.attendance.save());
wireFilm();
wireSettings(stage, () => room?.reception);
openEntrance(enter);
startPreview();
