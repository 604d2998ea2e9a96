/** Sounds of the page itself. */

const TONES_HZ = [660, 880];
const TONE_S = 0.12;
const LOUDNESS = 0.08;

let context = null;

/** Two soft tones that call a teacher's attention. */
export function chime() {
    try {
        context ??= new AudioContext();
        context.resume();
        TONES_HZ.forEach(
            (frequency, index) => tone(context, frequency, context.currentTime + index * TONE_S),
        );
    } catch {
        // A page without sound still shows the hand.
    }
}

/** Plays the tones through one device, for "do I hear anything?". */
export async function testSpeaker(deviceId) {
    const own = new AudioContext();
    if (deviceId && own.setSinkId)
        await own.setSinkId(deviceId).catch(() => {});
    TONES_HZ.concat(TONES_HZ).forEach(
        (frequency, index) => tone(own, frequency, own.currentTime + index * 2 * TONE_S),
    );
    setTimeout(() => own.close(), 2_000);
}

function tone(context, frequency, at) {
    const oscillator = context.createOscillator();
    const gain = context.createGain();
    oscillator.frequency.value = frequency;
    gain.gain.setValueAtTime(0, at);
    gain.gain.linearRampToValueAtTime(LOUDNESS, at + 0.02);
    gain.gain.linearRampToValueAtTime(0, at + TONE_S);
    oscillator.connect(gain).connect(context.destination);
    oscillator.start(at);
    oscillator.stop(at + TONE_S);
}
