/** The page for administrators: groups, people, rates and losses, as live charts and as tables. */

import { Chart } from './chart.js';
import { byId, element, ROOT } from './element.js';
import { basic } from './http-session.js';
import { number, t, tn } from './language.js';
import { sumUp } from './sums.js';

const EVERY_MS = 5_000;
/** Such a loss is seen and heard. */
const BAD_LOSS = 0.05;
const BAD_RTT_MS = 400;

const SERVER = '';
let authorization = '';
let timer = 0;
let chosen = SERVER;
let charts = [];

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
    fill('groups', sums.groups.map((row) => [
        row.name, number(row.people), number(row.streamsIn), number(row.streamsOut),
        rate(row.bitsIn), rate(row.bitsOut), loss(row.lossIn), loss(row.lossOut), roundTrip(row.rttMs),
    ]));
    byId('members-part').hidden = !group;
    fill('members', (group?.members ?? []).map((row) => [
        row.id.slice(0, 12), number(row.streamsIn), number(row.streamsOut),
        rate(row.bitsIn), rate(row.bitsOut), row.room > 0 ? rate(row.room) : '–',
        loss(row.lossIn), loss(row.lossOut), roundTrip(row.rttMs), milliseconds(row.jitterMs), path(row),
    ]));
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

function fill(id, rows) {
    byId(id).tBodies[0].replaceChildren(...rows.map(([name, ...cells]) => element('tr', {},
        element('th', { scope: 'row', dir: 'auto' }, name),
        ...cells.map((cell) => element('td', cell.isBad ? { className: 'is-bad' } : {}, cell.text ?? cell)))));
}

function rate(bits) {
    const [value, unit] = bits >= 1e6 ? [bits / 1e6, 'Mbit/s'] : [bits / 1e3, 'kbit/s'];
    return `${number(value, { maximumFractionDigits: bits >= 1e6 ? 1 : 0 })} ${unit}`;
}

function percent(part) {
    return number(part, { style: 'percent', maximumFractionDigits: 1 });
}

function milliseconds(ms) {
    return `${number(ms, { maximumFractionDigits: 0 })} ms`;
}

/** With a word beside the colour, for who sees none. */
function loss(part) {
    return part >= BAD_LOSS ? { isBad: true, text: `⚠ ${percent(part)}` } : { text: percent(part) };
}

function roundTrip(ms) {
    if (ms === 0)
        return '–';
    return ms >= BAD_RTT_MS ? { isBad: true, text: `⚠ ${milliseconds(ms)}` } : milliseconds(ms);
}

/** What media goes over, or that nothing gets through. */
function path({ paths, isCutOff }) {
    return isCutOff ? { isBad: true, text: `⚠ ${t('interrupted')}` }
        : paths.map((over) => over.toUpperCase()).join(', ') || '–';
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
