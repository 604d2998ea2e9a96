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
            autoplay: true, muted: true, hidden: true,
            srcObject: new MediaStream([receiver.track]),
        });
        video.playsInline = true;
        tiles.push(video);
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
    session.listen(['active', 'inactive', 'layers'], (name, data) => {
        if (name !== 'layers')
            return;
        tiles.forEach((tile, place) => {
            tile.hidden = !(PLACES + place in data);
        });
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

function arrange() {
    const shown = [...byId('grid').children].filter((tile) => !tile.hidden).length;
    const columns = Math.ceil(Math.sqrt(shown)) || 1;
    byId('grid').style.setProperty('--columns', columns);
    byId('grid').style.setProperty('--rows', Math.ceil(shown / columns) || 1);
    byId('empty').hidden = shown > 0;
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
