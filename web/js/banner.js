/** The line that says what is wrong with the network, and what is being tried. */

import { byId } from './element.js';
import { number, t } from './language.js';
import { state } from './state.js';

/** After so many attempts a reload is offered. */
const RELOAD_AFTER_ATTEMPTS = 5;
const GOOD_NEWS_MS = 3_000;

let timer = 0;
let wasBad = false;

/** Shows what the connection, the healer and the diagnosis of `room` are about. */
export function showBanner(room) {
    const { connection } = room;
    if (!state.isInside || connection.state === 'knocking')
        return;
    const text = words(room);
    document.body.dataset.connection = text ? 'troubled' : connection.state;
    if (text) {
        clearTimeout(timer);
        wasBad = true;
        put(text, 'bad');
    } else if (wasBad && connection.isJoined) {
        wasBad = false;
        put(t('Connected again.'), 'good');
        timer = setTimeout(() => warn(room), GOOD_NEWS_MS);
    } else if (!wasBad && byId('banner').dataset.mood !== 'good') {
        warn(room);
    }
    byId('banner-retry').hidden = connection.state !== 'waiting';
    byId('banner-reload').hidden = !text || connection.attempts < RELOAD_AFTER_ATTEMPTS;
}

/** Takes the line away, when the room is left. */
export function hideBanner() {
    clearTimeout(timer);
    wasBad = false;
    put('', '');
}

/** Something works, but badly. */
function warn({ uplink }) {
    put(uplink?.words ?? '', 'weak');
}

function put(text, mood) {
    const banner = byId('banner');
    // Only a change is read out.
    if (byId('banner-text').textContent !== text)
        byId('banner-text').textContent = text;
    banner.dataset.mood = mood;
    banner.classList.toggle('is-shown', text !== '');
}

function words({ connection, healer, diagnosis }) {
    if (!connection.isJoined) {
        if (!navigator.onLine)
            return t('This device has no network. You will be back as soon as it has one.');
        return connection.attempts > 1
            ? t('The connection was lost. Connecting again… (attempt {number}) What you write is kept.',
                { number: number(connection.attempts) })
            : t('The connection was lost. Connecting again… What you write is kept.');
    }
    if (connection.isSilent)
        return t('The server does not answer. Checking the network…');
    if (diagnosis?.network)
        return diagnosis.network;
    const steps = [...healer.ailing.values()];
    if (steps.length === 0)
        return '';
    return steps.includes('new')
        ? t('Sound and pictures are interrupted. Setting them up anew…')
        : t('Sound and pictures are interrupted. Looking for another way…');
}
