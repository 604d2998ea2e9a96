/** Networks between people and the server: sound and pictures come, over whatever way is left. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { afterEach, describe, test } from 'node:test';
import { Bridge } from './peer/bridge.js';
import { joinGroup, launch, seesAndHears } from './peer/browser.js';
import { canMakeLinks, Link, OURS_V6 } from './peer/link.js';
import { Nat } from './peer/nat.js';
import { ADDRESS, ORIGIN, PORT, Server } from './peer/server.js';
import { until } from './peer/wait.js';

/** Runs in the page: how the pairs that its transports use are reached: `udp`, `tcp`, or by a relay. */
async function used() {
    const { up, down } = window.aula.connection;
    const found = [];
    for (const { pc } of [...up.values(), ...down.values()]) {
        const stats = await pc.getStats();
        for (const report of stats.values()) {
            const isUsed = report.type === 'candidate-pair' && report.state === 'succeeded'
                && (report.nominated || report.selected) && report.bytesReceived + report.bytesSent > 5000;
            if (isUsed) {
                const local = stats.get(report.localCandidateId);
                found.push(local.relayProtocol ? `relay ${local.relayProtocol}` : local.protocol);
            }
        }
    }
    return found;
}

/** Runs in the page: what its transports have agreed on, which an ICE restart or a new transport changes. */
function agreed() {
    const { up, down } = window.aula.connection;
    return [...up.values(), ...down.values()].map(({ id, pc }) => [
        id, ...[pc.localDescription, pc.remoteDescription].map(({ sdp }) => /a=ice-ufrag:(.*)/.exec(sdp)[1]),
    ].join(' '));
}

/** Runs in the page: packets of sound that it has missed. */
async function soundLost() {
    let lost = 0;
    for (const { pc } of window.aula.connection.down.values()) {
        for (const report of (await pc.getStats()).values()) {
            if (report.type === 'inbound-rtp' && report.kind === 'audio')
                lost += report.packetsLost;
        }
    }
    return lost;
}

const wayOf = (page) => until('its transports to have sent', async () => {
    const found = await page.evaluate(used);
    return found.length > 0 && [...new Set(found)].join();
});

/** How often a NAT forgets everybody. */
const REBINDS = 5;
/** What Chromium takes for one. */
const PUBLIC = '192.0.2.1';
/** Through a TURN server of ours on the port of the page. */
const RELAY = /^relay (tls|tcp)(,relay (tls|tcp))?$/;

const iptables = (line) => execFileSync('sh', ['-c', `iptables ${line}`]);

