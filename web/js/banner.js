/** The line that says what is wrong with the network, and what is being tried. */

import { byId } from './element.js';
import { state } from './state.js';

/** After so many attempts a reload is offered. */
const RELOAD_AFTER_ATTEMPTS = 5;
const GOOD_NEWS_MS = 3_000;

let timer = 0;
let wasBad = false;

/** Shows what `connection` and its `healer` are about. */
export function showBanner(connection, healer) {
    if (!state.isInside)
        return;
    const text = words(connection, healer);
    document.body.dataset.connection = text ? 'troubled' : connection.state;
    if (text) {
        clearTimeout(timer);
        wasBad = true;
        put(text, 'bad');
    } else if (wasBad && connection.isJoined) {
        wasBad = false;
        put('Connected again.', 'good');
        timer = setTimeout(() => put('', ''), GOOD_NEWS_MS);
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

function put(text, mood) {
    const banner = byId('banner');
    // Only a change is read out.
    if (byId('banner-text').textContent !== text)
        byId('banner-text').textContent = text;
    banner.dataset.mood = mood;
    banner.classList.toggle('is-shown', text !== '');
}

function words(connection, healer) {
    const attempt = connection.attempts > 1 ? ` (attempt ${connection.attempts})` : '';
    if (!connection.isJoined) {
        return navigator.onLine
            ? `The connection was lost. Connecting again…${attempt} What you write is kept.`
            : 'This device has no network. You will be back as soon as it has one.';
    }
    if (connection.isSilent)
        return 'The server does not answer. Checking the network…';
    const steps = [...healer.ailing.values()];
    if (steps.length === 0)
        return '';
    return steps.includes('new')
        ? 'Sound and pictures are interrupted. Setting them up anew…'
        : 'Sound and pictures are interrupted. Looking for another way…';
}
