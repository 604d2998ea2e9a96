/**
 * WHIP and WHEP from a browser (RFC 9725, draft-ietf-wish-whep): one RTCPeerConnection over one
 * HTTP session. Knows nothing of the page.
 */

import { withSoundRepeated } from './extensions.js';
import { callForHelp, linkedServers } from './relays.js';

/** What the server refused, in its own words. */
export class Refused extends Error {
    constructor(status, detail, retryAfter) {
        super(detail || `The server says ${status}.`);
        this.status = status;
        /** Seconds, if the server named any. */
        this.retryAfter = retryAfter;
    }

    static async of(response) {
        let detail = '';
        try {
            const problem = await response.json();
            detail = problem.detail || problem.title || '';
        } catch {
            // No problem document: the status must do.
        }
        const seconds = Number.parseInt(response.headers.get('Retry-After'), 10);
        return new Refused(response.status, detail, Number.isNaN(seconds) ? undefined : seconds);
    }
}

/** The Authorization header for a user of the group; UTF-8 as RFC 7617 has it. */
export function basic(username, password) {
    const bytes = new TextEncoder().encode(`${username}:${password}`);
    return `Basic ${btoa(String.fromCharCode(...bytes))}`;
}

export class HttpSession {
    /**
     * @param {string} endpoint the URL to POST to
     * @param {string} authorization the header's value, or nothing
     */
    constructor(endpoint, authorization = '') {
        this.endpoint = endpoint;
        this.authorization = authorization;
        this.url = '';
        this.etag = '';
        /** URLs of extensions, by the last part of their rel. */
        this.extensions = new Map();
    }

    /** Negotiates `pc`, whose transceivers are there already. Throws; then nothing is left. */
    async open(pc) {
        this.pc = pc;
        try {
            await this.#negotiate(pc);
        } catch (error) {
            await this.close();
            throw error;
        }
    }

    async #negotiate(pc) {
        // The server learns addresses from checks: there is no need to wait for candidates.
        await pc.setLocalDescription(withSoundRepeated(await pc.createOffer()));
        const response = await this.#fetch(this.endpoint, 'POST', 'application/sdp',
            pc.localDescription.sdp);
        if (response.status !== 201)
            throw await Refused.of(response);
        this.url = new URL(response.headers.get('Location'), this.endpoint).href;
        this.etag = response.headers.get('ETag') ?? '';
        const links = response.headers.get('Link') ?? '';
        this.#readLinks(links);
        const iceServers = linkedServers(links);
        if (iceServers.length > 0) {
            callForHelp(pc, () => {
                pc.setConfiguration({ ...pc.getConfiguration(), iceServers });
                // If it fails the session is made anew.
                this.restart().catch(() => {});
            });
        }
        await pc.setRemoteDescription({ type: 'answer', sdp: await response.text() });
    }

    /** Restarts ICE; media goes on over the old path until the new one works. Throws Refused. */
    async restart() {
        const { pc } = this;
        const offer = withSoundRepeated(await pc.createOffer({ iceRestart: true }));
        await pc.setLocalDescription(offer);
        const lines = offer.sdp.split('\r\n');
        const line = (prefix) => lines.find((text) => text.startsWith(prefix));
        const fragment = [
            line('a=ice-ufrag:'), line('a=ice-pwd:'), line('m='), line('a=mid:'), '',
        ].join('\r\n');
        const response = await this.#fetch(this.url, 'PATCH',
            'application/trickle-ice-sdpfrag', fragment, { 'If-Match': '*' });
        if (response.status !== 200) {
            await pc.setLocalDescription({ type: 'rollback' });
            throw await Refused.of(response);
        }
        this.etag = response.headers.get('ETag') ?? this.etag;
        const sdp = withCredentials(pc.remoteDescription.sdp, await response.text());
        await pc.setRemoteDescription({ type: 'answer', sdp });
    }

    /** Ends the session. Never throws: there is nothing left to do about it. */
    async close() {
        this.pc?.close();
        if (this.url === '')
            return;
        const { url } = this;
        this.url = '';
        try {
            await this.#fetch(url, 'DELETE', undefined, undefined, {}, true);
        } catch {
            // The server will notice that nobody is there.
        }
    }

    /**
     * Listens to server-sent events and calls `handler(name, data)`, until the stream ends.
     * EventSource cannot send an Authorization header.
     */
    async listen(names, handler) {
        const url = this.extensions.get('server-sent-events');
        if (!url)
            return;
        const made = await this.#fetch(url, 'POST', 'application/json', JSON.stringify(names));
        if (made.status !== 201)
            return;
        const stream = await this.#fetch(new URL(made.headers.get('Location'), url).href, 'GET');
        let text = '';
        for await (const chunk of readText(stream.body)) {
            text += chunk;
            const events = text.split('\n\n');
            text = events.pop();
            for (const event of events) {
                const name = /^event: (.*)$/m.exec(event)?.[1];
                const data = /^data: (.*)$/m.exec(event)?.[1];
                if (name && data)
                    handler(name, JSON.parse(data));
            }
        }
    }

    #fetch(url, method, contentType, body, headers = {}, keepalive = false) {
        const all = { ...headers };
        if (contentType)
            all['Content-Type'] = contentType;
        if (this.authorization)
            all.Authorization = this.authorization;
        return fetch(url, { method, headers: all, body, keepalive });
    }

    #readLinks(header) {
        for (const [, url, rel] of header.matchAll(/<([^>]*)>[^,<]*?rel="([^"]*)"/g)) {
            if (rel.startsWith('urn:ietf:params:whep:ext:'))
                this.extensions.set(rel.split(':').pop(), new URL(url, this.endpoint).href);
        }
    }
}

