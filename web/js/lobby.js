/**
 * The membership of the main group while we are in a breakout room: it stays, without media of ours and
 * of others, except for a teacher who speaks to all rooms. Through it come the plan of the rooms and what
 * is told to all of them.
 */

import { element } from './element.js';

export class Lobby {
    /** `deeds` has changed(), calls(user), and told(message). */
    constructor(connection, room, deeds) {
        this.connection = connection;
        this.#deeds = deeds;
        for (const { id, data } of connection.users.values()) {
            if (data.raisehand)
                this.#calling.add(id);
        }
        this.#on('joined', ({ kind }) => kind !== 'leave' && deeds.changed());
        this.#on('user', ({ kind, user }) => this.#user(kind, user));
        this.#on('stream', ({ kind, stream }) => this.#hear(kind, stream));
        this.#on('order', ({ kind, message }) => {
            if (kind === 'broadcast')
                deeds.told(message);
            else if (kind === 'lowerhand')
                this.#lower();
        });
        // What was asked for single streams would outlive the general wish.
        for (const id of connection.down.keys())
            connection.requestStream(id, null);
        connection.request({});
        const { raisehand = null, hand = null } = connection.ownData;
        this.#before = { raisehand, hand };
        connection.tellOfUs({ room, muted: true, camera: null, raisehand: null, hand: null });
    }

    /** Whether the voices of the main group are heard here. */
    listen(isOn) {
        const wishes = isOn ? { '': ['audio'] } : {};
        if (JSON.stringify(wishes) !== JSON.stringify(this.connection.wishes))
            this.connection.request(wishes);
    }

    /** Calls a teacher to this room, or no longer: the hand goes up in the main group. */
    call(isCalling) {
        const highest = Math.max(0, ...[...this.connection.users.values()]
            .map(({ data }) => Number(data.hand) || 0));
        this.connection.tellOfUs(isCalling ? { raisehand: true, hand: highest + 1 }
            : { raisehand: null, hand: null });
        this.#deeds.changed();
    }

    get isCalling() {
        return Boolean(this.connection.ownData.raisehand);
    }

    /** We are in another room. */
    setRoom(room) {
        this.connection.tellOfUs({ room });
    }

    /** We are back. */
    end() {
        this.#stop.abort();
        for (const sound of this.#sounds.values())
            sound.srcObject = null;
        this.connection.tellOfUs({ room: null, ...this.#before });
    }

    #deeds;
    /** Our hand in the main group, which is up again when we are back. */
    #before;
    #stop = new AbortController();
    #sounds = new Map();
    #calling = new Set();

    #on(name, handler) {
        this.connection.addEventListener(name, ({ detail }) => handler(detail),
            { signal: this.#stop.signal });
    }

    #lower() {
        this.#before = { raisehand: null, hand: null };
        this.call(false);
    }

    #user(kind, user) {
        const wasCalling = this.#calling.has(user.id);
        const isCalling = kind !== 'delete' && Boolean(user.data.raisehand);
        this.#calling[isCalling ? 'add' : 'delete'](user.id);
        if (isCalling && !wasCalling && user.id !== this.connection.id)
            this.#deeds.calls(user);
    }

    #hear(kind, stream) {
        if (stream.direction !== 'down')
            return;
        if (kind === 'close') {
            this.#sounds.delete(stream);
            return;
        }
        const sound = this.#sounds.get(stream) ?? element('audio', { autoplay: true });
        this.#sounds.set(stream, sound);
        if (sound.srcObject !== stream.media)
            sound.srcObject = stream.media;
        sound.play().catch(() => {});
    }
}
