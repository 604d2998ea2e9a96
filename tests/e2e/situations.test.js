/** Networks between people and the server: sound and pictures come, over whatever way is left. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { afterEach, describe, test } from 'node:test';
import { joinGroup, launch, seesAndHears } from './peer/browser.js';
import { canMakeLinks, Link, OURS_V6 } from './peer/link.js';
import { ADDRESS, PORT, Server } from './peer/server.js';
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

const wayOf = (page) => until('its transports to have sent', async () => {
    const found = await page.evaluate(used);
    return found.length > 0 && [...new Set(found)].join();
});

const iptables = (line) => execFileSync('sh', ['-c', `iptables ${line}`]);

describe('network situations', { concurrency: 1, skip: canMakeLinks() ? false : 'needs namespaces' }, () => {
    let server, link, browsers;

    /** Over a way like `wanted`, whatever else has been tried. */
    async function meet(wanted, options = {}) {
        try {
            const ann = await joinGroup(browsers[0], 'ann', { start: 'both' });
            const bob = await joinGroup(browsers.at(-1), 'bob', { start: 'both', ...options });
            await seesAndHears(bob, 'ann');
            await seesAndHears(ann, 'bob');
            for (const page of [ann, bob])
                assert.match(await wayOf(page), wanted);
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
        await meet(/^relay (tls|tcp)(,relay (tls|tcp))?$/);
    });

    /** Bob is behind the link, ann is not. */
    async function farAway(options) {
        server = await Server.start(options);
        link = await Link.make();
        browsers = [await launch(), await link.launch()];
    }

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

    test('symmetric NAT', async () => {
        await farAway();
        for (const protocol of ['tcp', 'udp']) {
            iptables(`-t nat -A INPUT -p ${protocol} -s ${link.address} `
                + '-j SNAT --to-source 10.77.0.2:40000-50000 --random-fully');
        }
        await meet(/udp/);
    });
});
