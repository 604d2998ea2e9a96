/** What the browser knows of each stream: rates, losses, layer, codec and path, on its tile. */

import { t } from './language.js';
import { notify } from './notices.js';

const TICK_MS = 2_000;

export class Facts {
    constructor(stage) {
        this.stage = stage;
        this.timer = 0;
        this.before = new Map();
    }

    toggle() {
        const isOn = this.timer === 0;
        clearInterval(this.timer);
        this.timer = isOn ? setInterval(() => this.#show(), TICK_MS) : 0;
        for (const tile of this.stage.tiles.values())
            tile.facts.hidden = true;
        if (isOn)
            this.#show();
    }

    /** Puts everything on the clipboard, without addresses and names. */
    async copy() {
        const facts = [];
        for (const { stream } of this.stage.tiles.values())
            facts.push({ direction: stream.direction, label: stream.label, ...await this.#of(stream) });
        const text = JSON.stringify({ browser: navigator.userAgent, streams: facts }, null, 1);
        try {
            await navigator.clipboard.writeText(text);
            notify(t('Copied. Paste it into your message to whoever helps you.'), 'info');
        } catch {
            notify(t('The browser does not allow copying here.'));
        }
    }

    async #show() {
        for (const tile of this.stage.tiles.values()) {
            if (tile.node.hidden)
                continue;
            const { media, ...path } = await this.#of(tile.stream);
            tile.facts.textContent = [
                ...media.map((line) => Object.values(line).join(' ')),
                Object.values(path).filter(Boolean).join(' '),
            ].join('\n');
            tile.facts.hidden = this.timer === 0;
        }
    }

    async #of(stream) {
        const stats = await stream.pc.getStats();
        const isUp = stream.direction === 'up';
        const media = [];
        let path = '';
        let rtt = '';
        for (const report of stats.values()) {
            if (report.type === (isUp ? 'outbound-rtp' : 'inbound-rtp'))
                media.push(this.#line(stats, report, isUp));
            if (report.type === 'candidate-pair' && report.nominated) {
                const local = stats.get(report.localCandidateId);
                path = `${local?.candidateType ?? '?'}/${local?.protocol ?? '?'}`;
                rtt = t('round trip {ms} ms', { ms: Math.round(1000 * (report.currentRoundTripTime ?? 0)) });
            }
        }
        return { media, path, rtt, state: stream.pc.connectionState };
    }

    #line(stats, report, isUp) {
        const bytes = isUp ? report.bytesSent : report.bytesReceived;
        const before = this.before.get(report.id) ?? { bytes, at: report.timestamp };
        this.before.set(report.id, { bytes, at: report.timestamp });
        const seconds = (report.timestamp - before.at) / 1000;
        const kbits = seconds > 0 ? Math.round((bytes - before.bytes) * 8 / 1000 / seconds) : 0;
        const codec = stats.get(report.codecId)?.mimeType?.split('/')[1] ?? '';
        const line = { kind: report.kind, codec, rate: `${kbits} kbit/s` };
        if (report.rid)
            line.layer = report.rid;
        if (report.frameWidth)
            line.size = `${report.frameWidth}×${report.frameHeight}@${report.framesPerSecond ?? 0}`;
        if (!isUp) {
            const lost = Math.max(0, report.packetsLost ?? 0);
            const all = lost + (report.packetsReceived ?? 0);
            line.loss = t('loss {percent} %', { percent: all > 0 ? (100 * lost / all).toFixed(1) : 0 });
        }
        return line;
    }
}
