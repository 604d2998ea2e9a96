/** aiortc as a WHIP publisher or a WHEP player, see aiortc_peer.py. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Hopeless, until } from './wait.js';

export class Aiortc {
    constructor(server, what, url, credentials = []) {
        const script = fileURLToPath(new URL('aiortc_peer.py', import.meta.url));
        this.output = '';
        this.said = [];
        this.process = spawn('python3',
            [script, what, url, '--certificate', server.certificate, ...credentials]);
        this.exited = once(this.process, 'exit');
        this.process.stderr.on('data', (chunk) => this.#keep(chunk));
        createInterface({ input: this.process.stdout }).on('line', (line) => {
            this.#keep(`${line}\n`);
            this.said.push(JSON.parse(line));
        });
    }

    /** Waits until it has said something of the kind, and gives that. */
    hears(isMeant) {
        return until('aiortc to say so', () => {
            const found = this.said.find(isMeant);
            if (!found && this.process.exitCode !== null)
                throw new Hopeless(`aiortc has ended: ${this.output}`);
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
