/** What fills the rates of encoders, and what comes of it at a viewer. Both run in pages. */

/**
 * Runs in the page: publishes noise, which fills its encoders' rates, in two sizes, in one, or in the
 * layers of one stream.
 */
export async function publishNoise({ url, isSingle = false, codec, scalabilityMode }) {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [640, 360];
    const context = canvas.getContext('2d');
    setInterval(() => {
        for (let i = 0; i < 200; i++) {
            context.fillStyle = `hsl(${Math.random() * 360} 80% ${20 + Math.random() * 60}%)`;
            context.fillRect(Math.random() * 640, Math.random() * 360, 40, 20);
        }
    }, 60);
    const sound = new AudioContext();
    const [oscillator, speaker] = [sound.createOscillator(), sound.createMediaStreamDestination()];
    oscillator.connect(speaker);
    oscillator.start();
    const pc = window.pc = new RTCPeerConnection();
    pc.addTransceiver(speaker.stream.getTracks()[0], { direction: 'sendonly' });
    const video = pc.addTransceiver(canvas.captureStream(15).getTracks()[0], {
        direction: 'sendonly',
        sendEncodings: isSingle || scalabilityMode ? [{ maxBitrate: 1_200_000, scalabilityMode }] : [
            { rid: 'h', maxBitrate: 1_200_000 },
            { rid: 'l', maxBitrate: 200_000, scaleResolutionDownBy: 2 },
        ],
    });
    if (codec)
        window.prefer(video, `video/${codec}`);
    await window.keepSize(video);
    return window.post(pc, url, {});
}

/** Runs in a page before all else: its camera films noise. */
export function filmNoise() {
    const devices = navigator.mediaDevices;
    const real = devices.getUserMedia.bind(devices);
    devices.getUserMedia = async (wishes) => {
        const media = await real(wishes);
        const [camera] = media.getVideoTracks();
        if (!camera)
            return media;
        const canvas = document.createElement('canvas');
        [canvas.width, canvas.height] = [640, 360];
        const context = canvas.getContext('2d');
        const [noise] = canvas.captureStream(15).getTracks();
        const timer = setInterval(() => {
            if (noise.readyState === 'ended')
                clearInterval(timer);
            for (let i = 0; i < 200; i++) {
                context.fillStyle = `hsl(${Math.random() * 360} 80% ${20 + Math.random() * 60}%)`;
                context.fillRect(Math.random() * 640, Math.random() * 360, 40, 20);
            }
        }, 60);
        media.removeTrack(camera);
        camera.stop();
        media.addTrack(noise);
        return media;
    };
}

/** Runs in the page: what it receives. */
export async function received() {
    const found = {};
    for (const report of (await window.pc.getStats()).values()) {
        if (report.type === 'inbound-rtp')
            found[report.kind] = report;
    }
    return found;
}
