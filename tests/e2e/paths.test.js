/** Where media goes, with real peers: to who is there, and never to who was only named. */

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Aiortc } from './peer/python-peer.js';
import { Firefox } from './peer/firefox.js';
import { ADDRESS, ORIGIN, PORT } from './peer/server.js';
import { lower, raise, stepsWith } from './peer/stage.js';
import { until } from './peer/wait.js';
import { helpers, openBlank, play, publishCanvas } from './peer/web-session.js';

const METRICS = '127.0.0.1:9099';
/** A third party: an address of this machine at which nothing takes part. */
const VICTIM = '10.77.0.3';
const hasOwnNetwork = !ADDRESS.startsWith('127.');

/** Runs in the page: frames of the picture that it plays. */
async function framesDecoded() {
    let frames = 0;
    for (const report of (await window.pc.getStats()).values()) {
        if (report.type === 'inbound-rtp' && report.kind === 'video')
            frames = report.framesDecoded ?? 0;
    }
    return frames;
}

/** Runs in the page: the user name and the password of its checks. */
function credentials() {
    const find = (description, name) => description.sdp.match(new RegExp(`a=${name}:(.*)\r\n`))[1];
    const { localDescription, remoteDescription } = window.pc;
    const username = `${find(remoteDescription, 'ice-ufrag')}:${find(localDescription, 'ice-ufrag')}`;
    return [username, find(remoteDescription, 'ice-pwd')];
}

describe('paths', { concurrency: 1, skip: !hasOwnNetwork && 'needs a network of its own' }, () => {
    const url = `${ORIGIN}/group/test/.whep`;
    let server, browser, viewer;

    const metric = async (name) => {
        const text = await (await fetch(`http://${METRICS}/metrics`)).text();
        return Number(text.split('\n').find((line) => line.startsWith(name)).split(' ')[1]);
    };
    /** Waits until the peer that runs meanwhile has answered another check of ours. */
    const answersMore = async (who, times) => {
        const before = await metric('aula_path_checks_total{result="answered"}');
        await until(`${who} to answer ${times} checks`,
            async () => await metric('aula_path_checks_total{result="answered"}') >= before + times);
    };

    before(async () => {
        execFileSync('ip', ['address', 'add', `${VICTIM}/24`, 'dev', 'aula1']);
        ({ server, browser } = await raise({ args: ['--metrics', METRICS] }));
        const publisher = await openBlank(browser, 'publisher');
        const published = await publisher.evaluate(publishCanvas, { url: `${ORIGIN}/group/test/.whip` });
        assert.equal(published.status, 201);
    });

    after(async () => {
        await lower({ server, browser });
    });

    const step = stepsWith(() => server);

    step('Chromium answers our checks', async () => {
        viewer = await openBlank(browser, 'viewer');
        await until('the viewer to be let in', async () =>
            (await viewer.evaluate(play, { url })).status === 201);
        await until('a picture', () => viewer.evaluate(framesDecoded));
        await answersMore('Chromium', 2);
    });

    step('checks in a third party\'s name bring it no media, and the viewer loses none', async () => {
        const script = fileURLToPath(new URL('peer/forge.py', import.meta.url));
        const forger = spawn('python3', [script, ADDRESS, PORT, VICTIM, '5004', '10'],
            { stdio: ['pipe', 'pipe', 'inherit'] });
        let said = '';
        forger.stdout.on('data', (chunk) => said += chunk);
        const closed = once(forger, 'close');
        forger.stdin.end(`${(await viewer.evaluate(credentials)).join('\n')}\n`);
        const frames = await viewer.evaluate(framesDecoded);
        await closed;
        const { sent, stun, media, other } = JSON.parse(said);
        assert.ok(sent > 10, said);
        assert.ok(stun.datagrams >= sent, `the forged checks are authentic: ${said}`);
        assert.ok(stun.datagrams <= 4 * sent, said);
        assert.deepEqual([media.datagrams, other.datagrams], [0, 0], said);
        const then = await viewer.evaluate(framesDecoded);
        assert.ok(then > frames + 10, `${then - frames} frames in 10 s`);
    });

    step('Firefox answers our checks', async (context) => {
        if (!Firefox.isThere)
            return context.skip('no Firefox here');
        await viewer.close();
        const firefox = await Firefox.launch(`${ORIGIN}/healthz`);
        try {
            await firefox.run(helpers);
            assert.equal((await firefox.run(play, { url })).status, 201);
            await until('a frame in Firefox', async () =>
                (await firefox.run(() => window.incoming())).frames);
            await answersMore('Firefox', 2);
        } finally {
            await firefox.close();
        }
    });

    step('aiortc answers our checks', async () => {
        const player = new Aiortc(server, 'play', url);
        try {
            await player.hears((said) => said.frames === 'video');
            await answersMore('aiortc', 2);
        } finally {
            await player.end();
        }
    });
});
