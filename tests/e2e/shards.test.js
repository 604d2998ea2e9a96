/** Two shards: everything that holds on one holds here, and packets do cross between them. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { joinGroup, launch, seesAndHears } from './peer/browser.js';
import { aClass } from './peer/class.js';
import { Server } from './peer/server.js';

test('a small class stays on one shard', async () => {
    const server = await Server.start({ args: ['--shards', '2'] });
    const browser = await launch();
    try {
        const ann = await joinGroup(browser, 'ann', { start: 'both' });
        const bob = await joinGroup(browser, 'bob', { start: 'both' });
        await seesAndHears(bob, 'ann');
        await seesAndHears(ann, 'bob');
        const placements = server.placements();
        assert.equal(placements.length, 4, JSON.stringify(placements));
        assert.ok(placements.every(({ shard }) => shard === 0), JSON.stringify(placements));
        await ann.close();
        await bob.close();
    } finally {
        await browser.close();
        assert.equal(await server.stop(), 0);
    }
});

describe('a publisher on one shard and a viewer on the other', { concurrency: 1 }, () => {
    for (const [title, args] of [
        ['share one UDP port', ['--fill', '1']],
        ['have a UDP port each', ['--udp-range', '8450-8451']],
    ]) {
        test(title, async (context) => {
            const server = await Server.start({ args: ['--shards', '2', ...args] });
            const browser = await launch();
            try {
                const ann = await joinGroup(browser, 'ann', { start: 'both' });
                const bob = await joinGroup(browser, 'bob');
                await seesAndHears(bob, 'ann');
                // Nobody else was there, so these two transports carried what was seen.
                const placements = server.placements();
                assert.deepEqual(
                    placements.map(({ direction }) => direction).sort(), ['down', 'up'],
                );
                assert.notEqual(placements[0].shard, placements[1].shard);
                context.diagnostic(JSON.stringify(placements));
                await ann.close();
                await bob.close();
            } finally {
                await browser.close();
                assert.equal(await server.stop(), 0);
            }
        });
    }
});

aClass({ title: 'a class on two shards', args: ['--shards', '2', '--fill', '1'] });
