/** What the tests of knocking do in pages. */

/** Runs in the page before all: what it sends, announces and chimes can be read, and its sockets closed. */
export function watchPage() {
    Object.assign(window, { sent: [], announced: [], sockets: [], chimes: 0 });
    window.WebSocket = class extends WebSocket {
        constructor(...rest) {
            super(...rest);
            window.sockets.push(this);
        }

        send(data) {
            const message = JSON.parse(data);
            window.sent.push(message);
            if (window.isGalene && message.type === 'handshake')
                delete message.wants;
            if (window.isForgotten && message.type === 'join')
                delete message.data.was;
            super.send(JSON.stringify(message));
        }
    };
    const { resume } = AudioContext.prototype;
    AudioContext.prototype.resume = function() {
        window.chimes += 1;
        return resume.call(this);
    };
    document.addEventListener('DOMContentLoaded', () => {
        const announcer = document.getElementById('announcer');
        if (announcer) {
            new MutationObserver(() => window.announced.push(announcer.textContent))
                .observe(announcer, { childList: true, characterData: true, subtree: true });
        }
    });
}

/** Runs in a page of no group: so many clients knock at once. `crowdTold()` counts what they were told last. */
export async function crowd(count) {
    const told = new Map();
    window.crowdTold = () => [...told.values()].reduce(
        (all, kind) => ({ ...all, [kind]: (all[kind] ?? 0) + 1 }), {});
    await Promise.all(Array.from({ length: count }, (_, at) => new Promise((resolve) => {
        const socket = new WebSocket(`wss://${location.host}/ws`);
        const say = (message) => socket.send(JSON.stringify(message));
        socket.onopen = () => {
            say({ type: 'handshake', version: ['2'], id: `crowd-${at}`, wants: ['knock'] });
            say({ type: 'join', kind: 'join', group: 'lecture', username: `pupil ${at}`, password: '' });
        };
        socket.onmessage = ({ data }) => {
            const message = JSON.parse(data);
            if (message.type === 'ping')
                say({ type: 'pong' });
            if (message.type !== 'joined' || message.kind === 'change')
                return;
            told.set(at, message.kind);
            resolve();
        };
    })));
}
