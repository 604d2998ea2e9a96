/** Chromium with a fake camera and microphone, driven through our own web client. */

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { ADDRESS, ORIGIN } from './server.js';
import { until } from './wait.js';

export const LIMIT_MS = 1000 * (process.env.AULA_E2E_LIMIT ?? 180);

/** Pictures a second of the fake camera; Chromium's own number if none is asked for. */
const FPS = process.env.AULA_E2E_FPS;

export const FLAGS = [
    `--use-fake-device-for-media-stream${FPS ? `=fps=${FPS}` : ''}`, '--use-fake-ui-for-media-stream', '--no-sandbox',
    '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage',
    '--autoplay-policy=no-user-gesture-required', '--ignore-certificate-errors',
    '--no-proxy-server',
    // Hidden pages must go on encoding and decoding.
    '--disable-renderer-backgrounding', '--disable-background-timer-throttling',
    '--disable-backgrounding-occluded-windows',
];

export async function launch(more = []) {
    const loopback = ADDRESS.startsWith('127.') ? ['--allow-loopback-in-peer-connection'] : [];
    // Flags for graphics would be of no use beside the one that does without.
    const flags = more.length > 0 ? FLAGS.filter((flag) => flag !== '--disable-gpu') : FLAGS;
    const browser = await chromium.launch({
        executablePath: process.env.AULA_E2E_CHROMIUM ?? process.env.CHROMIUM,
        args: [...flags, ...loopback, ...more],
        timeout: LIMIT_MS,
    });
    return browser;
}

/** A page of its own storage, logged so that a failing test can be understood. */
export async function openPage(browser, name, { locale = 'en-GB' } = {}) {
    const context = await browser.newContext({
        ignoreHTTPSErrors: true,
        permissions: ['camera', 'microphone'],
        locale,
        viewport: { width: 1100, height: 700 },
    });
    const page = await context.newPage();
    page.setDefaultTimeout(LIMIT_MS);
    page.on('pageerror', (error) => console.error(`${name}: ${error.stack}`));
    page.on('console', (message) => {
        if (['error', 'warning'].includes(message.type()))
            console.error(`${name}: ${message.text()}`);
    });
    return page;
}

/** Joins through the form; `start` is both, audio or nothing; `prepare(page)` comes before all. */
export async function joinGroup(browser, name, options = {}) {
    const { group = 'test', start = 'nothing', password = '', origin = ORIGIN } = options;
    const page = await openPage(browser, name, options);
    await options.prepare?.(page);
    const join = async (timeout, done = '#room:not([hidden])') => {
        await page.goto(`${origin}/group/${group}/`);
        await page.fill('#username', name);
        await page.fill('#password', password);
        await page.selectOption('#start', start);
        await page.click('#join-button:not([disabled])', { timeout });
        await page.waitForSelector(done, { timeout });
        assert.ok(await page.isVisible('#room'), 'not let in');
    };
    // On a machine that stalls a page was seen to stay at its form, and where interfaces come and go
    // Chromium gives up loading: a person would load it again.
    await join(LIMIT_MS / 3, '#room:not([hidden]), #join-error:not(:empty)').catch(async (error) => {
        const text = await page.evaluate(() => document.getElementById('join-error')?.textContent)
            .catch(() => '');
        console.error(`${name}: not let in, trying once more: ${text || error.message}`);
        await join(LIMIT_MS);
    });
    return page;
}

/** What the page receives, one entry per down stream. */
export function inbound(page) {
    return page.evaluate(async () => {
        const streams = [];
        for (const stream of window.aula.connection.down.values()) {
            const entry = {
                id: stream.id, label: stream.label, username: stream.username,
                state: stream.pc.connectionState, framesDecoded: 0, audioEnergy: 0, codecs: [],
            };
            const stats = await stream.pc.getStats();
            for (const report of stats.values()) {
                if (report.type !== 'inbound-rtp')
                    continue;
                if (report.codecId)
                    entry.codecs.push(stats.get(report.codecId).mimeType.toLowerCase());
                if (report.kind === 'video') {
                    entry.framesDecoded = report.framesDecoded ?? 0;
                    entry.keyFramesDecoded = report.keyFramesDecoded ?? 0;
                    entry.pliCount = report.pliCount ?? 0;
                    entry.width = report.frameWidth ?? 0;
                } else {
                    entry.audioEnergy = report.totalAudioEnergy ?? 0;
                }
            }
            streams.push(entry);
        }
        return streams;
    });
}

/** Waits until the page decodes `username`: video frames that grow, and sound if wanted. */
export async function seesAndHears(page, username, { sound = true, more = 10 } = {}) {
    const find = async () => (await inbound(page)).find((entry) => entry.username === username);
    const first = await until(`a video of ${username}`, async () => {
        const entry = await find();
        return entry?.framesDecoded > 0 && entry;
    });
    return until(`more frames ${sound ? 'and sound ' : ''}of ${username}`, async () => {
        const entry = await find();
        return entry && entry.framesDecoded >= first.framesDecoded + more
            && (!sound || entry.audioEnergy > 0) && entry;
    });
}

/** The names in the page's list of people, sorted. */
export async function peopleOf(page) {
    const names = await page.evaluate(
        () => [...window.aula.connection.users.values()].map((user) => user.username),
    );
    return names.sort();
}

/** A picture for human eyes, if the run was asked for them. */
export async function screenshot(page, name) {
    if (process.env.AULA_E2E_SHOTS)
        await page.screenshot({ path: join(process.env.AULA_E2E_SHOTS, `${name}.png`) });
}
