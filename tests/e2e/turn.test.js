/** TURN that ends here: networks that let TLS through and nothing else, and clients that are told to use relays. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe } from 'node:test';
import { inbound, joinGroup, openPage, seesAndHears } from './peer/browser.js';
import { Firefox } from './peer/firefox.js';
import { canMakeLinks } from './peer/link.js';
import { Aiortc } from './peer/python-peer.js';
import { ADDRESS, ORIGIN, PORT } from './peer/server.js';
import { lower, raise, stepsWith } from './peer/stage.js';
import { until } from './peer/wait.js';
import { helpers, play, serversOf } from './peer/web-session.js';

const METRICS = '127.0.0.1:9099';

/** Runs in the page: the local candidates of the pairs that its transports use. */
async function used(pcs) {
    const found = [];
    for (const pc of pcs) {
        const stats = await pc.getStats();
        for (const report of stats.values()) {
            const isUsed = report.type === 'candidate-pair' && report.state === 'succeeded'
                && (report.nominated || report.selected) && report.bytesReceived + report.bytesSent > 5000;
            if (!isUsed)
                continue;
            const { candidateType, relayProtocol } = stats.get(report.localCandidateId);
            found.push(`${candidateType} ${relayProtocol ?? ''}`.trim());
        }
    }
    return found;
}

const ofGroup = (page) => page.evaluate(`(${used})(
    [...window.aula.connection.up.values(), ...window.aula.connection.down.values()].map(({ pc }) => pc))`);

const metric = async (name) => {
    const text = await (await fetch(`http://${METRICS}/metrics`)).text();
    return Number(text.split('\n').find((line) => line.startsWith(`${name} `)).split(' ')[1]);
};

const allUse = (page, wanted) => until('its transports to have sent', async () => {
    const found = await ofGroup(page);
    if (found.length > 0)
        assert.ok(found.every((candidate) => wanted.test(candidate)), found.join());
    return found.length > 0;
});

/** For Firefox, which does not connect to a TURN server over TLS that has no name. */
const NAME = 'aula.test';
const NAMED = { 'network.dns.forceResolve': ADDRESS };

/** Firefox plays over WHEP, with the servers of the Link header and no other way. */
async function playOverRelay(firefox) {
    await firefox.run(helpers);
    const { status, link } = await firefox.run(play, { url: `${ORIGIN}/group/test/.whep` });
    assert.equal(status, 201);
    const iceServers = serversOf(link).map((server) =>
        ({ ...server, urls: server.urls.replace(ADDRESS, NAME) }));
    await firefox.run((iceServers) => {
        window.pc.setConfiguration({ iceServers, iceTransportPolicy: 'relay' });
        return window.restart();
    }, iceServers);
    await until('frames in Firefox', async () => (await firefox.run(() => window.incoming())).frames > 10);
}

describe('relays only', { concurrency: 1 }, () => {
    let server, browser;

    before(async () => {
        ({ server, browser } = await raise({ args: ['-relay-only', '--metrics', METRICS] }));
    });

    after(async () => lower({ server, browser }));

    const step = stepsWith(() => server);

    step('two Chromium see and hear each other through our own', async () => {
        const ann = await joinGroup(browser, 'ann', { start: 'both' });
        const bob = await joinGroup(browser, 'bob');
        await seesAndHears(bob, 'ann');
        await allUse(ann, /^relay (tls|tcp)$/);
        await allUse(bob, /^relay (tls|tcp)$/);
        assert.ok(await metric('aula_turn_allocations') >= 2);
        await bob.close();
        const page = await openPage(browser, 'player');
        await page.addInitScript(helpers);
        await page.goto(`${ORIGIN}/404-not-there`).catch(() => {});
        const response = await page.evaluate(play, { url: `${ORIGIN}/group/test/.whep` });
        assert.equal(response.status, 201);
        await page.close();
        if (Firefox.isThere) {
            const firefox = await Firefox.launch(`${ORIGIN}/healthz`, NAMED);
            await playOverRelay(firefox).finally(() => firefox.close());
        }
        await ann.close();
        await until('the allocations to go', async () => await metric('aula_turn_allocations') === 0);
    });
});

/**
 * Lets TLS through and nothing else, as a proxy does that looks into connections: UDP is dropped, and a
 * TCP connection is cut whose first octets do not begin TLS.
 */
