/** Peers that are programs of their own, apart from FFmpeg. */

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Hopeless, until } from './wait.js';

class Program {
    constructor(command, args, options = {}) {
        this.output = '';
        this.process = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], ...options });
        this.exited = once(this.process, 'exit');
        this.process.stderr.on('data', (chunk) => this.keep(chunk));
    }

    keep(chunk) {
        this.output = (this.output + chunk).slice(-8_000);
    }

    get isRunning() {
        return this.process.exitCode === null && this.process.signalCode === null;
    }

    /** Ends it with an interrupt, as a user would. */
    async stop() {
        if (this.isRunning) {
            this.process.kill('SIGINT');
            await this.exited;
        }
    }
}

/** aiortc, see aiortc_peer.py. */
export class Aiortc extends Program {
    constructor(server, what, url, credentials = []) {
        const script = fileURLToPath(new URL('aiortc_peer.py', import.meta.url));
        super(process.env.AULA_E2E_PYTHON ?? 'python3',
            [script, what, url, '--certificate', server.certificate, ...credentials]);
        this.said = [];
        createInterface({ input: this.process.stdout }).on('line', (line) => {
            this.keep(`${line}\n`);
            this.said.push(JSON.parse(line));
        });
    }

    /** Waits until it has said something of the kind, and gives that. */
    hears(isMeant) {
        return until('aiortc to say so', () => {
            const found = this.said.find(isMeant);
            if (!found && !this.isRunning)
                throw new Hopeless(`aiortc has ended: ${this.output}`);
            return found;
        });
    }

    /** Closes its standard input: it ends its session and then itself. */
    async end() {
        this.process.stdin.end();
        if (this.isRunning)
            await this.exited;
    }
}

/** Meetecho's client over GStreamer, a Debian package. */
export class SimpleWhipClient extends Program {
    static get isThere() {
        return spawnSync('whip-client', ['-h']).error === undefined;
    }

    constructor(server, url, token) {
        super('whip-client', [
            '-u', url, '-t', token, '-l', '7',
            '-A', 'audiotestsrc is-live=true wave=sine ! audioconvert ! audioresample ! queue ! '
                + 'opusenc ! rtpopuspay pt=100 ssrc=1 ! queue ! '
                + 'application/x-rtp,media=audio,encoding-name=OPUS,payload=100',
            '-V', 'videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,'
                + 'framerate=15/1 ! videoconvert ! queue ! vp8enc deadline=1 keyframe-max-dist=30 ! '
                + 'rtpvp8pay pt=96 ssrc=2 ! queue ! '
                + 'application/x-rtp,media=video,encoding-name=VP8,payload=96',
        ], { env: { ...process.env, SSL_CERT_FILE: server.certificate } });
        this.process.stdout.on('data', (chunk) => this.keep(chunk));
    }
}
