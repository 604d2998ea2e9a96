/** What most files of tests begin and end with: a server and a browser. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { launch } from './browser.js';
import { Server } from './server.js';

/** Starts both; `options` are the server's. */
export async function raise(options) {
    const server = await Server.start(options);
    try {
        return { server, browser: await launch() };
    } catch (error) {
        await server.stop();
        throw error;
    }
}

/** Ends both, as far as they were started. The server must end in order. */
export async function lower({ server, browser }) {
    await browser?.close();
    if (server)
        assert.equal(await server.stop(), 0);
}

/** A `test` that shows the server's log if it fails; `serverOf()` gives the server. */
export function stepsWith(serverOf) {
    return (name, ...rest) => test(name, ...rest.slice(0, -1), async (context) => {
        try {
            await rest.at(-1)(context);
        } catch (error) {
            serverOf().dump();
            throw error;
        }
    });
}
