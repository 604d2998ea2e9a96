/**
 * Encrypts and decrypts the frames of one stream end to end (encoded transforms). The server needs the
 * first bytes of a frame, which tell whether it is a keyframe and how large it is; they stay clear, but
 * cannot be changed. After them: AES-GCM, then the counter of the frame (8 bytes) and how many bytes are
 * clear (1 byte). Keys differ for each stream and kind, so a counter never comes twice under one key.
 */

const COUNTER_BYTES = 8;
const TRAILER_BYTES = COUNTER_BYTES + 1;
const TAG_BYTES = 16;
/** RFC 7741 s4.3: a VP8 keyframe's header has its size; RFC 6716 s3.1: one byte tells Opus' form. */
const CLEAR_BYTES = { key: 10, delta: 3, audio: 1 };

self.onrtctransform = async ({ transformer }) => {
    const { secret, salt, kind, isSending } = transformer.options;
    const key = await deriveKey(secret, salt, kind);
    let counter = 0n;
    let failures = 0;
    const transform = async (frame, controller) => {
        try {
            frame.data = isSending ? await seal(key, frame, kind, counter++) : await open(key, frame);
        } catch {
            // Of another key, or from before the switch: what cannot be read is not shown.
            failures += 1;
            if (failures === 1)
                self.postMessage({ salt, kind, isReadable: false });
            return;
        }
        if (failures > 0 && !isSending) {
            failures = 0;
            self.postMessage({ salt, kind, isReadable: true });
        }
        controller.enqueue(frame);
    };
    await transformer.readable.pipeThrough(new TransformStream({ transform }))
        .pipeTo(transformer.writable).catch(() => {});
};

/** The key of one kind of media of one stream, from the class's secret (RFC 5869). */
async function deriveKey(secret, salt, kind) {
    const text = new TextEncoder();
    const base = await crypto.subtle.importKey('raw', secret, 'HKDF', false, ['deriveKey']);
    return crypto.subtle.deriveKey(
        { name: 'HKDF', hash: 'SHA-256', salt: text.encode(salt), info: text.encode(`aula 1 ${kind}`) },
        base, { name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt']);
}

async function seal(key, frame, kind, counter) {
    const data = new Uint8Array(frame.data);
    const wanted = CLEAR_BYTES[kind === 'audio' ? 'audio' : frame.type] ?? CLEAR_BYTES.delta;
    const clearBytes = Math.min(wanted, data.length);
    const clear = data.subarray(0, clearBytes);
    const sealed = new Uint8Array(await crypto.subtle.encrypt(
        { name: 'AES-GCM', iv: ivOf(counter), additionalData: clear }, key, data.subarray(clearBytes)));
    const out = new Uint8Array(clearBytes + sealed.length + TRAILER_BYTES);
    out.set(clear);
    out.set(sealed, clearBytes);
    const trailer = new DataView(out.buffer, clearBytes + sealed.length);
    trailer.setBigUint64(0, counter);
    trailer.setUint8(COUNTER_BYTES, clearBytes);
    return out.buffer;
}

async function open(key, frame) {
    const data = new Uint8Array(frame.data);
    if (data.length < TRAILER_BYTES + TAG_BYTES)
        throw new Error('too short');
    const trailer = new DataView(frame.data, data.length - TRAILER_BYTES);
    const clearBytes = trailer.getUint8(COUNTER_BYTES);
    const end = data.length - TRAILER_BYTES;
    if (clearBytes > end - TAG_BYTES)
        throw new Error('malformed');
    const clear = data.subarray(0, clearBytes);
    const opened = new Uint8Array(await crypto.subtle.decrypt(
        { name: 'AES-GCM', iv: ivOf(trailer.getBigUint64(0)), additionalData: clear },
        key, data.subarray(clearBytes, end)));
    const out = new Uint8Array(clearBytes + opened.length);
    out.set(clear);
    out.set(opened, clearBytes);
    return out.buffer;
}

function ivOf(counter) {
    const iv = new Uint8Array(12);
    new DataView(iv.buffer).setBigUint64(4, counter);
    return iv;
}