function onlyTls(isOn) {
    const rule = (line) => execFileSync('sh', ['-c', `iptables ${isOn ? '-A' : '-D'} INPUT ${line}`]);
    rule('-p udp -j DROP');
    const first = '--connbytes 0:3 --connbytes-dir original --connbytes-mode packets';
    const foreign = '"0>>22&0x3C@12>>26&0x3C@0>>24=0:0x13"';
    rule(`-p tcp --dport ${PORT} -m connbytes ${first} -m u32 --u32 ${foreign} `
        + '-j REJECT --reject-with tcp-reset');
}

describe('TLS only', { concurrency: 1, skip: canMakeLinks() ? false : 'needs iptables' }, () => {
    let server, browser, ann, bob;

    before(async () => {
        onlyTls(true);
        ({ server, browser } = await raise({ args: ['--metrics', METRICS] }));
    });

    after(async () => {
        await lower({ server, browser });
        onlyTls(false);
    });

    const step = stepsWith(() => server);

    step('two browsers see and hear each other on the group page', async () => {
        ann = await joinGroup(browser, 'ann', { start: 'both' });
        bob = await joinGroup(browser, 'bob');
        await seesAndHears(bob, 'ann');
        await allUse(ann, /^relay tls$/);
        await allUse(bob, /^relay tls$/);
        await bob.waitForSelector('.notice:has-text("This network blocks UDP")');
        const says = (line) => line.includes('media flows') && line.includes('"over":"turn/tls"');
        await until('the log to say what it goes over', () => server.log.some(says));
    });

    step('the page for publishers', async () => {
        const publisher = await openPage(browser, 'publisher');
        await publisher.goto(`${ORIGIN}/group/test/publish`);
        await publisher.fill('#username', 'pub');
        await publisher.click('#button');
        await until('it to be live', async () =>
            (await publisher.getAttribute('#state', 'data-state')) === 'connected');
        await seesAndHears(bob, 'pub');
        await publisher.close();
    });

    step('Firefox plays over WHEP', async (context) => {
        if (!Firefox.isThere)
            return context.skip('no Firefox here');
        const firefox = await Firefox.launch(`${ORIGIN}/healthz`, NAMED);
        try {
            await firefox.run(helpers);
            await playOverRelay(firefox);
        } finally {
            await firefox.close();
        }
    });
});

const OWN_PORT = 3478;

describe('a port for TURN alone', { concurrency: 1, skip: canMakeLinks() ? false : 'needs iptables' }, () => {
    let server, browser;

    const blockMedia = (isBlocked) => execFileSync('iptables',
        [isBlocked ? '-A' : '-D', 'INPUT', '-p', 'udp', '--dport', `${PORT}`, '-j', 'DROP']);

    before(async () => {
        blockMedia(true);
        ({ server, browser } = await raise({ args: ['-turn', `:${OWN_PORT}`, '--metrics', METRICS] }));
    });

    after(async () => {
        await lower({ server, browser });
        blockMedia(false);
    });

    const step = stepsWith(() => server);

    step('aiortc, which has no ICE-TCP, publishes over UDP and over TCP', async () => {
        const ann = await joinGroup(browser, 'ann');
        const page = await openPage(browser, 'player');
        await page.addInitScript(helpers);
        await page.goto(`${ORIGIN}/404-not-there`).catch(() => {});
        const { link } = await page.evaluate(play, { url: `${ORIGIN}/group/test/.whep` });
        for (const transport of ['udp', 'tcp']) {
            const { urls, username, credential } = serversOf(link)
                .find(({ urls }) => urls === `turn:${ADDRESS}:${OWN_PORT}?transport=${transport}`);
            const publisher = new Aiortc(server, 'publish', `${ORIGIN}/group/test/.whip`,
                ['--turn', urls, username, credential]);
            try {
                await publisher.hears((said) => said.status === 201);
                await publisher.hears((said) => said.state === 'connected');
                assert.ok(await metric('aula_turn_allocations') > 0);
                await until('frames', async () =>
                    (await inbound(ann)).some(({ framesDecoded }) => framesDecoded > 10));
            } finally {
                await publisher.end();
            }
            await until('the allocations to go', async () => await metric('aula_turn_allocations') === 0);
        }
        await page.close();
        await ann.close();
    });
});
