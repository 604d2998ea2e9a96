/** A host of its own: a network namespace that a sleeping process keeps, with no interface but lo. */

import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { FLAGS, LIMIT_MS } from './browser.js';
import { until } from './wait.js';

export class Host {
    static async make() {
        const host = new Host();
        host.holder = spawn('unshare', ['--net', 'sleep', 'infinity'], { stdio: 'ignore' });
        const inode = (pid) => {
            try {
                return execFileSync('readlink', [`/proc/${pid}/ns/net`]).toString();
            } catch {
                return undefined;
            }
        };
        try {
            await until('the namespace', () => {
                const found = inode(host.pid);
                return found !== undefined && found !== inode('self');
            });
        } catch (error) {
            // Its process would keep this one alive.
            host.end();
            throw error;
        }
        return host;
    }

    /** A process of this host's. */
    get pid() {
        return this.holder.pid;
    }

    /** Runs a line of the shell there. */
    inside(line) {
        return execFileSync('nsenter', ['--net', '-t', String(this.pid), 'sh', '-c', line]);
    }

    /** Chromium there, with more flags than usual. */
    async launch(more = []) {
        this.directory ??= mkdtempSync(join(tmpdir(), 'aula-host-'));
        const script = join(this.directory, 'chromium');
        const browser = process.env.AULA_E2E_CHROMIUM ?? process.env.CHROMIUM;
        writeFileSync(script, `#!/bin/sh\nexec nsenter --net -t ${this.pid} ${browser} "$@"\n`);
        chmodSync(script, 0o755);
        return chromium.launch({ executablePath: script, args: [...FLAGS, ...more], timeout: LIMIT_MS });
    }

    end() {
        this.holder.kill('SIGKILL');
        if (this.directory)
            rmSync(this.directory, { recursive: true, force: true });
    }
}