/** A response's body as pieces of text. Not every browser iterates over streams by itself. */
async function* readText(body) {
    const reader = body.getReader();
    const decoder = new TextDecoder();
    for (;;) {
        const { done, value } = await reader.read();
        if (done)
            return;
        yield decoder.decode(value, { stream: true });
    }
}

/** The remote description after a restart: credentials and candidates of the fragment. */
function withCredentials(sdp, fragment) {
    const fresh = fragment.split('\r\n');
    const find = (prefix) => fresh.find((line) => line.startsWith(prefix));
    const isCandidate = (line) => /^a=(candidate:|end-of-candidates)/.test(line);
    return sdp.split('\r\n')
        .filter((line) => !isCandidate(line))
        .map((line) => {
            if (line.startsWith('a=ice-ufrag:'))
                return find('a=ice-ufrag:') ?? line;
            if (line.startsWith('a=ice-pwd:'))
                return [find('a=ice-pwd:') ?? line, ...fresh.filter(isCandidate)].join('\r\n');
            return line;
        })
        .join('\r\n');
}

/**
 * Keeps a session up: `open()` makes one and resolves to it; when it fails it is restarted, and
 * when that fails made anew, ever more slowly. `tell(state, error)` hears of `connecting`,
 * `connected`, `waiting` and `refused`. Returns a function that ends it.
 */
export function keepUp(open, tell) {
    let isOver = false;
    let session;
    let delay = 1;
    let timer;
    const later = (seconds, what) => {
        clearTimeout(timer);
        if (!isOver)
            timer = setTimeout(what, seconds * 1000);
    };
    const again = (error) => {
        session?.close();
        session = undefined;
        // What the user must change is not worth trying again by itself.
        if (error instanceof Refused && [401, 403, 404, 422].includes(error.status))
            return tell('refused', error);
        tell('waiting', error);
        later(error?.retryAfter ?? delay, begin);
        delay = Math.min(delay * 2, 30);
    };
    let isMending = false;
    const mend = async () => {
        if (isMending)
            return;
        isMending = true;
        const mended = session;
        try {
            await mended.restart();
            if (session === mended)
                later(20, () => again());
        } catch (error) {
            if (session === mended)
                again(error);
        } finally {
            isMending = false;
        }
    };
    const begin = async () => {
        tell('connecting');
        try {
            const made = await open();
            if (isOver)
                return made.close();
            session = made;
            const { pc } = made;
            const watch = () => {
                if (session !== made)
                    return;
                if (pc.connectionState === 'connected') {
                    clearTimeout(timer);
                    delay = 1;
                    tell('connected');
                } else if (pc.connectionState === 'disconnected') {
                    later(3, mend);
                } else if (pc.connectionState === 'failed') {
                    mend();
                }
            };
            pc.onconnectionstatechange = watch;
            later(60, () => again());
            watch();
        } catch (error) {
            if (!isOver)
                again(error);
        }
    };
    begin();
    return () => {
        isOver = true;
        clearTimeout(timer);
        session?.close();
    };
}
