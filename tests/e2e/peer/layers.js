/** Publishers that send layers within one stream, over WHIP. */

/** Runs in the page: publishes a moving canvas in layers. */
export async function publish({ url, codec, scalabilityMode, hasDescriptor = true }) {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [640, 360];
    const context = canvas.getContext('2d');
    setInterval(() => {
        context.fillStyle = `hsl(${performance.now() / 10 % 360} 80% 50%)`;
        context.fillRect(performance.now() / 5 % 600, 100, 40, 40);
    }, 50);
    const pc = window.pc = new RTCPeerConnection();
    const video = pc.addTransceiver(canvas.captureStream(15).getTracks()[0], {
        direction: 'sendonly', sendEncodings: [{ scalabilityMode, maxBitrate: 800_000 }],
    });
    if (!hasDescriptor) {
        const extensions = video.getHeaderExtensionsToNegotiate();
        extensions.find(({ uri }) => uri.includes('dependency-descriptor')).direction = 'stopped';
        video.setHeaderExtensionsToNegotiate(extensions);
    }
    window.prefer(video, `video/${codec}`);
    await window.keepSize(video);
    return window.post(pc, url, {});
}
