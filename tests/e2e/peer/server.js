/** The server under test, in a directory of its own. */

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { Hopeless, until } from './wait.js';

export const ADDRESS = process.env.AULA_E2E_ADDRESS ?? '127.0.0.1';
export const PORT = 8443;
export const ORIGIN = `https://${ADDRESS}:${PORT}`;
const LOG_LINES_MAX = 20_000;

const OPEN_GROUP = {
    public: true,
    codecs: ['vp8', 'h264', 'opus'],
    'wildcard-user': { password: { type: 'wildcard' }, permissions: 'op' },
};

export class Server {
    /**
     * Starts the server; `groups` maps names to descriptions, `config` is its config.json, `files`
     * maps paths to contents. Resolves when it answers. With `isBare` it gets no flags and no files
     * but these, as on somebody's first day. `advertise` is the address that clients are told, `port`
     * that of HTTPS, and with `inside`, a process, it runs in the network namespace of that one.
     */
    static async start({
        args = [], groups = { test: OPEN_GROUP }, config, files = {}, isBare = false,
        advertise = ADDRESS, inside, port = PORT,
    } = {}) {
        const server = new Server();
        server.directory = mkdtempSync(join(tmpdir(), 'aula-e2e-'));
        server.writeGroups(groups);
        if (!isBare)
            server.#writeCertificate();
        if (config)
            writeFileSync(join(server.directory, 'data', 'config.json'), JSON.stringify(config));
        const own = isBare ? [] : ['--log', 'json'];
        if (!isBare && advertise)
            own.push('--advertise', advertise);
        if (port !== PORT)
            own.push('-http', `:${port}`);
        for (const [name, text] of Object.entries(files))
            writeFileSync(join(server.directory, name), text);
        // For work on the web client without a build.
        if (process.env.AULA_E2E_STATIC && !isBare)
            own.push('-static', process.env.AULA_E2E_STATIC);
        server.log = [];
        const command = [process.env.AULA_BIN, ...own, ...args];
        if (inside)
            command.unshift('nsenter', '--net', '-t', String(inside));
        server.process = spawn(command[0], command.slice(1), {
            cwd: server.directory, stdio: ['ignore', 'pipe', 'pipe'],
        });
        server.exited = once(server.process, 'exit');
        for (const stream of [server.process.stdout, server.process.stderr])
            createInterface({ input: stream }).on('line', (line) => server.#logged(line));
        await until('the server to answer', async () => {
            if (server.process.exitCode !== null)
                throw new Hopeless(`the server ended with code ${server.process.exitCode}`);
            return (await request('/healthz', { port })).status === 200;
        }).catch((error) => {
            server.dump();
            server.process.kill('SIGKILL');
            throw error;
        });
        return server;
    }

    writeGroups(groups) {
        mkdirSync(join(this.directory, 'groups'), { recursive: true });
        for (const [name, description] of Object.entries(groups)) {
            const text = typeof description === 'string'
                ? description : JSON.stringify(description);
            writeFileSync(join(this.directory, 'groups', `${name}.json`), text);
        }
    }

    /** The file that peers may trust: they verify like everybody else. */
    get certificate() {
        return join(this.directory, 'data', 'cert.pem');
    }

    /** Asks the server to end, and gives its exit code. */
    async stop() {
        this.process.kill('SIGTERM');
        const [code] = await this.exited;
        rmSync(this.directory, { recursive: true, force: true });
        return code;
    }

    /** Ends the server as a power cut would. */
    async crash() {
        this.process.kill('SIGKILL');
        await this.exited;
        rmSync(this.directory, { recursive: true, force: true });
    }

    /** The shards that transports have been put on, as {direction, shard}, from the JSON log. */
    placements() {
        return this.log.flatMap((line) => {
            try {
                const entry = JSON.parse(line);
                const fields = { ...entry, ...entry.fields };
                return typeof fields.shard === 'number' && fields.direction
                    ? [{ direction: fields.direction, shard: fields.shard }] : [];
            } catch {
                return [];
            }
        });
    }

    /** What a failed test leaves: the end of the log, and all files where `AULA_E2E_KEEP` says. */
    dump() {
        if (process.env.AULA_E2E_KEEP) {
            const name = join(process.env.AULA_E2E_KEEP, basename(this.directory));
            cpSync(this.directory, name, { recursive: true });
        }
        console.error(`--- server log\n${this.log.slice(-100).join('\n')}\n---`);
    }

    #logged(line) {
        if (this.log.length < LOG_LINES_MAX)
            this.log.push(line);
        if (process.env.AULA_E2E_VERBOSE)
            console.error(line);
    }

    #writeCertificate() {
        mkdirSync(join(this.directory, 'data'));
        execFileSync('openssl', [
            'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
            '-keyout', join(this.directory, 'data', 'key.pem'), '-out', this.certificate,
            '-subj', '/CN=aula', '-addext', `subjectAltName=DNS:localhost,IP:${ADDRESS}`,
        ], { stdio: 'ignore' });
    }
}

/** One HTTPS request; gives {status, headers, body}. */
export function request(path, { method = 'GET', headers = {}, body, port = PORT } = {}) {
    return new Promise((resolve, reject) => {
        const call = https.request(`https://${ADDRESS}:${port}${path}`, {
            method, headers, rejectUnauthorized: false, agent: false,
        }, (response) => {
            const chunks = [];
            response.on('data', (chunk) => chunks.push(chunk));
            response.on('end', () => resolve({
                status: response.statusCode,
                headers: response.headers,
                body: Buffer.concat(chunks).toString(),
            }));
        });
        call.on('error', reject);
        call.end(body);
    });
}
