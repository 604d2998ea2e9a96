/** TURN that ends here: networks that let TLS through and nothing else, and clients that are told to use relays. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe } from 'node:test';
import { joinGroup, openPage, seesAndHears } from './peer/browser.js';
import { Firefox } from './peer/firefox.js';
import { canMakeLinks } from './peer/link.js';
import { ORIGIN, PORT } from './peer/server.js';
import { lower, raise, stepsWith } from './peer/stage.js';
import { until } from './peer/wait.js';
import { helpers, play } from './peer/web-session.js';

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
        await ann.close();
        await until('the allocations to go', async () => await metric('aula_turn_allocations') === 0);
    });
});
