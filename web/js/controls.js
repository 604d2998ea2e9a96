/** The row of controls, the panels, and the keys. */

import { byId } from './element.js';
import { t } from './language.js';
import * as own from './own.js';
import { preferences } from './preferences.js';
import { rove } from './roving.js';
import { state } from './state.js';

const PANELS = ['chat', 'people'];
let deeds;
let refreshStops;
let talksWhileHeld = false;

/** `given` has what the controls do; see group.js. */
export function wireControls(given) {
    deeds = given;
    const on = (id, handler) => byId(id).addEventListener('click', handler);
    on('mic-button', deeds.toggleMicrophone);
    on('camera-button', own.toggleCamera);
    on('screen-button', toggleScreen);
    on('hand-button', deeds.toggleHand);
    for (const name of PANELS) {
        on(`${name}-button`, () => openPanel(state.panel === name ? null : name));
        on(`${name}-close`, () => closePanel());
    }
    on('hands-chip', () => {
        openPanel('people');
        (byId('hands-list').querySelector('button') ?? byId('people-close')).focus();
    });
    on('view-button', () => toggleView());
    on('keys-button', () => byId('keys').showModal());
    on('leave-button', deeds.leave);
    on('lock-button', deeds.toggleLock);
    on('clear-button', deeds.clearChat);
    on('banner-retry', deeds.retry);
    on('banner-reload', () => location.reload());
    byId('view-button').setAttribute('aria-pressed', String(preferences.view === 'speaker'));
    refreshStops = rove(byId('controls'), '.control');
    document.addEventListener('keydown', onKey);
    document.addEventListener('keyup', onKeyUp);
    window.addEventListener('blur', endTalk);
    showOwn();
}

/** Opens one of the panels and closes the other; null closes both. */
export function openPanel(name) {
    state.panel = name;
    byId('room').dataset.panel = name ?? '';
    for (const panel of PANELS) {
        byId(panel).hidden = panel !== name;
        byId(`${panel}-button`).setAttribute('aria-expanded', String(panel === name));
    }
    if (name === 'chat')
        deeds.readChat();
}

function closePanel() {
    const { panel } = state;
    openPanel(null);
    if (panel)
        byId(`${panel}-button`).focus();
}

/** Shows what we send. Names of controls stay; their states tell. */
export function showOwn() {
    show('mic-button', state.own.audio?.enabled,
        t('Your microphone is on. M turns it off.'),
        deeds.isQuiet() ? t('Everybody is muted. Raise your hand to be let speak.')
            : t('Your microphone is off. M turns it on.'));
    show('camera-button', state.own.video,
        t('Your camera is on. V turns it off.'), t('Your camera is off. V turns it on.'));
    show('screen-button', state.own.screen,
        t('You are sharing your screen. X ends it.'), t('Share your screen (X)'));
    byId('sharing').hidden = !state.own.screen;
    refreshStops?.();
}

function show(id, isOn, titleOn, titleOff) {
    byId(id).setAttribute('aria-pressed', String(Boolean(isOn)));
    byId(id).title = isOn ? titleOn : titleOff;
}

function toggleScreen() {
    return state.own.screen ? own.stopScreen() : own.startScreen();
}

function toggleView() {
    deeds.stage.setView(preferences.view === 'speaker' ? 'grid' : 'speaker');
}

export const KEYS = {
    'm': () => visible('mic-button') && deeds.toggleMicrophone(),
    'v': () => visible('camera-button') && own.toggleCamera(),
    'x': () => visible('screen-button') && toggleScreen(),
    'h': () => deeds.toggleHand(),
    'r': () => byId('reactions-button').click(),
    'c': () => {
        openPanel('chat');
        byId(byId('chat-form').hidden ? 'chat-list' : 'chat-input').focus();
    },
    'p': () => {
        openPanel('people');
        (byId('people-list').querySelector('[tabindex="0"]') ?? byId('people-close')).focus();
    },
    'g': () => toggleView(),
    's': () => deeds.toggleFacts(),
    '?': () => byId('keys').showModal(),
    'PageDown': () => deeds.stage.turn(1),
    'PageUp': () => deeds.stage.turn(-1),
};

function onKey(event) {
    if (!state.isInside || event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented)
        return;
    if (document.querySelector('dialog[open]'))
        return;
    if (event.key === 'Escape' && state.panel) {
        closePanel();
        return;
    }
    const isText = event.target.matches('input:not([type=checkbox]):not([type=range]), textarea, select');
    if (isText || !preferences.keys || event.repeat)
        return;
    if (event.key === ' ' && !event.target.matches('button, a, summary, [role=menuitem]')) {
        event.preventDefault();
        startTalk();
        return;
    }
    const deed = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!deed)
        return;
    event.preventDefault();
    deed();
}

function onKeyUp(event) {
    if (event.key === ' ')
        endTalk();
}

/** Push to talk: the microphone is on while the space bar is held. */
async function startTalk() {
    if (!visible('mic-button') || state.own.audio?.enabled)
        return;
    talksWhileHeld = true;
    if (!state.own.audio) {
        if (deeds.isQuiet()) {
            deeds.setMuted(false);
            return;
        }
        await own.setCapture({ audio: true, video: Boolean(state.own.video), isMuted: true });
    }
    if (talksWhileHeld)
        deeds.setMuted(false);
}

function endTalk() {
    if (talksWhileHeld)
        own.setMuted(true);
    talksWhileHeld = false;
}

function visible(id) {
    return !byId(id).hidden;
}
