/** Layers within one stream: each viewer gets those that it chose, decoded by a browser. */

import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import { inbound, joinGroup } from './peer/browser.js';
import { Firefox } from './peer/firefox.js';
import { publish } from './peer/layers.js';
import { ORIGIN } from './peer/server.js';
import { lower, raise, stepsWith } from './peer/stage.js';
import { until } from './peer/wait.js';
import { helpers, openBlank, play as playBoth } from './peer/web-session.js';

const URL = `${ORIGIN}/group/test/`;
const MODES = [
    ['av1', 'L3T3_KEY'], ['av1', 'L2T2'], ['av1', 'S2T1'], ['av1', 'L1T3'],
    ['vp9', 'L3T3_KEY'], ['vp9', 'L2T2'], ['h264', 'L1T2'],
];

/** Runs in the page: plays the picture, with the dependency descriptor or without. */
async function play({ url, hasDescriptor }) {
    const pc = window.pc = new RTCPeerConnection();
    const transceiver = pc.addTransceiver('video', { direction: 'recvonly' });
    const extensions = transceiver.getHeaderExtensionsToNegotiate();
    const descriptor = extensions.find(({ uri }) => uri.includes('dependency-descriptor'));
    descriptor.direction = hasDescriptor ? 'sendrecv' : 'stopped';
    transceiver.setHeaderExtensionsToNegotiate(extensions);
    const element = document.createElement('video');
    element.autoplay = true;
    element.srcObject = new MediaStream([transceiver.receiver.track]);
    document.body.append(element);
    return window.post(pc, url, {});
}

/** Runs in the page. */
async function choose(layers) {
    const response = await fetch(`${window.session}/layer`, {
        method: 'POST', headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(layers),
    });
    return [response.status, await response.text()];
}

/** Waits for pictures whose width fits what is sent at that time, and for more of them. */
async function shows(page, publisher, what, fits = (width) => width > 0) {
    const seen = async (frames) => {
        const found = await page.evaluate(() => window.incoming());
        const [sent] = Object.values(await publisher.evaluate(() => window.outgoing()));
        return fits(found.width, sent) && found.frames > frames && found;
    };
    const first = await until(`pictures ${what}`, () => seen(0));
    await until(`more pictures ${what}`, () => seen(first.frames + 15));
}

/** Runs in the page: how many pictures have been encoded. */
async function encoded() {
    const stats = [...(await window.pc.getStats()).values()];
    return stats.reduce((sum, { framesEncoded }) => sum + (framesEncoded ?? 0), 0);
}

/** Waits until two of three temporal layers are decoded: half of the pictures. One would be a quarter. */
async function decodesHalf(page, publisher) {
    const look = async () => [
        (await page.evaluate(() => window.incoming())).frames, await publisher.evaluate(encoded),
    ];
    let from = await look();
    await until('two of three layers to be decoded', async () => {
        const to = await look();
        const sent = to[1] - from[1];
        if (sent < 60)
            return false;
        const share = (to[0] - from[0]) / sent;
        from = to;
        return share > 0.4 && share < 0.6;
    });
}

/** The encoder may scale with the load, so only the relation counts. */
const isAll = (width, sent) => width === sent;
const isSmall = (width, sent) => width > 0 && width <= sent / 2;

