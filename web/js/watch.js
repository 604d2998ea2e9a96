/** The page that only watches (WHEP), for kiosks and projectors: it plays whatever is there. */

import { byId, element } from './element.js';
import { takeDescriptors } from './extensions.js';
import { basic, HttpSession, keepUp } from './http-session.js';
import { t } from './language.js';
import { withoutWebRtc } from './requirements.js';

const group = location.pathname.replace(/\/watch$/, '');
const query = new URLSearchParams(location.search);
/** Streams shown at once; later ones wait for a free place. */
const PLACES = Math.min(Number(query.get('places')) || 4, 8);

/** What is to be read or watched by all, by the sender's own word for it. */
const LARGE = ['screenshare', 'video'];

let authorization = '';
let stop;

async function open() {
    const pc = new RTCPeerConnection();
    const tiles = [];
    for (let place = 0; place < PLACES; place++)
        pc.addTransceiver('audio', { direction: 'recvonly' });
    for (let place = 0; place < PLACES; place++) {
        const { receiver } = pc.addTransceiver('video', { direction: 'recvonly' });
        const video = element('video', {
            autoplay: true, muted: true,
            srcObject: new MediaStream([receiver.track]),
        });
        video.playsInline = true;
        tiles.push(element('figure', { hidden: true }, video,
            element('figcaption', { dir: 'auto', hidden: true })));
    }
    takeDescriptors(pc);
    const sound = byId('sound');
    sound.srcObject = new MediaStream(pc.getReceivers()
        .map((receiver) => receiver.track).filter((track) => track.kind === 'audio'));
    byId('grid').replaceChildren(...tiles);
    const session = new HttpSession(
        `${location.origin}${group}/.whep${location.search}`, authorization,
    );
    await session.open(pc);
    // By the index of the m-line: the video sections come after those for sound.
    session.listen(['active', 'inactive', 'layers', 'streams'], (name, data) => {
        if (name === 'streams')
            tiles.forEach((tile, place) => label(tile, data[PLACES + place]));
        else if (name === 'layers')
            tiles.forEach((tile, place) => { tile.hidden = !(PLACES + place in data); });
        else
            return;
        arrange();
    }).catch(() => {
        // Without events every place is shown.
        tiles.forEach((tile) => { tile.hidden = false; });
        arrange();
    });
    play();
    return session;
}

/** Browsers play sound only after the user has done something on the page. */
async function play() {
    try {
        await byId('sound').play();
        byId('hear').hidden = true;
    } catch {
        byId('hear').hidden = false;
    }
}

/** Writes whose picture it is; {username, label} is not there while nothing comes. */
function label(tile, shown) {
    const name = shown?.username ?? '';
    const isSlide = LARGE.includes(shown?.label);
    const text = !name || !isSlide ? name
        : shown.label === 'video' ? t('{name} – film', { name }) : t('{name} – screen', { name });
    const caption = tile.querySelector('figcaption');
    caption.textContent = text;
    caption.hidden = text === '';
    tile.querySelector('video').setAttribute('aria-label', text);
    tile.classList.toggle('is-slide', isSlide);
}

/** Slides and films have most of the screen, side by side if there are several; cameras a column beside them. */
function arrange() {
    const shown = [...byId('grid').children].filter((tile) => !tile.hidden);
    const slides = shown.filter((tile) => tile.classList.contains('is-slide')).length;
    const rest = shown.length - slides;
    const columns = slides > 0 ? slides : Math.ceil(Math.sqrt(shown.length)) || 1;
    const { style } = byId('grid');
    byId('grid').classList.toggle('has-slides', slides > 0 && rest > 0);
    style.setProperty('--columns', columns);
    style.setProperty('--rows', slides > 0 ? Math.max(1, rest) : Math.ceil(shown.length / columns) || 1);
    byId('empty').hidden = shown.length > 0;
}

function show(state, error) {
    const words = {
        connecting: t('Connecting…'),
        connected: '',
        waiting: error?.status === 409 ? t('Nobody is sending yet.') : t('Trying again…'),
        refused: '',
    };
    byId('state').textContent = words[state];
    byId('state').dataset.state = state;
    if (state !== 'refused')
        return;
    stop?.();
    stop = undefined;
    byId('login').hidden = error.status !== 401 && error.status !== 403;
    byId('error').textContent = error.status === 401 && authorization === '' ? '' : error.message;
    if (byId('login').hidden)
        byId('state').textContent = error.message;
}

function begin() {
    byId('login').hidden = true;
    stop?.();
    stop = keepUp(open, show);
}

byId('group').textContent = decodeURIComponent(group.replace(/^\/group\//, ''));
byId('login').addEventListener('submit', (event) => {
    event.preventDefault();
    authorization = basic(byId('username').value.trim(), byId('password').value);
    begin();
});
byId('hear').addEventListener('click', play);
addEventListener('pagehide', () => stop?.());
// Players without a picture yet would hold up the page's own loading.
addEventListener('load', () => {
    if (typeof RTCPeerConnection === 'undefined')
        byId('state').textContent = withoutWebRtc();
    else
        begin();
});
