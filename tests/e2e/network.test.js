/**
 * A network that goes away and comes back, or becomes another one: the page says so soon, comes back
 * by itself, and loses neither the hand, nor the microphone's state, nor what was written.
 */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { inbound, joinGroup, peopleOf, screenshot, seesAndHears } from './peer/browser.js';
import { ADDRESS } from './peer/server.js';
import { lower, raise } from './peer/stage.js';
import { sleep, until } from './peer/wait.js';

const hasOwnNetwork = !ADDRESS.startsWith('127.');

describe('network', { concurrency: 1, skip: !hasOwnNetwork && 'needs a network of its own' }, () => {
    let server;
    let browser;
    let ann;
    let bob;
    /** Ids that the server itself took away, as bob heard. */
    const goneByServer = new Set();

    before(async () => {
        ({ server, browser } = await raise());
        ann = await joinGroup(browser, 'ann', { start: 'both' });
        bob = await joinGroup(browser, 'bob');
        await seesAndHears(bob, 'ann');
        bob.on('websocket', (socket) => socket.on('framereceived', ({ payload }) => {
            const { type, kind, id } = JSON.parse(payload);
            if (type === 'user' && kind === 'delete')
                goneByServer.add(id);
        }));
    });

    after(async () => {
        cut(false);
        await lower({ server, browser });
    });

    /** Packets to the server vanish without a word, as in a tunnel: no queue takes one. */
    function cut(isCut) {
        const verb = isCut ? 'add' : 'del';
        try {
            // Both ends are local: what is sent to the server goes through lo, whoever sends it.
            execFileSync('tc', ['qdisc', verb, 'dev', 'lo', 'root', 'bfifo', 'limit', '1'],
                { stdio: 'pipe' });
        } catch (error) {
            if (isCut)
                throw error;
        }
    }

    const isJoined = (page) => page.evaluate(() => window.aula.connection.isJoined);
    const bannerText = (page) => page.textContent('#banner-text');

    async function allAreBack() {
        for (const page of [ann, bob]) {
            await until('everybody to be back', async () => await isJoined(page));
            await until('the banner to go', async () => !await page.isVisible('#banner'));
        }
        await until('both in the list', async () => {
            const names = new Set(await peopleOf(bob));
            return names.has('ann') && names.has('bob');
        });
        await seesAndHears(bob, 'ann', { sound: false });
    }

    for (const seconds of [10, 40]) {
        test(`${seconds} s without a network`, async (context) => {
            await ann.click('#hand-button');
            await ann.click('#mic-button');
            await ann.fill('#chat-input', 'half a sent');
            await bob.fill('#chat-input', `before ${seconds}`);
            await bob.press('#chat-input', 'Enter');
            await ann.waitForSelector(`.chat-message:has-text("before ${seconds}")`);
            cut(true);
            const cutAt = performance.now();
            await until('ann to be told', async () => await bannerText(ann) !== '');
            context.diagnostic(`told after ${Math.round(performance.now() - cutAt)} ms: `
                + await bannerText(ann));
            await screenshot(ann, `network-${seconds}`);
            await bob.fill('#chat-input', `said in the dark, ${seconds}`);
            await bob.press('#chat-input', 'Enter');
            await bob.waitForSelector('.chat-message.is-pending');
            assert.equal(await bob.isVisible('#join'), false);
            await sleep(Math.max(0, seconds * 1000 - (performance.now() - cutAt)));
            cut(false);
            const backAt = performance.now();
            for (const page of [ann, bob])
                await until('everybody to have joined', async () => await isJoined(page));
            context.diagnostic(`joined after ${Math.round(performance.now() - backAt)} ms`);
            await allAreBack();
            await until('nobody to be there twice',
                async () => (await peopleOf(bob)).join() === 'ann,bob');
            await ann.waitForSelector(`.chat-message:has-text("said in the dark, ${seconds}")`);
            await until('the message to be no longer pending',
                async () => await bob.locator('.chat-message.is-pending').count() === 0);
            assert.equal(await ann.locator(`.chat-message:has-text("in the dark, ${seconds}")`).count(),
                1, 'it came once');
            assert.equal(await ann.inputValue('#chat-input'), 'half a sent', 'the draft is kept');
            await until('ann\'s hand to be up for bob', async () => bob.isVisible('#hands-chip'));
            assert.equal(await ann.getAttribute('#mic-button', 'aria-pressed'), 'false');
            await ann.click('#hand-button');
            await ann.click('#mic-button');
            await until('the hand to be down again', async () => await ann.getAttribute(
                '#hand-button', 'aria-pressed') === 'false');
        });
    }

    test('who comes back is not there twice while the server holds the dead connection', async () => {
        const annWas = await ann.evaluate(() => {
            // The old socket goes deaf, as when its address is gone; even its end is not heard.
            const { send } = WebSocket.prototype;
            WebSocket.prototype.close = () => {};
            WebSocket.prototype.send = function(data) {
                if (this.isNew)
                    send.call(this, data);
            };
            window.WebSocket = class extends WebSocket {
                isNew = true;
            };
            return window.aula.connection.id;
        });
        await until('ann under another id', async () => bob.evaluate((annWas) => {
            const anns = [...window.aula.connection.users.values()]
                .filter(({ username }) => username === 'ann');
            return anns.length === 1 && anns[0].id !== annWas;
        }, annWas));
        assert.ok(!goneByServer.has(annWas), 'and not because the server noticed at last');
        await seesAndHears(bob, 'ann', { sound: false });
    });

    test('nobody is put out by a false claim to be them', async () => {
        await ann.evaluate(() => {
            const { connection } = window.aula;
            window.bobsId = [...connection.users.values()].find((user) => user.username === 'bob').id;
        });
        const liar = await joinGroup(browser, 'liar');
        await liar.evaluate((was) => {
            const { connection } = window.aula;
            const socket = new WebSocket(connection.endpoint);
            socket.onopen = () => {
                socket.send(JSON.stringify({ type: 'handshake', version: ['2'], id: 'second-bob' }));
                socket.send(JSON.stringify({
                    type: 'join', kind: 'join', group: 'test', username: 'bob', password: '',
                    data: { was, proof: 'guessed' },
                }));
            };
        }, await ann.evaluate(() => window.bobsId));
        await until('two bobs', async () => (await peopleOf(ann)).join() === 'ann,bob,bob,liar');
        await liar.close();
        await until('one bob', async () => (await peopleOf(ann)).join() === 'ann,bob');
        assert.ok(await ann.evaluate(() => window.aula.connection.users.has(window.bobsId)));
    });

    test('media whose path breaks is mended over the connection that still works', async () => {
        const id = (await inbound(bob))[0].id;
        const ufrag = () => bob.evaluate((id) => window.aula.connection.down.get(id)
            ?.pc.remoteDescription.sdp.match(/ice-ufrag:(\S+)/)[1], id);
        const before = await ufrag();
        // What the browser says when checks go unanswered, while the WebSocket is fine.
        await bob.evaluate((id) => {
            const stream = window.aula.connection.down.get(id);
            Object.defineProperty(stream.pc, 'connectionState',
                { get: () => 'disconnected', configurable: true });
            window.aula.connection.emit('stream', { kind: 'state', stream });
        }, id);
        await until('an ICE restart', async () => await ufrag() !== before);
        await bob.waitForSelector('#banner.is-shown');
        await until('a new stream, because the restart did not help', async () => bob.evaluate(
            (id) => window.aula.connection.down.get(id)?.pc.connectionState === 'connected', id));
        await until('the banner to go', async () => !await bob.isVisible('#banner'));
        await seesAndHears(bob, 'ann', { sound: false });
    });
});
