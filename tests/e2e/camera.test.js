/** What the settings do to the camera's picture: turned for all, and no promise of blur without it. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { inbound, joinGroup, screenshot, seesAndHears } from './peer/browser.js';
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
});
