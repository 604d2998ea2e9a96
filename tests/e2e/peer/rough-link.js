/** A host behind a link that is long, uneven and loses packets in bursts, which the kernel's own cannot be. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Host } from './host.js';
import { canMakeLinks } from './link.js';

const OURS = '10.79.0.1';
const THEIRS = '10.79.0.2';
const CARRIER = join(dirname(fileURLToPath(import.meta.url)), 'rough_link.py');

/** Whether this process may make one. */
export function canMakeRoughLinks() {
    return canMakeLinks() && existsSync('/dev/net/tun');
}

export class RoughLink {
    static async make() {
        const link = new RoughLink();
        link.host = await Host.make();
        const { pid } = link.host;
        link.carrier = spawn('python3', [CARRIER, 'aula-r0', OURS, String(pid), 'aula-r1', THEIRS],
            { stdio: ['pipe', 'pipe', 'inherit'] });
        try {
            await Promise.race([
                once(link.carrier.stdout, 'data'),
                once(link.carrier, 'exit').then(() => { throw new Error('no TUN device'); }),
            ]);
            link.host.inside(`ip link set lo up && ip route add default via ${OURS}`);
        } catch (error) {
            link.end();
            throw error;
        }
        return link;
    }

    /** Chromium on the far end. */
    launch(more) {
        return this.host.launch(more);
    }

    /** What the link does in either direction, as `rough_link.py` says; nothing: all passes at once. */
    be(spec) {
        this.carrier.stdin.write(`down ${spec}\nup ${spec}\n`);
    }

    end() {
        this.carrier.kill('SIGKILL');
        this.host.end();
    }
}
