/** What the tests of knocking do in pages. */

import assert from 'node:assert/strict';
import { sleep, until } from './wait.js';

/** Runs in the page before all: what it sends, announces and chimes can be read, and its sockets closed. */
export function watchPage() {
    Object.assign(window, { sent: [], announced: [], sockets: [], chimes: 0 });
    window.WebSocket = class extends WebSocket {
        constructor(...rest) {
            super(...rest);
            window.sockets.push(this);
        }

        /** While `isLate`, what follows a join comes later, as it may from far away. */
        set onmessage(handler) {
            let held = null;
            super.onmessage = handler && ((event) => {
                if (held) {
                    held.push(event);
                    return;
                }
                handler(event);
                const { type, kind } = JSON.parse(event.data);
                if (!window.isLate || type !== 'joined' || kind !== 'join')
                    return;
                held = [];
                setTimeout(() => {
                    held.forEach(handler);
                    held = null;
                }, 700);
            });
        }

        send(data) {
            const message = JSON.parse(data);
            window.sent.push(message);
            if (message.type === 'join')
                this.isMain = !message.group.includes('/');
            if (window.isGalene && message.type === 'handshake')
                delete message.wants;
            if (window.isForgotten && message.type === 'join')
                delete message.data.was;
            super.send(JSON.stringify(message));
        }
    };
    const { resume } = AudioContext.prototype;
    AudioContext.prototype.resume = function() {
        window.chimes += 1;
        return resume.call(this);
    };
    document.addEventListener('DOMContentLoaded', () => {
        const announcer = document.getElementById('announcer');
        if (announcer) {
            new MutationObserver(() => window.announced.push(announcer.textContent))
                .observe(announcer, { childList: true, characterData: true, subtree: true });
        }
    });
}

/** Runs in a page of no group: so many clients knock at once. `crowdTold()` counts what they were told last. */
export async function crowd(count) {
    const told = new Map();
    window.crowdTold = () => [...told.values()].reduce(
        (all, kind) => ({ ...all, [kind]: (all[kind] ?? 0) + 1 }), {});
    await Promise.all(Array.from({ length: count }, (_, at) => new Promise((resolve) => {
        const socket = new WebSocket(`wss://${location.host}/ws`);
        const say = (message) => socket.send(JSON.stringify(message));
        socket.onopen = () => {
            say({ type: 'handshake', version: ['2'], id: `crowd-${at}`, wants: ['knock'] });
            say({ type: 'join', kind: 'join', group: 'lecture', username: `pupil ${at}`, password: '' });
        };
        socket.onmessage = ({ data }) => {
            const message = JSON.parse(data);
            if (message.type === 'ping')
                say({ type: 'pong' });
            if (message.type !== 'joined' || message.kind === 'change')
                return;
            told.set(at, message.kind);
            resolve();
        };
    })));
}

/** Those on the card of `page`, in their order: `ann, bob`. */
export const waiting = (page) => page.evaluate(
    () => [...document.querySelectorAll('#door-list .door-name')].map(({ textContent }) => textContent).join(', '));
export const sees = (page, names) => until(`“${names}” at the door`, async () => {
    const now = await waiting(page);
    return now === names || Promise.reject(new Error(now));
});
export const isIn = async (page) => {
    await page.waitForSelector('#room:not([hidden])');
    assert.equal(await page.locator('#outside').count(), 0);
};
export const focused = (page) => page.evaluate(
    () => document.activeElement.id || document.activeElement.getAttribute('aria-label') || document.activeElement.tagName);
export const hears = (page, pattern) => until(`“${pattern}”`, async () => {
    const told = await page.evaluate(() => window.announced);
    return told.some((text) => pattern.test(text)) || Promise.reject(new Error(told.join(' | ')));
});
export const sent = (page, kind) => page.evaluate((kind) => window.sent.filter((one) => one.kind === kind).length, kind);
/** A press right after the list has moved does nothing, so it is pressed when a person would. */
export const press = async (page, label) => {
    await sleep(600);
    await page.click(`#door button:has-text("${label}"), #door button[aria-label="${label}"]`);
};
/** Waits until `page` is a member of `group`. */
export const isAt = (page, group) => until(group, () => page.evaluate(
    (group) => window.aula.connection.group === group && window.aula.connection.isJoined, group));
/** Sends ann to a room; `plan` is what else changes of the plan. */
export const sendAnn = (page, plan = {}, room = '1') => page.evaluate(([plan, room]) => {
    const { breakouts } = window.aula.state;
    const { data } = [...breakouts.main.users.values()].find(({ username }) => username === 'ann');
    breakouts.change({ ...plan, people: { [data.person]: { room, name: 'ann' } } });
}, [plan, room]);
