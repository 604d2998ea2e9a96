/**
 * TURN servers, which the server tells of, are asked for help only when nothing answers without
 * them: each RTCPeerConnection would make allocations that hardly anybody needs.
 */

/** Checks are answered within a round trip or two, however busy the server is. */
const HELP_AFTER_MS = 2_000;

function isRelay({ urls }) {
    return [urls].flat().some((url) => /^turns?:/i.test(url));
}

/** An RTCConfiguration as long as no relay is needed. */
export function withoutRelays(configuration) {
    const { iceServers = [], iceTransportPolicy } = configuration;
    if (iceTransportPolicy === 'relay' || !iceServers.some(isRelay))
        return configuration;
    return { ...configuration, iceServers: iceServers.filter((server) => !isRelay(server)) };
}

/** Calls `help()` once if the checks of `pc` are not answered in time. */
export function callForHelp(pc, help) {
    let timer = null;
    pc.addEventListener('iceconnectionstatechange', () => {
        clearTimeout(timer);
        if (pc.iceConnectionState === 'checking') {
            timer = setTimeout(() => {
                const call = help;
                help = null;
                if (pc.iceConnectionState === 'checking')
                    call?.();
            }, HELP_AFTER_MS);
        }
    });
}

/** The `iceServers` of a `Link` header (RFC 9725 s4.6). */
export function linkedServers(header) {
    const text = '"((?:[^"\\\\]|\\\\.)*)"';
    const server = new RegExp(
        `<((?:stuns?|turns?):[^>]*)>; rel="ice-server"(?:; username=${text}; credential=${text})?`, 'gi',
    );
    const plain = (quoted) => quoted?.replace(/\\(.)/g, '$1');
    return [...header.matchAll(server)].map(([, urls, username, credential]) =>
        ({ urls, username: plain(username), credential: plain(credential) }));
}
