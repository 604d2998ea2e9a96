/** What the server tells of the group on the page, and what the page makes of it. */

import { ask } from './ask.js';
import { hideBanner, showBanner } from './banner.js';
import { openPanel } from './controls.js';
import { byId } from './element.js';
import { followEncryption } from './encrypting.js';
import { failureText, refuse, showStatus } from './entrance.js';
import { filmClosed, publishFilm, stopFilm } from './film.js';
import { t } from './language.js';
import { closeMenu } from './menu.js';
import { notify, sentence } from './notices.js';
import * as own from './own.js';
import { showPowers } from './powers.js';
import { preferences } from './preferences.js';
import { stopPreview } from './preview.js';
import { state } from './state.js';
import { countDown, endCountDown } from './stopping.js';

/** A breakout room that could not be reached is tried again. */
const RETRY_MS = 2_000;

/** What an operator tells all rooms is a notice, and stays in the chat. */
export function tell(name, text) {
    const author = name || t('An operator');
    notify(t('{name} tells all: {text}', { name: author, text }), 'info');
    const message = { username: author, value: text, isToAllRooms: true };
    state.room.chat.show(message, true);
    state.breakouts.said.push({ message });
}

/** The server's notices vanish; what an operator writes stays in the chat, too. */
function notice({ kind, text, by }) {
    if (kind === 'error' && state.room.chat.outbox.takeError(text))
        return;
    notify(by ? t('{name}: {text}', { name: by, text }) : sentence(text), kind);
    if (by)
        state.room.chat.show({ username: by, value: text }, true);
}

/** Carries out what the membership of the room `mine` brings, until it is left. */
export function listen(mine) {
    const { connection } = mine;
    // After a move the old membership has nothing to say here.
    const on = (name, handler) => connection.addEventListener(name,
        ({ detail }) => handler(detail), { signal: mine.signal });
    on('failed', ({ error, text }) => {
        state.room.refusal = failureText(error, text);
    });
    on('redirect', ({ url }) => {
        if (/^https?:/.test(url))
            location.assign(url);
    });
    on('kicked', kicked);
    on('state', ({ state: now, text }) => stateChanged(now, text));
    on('silent', () => showBanner(state.room));
    on('joined', ({ kind }) => joined(kind));
    on('stopping', ({ seconds }) => countDown(seconds));
    on('user', ({ kind, user }) => userChanged(kind, user));
    on('stream', streamChanged);
    on('chat', ({ message, isHistory }) => {
        const place = message.kind === 'caption' ? state.room.captions : state.room.chat;
        place.show(message, isHistory);
    });
    on('notice', notice);
    on('order', ({ kind, message }) => obey(kind, message));
    // It may have come to the door while the page showed a room.
    if (connection.state === 'knocking')
        stateChanged('knocking', connection.lockWords);
}

/** An operator, or the server, has put us out. */
export function kicked({ text, by }) {
    if (state.room) {
        state.room.refusal = `${text ? sentence(text) : t('You have been removed from the group.')} `
            + (by ? t('(By {name}.)', { name: by }) : '');
    }
}

function stateChanged(now, text) {
    document.body.dataset.connection = now;
    if (now === 'knocking') {
        const { room } = state;
        import('./outside.js').then(({ waitOutside }) => waitOutside(room, text),
            () => state.room === room && room.connection.leave());
        return;
    }
    const { main, room: place } = state.breakouts;
    if (now === 'closed' && place !== '' && !state.room.hasEntered && main.state !== 'closed') {
        const mine = state.room;
        if (state.room.refusal === null)
            setTimeout(() => state.room === mine && state.breakouts.again(), RETRY_MS);
        else
            state.breakouts.refused(state.room.refusal);
        return;
    }
    if (now === 'closed') {
        const wasInside = state.isInside;
        showEntrance();
        refuse(state.room.refusal ?? (text ? sentence(text)
            : wasInside ? '' : t('The server cannot be reached. Check the network, and try again.')));
        return;
    }
    showBanner(state.room);
}

/** We have joined, or what we may do or the group has changed. */
export function joined(kind) {
    if (kind === 'leave')
        return;
    const { connection } = state.room;
    const { locked, recording, recordingConsent } = connection.status;
    state.status = {
        ...state.status, ...connection.status, locked: Boolean(locked), recording: Boolean(recording),
        recordingConsent,
    };
    showStatus();
    if (kind === 'join') {
        endCountDown();
        state.room.people.clear();
        state.room.hands.clear();
    }
    refresh();
    tellStanding(connection, kind);
    if (recordingConsent)
        import('./consent.js').then(({ followRecording }) => followRecording(connection));
    // Before anything is sent or received.
    followEncryption({ isNew: kind === 'join' });
    if (kind === 'join')
        entered();
    if (state.breakouts.room === '')
        state.breakouts.take();
}

let couldPresent = true;

