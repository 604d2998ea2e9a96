/** The page that replays a recording: all streams in step, with the chat beside them. */

import { byId } from './element.js';
import { dateTime, t } from './language.js';
import { ReplayClock } from './replay-clock.js';
import { ReplayMessages } from './replay-messages.js';
import { ReplayStage } from './replay-stage.js';
import { ReplayTile } from './replay-tile.js';
import { parseTimeline } from './replay-timeline.js';

/** How often tiles are corrected: a difference grows by a millisecond in that time at most. */
const LOOK_MS = 100;
const STEP_S = 5;
const LEAP_S = 10;

const session = decodeURIComponent(location.pathname.split('/').at(-2) ?? '');
let clock;
let stage;
let messages;
let volume = 1;
let isMuted = false;

/** Whoever came with a token needs it for every file. */
function addressOf(name) {
    const token = new URLSearchParams(location.search).get('token');
    return `../${encodeURIComponent(name)}${token ? `?token=${encodeURIComponent(token)}` : ''}`;
}

function clockOf(seconds) {
    const whole = Math.floor(seconds);
    const two = (value) => String(value).padStart(2, '0');
    const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
    return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

async function open() {
    byId('listing').href = `../${location.search}`;
    byId('state').textContent = t('Loading…');
    const response = await fetch(addressOf(`${session}.timeline.jsonl`), { cache: 'no-cache' });
    if (!response.ok)
        throw new Error(t('The server says: {text}', { text: response.status }));
    const recorded = parseTimeline(await response.text());
    const started = new Date(recorded.startMs);
    byId('title').textContent = recorded.group;
    byId('subtitle').textContent = dateTime(started, { dateStyle: 'full', timeStyle: 'short' });
    document.title = `${recorded.group} – ${dateTime(started, { dateStyle: 'medium', timeStyle: 'short' })}`;
    clock = new ReplayClock(recorded.durationS);
    const tiles = recorded.streams.map((stream) => {
        const tile = new ReplayTile(stream, addressOf, () => stage.pin(tile));
        byId('tiles').append(tile.node);
        return tile;
    });
    stage = new ReplayStage(tiles, recorded.speeches);
    messages = new ReplayMessages(recorded.messages, clockOf, (atS) => seek(atS));
    byId('captions').hidden = !messages.hasCaptions;
    byId('position').max = String(Math.ceil(recorded.durationS));
    byId('position').disabled = byId('play').disabled = false;
    byId('state').textContent = tiles.length === 0 ? t('Nothing of this recording is left.')
        : recorded.isOver ? '' : t('This recording has no end yet. Load the page again for more of it.');
    wire();
    setInterval(look, LOOK_MS);
    look();
    window.replay = { clock, stage, tiles };
}

function look() {
    const nowMs = performance.now();
    clock.hold(stage.tiles.map((tile) => tile.isAwaited(nowMs)).includes(true));
    if (clock.isPlaying && clock.positionS >= clock.durationS)
        setPlaying(false);
    for (const tile of stage.tiles) {
        tile.follow(clock, nowMs);
        tile.video.volume = volume;
        tile.video.muted = isMuted;
    }
    stage.look(nowMs, clock.positionS);
    messages.show(clock.positionS);
    showPosition();
}

function showPosition() {
    const [now, all] = [clockOf(clock.positionS), clockOf(clock.durationS)];
    const text = t('{time} of {duration}', { time: now, duration: all });
    const slider = byId('position');
    if (slider.getAttribute('aria-valuetext') === text)
        return;
    byId('time').textContent = `${now} / ${all}`;
    slider.value = String(Math.floor(clock.positionS));
    slider.setAttribute('aria-valuetext', text);
}

function setPlaying(isPlaying) {
    if (isPlaying) {
        stage.listen();
        clock.play();
    } else {
        clock.pause();
    }
    byId('play').textContent = isPlaying ? t('Pause') : t('Play');
    look();
}

function seek(toS) {
    clock.seek(toS);
    look();
}

function step(byS) {
    seek(clock.positionS + byS);
}

function setSpeed(by) {
    const select = byId('speed');
    select.selectedIndex = Math.min(Math.max(select.selectedIndex + by, 0), select.length - 1);
    clock.speed(Number(select.value));
}

function toggleCaptions() {
    messages.areShown = !messages.areShown;
    byId('captions').setAttribute('aria-pressed', String(messages.areShown));
}

function wire() {
    byId('play').onclick = () => setPlaying(!clock.isPlaying);
    byId('back').onclick = () => step(-LEAP_S);
    byId('on').onclick = () => step(LEAP_S);
    byId('position').oninput = (event) => seek(Number(event.target.value));
    byId('speed').onchange = () => setSpeed(0);
    byId('volume').oninput = (event) => { volume = event.target.value / 100; };
    byId('captions').onclick = toggleCaptions;
    document.addEventListener('keydown', onKey);
}

const KEYS = {
    k: () => setPlaying(!clock.isPlaying),
    ' ': () => setPlaying(!clock.isPlaying),
    ArrowLeft: () => step(-STEP_S),
    ArrowRight: () => step(STEP_S),
    j: () => step(-LEAP_S),
    l: () => step(LEAP_S),
    Home: () => seek(0),
    End: () => seek(clock.durationS),
    '-': () => setSpeed(-1),
    '+': () => setSpeed(1),
    m: () => { isMuted = !isMuted; },
    c: toggleCaptions,
};

/** Keys that an element of its own understands stay with it. */
function isTaken(target, key) {
    if (target.matches('select'))
        return key.length > 1 || key === ' ';
    if (target.matches('button, summary, a'))
        return key === ' ';
    if (target.matches('#position'))
        return false;
    return target.matches('input, #chat') && key.length > 1;
}

function onKey(event) {
    const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action || event.ctrlKey || event.altKey || event.metaKey || isTaken(event.target, event.key))
        return;
    event.preventDefault();
    action();
}

try {
    await open();
} catch (error) {
    byId('state').textContent = error instanceof TypeError
        ? t('The server cannot be reached. Check the network, and try again.') : error.message;
}
