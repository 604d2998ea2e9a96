/**
 * Breakout rooms: subgroups of the main group, and a plan of who goes where (breakout-plan.js). It is in
 * the main group's data, so that those who reload or come later follow it, too. Whoever is in a room
 * keeps the membership of the main group, see lobby.js.
 */

import { Attendance } from './attendance.js';
import { freePlace, isPlan, roomOf } from './breakout-plan.js';
import { byId } from './element.js';
import { number, t } from './language.js';
import { Lobby } from './lobby.js';
import { nameOf } from './names.js';
import { announce, notify } from './notices.js';
import { keepPerson, personOf } from './person.js';
import { serverNow, state } from './state.js';

const TICK_MS = 1_000;
/** Older messages of the main group are not shown again. */
const SAID_MAX = 500;
/** The last minute is announced. */
const LAST_MS = 60_000;

export class Breakouts {
    /**
     * `main` is the membership of the main group; `deeds` has move(group), changed() and told(message).
     */
    constructor(main, deeds) {
        this.main = main;
        this.deeds = deeds;
        /** The room that we are in; empty in the main group. */
        this.room = '';
        this.lobby = null;
        this.plan = null;
        this.attendance = new Attendance();
        /** What is said in the main group, for when we come back: [{message, isHistory}]. */
        this.said = [];
        this.#timer = setInterval(() => this.#tick(), TICK_MS);
        const on = (name, handler) => main.addEventListener(name, ({ detail }) => handler(detail));
        on('user', ({ kind, user }) => this.attendance.update(kind, user));
        on('state', ({ state: now }) => now === 'waiting' && this.attendance.blind());
        // Then it is known who else is here.
        on('joined', ({ kind }) => kind === 'join' && main.whenDealtWith(() => this.#takePlace()));
        on('chat', (said) => {
            this.said.push(said);
            if (this.said.length > SAID_MAX)
                this.said.shift();
        });
        on('order', ({ kind, message }) => {
            if (kind === 'clearchat')
                this.#unsay(message.value ?? {});
        });
        byId('breakout-back').onclick = () => this.visit('');
        byId('breakout-call').onclick = () => this.lobby?.call(!this.lobby.isCalling);
    }

    get isRunning() {
        return Boolean(this.plan) && (!this.plan.until || this.plan.until > serverNow());
    }

    /** The main group has new data. */
    take() {
        const { breakouts } = this.main.data;
        this.plan = isPlan(breakouts) ? breakouts : null;
        this.deeds.changed();
        this.lobby?.listen(this.isRunning && Boolean(this.plan.hasVoice));
        this.#follow();
        this.#show();
        this.onChange?.();
    }

    /** The room did not let us in: we stay with the others, and do not try again. */
    refused(text) {
        this.#closed.add(this.room);
        if (text)
            notify(`${t('Room {room} did not let you in.', { room: this.room })} ${text}`);
        this.#go('');
    }

    /** The room could not be reached. */
    again() {
        this.deeds.move(state.groupName);
    }

    /** An operator looks into a room, or comes back with the empty one. */
    visit(room) {
        this.#visits = room;
        this.#follow();
    }

    /** Ends our part in it, with the membership. */
    close() {
        clearInterval(this.#timer);
        this.room = '';
        if (this.main.state !== 'closed')
            this.main.leave();
        byId('breakout').hidden = true;
    }

    /** Operators: sets the plan, or parts of it. */
    change(plan) {
        this.main.groupAction('setdata', { breakouts: plan && { ...this.plan, ...plan } });
    }

    /** Operators: says something in all rooms, and in the main group. */
    broadcast(text) {
        this.main.userMessage('broadcast', '', text);
    }

    #timer;
    #visits = null;
    #closed = new Set();
    #isTold = false;

    #unsay({ userId, id }) {
        this.said = this.said.filter(({ message }) => userId && message.source !== userId
            || id && message.id !== id);
    }

    /** A class that is in its rooms may know us from another tab, which is gone. */
    #takePlace() {
        const { main, plan } = this;
        if (!this.isRunning || Object.hasOwn(plan.people, main.ownData.person))
            return;
        const place = freePlace(plan, main.username, new Set([...main.users.values()].map(personOf)));
        if (place === null)
            return;
        keepPerson(main.username, place);
        main.tellOfUs({ person: place });
        this.#follow();
    }

    #follow() {
        const assigned = this.isRunning ? roomOf(this.plan, this.main.ownData.person) : '';
        const mayVisit = this.isRunning && this.main.can('op');
        const wanted = mayVisit && this.#visits !== null ? this.#visits : assigned;
        if (!this.isRunning) {
            this.#visits = null;
            this.#closed.clear();
        }
        const isOpen = wanted === '' || this.plan.rooms.includes(wanted) && !this.#closed.has(wanted);
        const { main } = this;
        // Back at least to its door.
        if (isOpen && wanted !== this.room && (main.isJoined || wanted === '' && main.state === 'knocking'))
            this.#go(wanted);
    }

    #go(room) {
        this.room = room;
        this.deeds.move(room === '' ? state.mainGroup : `${state.mainGroup}/${room}`);
        this.#show();
    }

    /** The page has left the main group for a room, or another one. */
    away() {
        if (this.lobby) {
            this.lobby.setRoom(this.room);
            return;
        }
        this.lobby = new Lobby(this.main, this.room, {
            changed: () => this.take(),
            told: (message) => this.deeds.told(message),
            calls: (user) => {
                if (this.main.can('op')) {
                    notify(t('{name} calls you, in room {room}.',
                        { name: user.username, room: user.data.room ?? '' }), 'info');
                }
            },
        });
        this.take();
    }

    /** The page shows the main group again. */
    back() {
        this.lobby?.end();
        this.lobby = null;
    }

    #tick() {
        if (!this.plan?.until) {
            this.onTick?.();
            return;
        }
        const leftMs = this.plan.until - serverNow();
        if (leftMs <= LAST_MS && leftMs > 0 && !this.#isTold) {
            this.#isTold = true;
            announce(t('The rooms close in a minute.'));
        }
        if (leftMs > LAST_MS)
            this.#isTold = false;
        if (leftMs <= 0) {
            // Whoever may takes the plan away; without any operator all come back all the same.
            if (this.main.isJoined && this.main.can('op'))
                this.change(false);
            this.#follow();
        }
        this.#show();
    }

    /** The time that is left, as a clock shows it; empty without an end. */
    get left() {
        if (!this.isRunning || !this.plan.until)
            return '';
        const seconds = Math.max(0, Math.round((this.plan.until - serverNow()) / 1000));
        const two = { minimumIntegerDigits: 2 };
        return `${number(Math.floor(seconds / 60))}:${number(seconds % 60, two)}`;
    }

    #show() {
        const isInRoom = this.room !== '';
        const bar = byId('breakout');
        const hadFocus = !isInRoom && bar.contains(document.activeElement);
        bar.hidden = !isInRoom;
        if (hadFocus)
            byId('room-name').focus();
        if (isInRoom) {
            const text = this.left
                ? t('Room {room}, back in {time}', { room: this.room, time: this.left })
                : t('Room {room}', { room: this.room });
            if (byId('breakout-text').textContent !== text)
                byId('breakout-text').textContent = text;
        }
        const isOp = this.main?.can('op') ?? false;
        byId('breakout-back').hidden = !isOp;
        byId('breakout-call').hidden = isOp;
        const isCalling = Boolean(this.lobby?.isCalling);
        byId('breakout-call').setAttribute('aria-pressed', String(isCalling));
        this.onTick?.();
    }
}
