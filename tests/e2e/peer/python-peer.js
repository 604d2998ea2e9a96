/** WHIP publishers and WHEP players in Python: see aiortc_peer.py and gstreamer_peer.py. */

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Hopeless, until } from './wait.js';

class PythonPeer {
    constructor([python, script], server, what, url, credentials) {
        const path = fileURLToPath(new URL(script, import.meta.url));
        this.output = '';
        this.said = [];
        this.process = spawn(python,
            [path, what, url, '--certificate', server.certificate, ...credentials]);
        this.exited = once(this.process, 'exit');
        this.process.stderr.on('data', (chunk) => this.#keep(chunk));
        createInterface({ input: this.process.stdout }).on('line', (line) => {
            this.#keep(`${line}\n`);
            this.said.push(JSON.parse(line));
        });
    }

    /** Waits until it has said something of the kind, and gives that. */
    hears(isMeant) {
        return until('the peer to say so', () => {
            const found = this.said.find(isMeant);
            if (!found && this.process.exitCode !== null)
                throw new Hopeless(`the peer has ended: ${this.output}`);
            return found;
        });
    }

    /** Closes its standard input: it ends its session and then itself. */
    async end() {
        this.process.stdin.end();
        if (this.process.exitCode === null)
            await this.exited;
    }

    #keep(chunk) {
        this.output = (this.output + chunk).slice(-8_000);
    }
}

export class Aiortc extends PythonPeer {
    constructor(server, what, url, credentials = []) {
        super(['python3', 'aiortc_peer.py'], server, what, url, credentials);
    }
}

/** The distribution's bindings are for the distribution's Python. */
const SYSTEM_PYTHON = '/usr/bin/python3';

export class Gstreamer extends PythonPeer {
    constructor(server, what, url, credentials = []) {
        super([SYSTEM_PYTHON, 'gstreamer_peer.py'], server, what, url, credentials);
    }

    static get isThere() {
        const needed = 'import gi; gi.require_version("GstWebRTC", "1.0")';
        return spawnSync(SYSTEM_PYTHON, ['-c', needed]).status === 0;
    }
}
