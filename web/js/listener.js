/** What a member hears of the others and their streams. How it comes is the business of ServerConnection. */

import { isHeir } from './heir.js';
import { Member } from './member.js';
import { Stream } from './stream.js';
import { meaningOf } from './usermessage.js';

/** More than any server lets wait. */
const KNOCKING_MAX = 1_000;

export class Listener extends Member {
    /** Takes a message of the server that is not about the connection itself. */
    hear(message) {
        const of = (streams) => streams.get(message.id);
        switch (message.type) {
        case 'user':
            this.#user(message);
            break;
        case 'offer':
            this.#offer(message);
            break;
        case 'answer':
            of(this.up)?.takeAnswer(message.sdp);
            break;
        case 'renegotiate':
            of(this.up)?.negotiate({ iceRestart: true });
            break;
        case 'ice':
            (of(this.up) ?? of(this.down))?.takeCandidate(message.candidate);
            break;
        case 'stream':
            this.#fares(of(this.down) ?? of(this.up), message);
            break;
        case 'speakers':
            this.speakers = message.value ?? [];
            this.emit('speakers');
            break;
        case 'numbers':
            this.emit('numbers', message.value);
            break;
        case 'knock':
            this.#knock(message);
            break;
        case 'close':
            of(this.down)?.dispose();
            break;
        case 'abort':
            this.unpublish(message.id);
            break;
        case 'chat':
        case 'chathistory':
            this.emit('chat', { message, isHistory: message.type === 'chathistory' });
            break;
        case 'usermessage':
            this.#userMessage(message);
            break;
        default:
            // Of a newer server: whoever does not know it does well without.
            console.debug('unknown message', message.type);
        }
    }

    /** How a stream fares, as far as the server knows. */
    #fares(stream, { kind, value }) {
        if (!stream)
            return;
        if (kind === 'paused' || kind === 'resumed')
            stream.isHeld = kind === 'paused';
        else if (kind === 'silent' || kind === 'heard')
            stream.isInterrupted = kind === 'silent';
        else if (kind === 'path')
            stream.path = value;
        else if (kind === 'wanted')
            return stream.sendOnly(value);
        else
            return;
        this.emit('stream', { kind: 'state', stream });
    }

    #user(message) {
        const { kind, id, username = '', permissions = [], data = {} } = message;
        const user = { id, username, permissions, data };
        if (kind === 'delete')
            this.users.delete(id);
        else
            this.users.set(id, user);
        this.emit('user', { kind, user });
        if (kind === 'add')
            this.#retireAncestors(user);
    }

    /** Who waits at the door, or no longer. The same one may be told twice. */
    #knock({ kind, id, username }) {
        if (kind === 'delete')
            this.knocking.delete(id);
        else if (typeof id === 'string' && typeof username === 'string' && this.knocking.size < KNOCKING_MAX)
            this.knocking.set(id, { id, username });
        this.emit('knock', { kind, id, username });
    }

    /** Somebody has come: perhaps back, or as the remains of somebody who is back already. */
    async #retireAncestors(user) {
        for (const other of this.users.values()) {
            for (const [heir, old] of [[user, other], [other, user]]) {
                if (heir.data.was === old.id && await isHeir(heir, old) && this.users.delete(old.id)) {
                    for (const stream of [...this.down.values()]) {
                        if (stream.source === old.id)
                            stream.dispose();
                    }
                    this.emit('user', { kind: 'delete', user: { ...old, isBack: true } });
                }
            }
        }
    }

    #offer(message) {
        let stream = this.down.get(message.id);
        if (!stream) {
            stream = new Stream(this, 'down', message);
            this.down.set(stream.id, stream);
            // A sender who stayed while we were away still has the same stream.
            this.emit('stream', { kind: 'add', stream, replaces: message.replace ?? message.id });
            this.down.get(message.replace)?.dispose();
            this.disposeOrphan('down', message.id);
        }
        stream.takeOffer(message.sdp);
    }

    #userMessage(message) {
        const [name, detail] = meaningOf(message) ?? [];
        if (name === 'kicked')
            this.dismissed();
        if (name)
            this.emit(name, detail);
    }
}
