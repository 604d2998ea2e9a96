/** What the browser and the server know of each stream: rates, losses, layer, codec and path, on its tile. */

import { element } from './element.js';
import { need, t, tn } from './language.js';
import { notify } from './notices.js';
import './tools-style.js';

await need('tools');

const TICK_MS = 2_000;
/** The server is asked at every tick about so many tiles, about twice as many at every other. */
const TILES_PER_TICK = 25;
/** Older numbers of the server are none. */
const FRESH_MS = 20_000;

export class Facts {
    constructor(stage) {
        this.stage = stage;
        this.timer = 0;
        this.ticks = 0;
        this.before = new Map();
        /** By the id of a stream, what the server said of it last, and when. */
        this.told = new Map();
        this.asked = new WeakSet();
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
        for (const { stream } of this.stage.tiles.values()) {
            facts.push({
                direction: stream.direction, label: stream.label, ...await this.#of(stream), server: this.#toldOf(stream),
            });
        }
        const text = JSON.stringify({ browser: navigator.userAgent, streams: facts }, null, 1);
        try {
            await navigator.clipboard.writeText(text);
            notify(t('Copied. Paste it into your message to whoever helps you.'), 'info');
        } catch {
            byHand(text);
        }
    }

    async #show() {
        this.#ask();
        for (const tile of this.stage.tiles.values()) {
            if (tile.node.hidden)
                continue;
            const { media, ...path } = await this.#of(tile.stream);
            const told = this.#toldOf(tile.stream);
            put(tile, [
                ...media.map(({ layer, ...line }) => [...Object.values(line), layerName(layer)].filter(Boolean).join(' ')),
                Object.values(path).filter(Boolean).join(' '),
                wayOf(tile.stream, path.path),
            ], told?.map(lineOf) ?? []);
            tile.facts.hidden = this.timer === 0;
        }
    }

    /** Asks the server, of each group that we are in, for the next time. */
    #ask() {
        const { tiles } = this.stage;
        this.ticks += 1;
        if (this.ticks % Math.max(1, Math.ceil(tiles.size / TILES_PER_TICK)) !== 0)
            return;
        for (const connection of new Set([...tiles.values()].map(({ stream }) => stream.connection))) {
            if (!this.asked.has(connection)) {
                this.asked.add(connection);
                connection.addEventListener('numbers', ({ detail }) => this.#take(detail));
            }
            connection.askNumbers();
        }
    }

    #take({ up = [], down = [] }) {
        const at = performance.now();
        for (const { id, tracks } of [...up, ...down])
            this.told.set(id, { tracks, at });
        for (const [id, known] of this.told) {
            if (known.at < at - FRESH_MS)
                this.told.delete(id);
        }
    }

    #toldOf({ id }) {
        const { tracks, at } = this.told.get(id) ?? {};
        return at > performance.now() - FRESH_MS ? tracks ?? [] : null;
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
                // Of a relay: what leads to it.
                const over = local?.relayProtocol ?? local?.protocol;
                path = `${local?.candidateType ?? '?'}/${over ?? '?'}`;
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

/** Shows both on a tile; what does not fit can be scrolled, by keys as well. */
function put({ facts, title }, ours, servers) {
    const lines = (list) => list.filter(Boolean).join('\n');
    const parts = [lines(ours)];
    if (servers.length > 0)
        parts.push(element('b', {}, t('The server says:')), lines(servers));
    const { scrollTop } = facts;
    facts.replaceChildren(...parts);
    facts.scrollTop = scrollTop;
    const isCut = facts.scrollHeight > facts.clientHeight + 1;
    if (isCut === facts.hasAttribute('tabindex'))
        return;
    facts.toggleAttribute('tabindex', isCut);
    if (isCut) {
        facts.tabIndex = 0;
        facts.setAttribute('role', 'group');
        facts.setAttribute('aria-label', t('Statistics of {name}', { name: title }));
    }
}

/** What the server says of one sound or picture, or of one size of it. */
function lineOf(track) {
    const rate = (bits) => `${Math.round(bits / 1000)} kbit/s`;
    const { rid = '', target } = track;
    const isLate = target && (target.rid ?? '') !== rid;
    return [
        track.kind, track.kind === 'video' ? track.codec?.toUpperCase() : track.codec, rate(track.bitrate),
        rid ? layerName(rid) : layersOf(track), isLate && `→ ${layerName(target.rid)}`,
        t('loss {percent} %', { percent: (100 * track.loss).toFixed(1) }),
        track.jitter && t('jitter {ms} ms', { ms: Math.round(track.jitter) }),
        track.rtt && t('round trip {ms} ms', { ms: Math.round(track.rtt) }),
        track.maxBitrate && t('room for {rate}', { rate: rate(track.maxBitrate) }),
        track.held && whyHeld(track.held), track.wanted === false && t('nobody shows it'),
        track.freezes > 0 && tn(track.freezes, 'stood still {count} time, {seconds} s', 'stood still {count} times, {seconds} s',
            { seconds: Math.round(track.frozen) }),
    ].filter(Boolean).join(' ');
}

/** Layers inside one stream, if there are any: which of how many. */
function layersOf({ sid, maxSid, tid, maxTid }) {
    return maxSid > 0 || maxTid > 0 ? `S${sid + 1}/${maxSid + 1} T${tid + 1}/${maxTid + 1}` : '';
}

function whyHeld(held) {
    switch (held) {
    case 'path': return t('paused: this connection has no room');
    case 'publisher': return t('nothing comes from the sender');
    default: return t('waiting for a whole picture');
    }
}

/** What the letters of our encodings stand for. */
function layerName(layer) {
    return { h: t('the large picture'), l: t('the small picture') }[layer] ?? layer;
}

/** The way that media takes, in a sentence; `path` is what this end knows, the server may know more. */
function wayOf({ path: told }, path) {
    const over = told?.over ?? '';
    if (/^relay/.test(path) || /^turn/.test(over)) {
        return /(tcp|tls)$/.test(over || path)
            ? t('Over the relay of the server, by TCP: UDP is blocked here, so pictures may lag.')
            : t('Over the relay of the server: the direct way is blocked here.');
    }
    return /tcp$/.test(over || path) ? t('Over TCP: UDP is blocked here, so pictures may lag.')
        : /udp$/.test(path) ? t('Over UDP, the direct way.') : '';
}

/** For browsers that do not let pages copy: a text to take by hand. */
function byHand(text) {
    const area = element('textarea', { readOnly: true, rows: 8, value: text, 'aria-labelledby': 'facts-title' });
    const dialog = element('dialog', { 'aria-labelledby': 'facts-title', onclose: () => dialog.remove() },
        element('form', { method: 'dialog' },
            element('h2', { id: 'facts-title' }, t('The browser does not let this page copy. Copy it from here:')),
            area,
            element('button', { className: 'primary' }, t('Done'))));
    document.body.append(dialog);
    dialog.showModal();
    area.select();
}
