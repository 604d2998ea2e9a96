/** What browsers know and do not offer by themselves. */

const DESCRIPTOR = 'https://aomediacodec.github.io/av1-rtp-spec/'
    + '#dependency-descriptor-rtp-header-extension';

/**
 * Lets every video section carry dependency descriptors, without which nobody can tell the spatial
 * layers of AV1 apart: the server sends the lowest one then.
 * @param {RTCPeerConnection} pc whose transceivers are there already
 */
export function takeDescriptors(pc) {
    for (const transceiver of pc.getTransceivers()) {
        if (!transceiver.setHeaderExtensionsToNegotiate || transceiver.stopped)
            continue;
        const extensions = transceiver.getHeaderExtensionsToNegotiate();
        const known = extensions.find(({ uri }) => uri === DESCRIPTOR);
        if (known?.direction !== 'stopped')
            continue;
        known.direction = 'sendrecv';
        transceiver.setHeaderExtensionsToNegotiate(extensions);
    }
}

/**
 * A description of ours by which lost sound is asked for, and sent, once more.
 * @param {RTCSessionDescriptionInit} description
 */
export function withSoundRepeated({ type, sdp }) {
    const feedback = `a=rtcp-fb:${/a=rtpmap:(\d+) opus/.exec(sdp)?.[1]} `;
    return { type, sdp: sdp.replaceAll(`${feedback}transport-cc\r\n`, `$&${feedback}nack\r\n`) };
}
