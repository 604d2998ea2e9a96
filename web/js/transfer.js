/**
 * One file from one member to another, over a data channel between the two: the server passes on
 * only what they agree. The protocol is Galene's, version 1.
 */

import { need, t } from './language.js';

await need('tools');

const CHUNK_BYTES = 16_384;
/** Sending pauses while so much waits in the browser. */
const BUFFERED_MAX_BYTES = 1_048_576;
/** What is received is kept in memory until it is complete. */
export const FILE_MAX_BYTES = 512 * 1_048_576;
const VERSION = ['1'];

/**
 * A transfer, of `file` on the sender's side, of {name, size} on the receiver's. `onChange()` is
 * called as it goes on; `state` is offered, connecting, running, done or failed.
 */
export class Transfer {
    constructor(connection, { id, peer, file, isSending }, onChange) {
        this.connection = connection;
        this.id = id;
        this.peer = peer;
        this.file = file;
        this.isSending = isSending;
        this.onChange = onChange;
        this.state = 'offered';
        this.reason = '';
        this.doneBytes = 0;
    }

    /** Sender: offers the file. */
    invite() {
        const { name, size, type } = this.file;
        this.#tell('invite', { version: VERSION, name, size, mimetype: type });
    }

    /** Receiver: takes the file. This shows each the other's network address. */
    async accept() {
        this.#set('connecting');
        const pc = this.#connect();
        const channel = pc.createDataChannel('file');
        channel.binaryType = 'arraybuffer';
        channel.onmessage = ({ data }) => this.#received(channel, data);
        channel.onclose = () => this.#fail(t('the connection was closed'));
        await this.#safely(async () => {
            await pc.setLocalDescription(await pc.createOffer());
            this.#tell('offer', { version: VERSION, sdp: pc.localDescription.sdp });
        });
    }

    /** Either side: wants it no longer. */
    cancel(message) {
        if (['done', 'failed'].includes(this.state))
            return;
        this.#tell('cancel', { message });
        this.#fail(message ?? t('cancelled'));
    }

    /** Takes what the other side says. */
    async took({ type, sdp, candidate, message }) {
        await this.#safely(async () => {
            if (type === 'cancel') {
                this.#fail(typeof message === 'string' && message || t('cancelled by the other side'));
            } else if (type === 'offer' && this.isSending && this.state === 'offered') {
                this.#set('connecting');
                const pc = this.#connect();
                pc.ondatachannel = ({ channel }) => this.#send(channel);
                await pc.setRemoteDescription({ type: 'offer', sdp });
                await pc.setLocalDescription(await pc.createAnswer());
                this.#tell('answer', { sdp: pc.localDescription.sdp });
                await this.#flush();
            } else if (type === 'answer' && !this.isSending && this.#pc) {
                await this.#pc.setRemoteDescription({ type: 'answer', sdp });
                await this.#flush();
            } else if (type === 'ice' && this.#pc?.remoteDescription) {
                await this.#pc.addIceCandidate(candidate ?? undefined);
            } else if (type === 'ice') {
                this.#candidates.push(candidate);
            }
        });
    }

    #pc = null;
    #candidates = [];
    #chunks = [];

    #connect() {
        this.#pc = new RTCPeerConnection(this.connection.rtcConfiguration);
        this.#pc.onicecandidate = ({ candidate }) => this.#tell('ice', { candidate });
        this.#pc.onconnectionstatechange = () => {
            if (this.#pc?.connectionState === 'failed')
                this.#fail(t('the two computers cannot reach each other'));
        };
        return this.#pc;
    }

    async #flush() {
        for (const candidate of this.#candidates.splice(0))
            await this.#pc.addIceCandidate(candidate ?? undefined);
    }

    async #send(channel) {
        this.#set('running');
        channel.bufferedAmountLowThreshold = BUFFERED_MAX_BYTES / 2;
        channel.onmessage = ({ data }) => data === 'done' && this.#finish();
        channel.onclose = () => this.#fail(t('the connection was closed'));
        await this.#safely(async () => {
            while (this.doneBytes < this.file.size && this.state === 'running') {
                if (channel.bufferedAmount > BUFFERED_MAX_BYTES)
                    await new Promise((resolve) => { channel.onbufferedamountlow = resolve; });
                const end = Math.min(this.file.size, this.doneBytes + CHUNK_BYTES);
                channel.send(await this.file.slice(this.doneBytes, end).arrayBuffer());
                this.doneBytes = end;
                this.onChange();
            }
        });
    }

    #received(channel, data) {
        if (!(data instanceof ArrayBuffer) || this.state === 'failed')
            return;
        this.#set('running');
        this.doneBytes += data.byteLength;
        if (this.doneBytes > this.file.size) {
            this.cancel(t('the file is larger than was said'));
            return;
        }
        this.#chunks.push(data);
        this.onChange();
        if (this.doneBytes < this.file.size)
            return;
        // Kept as bytes without a type: whatever it is, the browser must not open it in our name.
        this.blob = new Blob(this.#chunks.splice(0), { type: 'application/octet-stream' });
        channel.send('done');
        // The sender closes; then there is nothing more to wait for.
        channel.onclose = () => this.#close();
        this.#set('done');
    }

    #finish() {
        this.#set('done');
        this.#close();
    }

    #fail(reason) {
        if (['done', 'failed'].includes(this.state))
            return;
        this.reason = reason;
        this.#chunks = [];
        this.#set('failed');
        this.#close();
    }

    #close() {
        this.#pc?.close();
        this.#pc = null;
    }

    async #safely(step) {
        try {
            await step();
        } catch (error) {
            console.warn('transfer failed', error);
            this.cancel(t('an error of the browser'));
        }
    }

    #set(state) {
        if (this.state === state)
            return;
        this.state = state;
        this.onChange();
    }

    #tell(type, rest) {
        this.connection.userMessage('filetransfer', this.peer.id, { type, id: this.id, ...rest });
    }
}
