/**
 * The tests that must hold whatever the number of shards: browsers that see, hear and talk to
 * each other, FFmpeg publishing over WHIP, late joiners, and tabs that die.
 */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
    inbound, joinGroup, launch, peopleOf, screenshot, seesAndHears,
} from './browser.js';
import { Publisher } from './ffmpeg.js';
import { Server, ORIGIN } from './server.js';
import { until } from './wait.js';

export function aClass({ title, args }) {
    describe(title, { concurrency: 1 }, () => {
        let server;
        let browser;
        let ann;
        let bob;

        before(async () => {
            server = await Server.start({ args });
            browser = await launch();
        });

        after(async () => {
            await browser?.close();
            assert.equal(await server?.stop(), 0, 'the server ends with code 0 on SIGTERM');
        });

        // Each step builds on those before it.
        let hasFailed = false;
        const step = (name, body) => test(name, async (context) => {
            if (hasFailed) {
                context.skip('an earlier step failed');
                return;
            }
            try {
                await body(context);
            } catch (error) {
                hasFailed = true;
                server.dump();
                throw error;
            }
        });

        step('two browsers see and hear each other', async () => {
            ann = await joinGroup(browser, 'ann', { start: 'both' });
            bob = await joinGroup(browser, 'bob', { start: 'both' });
            await seesAndHears(bob, 'ann');
            await seesAndHears(ann, 'bob');
            await screenshot(ann, `${title}-room`);
        });

        step('both lists of people name both', async () => {
            for (const page of [ann, bob]) {
                await until('ann and bob in the list',
                    async () => (await peopleOf(page)).join() === 'ann,bob');
                assert.deepEqual(await page.locator('.person').count(), 2);
            }
        });

        step('a chat message arrives', async () => {
            await ann.fill('#chat-input', 'good morning');
            await ann.press('#chat-input', 'Enter');
            for (const page of [ann, bob])
                await page.waitForSelector('.chat-message:has-text("good morning")');
        });

        step('a private message reaches its addressee only', async () => {
            await bob.fill('#chat-input', '/msg ann between us');
            await bob.press('#chat-input', 'Enter');
            await ann.waitForSelector('.chat-message.is-private:has-text("between us")');
        });

        step('a late joiner gets a picture', async (context) => {
            const late = await joinGroup(browser, 'late');
            const measured = await firstFrame(late, 'ann');
            context.diagnostic(`first frame ${Math.round(measured.ms)} ms after connected, `
                + `${measured.pliCount} keyframe requests by the viewer`);
            assert.ok(measured.framesDecoded > 0);
            await late.close();
            await until('late to leave the list',
                async () => !(await peopleOf(ann)).includes('late'));
        });

        step('a muted microphone falls silent and comes back', async () => {
            const energy = async () => (await inbound(bob))
                .find((entry) => entry.username === 'ann').audioEnergy;
            await ann.click('#mic-button');
            await until('silence', async () => {
                const before = await energy();
                await new Promise((resolve) => setTimeout(resolve, 2_000));
                return await energy() - before < 1e-6;
            });
            await ann.click('#mic-button');
            const silent = await energy();
            await until('sound again', async () => await energy() > silent + 1e-4);
        });

        step('media goes on after an ICE restart on either side', async () => {
            const id = (await inbound(bob)).find((entry) => entry.username === 'ann').id;
            for (const [page, side] of [[bob, 'down'], [ann, 'up']]) {
                const ufrag = () => page.evaluate(([side, id]) => {
                    const { pc } = window.aula.connection[side].get(id);
                    const sdp = pc.localDescription.sdp + pc.remoteDescription.sdp;
                    return sdp.match(/ice-ufrag:(\S+)/)[1];
                }, [side, id]);
                const before = await ufrag();
                await page.evaluate((id) => window.aula.connection.restart(id), id);
                await until(`new credentials of the ${side} stream`,
                    async () => await ufrag() !== before);
                await seesAndHears(bob, 'ann', { more: 20 });
            }
        });

        step('stopping and starting the camera replaces the stream', async () => {
            const first = (await inbound(bob)).find((entry) => entry.username === 'ann').id;
            await ann.click('#camera-button');
            await until('a stream without video', async () => {
                const entry = (await inbound(bob)).find((entry) => entry.username === 'ann');
                return entry && entry.id !== first && entry.audioEnergy > 0
                    && entry.framesDecoded === 0;
            });
            await ann.click('#camera-button');
            await seesAndHears(bob, 'ann');
            assert.equal((await inbound(bob)).filter(({ username }) => username === 'ann').length, 1);
        });

        step('a shared screen arrives beside the camera, and goes', async () => {
            const screen = async () => (await inbound(bob))
                .find((entry) => entry.label === 'screenshare');
            await ann.click('#screen-button');
            await until('frames of the screen', async () => (await screen())?.framesDecoded > 5);
            await screenshot(bob, `${title}-screen`);
            await bob.click('#settings-button');
            assert.ok(await cameraVideos(bob) > 0);
            await bob.selectOption('#receive', 'screenshare');
            await until('the camera picture to stop', async () => await cameraVideos(bob) === 0);
            assert.ok(await screen(), 'the screen stays');
            await until('a tile without a picture',
                async () => await bob.locator('.tile.audio-only:not(.is-own)').count() === 1);
            await bob.selectOption('#receive', 'everything');
            await bob.keyboard.press('Escape');
            await ann.click('#screen-button');
            await until('the screen to go', async () => !await screen());
            await seesAndHears(bob, 'ann');
        });

        for (const [path, isDtlsActive] of [
            ['/group/test/.whip', false], ['/group/test/.whip', true], ['/group/test/', false],
        ]) {
            const role = isDtlsActive ? 'DTLS client' : 'DTLS server';
            step(`FFmpeg as ${role} publishes to ${path}`, async (context) => {
                const publisher = new Publisher(server, `${ORIGIN}${path}`, { isDtlsActive });
                try {
                    await seesAndHears(bob, 'whip').catch((error) => {
                        throw new Error(`${error.message}\nFFmpeg: ${publisher.output}`);
                    });
                    const late = await joinGroup(browser, 'late');
                    const measured = await firstFrame(late, 'whip');
                    context.diagnostic(`late joiner: first H.264 frame ${Math.round(measured.ms)} ms `
                        + `after connected, ${measured.pliCount} keyframe requests`);
                    await screenshot(late, `${title}-whip`);
                    await late.close();
                } finally {
                    await publisher.stop();
                }
                await until('the encoder to leave the list',
                    async () => !(await peopleOf(bob)).includes('whip'));
            });
        }

        step('a tab that dies disappears from the list', async () => {
            const session = await bob.context().newCDPSession(bob);
            // The page has no chance to say goodbye; the call itself never returns.
            session.send('Page.crash').catch(() => {});
            await until('bob to leave the list', async () => (await peopleOf(ann)).join() === 'ann');
            await until('bob to leave the stage',
                async () => (await inbound(ann)).every(({ username }) => username !== 'bob'));
        });
    });
}

/** How many camera streams of others show a picture at present. */
function cameraVideos(page) {
    return page.evaluate(() => [...window.aula.connection.down.values()].filter((stream) => (
        stream.label === 'camera'
        && stream.pc.getTransceivers().some(({ currentDirection, receiver }) => (
            receiver.track.kind === 'video' && currentDirection === 'recvonly'))
    )).length);
}

/**
 * The time from "connected" to the first decoded frame, taken inside the page because round trips
 * of the test driver would dominate it. Reported only: this machine's clock is no judge.
 */
async function firstFrame(page, username) {
    return page.evaluate(async (username) => {
        for (;;) {
            const stream = [...window.aula.connection.down.values()]
                .find((other) => other.username === username);
            for (const report of (await stream?.pc.getStats())?.values() ?? []) {
                if (report.type === 'inbound-rtp' && report.framesDecoded > 0) {
                    return {
                        ms: performance.now() - stream.connectedAt,
                        framesDecoded: report.framesDecoded,
                        pliCount: report.pliCount,
                    };
                }
            }
            await new Promise((resolve) => setTimeout(resolve, 10));
        }
    }, username);
}