/** Says it when we may speak now, or not although we came to. */
function tellStanding(connection, kind) {
    const can = connection.can('present');
    if (kind === 'change' && can && !couldPresent)
        notify(t('You may speak now: switch your microphone or camera on.'), 'info');
    else if (kind === 'join' && !can && byId('start').value !== 'nothing' && !state.isInside)
        notify(t('You watch and listen here; a teacher can let you speak.'), 'info');
    couldPresent = can;
}

function entered() {
    const isFirst = !state.isInside;
    state.room.hasEntered = true;
    state.isInside = true;
    byId('join').hidden = true;
    byId('room').hidden = false;
    showBanner(state.room);
    state.stage.layOut();
    if (isFirst) {
        stopPreview();
        import('./wake.js').then(({ keepAwake }) => keepAwake());
        openPanel(matchMedia('(min-width: 60rem)').matches ? 'chat' : null);
        byId('room-name').focus();
        state.room.floor.greet();
    }
    if (!state.room.connection.can('present')) {
        // Permission may have gone while we were away.
        if (!isFirst)
            own.stopCamera();
        return;
    }
    if (isFirst && preferences.start !== 'nothing') {
        own.setCapture({
            audio: true,
            video: preferences.start === 'both',
            isMuted: preferences.joinMuted || state.room.floor.isTaken,
        });
        return;
    }
    // We are back after a lost connection: publish again what we were publishing.
    own.publishCamera();
    own.publishScreen();
    publishFilm();
}

function showEntrance() {
    if (state.isInside)
        import('./wake.js').then(({ sleepAgain }) => sleepAgain());
    state.isInside = false;
    closeMenu();
    for (const dialog of document.querySelectorAll('dialog[open]'))
        dialog.close();
    hideBanner();
    state.breakouts.close();
    own.stopCamera();
    own.stopScreen();
    stopFilm();
    byId('room').hidden = true;
    byId('join').hidden = false;
    byId('password').value = '';
    // What a dialog has just given it back to is hidden now; refuse() finds it a place.
    document.activeElement?.blur();
}

/** Shows what depends on permissions, the group's state or the language. */
export function refresh() {
    showPowers(state.room.connection, state.room.isGuest);
    state.room.people.refresh();
    state.room.hands.refresh();
    state.room.floor.refresh();
}

/** Somebody came, went or changed. */
export function userChanged(kind, user) {
    state.room.people.update(kind, user);
    state.room.hands.update(kind, user);
    state.stage.userChanged(user);
}

function streamChanged({ kind, stream, replaces, error }) {
    if (kind === 'add') {
        state.stage.add(stream, replaces);
    } else if (kind === 'close') {
        state.stage.remove(stream);
        if (stream.direction === 'up')
            own.streamClosed(stream);
        filmClosed(stream);
    } else if (kind === 'renew') {
        own.renew(stream);
    } else if (kind === 'error') {
        notify(t('A video of {name} failed: {reason}',
            { name: stream.username || t('somebody'), reason: error.message }));
    } else {
        state.stage.update(stream);
        tellOfTcp(stream);
    }
}

/** What this network lets through when it blocks UDP. */
const WITHOUT_UDP = ['tcp', 'turn/tcp', 'turn/tls'];

/** Over TCP one lost packet holds up all that follow: who has stuttering pictures should know why. */
function tellOfTcp({ path, pc }) {
    const isByOrder = pc?.getConfiguration().iceTransportPolicy === 'relay';
    if (state.room.isTcpTold || isByOrder || path?.state !== 'flowing' || !WITHOUT_UDP.includes(path.over))
        return;
    state.room.isTcpTold = true;
    notify(t('This network blocks UDP, so sound and pictures come over TCP. If they stutter, try '
        + 'another network.'), 'info');
}

/** What operators ask for. Requests that we do not know are no harm. */
function obey(kind, message) {
    if (kind === 'clearchat')
        state.room.chat.clear(message.value ?? {});
    else if (kind === 'mute')
        state.room.floor.mute(message.username);
    else if (kind === 'mayspeak')
        state.room.floor.mayspeak(message.username);
    else if (kind === 'lowerhand')
        state.room.hands.raise(false);
    else if (kind === 'broadcast')
        tell(message.username, String(message.value ?? ''));
    else if (kind === 'userinfo')
        import('./commands.js').then(({ addressOf }) => state.room.chat.tell(addressOf(message.value ?? {})));
    else if (kind === 'token' || kind === 'tokenlist')
        state.room.invitations().then((invitations) => invitations.took(kind, message));
}

/** Leaves for good; asks whoever teaches. */
export async function leave() {
    const { connection } = state.room;
    const isTeaching = connection.isJoined
        && (state.own.screen || connection.can('op') && connection.users.size > 1);
    if (!isTeaching || await ask(t('Leave the group? The others stay.'), t('Leave'), t('Stay'))) {
        if (state.breakouts.room === '')
            connection.leave();
        else
            state.breakouts.close();
    }
}
