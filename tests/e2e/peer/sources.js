/** Films and sounds that are made in the page itself. */

/** A film of some seconds, in base64. */
export function recordedFilm(page) {
    return page.evaluate(async () => {
        const canvas = document.createElement('canvas');
        const context = canvas.getContext('2d');
        const timer = setInterval(() => {
            context.fillStyle = `hsl(${Math.random() * 360} 80% 50%)`;
            context.fillRect(0, 0, canvas.width, canvas.height);
        }, 50);
        const recorder = new MediaRecorder(canvas.captureStream(), { mimeType: 'video/webm' });
        const chunks = [];
        recorder.ondataavailable = ({ data }) => chunks.push(data);
        recorder.start();
        await new Promise((resolve) => setTimeout(resolve, 6_000));
        recorder.stop();
        await new Promise((resolve) => recorder.addEventListener('stop', resolve));
        clearInterval(timer);
        const bytes = new Uint8Array(await new Blob(chunks).arrayBuffer());
        return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
    });
}

/** Runs in the page before all: microphones that always hear something. */
export function tones() {
    const { mediaDevices } = navigator;
    const getUserMedia = mediaDevices.getUserMedia.bind(mediaDevices);
    mediaDevices.getUserMedia = async (wanted) => {
        const media = await getUserMedia(wanted);
        const context = new AudioContext();
        for (const track of media.getAudioTracks()) {
            const [oscillator, sink] = [context.createOscillator(), context.createMediaStreamDestination()];
            oscillator.connect(sink);
            oscillator.start();
            media.removeTrack(track);
            track.stop();
            media.addTrack(sink.stream.getAudioTracks()[0]);
        }
        return media;
    };
}
