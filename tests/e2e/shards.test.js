import assert from 'node:assert/strict';
import { aClass } from './peer/class.js';

aClass({
    title: 'a class on two shards',
    args: ['--shards', '2'],
    check: (server, context) => {
        const placements = server.placements();
        const shards = (direction) => new Set(
            placements.filter((entry) => entry.direction === direction).map(({ shard }) => shard),
        );
        const [up, down] = [shards('up'), shards('down')];
        context.diagnostic(`publishers on shards ${[...up]}, viewers on shards ${[...down]}`);
        assert.ok(
            [...up].some((shard) => [...down].some((other) => other !== shard)),
            'some publisher and some viewer are on different shards',
        );
    },
});
