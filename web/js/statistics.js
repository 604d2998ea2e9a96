/** The page for administrators: groups, people, rates and losses, as live charts and as tables. */

import { Chart } from './chart.js';
import { byId, ROOT } from './element.js';
import { basic } from './http-session.js';
import { number, t, tn } from './language.js';
import {
    count, delay, heldBack, loss, milliseconds, path, percent, rate, rateCell, room, roundTrip, stoodStill,
} from './statistics-format.js';
import { shortId, Streams } from './statistics-streams.js';
import { Table } from './statistics-table.js';
import { sumUp } from './sums.js';

const EVERY_MS = 5_000;

const SERVER = '';
let authorization = '';
let timer = 0;
let chosen = SERVER;
let charts = [];
/** The group that is shown, as last told. */
let shown = null;

const groupsTable = new Table('groups');
const membersTable = new Table('members', (id) => {
    const member = shown?.members.find((other) => other.id === id);
    if (member)
        streams.open(member, shown);
    fillMembers();
});
const streams = new Streams((id) => {
    fillMembers();
    membersTable.focus(id);
});

async function ask() {
    const response = await fetch(`${ROOT}galene-api/v0/.stats`, {
        cache: 'no-store',
        // Otherwise the browser would ask for a password itself when this one is wrong.
        credentials: 'omit',
        headers: { Authorization: authorization },
    });
    if (!response.ok)
        throw new Error(words(response.status));
    return sumUp(await response.json());
}

function words(status) {
    switch (status) {
    case 401:
    case 403:
        return t('Wrong name or password, or not that of an administrator.');
    case 429:
        return t('Too many attempts. Try again in a minute.');
    default:
        return t('The server says: {text}', { text: status });
    }
}

async function login(event) {
    event.preventDefault();
    authorization = basic(byId('username').value.trim(), byId('password').value);
    byId('error').textContent = '';
    try {
        const sums = await ask();
        byId('login').hidden = true;
        byId('statistics').hidden = false;
        byId('password').value = '';
        makeCharts();
        show(sums);
        byId('title').focus();
        timer = setInterval(tick, EVERY_MS);
    } catch (error) {
        byId('error').textContent = error instanceof TypeError
            ? t('The server cannot be reached. Check the network, and try again.') : error.message;
    }
}

async function tick() {
    if (document.hidden)
        return;
    try {
        show(await ask());
    } catch (error) {
        byId('state').textContent = error instanceof TypeError
            ? t('The server cannot be reached. Trying again…') : error.message;
    }
}

function makeCharts() {
    charts = [
        { chart: new Chart(t('People'), [t('members')], number), of: (sums) => [sums.people] },
        { chart: new Chart(t('Rate'), [t('received'), t('sent')], rate), of: (sums) => [sums.bitsIn, sums.bitsOut] },
        { chart: new Chart(t('Worst loss'), [t('towards us'), t('from us')], percent), of: (sums) => [sums.lossIn, sums.lossOut] },
        { chart: new Chart(t('Longest round trip'), [t('from us')], milliseconds), of: (sums) => [sums.rttMs] },
    ];
    byId('charts').replaceChildren(...charts.map(({ chart }) => chart.node));
}

function show(sums) {
    offer(sums.groups);
    const group = sums.groups.find(({ name }) => name === chosen);
    const part = group ?? sums;
    for (const { chart, of } of charts)
        chart.add(of(part));
    byId('state').textContent = tn(sums.groups.length, '{count} group', '{count} groups');
    groupsTable.show(sums.groups.map((row) => ({
        key: row.name, name: row.name,
        cells: [
            count(row.people), count(row.streamsIn), count(row.streamsOut), rateCell(row.bitsIn), rateCell(row.bitsOut),
            loss(row.lossIn), loss(row.lossOut), roundTrip(row.rttMs),
        ],
    })));
    shown = group ?? null;
    byId('members-part').hidden = !group;
    fillMembers();
    followMember();
}

function fillMembers() {
    membersTable.show((shown?.members ?? []).map((row) => ({
        key: row.id, name: shortId(row.id), isOpen: row.id === streams.id,
        cells: [
            count(row.streamsIn), count(row.streamsOut), rateCell(row.bitsIn), rateCell(row.bitsOut), room(row.room),
            heldBack(row.heldBack), stoodStill(row.freezes, row.frozen), loss(row.lossIn), loss(row.lossOut),
            roundTrip(row.rttMs), delay(row.jitterMs), path(row.paths),
        ],
    })));
}

/** Keeps what is shown of one member up to date, as long as it is there. */
function followMember() {
    if (streams.id === null)
        return;
    const member = shown?.members.find(({ id }) => id === streams.id);
    if (member)
        streams.show(member, shown);
    else if (streams.hide())
        byId(shown ? 'members-title' : 'title').focus();
}

/** The choice of groups, which stays open while nothing changes. */
function offer(groups) {
    const select = byId('group');
    const names = [SERVER, ...groups.map(({ name }) => name)];
    if (!names.includes(chosen))
        choose(SERVER);
    if ([...select.options].map(({ value }) => value).join('\n') === names.join('\n') && select.length > 0)
        return;
    select.replaceChildren(...names.map((name) => new Option(name || t('the whole server'), name)));
    select.value = chosen;
}

function choose(name) {
    chosen = name;
    for (const { chart } of charts)
        chart.clear();
}

byId('form').addEventListener('submit', login);
byId('group').addEventListener('change', ({ target }) => {
    choose(target.value);
    tick();
});
byId('pause').addEventListener('click', ({ target }) => {
    const isPaused = timer !== 0;
    clearInterval(timer);
    timer = isPaused ? 0 : setInterval(tick, EVERY_MS);
    target.setAttribute('aria-pressed', String(isPaused));
});
