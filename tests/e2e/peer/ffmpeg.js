/** FFmpeg as a WHIP publisher: H.264 without B-frames, and opus. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';

export class Publisher {
    constructor(server, url, { isDtlsActive = false, groupOfPictures = 60, token, profile = 'baseline' } = {}) {
        const role = isDtlsActive ? ['-whip_flags', 'dtls_active'] : [];
        const authorization = token ? ['-authorization', token] : [];
        this.output = '';
        this.process = spawn(process.env.FFMPEG, [
            '-hide_banner', '-loglevel', 'warning', '-nostdin',
            '-re', '-f', 'lavfi', '-i', 'testsrc=size=320x240:rate=15',
            '-re', '-f', 'lavfi', '-i', 'sine=frequency=440:sample_rate=48000',
            '-c:v', 'libx264', '-profile:v', profile, '-preset', 'ultrafast',
            // Without what baseline lacks it would be called baseline.
            ...profile === 'baseline' ? [] : ['-x264-params', 'cabac=1:8x8dct=1'],
            '-tune', 'zerolatency', '-threads', '1', '-g', String(groupOfPictures), '-bf', '0',
            '-pix_fmt', 'yuv420p', '-c:a', 'libopus', '-ar', '48000', '-ac', '2', '-b:a', '64k',
            '-handshake_timeout', '60000', ...role, ...authorization, '-f', 'whip', url,
        ], {
            // FFmpeg verifies certificates: trust exactly the one of this server.
            env: { ...process.env, SSL_CERT_FILE: server.certificate },
            stdio: ['ignore', 'pipe', 'pipe'],
        });
        this.exited = once(this.process, 'exit');
        this.process.stderr.on('data', (chunk) => {
            this.output = (this.output + chunk).slice(-8_000);
        });
    }

    get isRunning() {
        return this.process.exitCode === null && this.process.signalCode === null;
    }

    /** Ends the session as a user would, with an interrupt, so that FFmpeg sends its DELETE. */
    async stop() {
        if (this.isRunning) {
            this.process.kill('SIGINT');
            await this.exited;
        }
    }
}
