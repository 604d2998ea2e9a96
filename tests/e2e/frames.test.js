/**
 * How smooth the page is with many tiles: intervals between frames, and tasks that keep the page from
 * answering. The numbers are printed, for docs/performance.md; the machine is no judge of them.
 */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { joinGroup, screenshot } from './peer/browser.js';
import { fillClass } from './peer/pretend.js';
import { lower, raise } from './peer/stage.js';
import { until } from './peer/wait.js';

const CLASS = 100;
/** Each deed goes on for so long; for numbers that are to be compared, 10. */
const SECONDS = Number(process.env.AULA_E2E_FRAME_SECONDS ?? 2);

describe('frames', { concurrency: 1 }, () => {
    let server;
    let browser;

    before(async () => {
        ({ server, browser } = await raise());
    });

    after(async () => {
        await lower({ server, browser });
    });

    /** What happens in the page while `deed` is done again and again. */
    function measure(page, deed) {
        return page.evaluate(async ({ deed, seconds }) => {
            const { connection, state } = window.aula;
            const users = [...connection.users.values()];
            let count = 0;
            const deeds = {
                rest: () => {},
                pages: () => state.stage.turn(count % 8 < 4 ? 1 : -1),
                chat: () => connection.emit('chat', {
                    message: { id: `f${count}`, source: users[1].id, username: 'Ben', value: 'And why?' },
                }),
                hands: () => {
                    const user = users[1 + count % (users.length - 1)];
                    user.data = { ...user.data, raisehand: !user.data.raisehand || undefined };
                    connection.emit('user', { kind: 'change', user });
                },
            };
            const long = [];
            new PerformanceObserver((list) => long.push(...list.getEntries().map((entry) => entry.duration)))
                .observe({ type: 'longtask' });
            const intervals = [];
            const end = performance.now() + 1000 * seconds;
            const timer = setInterval(() => {
                count += 1;
                deeds[deed]();
            }, 200);
            for (let last = performance.now(); last < end;) {
                const now = await new Promise(requestAnimationFrame);
                intervals.push(now - last);
                last = now;
            }
            clearInterval(timer);
            intervals.sort((a, b) => a - b);
            const at = (part) => Math.round(intervals[Math.floor(part * (intervals.length - 1))]);
            return {
                frames: intervals.length, median: at(0.5), p95: at(0.95), most: at(1),
                long: long.length, longest: Math.round(Math.max(0, ...long)),
            };
        }, { deed, seconds: SECONDS });
    }

    for (const [title, viewport, pageMax] of [
        ['a laptop, as it is', { width: 1366, height: 768 }, null],
        ['a phone, as it is', { width: 360, height: 740 }, null],
        ['all hundred on one page', { width: 2560, height: 1440 }, CLASS + 1],
    ]) {
        test(`a class of ${CLASS} with cameras: ${title}`, async (context) => {
            const page = await joinGroup(browser, 'teacher', {
                prepare: (page) => pageMax && page.route('**/js/arrangement.js', async (route) => {
                    const response = await route.fetch();
                    const body = (await response.text())
                        .replace('PAGE_MAX = 30', `PAGE_MAX = ${pageMax}`)
                        .replace('GRID_TILE_MIN_WIDE = 190', 'GRID_TILE_MIN_WIDE = 150');
                    await route.fulfill({ response, body });
                }),
            });
            await page.setViewportSize(viewport);
            await browser.startTracing(page, { categories: ['toplevel'] });
            await page.evaluate(fillClass, CLASS);
            const shown = () => page.locator('.tile:not([hidden])').count();
            await until('tiles', async () => pageMax ? await shown() === CLASS : await shown() > 3);
            context.diagnostic(`while they came: ${tasksOf(await browser.stopTracing())}`);
            await browser.startTracing(page, { categories: ['toplevel'] });
            // As on the way back from a breakout room.
            await page.evaluate(async () => {
                const { state: { stage }, connection } = window.aula;
                const { inSlices } = await import(
                    new URL('slices.js', document.querySelector('script[type=module]').src));
                stage.clear();
                await inSlices(connection.down.values(), (stream) => stage.add(stream), () => false);
            });
            await until('tiles again', async () => pageMax ? await shown() === CLASS : await shown() > 3);
            context.diagnostic(`all at once: ${tasksOf(await browser.stopTracing())}`);
            await screenshot(page, `frames-${viewport.width}`);
            for (const deed of ['rest', 'pages', 'chat', 'hands']) {
                const found = await measure(page, deed);
                assert.ok(found.frames > 0);
                context.diagnostic(`${await shown()} tiles, ${deed}: ${JSON.stringify(found)}`);
            }
            await page.close();
        });
    }
});

/**
 * How long the tasks of the page's own thread had the processor, in words: what other programs took
 * meanwhile is not in it.
 */
function tasksOf(trace) {
    const { traceEvents } = JSON.parse(trace.toString());
    // The thread that had most to do is that of the page.
    const byThread = new Map();
    for (const { name, pid, tid, tdur } of traceEvents) {
        const thread = `${pid} ${tid}`;
        if (/RunTask$/.test(name) && tdur > 0)
            byThread.set(thread, [...byThread.get(thread) ?? [], tdur / 1000]);
    }
    const sum = (list) => list.reduce((total, ms) => total + ms, 0);
    const [busiest = []] = [...byThread.values()].sort((a, b) => sum(b) - sum(a));
    assert.ok(busiest.length > 0, 'there are tasks at all');
    const longest = busiest.map((ms) => Math.round(ms)).sort((a, b) => b - a);
    return `tasks of ${longest.slice(0, 5).join(', ')} ms of the processor, ${longest.filter((ms) => ms > 50).length} `
        + `of more than 50; ${Math.round(sum(busiest))} in all`;
}