describe('layers', { concurrency: 1 }, () => {
    let server, browser;

    before(async () => {
        ({ server, browser } = await raise({ groups: { test: {
            codecs: ['av1', 'vp9', 'h264', 'vp8', 'opus'],
            'wildcard-user': { password: { type: 'wildcard' }, permissions: 'present' },
        } } }));
    });

    after(async () => {
        await lower({ server, browser });
    });

    /** A test with a publisher of layers and a page for each viewer; all are closed behind it. */
    function withLayers(name, { skip = false, ...layers }, steps) {
        stepsWith(() => server)(name, { skip }, async () => {
            const pages = [];
            const page = async (title) => pages[pages.push(await openBlank(browser, title)) - 1];
            /** A page that plays it, with descriptors or without. */
            const watch = async (title, hasDescriptor) => {
                const viewer = await page(title);
                await until(`the ${title} to be let in`, async () => (await viewer.evaluate(
                    play, { url: `${URL}.whep`, hasDescriptor },
                )).status === 201);
                return viewer;
            };
            try {
                const publisher = await page('publisher');
                const sent = await publisher.evaluate(publish, { url: `${URL}.whip`, ...layers });
                assert.equal(sent.status, 201, sent.body);
                await steps({ publisher, watch, page, pages });
                await publisher.evaluate(() => fetch(window.session, { method: 'DELETE' }));
            } finally {
                for (const page of pages)
                    await page.context().close();
            }
        });
    }

    const chosen = (viewer, layers) => until('the layer to be known', async () =>
        (await viewer.evaluate(choose, layers))[0] === 200);
    const goesDownAndUp = async (viewer, publisher, how) => {
        await chosen(viewer, { spatialLayerId: 0 });
        await shows(viewer, publisher, `of the lowest layer ${how}`, isSmall);
        await viewer.evaluate(choose, {});
        await shows(viewer, publisher, `of all layers again ${how}`, isAll);
    };

    for (const hasDescriptor of [true, false]) {
        withLayers(`temporal layers of VP8 ${hasDescriptor ? 'with' : 'without'} descriptors`, {
            codec: 'vp8', scalabilityMode: 'L1T3', hasDescriptor,
        }, async ({ publisher, watch }) => {
            for (const takesDescriptor of [true, false]) {
                const viewer = await watch('viewer', takesDescriptor);
                await shows(viewer, publisher, 'of all layers');
                await chosen(viewer, { temporalLayerId: 1 });
                await decodesHalf(viewer, publisher);
            }
        });
    }

    for (const [codec, scalabilityMode] of [['av1', 'L2T2'], ['vp9', 'L3T3_KEY']]) {
        withLayers(`Firefox and ${codec} ${scalabilityMode}`, {
            codec, scalabilityMode, skip: !Firefox.isThere && 'there is none',
        }, async ({ publisher }) => {
            const firefox = await Firefox.launch(`${ORIGIN}/404-not-there`);
            const page = { evaluate: (...what) => firefox.run(...what) };
            try {
                await page.evaluate(helpers);
                const { status, body } = await page.evaluate(playBoth, { url: `${URL}.whep` });
                assert.equal(status, 201, body);
                await shows(page, publisher, 'of all layers in Firefox', isAll);
                await goesDownAndUp(page, publisher, 'in Firefox');
            } finally {
                await firefox.close();
            }
        });
    }

    for (const [codec, scalabilityMode] of MODES) {
        withLayers(`${codec} ${scalabilityMode}`, { codec, scalabilityMode }, async ({ publisher, watch, page, pages }) => {
            const viewer = await watch('viewer', true);
            await shows(viewer, publisher, 'of all layers', isAll);
            const isSpatial = !scalabilityMode.startsWith('L1');
            if (isSpatial) {
                await goesDownAndUp(viewer, publisher, 'with descriptors');
            } else if (codec === 'av1') {
                await chosen(viewer, { temporalLayerId: 0 });
                await shows(viewer, publisher, 'of the lowest rate', isAll);
                const [status, text] = await viewer.evaluate(choose, { spatialLayerId: 0 });
                assert.equal(status, 409, text);
                await viewer.evaluate(choose, {});
                await shows(viewer, publisher, 'of all rates', isAll);
            }
            if (codec === 'av1' && isSpatial) {
                const plain = await watch('plain', false);
                await shows(plain, publisher, 'of all layers without descriptors', isAll);
                await goesDownAndUp(plain, publisher, 'without descriptors');
                const member = await joinGroup(browser, 'member');
                pages.push(member);
                await until('our own page to show all layers', async () => isAll(
                    (await inbound(member))[0]?.width,
                    ...Object.values(await publisher.evaluate(() => window.outgoing())),
                ));
            }
        });
    }
});
