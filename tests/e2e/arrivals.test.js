/** Congestion control feedback by SSRC (RFC 8888), which Chromium offers if it is told to. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch } from './peer/browser.js';
import { canMakeLinks, Link } from './peer/link.js';
import { publishNoise, received } from './peer/noise.js';
import { ORIGIN, Server } from './peer/server.js';
import { stepsWith } from './peer/stage.js';
import { until } from './peer/wait.js';
import { openBlank, play } from './peer/web-session.js';

const TRIAL = '--force-fieldtrials=WebRTC-RFC8888CongestionControlFeedback/Enabled,offer:true/';

/** Runs in the page: what both sides have said of it, and what the transport has counted. */
async function agreed() {
    const lines = ({ sdp }) => sdp.split('\r\n').filter((line) => line.startsWith('a=rtcp-fb:'));
    const stats = [...(await window.pc.getStats()).values()];
    return {
        offered: lines(window.pc.localDescription), answered: lines(window.pc.remoteDescription),
        transport: stats.find(({ type }) => type === 'transport'),
        pair: stats.find(({ type, nominated, state }) =>
            type === 'candidate-pair' && nominated && state === 'succeeded'),
    };
}

describe('arrivals by SSRC', { concurrency: 1, skip: canMakeLinks() ? false : 'needs namespaces' }, () => {
    let server, link, browsers, publisher, viewer;
    const step = stepsWith(() => server);
    const seen = () => viewer.evaluate(received);
    const moreFrames = async (what, more) => {
        const { video: { framesDecoded } } = await seen();
        await until(`${more} more frames ${what}`,
            async () => (await seen()).video.framesDecoded >= framesDecoded + more);
    };

    before(async () => {
        const group = {
            codecs: ['vp8', 'opus'],
            'wildcard-user': { password: { type: 'wildcard' }, permissions: 'present' },
        };
        server = await Server.start({ groups: { test: group } });
        link = await Link.make();
        browsers = [await launch([TRIAL]), await link.launch([TRIAL])];
        publisher = await openBlank(browsers[0], 'publisher');
        viewer = await openBlank(browsers[1], 'viewer');
    });

    after(async () => {
        for (const browser of browsers ?? [])
            await browser.close();
        link?.end();
        assert.equal(await server?.stop(), 0);
    });

    step('a publisher is told, and sends what its encoders can', async () => {
        const url = `${ORIGIN}/group/test/.whip`;
        assert.equal((await publisher.evaluate(publishNoise, { url })).status, 201);
        const { offered, answered } = await publisher.evaluate(agreed);
        assert.ok(offered.some((line) => line.endsWith(' ack ccfb')), offered.join());
        assert.ok(answered.some((line) => line.endsWith(' ack ccfb')), answered.join());
        assert.ok(!answered.some((line) => line.includes('transport-cc')), answered.join());
        await until('reports to come', async () =>
            (await publisher.evaluate(agreed)).transport.ccfbMessagesReceived > 10);
        await until('the estimate to allow both pictures', async () =>
            (await publisher.evaluate(agreed)).pair.availableOutgoingBitrate > 1_400_000);
    });

    step('a viewer tells, and on a slow link gets the small picture', async () => {
        const { status } = await viewer.evaluate(play, { url: `${ORIGIN}/group/test/.whep` });
        assert.equal(status, 201);
        await until('the large picture', async () => (await seen()).video?.frameWidth === 640);
        // Chromium does not count them; receiver reports alone are two or three a second.
        const { transport: { packetsSent, timestamp } } = await viewer.evaluate(agreed);
        await until('reports to be sent', async () => {
            const { transport } = await viewer.evaluate(agreed);
            return transport.packetsSent > packetsSent + 50
                && transport.packetsSent - packetsSent > (transport.timestamp - timestamp) / 200;
        });
        link.rate(500);
        await until('the small picture', async () => (await seen()).video.frameWidth === 320);
        await moreFrames('of the small picture', 10);
        link.rate(0);
        await until('the large picture again', async () => (await seen()).video.frameWidth === 640);
        await moreFrames('of the large picture', 20);
    });

    step('loss is told by the same reports', async () => {
        link.loss(5);
        const before = await seen();
        await until('packets to be lost and asked for', async () =>
            (await seen()).video.nackCount > before.video.nackCount + 3);
        // Sound is sent twice on a path that is known to lose.
        await until('redundant sound', async () => (await seen()).audio.packetsDiscarded
            > (before.audio.packetsDiscarded ?? 0) + 50);
        await moreFrames('with loss', 60);
        link.loss(0);
    });
});