describe('network situations', { concurrency: 1, skip: canMakeLinks() ? false : 'needs namespaces' }, () => {
    let server, link, bridge, nat, browsers;

    /**
     * Two see and hear each other, bob over a way like `wanted`, and ann too unless `annsWay` says otherwise.
     * `origin` is where bob finds the page, and `annsOrigin` where ann does.
     */
    async function meet(wanted, { annsWay = wanted, annsOrigin, ...options } = {}) {
        try {
            const ann = await joinGroup(browsers[0], 'ann', { start: 'both', origin: annsOrigin });
            const bob = await joinGroup(browsers.at(-1), 'bob', { start: 'both', ...options });
            await seesAndHears(bob, 'ann');
            await seesAndHears(ann, 'bob');
            assert.match(await wayOf(ann), annsWay);
            assert.match(await wayOf(bob), wanted);
        } catch (error) {
            server.dump();
            throw error;
        }
    }

    afterEach(async () => {
        for (const browser of browsers ?? [])
            await browser.close();
        browsers = undefined;
        const code = await server?.stop();
        server = undefined;
        link?.end();
        link = undefined;
        bridge?.end();
        bridge = undefined;
        nat?.end();
        nat = undefined;
        iptables('-F');
        iptables('-t nat -F');
        assert.equal(code, 0);
    });

    /** The server is behind the link, in a container or behind NAT: its TCP and UDP port are forwarded. */
    async function behindNat(advertise) {
        link = await Link.make();
        execFileSync('sysctl', ['-qw', 'net.ipv4.ip_forward=1']);
        for (const protocol of ['tcp', 'udp']) {
            iptables(`-t nat -A OUTPUT -p ${protocol} -d ${ADDRESS} --dport ${PORT} `
                + `-j DNAT --to-destination ${link.address}`);
        }
        // From outside nobody comes by the inner address.
        iptables(`-A OUTPUT -d ${link.address} -m conntrack ! --ctorigdst ${ADDRESS} -j DROP`);
        server = await Server.start({ inside: link.pid, advertise });
        browsers = [await launch()];
    }

    test('1:1 NAT, and the public address is named', async () => {
        await behindNat(ADDRESS);
        await meet(/udp/);
    });

    test('1:1 NAT, and it is not: TURN is left, and the log says what to do', async () => {
        await behindNat(null);
        const says = (line) => line.includes(`no public address among those that clients are told (${link.address})`)
            && line.includes('--advertise');
        await until('the log to say so', () => server.log.some(says));
        await meet(RELAY);
    });

    /** The server is in a container, of which the port alone is published. Bob comes from outside. */
    async function inContainer(advertise) {
        bridge = Bridge.make();
        const container = await bridge.add();
        bridge.publish(container, ADDRESS, PORT);
        server = await Server.start({ inside: container.pid, advertise });
        link = await Link.make();
        return container;
    }

    test('a container behind Docker\'s bridge, and the public address is named', async () => {
        await inContainer(ADDRESS);
        browsers = [await launch(), await link.launch()];
        await meet(/udp/);
    });

    test('a container, and it is not: TURN is left, and the log says what to do', async () => {
        const container = await inContainer(null);
        const says = (line) => line.includes(`no public address among those that clients are told (${container.address})`)
            && line.includes('--advertise');
        await until('the log to say so', () => server.log.some(says));
        browsers = [await launch(), await link.launch()];
        await meet(RELAY);
    });

    test('hairpin: somebody behind the server\'s own NAT comes by its public address', async () => {
        const container = await inContainer(ADDRESS);
        bridge.hairpin(container, ADDRESS, PORT);
        const neighbour = await bridge.add();
        browsers = [await launch(), await neighbour.launch()];
        await meet(/udp/);
    });

    test('hairpin, and the router cannot: the inner address shows the page, TURN carries the rest', async () => {
        const container = await inContainer(ADDRESS);
        const neighbour = await bridge.add();
        browsers = [await launch(), await neighbour.launch()];
        await meet(RELAY, { annsWay: /udp/, origin: ORIGIN.replace(ADDRESS, container.address) });
    });

    /** Bob is behind the link, ann is not. */
    async function farAway(options) {
        server = await Server.start(options);
        link = await Link.make();
        browsers = [await launch(), await link.launch()];
    }

    test('no UDP, and of TCP port 443 alone', async () => {
        // Chromium takes port 443 of public addresses only.
        execFileSync('ip', ['addr', 'replace', `${PUBLIC}/32`, 'dev', 'lo']);
        server = await Server.start({ port: 443, args: ['--tcp-port', '8444'], advertise: PUBLIC });
        link = await Link.make();
        iptables('-A INPUT -i aula-l0 -p tcp --dport 443 -j ACCEPT');
        iptables('-A INPUT -i aula-l0 -j DROP');
        browsers = [await launch(), await link.launch()];
        const origin = `https://${PUBLIC}`;
        await meet(/^tcp(,tcp)?$/, { annsWay: /udp/, annsOrigin: origin, origin });
    });

    test('port 443 of a private address alone: the log says why Chromium gets nothing', async () => {
        server = await Server.start({ port: 443 });
        const says = (line) => line.includes(`Chromium takes no media from ${ADDRESS}:443`)
            && line.includes('--udp-port');
        await until('the log to say so', () => server.log.some(says));
    });

    test('IPv6 only', async () => {
        server = await Server.start({ args: ['--advertise', OURS_V6] });
        link = await Link.make();
        link.onlyV6();
        browsers = [await launch(), await link.launch()];
        await meet(/udp/, { origin: `https://[${OURS_V6}]:${PORT}` });
    });

    test('packets of 1280 octets at most', async () => {
        await farAway();
        link.mtu(1280);
        await meet(/udp/);
    });

    test('a NAT that gives another port in mid-call: media follows, without a new connection', async (context) => {
        await farAway();
        nat = await Nat.make('aula-l0', { address: ADDRESS, port: PORT, outside: '10.77.0.2' });
        const ann = await joinGroup(browsers[0], 'ann', { start: 'both' });
        const bob = await joinGroup(browsers[1], 'bob', { start: 'both' });
        await seesAndHears(bob, 'ann');
        await seesAndHears(ann, 'bob');
        const before = await bob.evaluate(agreed);
        const losses = [];
        for (let time = 0; time < REBINDS; time++) {
            const lost = () => bob.evaluate(soundLost);
            const lostBefore = await lost();
            nat.forget();
            await until('the media to come from another port', () => nat.size >= 2);
            await seesAndHears(bob, 'ann', { more: 40 });
            await seesAndHears(ann, 'bob', { more: 40 });
            losses.push(await lost() - lostBefore);
        }
        context.diagnostic(`packets of sound lost: ${losses.join(', ')}`);
        assert.deepEqual(await bob.evaluate(agreed), before, 'no ICE restart, no new transport');
        assert.match(await wayOf(bob), /udp/);
    });

    test('symmetric NAT', async () => {
        await farAway();
        for (const protocol of ['tcp', 'udp']) {
            iptables(`-t nat -A INPUT -p ${protocol} -s ${link.address} `
                + '-j SNAT --to-source 10.77.0.2:40000-50000 --random-fully');
        }
        await meet(/udp/);
    });
});
