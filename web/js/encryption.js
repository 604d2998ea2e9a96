/**
 * Sound and pictures encrypted end to end, with a key that comes in the fragment of the link, which
 * browsers never send. An operator switches a class to it: the group's data then has `encrypted`, the
 * check of the key, so that everybody knows whether theirs is the right one.
 */

import { t } from './language.js';
import { randomId } from './random.js';

const KEY = /(?:^#|&)key=([0-9a-f]{32})(?:&|$)/;
const CHECK_DIGITS = 16;

/** Whether this browser has encoded transforms, and is in a secure context. */
export function canEncrypt() {
    return typeof RTCRtpScriptTransform !== 'undefined' && Boolean(globalThis.crypto?.subtle);
}

export class Encryption {
    constructor() {
        this.key = KEY.exec(location.hash)?.[1] ?? '';
        /** What the group is told of our key. */
        this.check = '';
        /** Whether the class is switched to it. */
        this.isOn = false;
        /** Whether our key is the class's. */
        this.hasKey = false;
        /** Ids of streams that come, and cannot be read with our key. */
        this.unreadable = new Set();
    }

    /** To be waited for before anything else. */
    async load() {
        if (this.key !== '' && canEncrypt())
            this.check = await checkOf(this.key);
    }

    /** Makes a key, if there is none, and puts it into the address of the page. */
    async begin() {
        this.#isBeginning = true;
        if (this.key === '') {
            this.key = randomId();
            history.replaceState(null, '', `${location.pathname}${location.search}#key=${this.key}`);
        }
        await this.load();
    }

    /** Goes on without a key, as the user wants. */
    forget() {
        this.key = this.check = '';
        history.replaceState(null, '', location.pathname + location.search);
    }

    /** Whether we have a key and are told that the class is not encrypted: perhaps by a server that lies. */
    get isDoubtful() {
        return this.key !== '' && !this.isOn && !this.#isBeginning;
    }

    /** Takes the group's `encrypted`; whether that changes anything. */
    take(check) {
        const isOn = typeof check === 'string' && check !== '';
        const hasKey = isOn && this.check === check;
        const isNew = isOn !== this.isOn || hasKey !== this.hasKey;
        [this.isOn, this.hasKey] = [isOn, hasKey];
        this.#isBeginning &&= !isOn;
        return isNew;
    }

    /** Why we can take no part in an encrypted class, with a next step; empty if we can. */
    get objection() {
        if (this.isDoubtful)
            return t('The link of this page has a key, but this class is not encrypted. Nothing is sent from '
                + 'here until you agree.');
        if (!this.isOn || this.hasKey)
            return '';
        return canEncrypt()
            ? t('This class is encrypted end to end, and this page has no key to it. Ask a teacher for '
                + 'the link with the key, and open that.')
            : t('This class is encrypted end to end, which this browser cannot do. Try a current '
                + 'Firefox, Chrome, Edge or Safari.');
    }

    /** For `prepare` of the connection: transforms and codecs of a stream, before it is negotiated. */
    prepare(stream) {
        if (!this.hasKey)
            return;
        for (const transceiver of stream.pc.getTransceivers()) {
            const { kind } = transceiver.receiver.track;
            const isSending = stream.direction === 'up';
            const end = isSending ? transceiver.sender : transceiver.receiver;
            limitCodecs(transceiver, kind);
            end.transform ??= new RTCRtpScriptTransform(this.#worker(), {
                secret: new TextEncoder().encode(this.key), salt: stream.id, kind, isSending,
            });
        }
    }

    #made = null;
    #isBeginning = false;

    #worker() {
        if (!this.#made) {
            this.#made = new Worker(new URL('./encryption-worker.js', import.meta.url));
            this.#made.onmessage = ({ data }) => {
                this.unreadable[data.isReadable ? 'delete' : 'add'](data.salt);
            };
        }
        return this.#made;
    }
}

/** Codecs whose packets can be made of frames that nobody can read: VP8, and Opus without redundancy. */
function limitCodecs(transceiver, kind) {
    const wanted = kind === 'video' ? ['video/vp8', 'video/rtx'] : ['audio/opus'];
    const all = RTCRtpReceiver.getCapabilities(kind).codecs;
    transceiver.setCodecPreferences(all.filter(({ mimeType }) => wanted.includes(mimeType.toLowerCase())));
}

async function checkOf(key) {
    const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(`aula check ${key}`));
    return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('')
        .slice(0, CHECK_DIGITS);
}
