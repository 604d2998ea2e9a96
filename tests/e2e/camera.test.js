/** What the settings do to the camera's picture: turned for all, and no promise of blur without it. */

import assert from 'node:assert/strict';
import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { inbound, joinGroup, launch, screenshot, seesAndHears } from './peer/browser.js';
import { lower, raise } from './peer/stage.js';
import { until } from './peer/wait.js';

describe('camera', { concurrency: 1 }, () => {
    let server;
    let browser;
    let ann;
    let bob;

    before(async () => {
        ({ server, browser } = await raise());
        ann = await joinGroup(browser, 'ann', { start: 'both' });
        bob = await joinGroup(browser, 'bob');
        await seesAndHears(bob, 'ann');
    });

    after(async () => {
        await lower({ server, browser });
    });

    /** Width over height of what bob decodes of ann. */
    const shape = () => bob.evaluate(() => {
        const [video] = document.querySelectorAll('.tile:not(.is-own) video');
        return video.videoWidth / video.videoHeight;
    });

    test('a turned picture is turned for all, and straight again', async () => {
        await until('a wide picture', async () => await shape() > 1);
        await ann.click('#settings-button');
        await ann.selectOption('#rotation', '90');
        await until('a high picture', async () => await shape() < 1);
        await seesAndHears(bob, 'ann');
        await ann.selectOption('#rotation', '0');
        await until('a wide picture again', async () => await shape() > 1);
    });

    test('the camera goes dark when a turned picture is switched off', async () => {
        await ann.selectOption('#rotation', '180');
        await until('the turned track', async () => ann.evaluate(
            () => 'canvas' in window.aula.state.own.video));
        await ann.evaluate(() => { window.track = window.aula.state.own.video; });
        await ann.keyboard.press('Escape');
        await ann.click('#camera-button');
        await until('the end of the picture',
            async () => await ann.evaluate(() => window.track.readyState) === 'ended');
        await until('sound alone', async () => (await inbound(bob))
            .every(({ framesDecoded }) => framesDecoded === 0));
    });

    test('where the browser cannot blur, it says so and what else there is', async () => {
        const can = await ann.evaluate(
            () => Boolean(navigator.mediaDevices.getSupportedConstraints().backgroundBlur));
        await ann.click('#settings-button');
        assert.equal(await ann.isDisabled('#blur'), !can);
        assert.equal(await ann.isVisible('#blur-note'), !can);
        await screenshot(ann, 'camera-settings');
    });

    test('with the files beside the page it blurs by itself, for all to see', async () => {
        const files = fileURLToPath(new URL('node_modules/@mediapipe/selfie_segmentation', import.meta.url));
        symlinkSync(files, join(server.directory, 'data', 'blur'));
        // Its arithmetic is done by WebGL, which without a graphics card must be asked for.
        const painting = await launch(['--enable-unsafe-swiftshader', '--use-gl=angle', '--use-angle=swiftshader']);
        try {
            const eve = await joinGroup(painting, 'eve', { start: 'both' });
            /** The largest step in brightness from one pixel to the next of what bob sees of eve. */
            const sharpness = () => bob.evaluate(() => {
                const tile = [...document.querySelectorAll('.tile')].find(
                    (other) => other.querySelector('.tile-name').textContent === 'eve');
                const video = tile.querySelector('video');
                const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
                const context = canvas.getContext('2d');
                context.drawImage(video, 0, 0);
                const { data, width } = context.getImageData(0, 0, canvas.width, canvas.height);
                let most = 0;
                for (let at = 1; at < data.length / 4; at += 1) {
                    if (at % width !== 0)
                        most = Math.max(most, Math.abs(data[4 * at + 1] - data[4 * at - 3]));
                }
                return most;
            });
            await seesAndHears(bob, 'eve');
            await until('a sharp picture', async () => await sharpness() > 60);
            await eve.click('#settings-button');
            await eve.waitForSelector('#blur:not([disabled])');
            assert.equal(await eve.isVisible('#blur-note'), false);
            await eve.check('#blur');
            await until('the blurred track', () => eve.evaluate(
                () => window.aula.state.own.video.isBlurred === true));
            await until('a soft picture', async () => await sharpness() < 40);
            await screenshot(eve, 'camera-blurred');
            await seesAndHears(bob, 'eve');
            await eve.uncheck('#blur');
            await until('a sharp picture again', async () => await sharpness() > 60);
        } catch (error) {
            server.dump();
            throw error;
        } finally {
            await painting.close();
        }
    });
});
