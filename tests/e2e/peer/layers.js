/** Publishers that send layers within one stream, over WHIP. */

import { openPage } from './browser.js';
import { ORIGIN } from './server.js';
import { helpers } from './web-session.js';

/** Runs in the page: publishes a moving canvas in layers. */
export async function publish({ url, codec, scalabilityMode }) {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [640, 360];
    const context = canvas.getContext('2d');
    setInterval(() => {
        context.fillStyle = `hsl(${performance.now() / 10 % 360} 80% 50%)`;
        context.fillRect(performance.now() / 5 % 600, 100, 40, 40);
    }, 50);
    const pc = window.pc = new RTCPeerConnection();
    const video = pc.addTransceiver(canvas.captureStream(15).getTracks()[0], {
        direction: 'sendonly', sendEncodings: [{ scalabilityMode, maxBitrate: 800_000 }],
    });
    const { codecs } = RTCRtpSender.getCapabilities('video');
    video.setCodecPreferences(codecs.filter(
        ({ mimeType }) => mimeType.toLowerCase() === `video/${codec}`,
    ));
    // A busy machine shall cost pictures, not layers.
    const parameters = video.sender.getParameters();
    parameters.degradationPreference = 'maintain-resolution';
    await video.sender.setParameters(parameters);
    return window.post(pc, url, {});
}

/** A page from which WHIP and WHEP work. */
export async function open(browser, name) {
    const page = await openPage(browser, name);
    await page.addInitScript(helpers);
    await page.goto(`${ORIGIN}/404-not-there`).catch(() => {});
    return page;
}
