/** UDP is blocked, as on many a campus: media goes over TCP, on the port of the page. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import net from 'node:net';
import { after, before, describe } from 'node:test';
import { joinGroup, openPage, seesAndHears } from './peer/browser.js';
import { Firefox } from './peer/firefox.js';
import { canMakeLinks } from './peer/link.js';
import { ADDRESS, ORIGIN, PORT } from './peer/server.js';
import { lower, raise, stepsWith } from './peer/stage.js';
import { until } from './peer/wait.js';
import { helpers, play } from './peer/web-session.js';

const METRICS = '127.0.0.1:9099';
const OTHER_PORT = 8444;

/** Runs in the page: the protocols of the pairs that its transports use. */
async function protocols(pcs) {
    const found = [];
    for (const pc of pcs) {
        const stats = await pc.getStats();
        for (const report of stats.values()) {
            const isUsed = report.type === 'candidate-pair' && report.state === 'succeeded'
                && (report.nominated || report.selected) && report.bytesReceived + report.bytesSent > 5000;
            if (isUsed)
                found.push(stats.get(report.localCandidateId).protocol);
        }
    }
    return found;
}

const ofGroup = (page) => page.evaluate(`(${protocols})(
    [...window.aula.connection.up.values(), ...window.aula.connection.down.values()].map(({ pc }) => pc))`);

describe('UDP is blocked', { concurrency: 1, skip: canMakeLinks() ? false : 'needs iptables' }, () => {
    let server, browser, ann, bob;

    const blockUdp = (isBlocked) => execFileSync('iptables',
        [isBlocked ? '-A' : '-D', 'INPUT', '-p', 'udp', '-j', 'DROP']);
    const metric = async (name) => {
        const text = await (await fetch(`http://${METRICS}/metrics`)).text();
        return Number(text.split('\n').find((line) => line.startsWith(`${name} `)).split(' ')[1]);
    };

    before(async () => {
        blockUdp(true);
        ({ server, browser } = await raise({ args: ['--metrics', METRICS, '--tcp-port', `${OTHER_PORT}`] }));
    });

    after(async () => {
        await lower({ server, browser });
        blockUdp(false);
    });

    const step = stepsWith(() => server);

    step('two browsers see and hear each other on the group page', async () => {
        ann = await joinGroup(browser, 'ann', { start: 'both' });
        bob = await joinGroup(browser, 'bob');
        await seesAndHears(bob, 'ann');
        await bob.waitForSelector('.notice:has-text("This network blocks UDP")');
        for (const page of [ann, bob]) {
            const used = await until('its transports to have sent', async () => {
                const used = await ofGroup(page);
                return used.length > 0 && used;
            });
            assert.ok(used.every((protocol) => protocol === 'tcp'), used.join());
        }
        assert.ok(await metric('aula_tcp_connections') >= 2);
        const says = (line) => line.includes('media flows') && line.includes('"over":"tcp"');
        await until('the log to say what it goes over', () => server.log.some(says));
    });

    step('Chromium plays over WHEP', async () => {
        const page = await openPage(browser, 'player');
        await page.addInitScript(helpers);
        await page.goto(`${ORIGIN}/404-not-there`).catch(() => {});
        const { status, body } = await page.evaluate(play, { url: `${ORIGIN}/group/test/.whep` });
        assert.equal(status, 201);
        for (const port of [PORT, OTHER_PORT]) {
            assert.match(body, new RegExp(
                `a=candidate:\\d+ 1 tcp \\d+ ${ADDRESS} ${port} typ host tcptype passive\r\n`));
        }
        await until('frames', async () => (await page.evaluate(() => window.incoming())).frames > 10);
        await page.close();
    });

    step('Firefox plays over WHEP', async (context) => {
        if (!Firefox.isThere)
            return context.skip('no Firefox here');
        const firefox = await Firefox.launch(`${ORIGIN}/healthz`);
        try {
            await firefox.run(helpers);
            assert.equal((await firefox.run(play, { url: `${ORIGIN}/group/test/.whep` })).status, 201);
            await until('frames in Firefox', async () =>
                (await firefox.run(() => window.incoming())).frames > 10);
        } finally {
            await firefox.close();
        }
    });

    step('connections that bring nothing of ours are closed, and media goes on', async () => {
        const refused = async () => {
            const text = await (await fetch(`http://${METRICS}/metrics`)).text();
            const lines = text.split('\n').filter((line) => line.startsWith('aula_tcp_refused_total'));
            return lines.reduce((sum, line) => sum + Number(line.split(' ')[1]), 0);
        };
        const before = await refused();
        const ends = [];
        const garbage = [
            Buffer.from([0, 0]), Buffer.from([0, 20, 255]), Buffer.alloc(600, 1), Buffer.alloc(2, 7),
            Buffer.concat([Buffer.from([0, 28, 0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42]), Buffer.alloc(20)]),
        ];
        for (let at = 0; at < 300; at++) {
            for (const port of [PORT, OTHER_PORT]) {
                const socket = net.connect(port, ADDRESS);
                socket.on('error', () => {});
                ends.push(new Promise((resolve) => socket.on('close', resolve)));
                // The first stays half open.
                socket.write(at === 0 ? Buffer.from([0]) : garbage[at % garbage.length]);
            }
        }
        await Promise.all(ends);
        assert.ok(await refused() >= before + 500, `${await refused()} refused`);
        await seesAndHears(bob, 'ann');
    });
});
