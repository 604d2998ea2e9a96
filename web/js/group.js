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
import { Diagnosis } from './diagnosis.js';
import { byId, ROOT } from './element.js';
import { failureText, openEntrance, refuse, showStatus } from './entrance.js';
import { Facts } from './facts.js';
import { Files } from './files.js';
import { filmClosed, publishFilm, stopFilm, wireFilm } from './film.js';
import { Floor } from './floor.js';
import { Hands } from './hands.js';
import { Healer } from './healer.js';
import { Invitations } from './invitations.js';
import { t } from './language.js';
import { closeMenu } from './menu.js';
import { notify, sentence } from './notices.js';
import * as own from './own.js';
import { People } from './people.js';
import { showPowers } from './powers.js';
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
    const changed = () => showBanner(room);
    room.healer = new Healer(connection, changed);
    room.diagnosis = new Diagnosis(connection, () => {
        changed();
        stage.showNotes(room.diagnosis);
    });
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
        room.refusal = `${text ? sentence(text) : t('You have been removed from the group.')} `
            + (by ? t('(By {name}.)', { name: by }) : '');
    });
    on('state', ({ state: now, text }) => stateChanged(now, text));
    on('silent', () => showBanner(room));
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
            notify(sentence(text), kind);
    });
    on('order', ({ kind, message }) => obey(kind, message));
}

function stateChanged(now, text) {
    document.body.dataset.connection = now;
    if (now === 'closed') {
        const wasInside = state.isInside;
        showEntrance();
        refuse(room.refusal ?? (text ? sentence(text)
            : wasInside ? '' : t('The server cannot be reached. Check the network, and try again.')));
        return;
    }
    if (now === 'waiting')
        room.attendance.blind();
    showBanner(room);
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
    refresh();
    if (kind === 'join')
        entered();
}

function entered() {
    const isFirst = !state.isInside;
    state.isInside = true;
    byId('join').hidden = true;
    byId('room').hidden = false;
    showBanner(room);
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

/** Shows what depends on permissions, the group's state or the language. */
function refresh() {
    showPowers(room.connection, room.isGuest);
    room.people.refresh();
    room.floor.refresh();
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
        notify(t('A video of {name} failed: {reason}',
            { name: stream.username || t('somebody'), reason: error.message }));
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
    if (!isTeaching || await ask(t('Leave the group? The others stay.'), t('Leave'), t('Stay')))
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
        if (await ask(t('Clear the chat for everybody?'), t('Clear chat')))
            room.connection.groupAction('clearchat');
    },
    isQuiet: () => room?.floor.isTaken,
});
byId('invite-button').addEventListener('click', () => room.invitations.open());
byId('attendance-button').addEventListener('click', () => room.attendance.save());
wireFilm();
wireSettings(stage, () => room?.reception);
document.addEventListener('languagechange', () => {
    showOwn();
    own.refreshDevices();
    stage.rename();
    room?.hands.refresh();
    if (state.isInside)
        refresh();
});
openEntrance(enter);
startPreview();
