/**
 * The group page: makes its parts and wires its controls.
 *
 * For tests and the curious, `window.aula.connection` is the ServerConnection of the current
 * membership (null before the first one); its `up` and `down` map stream ids to Streams, each
 * with its RTCPeerConnection in `pc`.
 */

import { ask } from './ask.js';
import { showOwn, wireControls } from './controls.js';
import { byId } from './element.js';
import { show as showEncryption } from './encrypting.js';
import { Encryption } from './encryption.js';
import { openEntrance } from './entrance.js';
import { filmState, onFilmChange, stopFilm, toggleFilm, wireFilm } from './film.js';
import { leave, refresh } from './happenings.js';
import { t } from './language.js';
import { enter } from './membership.js';
import * as own from './own.js';
import { startPreview } from './preview.js';
import { wireSettings } from './settings.js';
import { Stage } from './stage.js';
import { state } from './state.js';

window.aula = { connection: null, state };

const stage = state.stage = new Stage({
    stopSharing: ({ label }) => (label === 'video' ? stopFilm() : own.stopScreen()),
    volume: async (user) => (await import('./volume.js')).askVolume(stage, user),
    shown: (visible) => state.room?.reception.show(visible),
});

let madeFacts = null;
/** What we show to all, and how it is paused. */
function showFilm() {
    const now = filmState();
    byId('film-bar').hidden = now === '';
    byId('film-pause').textContent = now === 'paused' ? t('Go on') : t('Pause');
}

/** Statistics on the tiles; loaded when somebody looks. */
const facts = async () => {
    const { Facts } = await import('./facts.js');
    madeFacts ??= new Facts(stage);
    return madeFacts;
};

state.encryption = new Encryption();
await state.encryption.load();

window.addEventListener('pagehide', () => {
    state.connection?.leave();
    state.breakouts?.main.leave();
});
let unheard = null;
/** Tells who speaks with the microphone off. */
const heedMuted = async () => {
    if (!unheard && state.own.audio?.enabled !== false)
        return;
    try {
        (await (unheard ??= import('./unheard.js'))).heed();
    } catch {
        // Without a connection it cannot be loaded: the next time.
        unheard = null;
    }
};

own.onOwnChange(() => {
    showOwn();
    heedMuted();
    if (state.own.cameraStream)
        stage.update(state.own.cameraStream);
});
wireControls({
    stage,
    leave,
    toggleMicrophone: () => state.room.floor.refuses() || own.toggleMicrophone(),
    setMuted: (isMuted) => (!isMuted && state.room.floor.refuses()) || own.setMuted(isMuted),
    toggleHand: () => state.room.hands.raise(!state.room.hands.isRaised),
    readChat: () => state.room.chat.markRead(),
    toggleFacts: async () => (await facts()).toggle(),
    retry: () => state.room.connection.doubt(),
    toggleLock: () => state.room.connection.groupAction(state.status.locked ? 'unlock' : 'lock'),
    clearChat: async () => {
        if (await ask(t('Clear the chat for everybody?'), t('Clear chat')))
            state.room.connection.groupAction('clearchat');
    },
    isQuiet: () => state.room?.floor.isTaken,
});
byId('invite-button').addEventListener('click', async () => (await state.room.invitations()).open());
byId('record-button').addEventListener('click',
    () => state.room.connection.groupAction(state.status.recording ? 'unrecord' : 'record'));
byId('encrypt-button').addEventListener('click',
    async () => (await import('./encryption-switch.js')).toggleEncryption());
byId('copy-facts').addEventListener('click', async () => (await facts()).copy());
byId('rooms-button').addEventListener('click', async () => {
    const { openBreakoutDialog } = await import('./breakout-dialog.js');
    openBreakoutDialog(state.breakouts);
});
byId('poll-button').addEventListener('click', async () => (await state.room.polls()).open());
byId('reactions-button').addEventListener('click', async () => (await state.room.reactions()).open());
byId('present-button').addEventListener('click',
    async () => (await import('./presenting.js')).openPresenting(state.room.connection));
byId('attendance-button').addEventListener('click',
    async () => (await import('./attendance-table.js')).save(state.room.attendance));
wireFilm();
onFilmChange(showFilm);
byId('film-pause').addEventListener('click', toggleFilm);
byId('film-stop').addEventListener('click', () => {
    stopFilm();
    byId('room-name').focus();
});
wireSettings(stage, () => state.room?.reception);
document.addEventListener('languagechange', () => {
    showOwn();
    showFilm();
    own.refreshDevices();
    stage.rename();
    state.room?.hands.refresh();
    if (state.isInside) {
        refresh();
        showEncryption();
    }
});
// The key to an encrypted class came later, by another link.
window.addEventListener('hashchange', () => location.hash.startsWith('#key=') && location.reload());
openEntrance(enter);
startPreview();
