/**
 * Who waits at the door, for operators: who knocks at the group that the page shows and, while that is a breakout
 * room, at the main group. Many may come within seconds: the list is drawn now and then, and told more and more seldom.
 */

import { KEYS } from './controls.js';
import { DoorAnnouncer } from './door-announcer.js';
import { DoorCard } from './door-card.js';
import { byId, element } from './element.js';
import { need, t } from './language.js';
import { nameOf } from './names.js';
import { announce, notify } from './notices.js';
import { state } from './state.js';
import { visible } from './visible.js';

await need('tools');

const DRAW_MS = 250;
/** What was asked for and has not happened by then may be asked for again. */
const ASKED_MS = 5_000;
/** What is asked for at once, and how often after that: the server takes 100 messages, then 10 a second. */
const BURST = 60;
const EACH_MS = 125;
/** As many characters of a name are shown as the form lets people write. */
const NAME_MAX = 80;

/** The memberships in which we are operators, and for each a number and whether it has told all who wait. */
const connections = new Map();
/** Whom we let in or refuse, until the server says so; and what of it is still to be sent: [kind, entry]. */
const asked = new Set();
const queue = [];
let budget = BURST;
let budgetAt = 0;
let sendTimer = null;
const seen = new Set();
let made = 0;
let drawnAt = -Infinity;
let timer = null;

const announcer = new DoorAnnouncer(() => entries());
const card = new DoorCard({
    admit: (entry) => answer('admit', [entry]),
    refuse: (entry) => answer('refuse', [entry]),
    admitAll: (all) => answer('admit', all),
    unlock: () => state.connection.groupAction('unlock') || notConnected(),
});

/** Shows who waits at the door of the group of `connection`, as long as we are its operator. */
export function follow(connection) {
    if (connections.has(connection))
        return;
    const here = { number: made, isSure: false };
    connections.set(connection, here);
    made += 1;
    // After each join they are told one by one.
    const learn = () => connection.whenDealtWith(() => {
        here.isSure = true;
        drawSoon();
    });
    connection.addEventListener('knock', drawSoon);
    connection.addEventListener('joined', ({ detail }) => {
        if (detail.kind === 'join')
            learn();
        drawSoon();
    });
    connection.addEventListener('state', ({ detail }) => {
        here.isSure = false;
        if (detail.state === 'closed')
            connections.delete(connection);
        drawSoon();
    });
    if (connection.isJoined)
        learn();
    drawSoon();
}

KEYS.k = () => {
    if (state.connection.can('op') && !card.reveal())
        announce(t('Nobody waits at the door.'));
};
const help = element('dd');
[...byId('keys').querySelectorAll('dl > div')].at(-2).before(
    element('div', { className: 'for-op' }, element('dt', {}, element('kbd', {}, 'K')), help));
document.addEventListener('languagechange', () => drawSoon());

/** Those who wait, in the order in which they came: {key, id, connection, name, place, isAsked}. */
function entries() {
    return [...connections].filter(([connection]) => connection.can('op')).flatMap(([connection, { number }]) => (
        [...connection.knocking.values()].map((user) => {
            const key = `${number} ${user.id}`;
            return {
                key, id: user.id, connection, name: shown(user, connection.knocking), isAsked: asked.has(key),
                place: connection === state.connection ? '' : t('into the main group'),
            };
        })));
}

/** The name without what cannot be seen or turns what stands beside it. */
function shown(user, others) {
    const name = visible(nameOf(user, others));
    const characters = [...name];
    // Of a flag that is cut nothing unseen may stay.
    return characters.length > NAME_MAX ? `${visible(characters.slice(0, NAME_MAX).join(''))}…`
        : name.trim() || t('(anonymous)');
}

function drawSoon() {
    timer ??= setTimeout(draw, Math.max(0, drawnAt + DRAW_MS - performance.now()));
}

function draw() {
    timer = null;
    drawnAt = performance.now();
    const all = entries();
    const keys = new Set(all.map(({ key }) => key));
    // After a lost connection they are told again, and are no news.
    const isSure = [...connections.values()].every((here) => here.isSure);
    for (const key of [...seen, ...asked]) {
        if (isSure && !keys.has(key)) {
            seen.delete(key);
            asked.delete(key);
        }
    }
    for (const { key } of all) {
        if (!seen.has(key)) {
            seen.add(key);
            announcer.note(key);
        }
    }
    card.show(all, { canUnlock: all.some(({ place }) => !place) && Boolean(state.connection.status.locked) });
    help.textContent = t('who waits at the door');
    byId('lock-button').title = state.connection.status.locked
        ? t('Lets all in who wait at the door, and whoever comes')
        : t('Whoever comes then waits at the door until you let them in');
}

function answer(kind, some) {
    for (const entry of some.filter(({ key }) => !asked.has(key))) {
        asked.add(entry.key);
        queue.push([kind, entry]);
    }
    send();
    draw();
}

/** Sends of the queue what the server takes now. */
function send() {
    clearTimeout(sendTimer);
    const now = performance.now();
    budget = Math.min(BURST, budget + (now - budgetAt) / EACH_MS);
    budgetAt = now;
    while (queue.length > 0 && budget >= 1) {
        const [kind, { key, id, connection }] = queue.shift();
        if (!connection.knocking.has(id))
            continue;
        if (!connection.userAction(kind, id)) {
            for (const one of [key, ...queue.map(([, entry]) => entry.key)])
                asked.delete(one);
            queue.length = 0;
            notConnected();
            return;
        }
        budget -= 1;
        setTimeout(() => asked.delete(key) && drawSoon(), ASKED_MS);
    }
    if (queue.length > 0)
        sendTimer = setTimeout(send, EACH_MS);
}

function notConnected() {
    notify(t('There is no connection at present. Try again in a moment.'));
}
