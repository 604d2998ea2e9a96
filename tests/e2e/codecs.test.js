/** Every codec a group can name goes from Chromium to Chromium. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { inbound, joinGroup, seesAndHears } from './peer/browser.js';
import { lower, raise } from './peer/stage.js';

const PAIRS = [['vp8', 'pcma'], ['vp9', 'opus'], ['h264', 'pcmu'], ['av1', 'g722']];

describe('codecs', { concurrency: 1 }, () => {
    let server;
    let browser;

    before(async () => {
        ({ server, browser } = await raise({
            groups: Object.fromEntries(PAIRS.map(([video, audio]) => [video, {
                codecs: [video, audio],
                'wildcard-user': { password: { type: 'wildcard' }, permissions: 'present' },
            }])),
        }));
    });

    after(async () => {
        await lower({ server, browser });
    });

    for (const [video, audio] of PAIRS) {
        test(`${video} and ${audio}`, async () => {
            const ann = await joinGroup(browser, 'ann', { group: video, start: 'both' });
            const bob = await joinGroup(browser, 'bob', { group: video });
            try {
                await seesAndHears(bob, 'ann');
                const [{ codecs }] = await inbound(bob);
                assert.deepEqual(codecs.sort(), [`audio/${audio}`, `video/${video}`]);
            } catch (error) {
                server.dump();
                throw error;
            } finally {
                await ann.close();
                await bob.close();
            }
        });
    }
});
