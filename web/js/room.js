/** The parts of one membership on the page; made anew when a group is entered. */

import { showBanner } from './banner.js';
import { Chat } from './chat.js';
import { openPanel } from './controls.js';
import { byId } from './element.js';
import { Floor } from './floor.js';
import { Hands } from './hands.js';
import { Healer } from './healer.js';
import { startScreen, stopScreen } from './own.js';
import { People } from './people.js';
import { Reception } from './reception.js';

/** Until the next try to load. */
const AGAIN_MS = 5_000;

export class Room {
    /** `leave()` is what the command does. */
    constructor(connection, { stage, leave, credentials, attendance }) {
        this.connection = connection;
        this.credentials = credentials;
        /** Why the membership ended, in a sentence; null while it has not. */
        this.refusal = null;
        this.hasEntered = false;
        const { signal } = this.#stop;
        this.signal = signal;
        this.isGuest = Boolean(credentials.token);
        this.attendance = attendance;
        this.reception = new Reception(connection);
        this.floor = new Floor(connection);
        this.isTcpTold = false;
        byId('captions').replaceChildren();
        byId('transcript').hidden = true;
        this.hands = new Hands(connection, (places) => {
            this.people?.showHands(places);
            stage.showHands(places);
        }, (user) => this.floor.letSpeak(user));
        this.people = new People(connection, {
            writeTo: (user) => {
                openPanel('chat');
                this.chat.writeTo(user);
            },
            lowerHand: (user) => this.hands.lower(user),
            letSpeak: (user) => this.floor.letSpeak(user),
            giveFile: async (user) => (await this.files()).choose(user),
            volume: async (user) => (await import('./volume.js')).askVolume(stage, user),
            spotlight: (user) => this.spotlight?.entriesFor(user) ?? [],
        });
        connection.addEventListener('file', async ({ detail }) => (await this.files()).took(detail.message),
            { signal });
        connection.addEventListener('reaction', async ({ detail }) => (await this.reactions()).take(detail.message),
            { signal });
        const deeds = {
            raise: (isRaised) => this.hands.raise(isRaised),
            say: (text, how) => this.chat.send(text, how),
            muteAll: () => this.floor.muteAll(true),
            leave,
            giveFile: async (user) => (await this.files()).choose(user),
            showFilm: () => byId('film-file').click(),
            shareScreen: (isOn) => (isOn ? startScreen() : stopScreen()),
            restart: () => [...connection.up.keys(), ...connection.down.keys()]
                .forEach((id) => connection.restart(id)),
        };
        this.chat = new Chat(connection, async (text) => {
            const { Commands } = await import('./commands.js');
            return new Commands(connection, deeds).obey(text);
        }, signal);
        const changed = () => showBanner(this);
        this.healer = new Healer(connection, changed, signal);
        /** Why media does not come, and whether ours goes; loaded when there could be any. */
        this.diagnosis = null;
        this.uplink = null;
        const diagnose = async () => {
            const { Diagnosis } = await import('./diagnosis.js');
            if (signal.aborted)
                return;
            this.diagnosis ??= new Diagnosis(connection, () => {
                changed();
                stage.showNotes(this.diagnosis);
            }, signal);
            const { Uplink } = await import('./uplink.js');
            if (!signal.aborted)
                this.uplink ??= new Uplink(connection, changed, signal);
        };
        /** Who is large for all; loaded for who may say so, and when somebody is. */
        this.spotlight = null;
        const load = () => {
            diagnose();
            this.#light(stage);
            if (connection.data.poll)
                this.polls().catch(() => setTimeout(() => signal.aborted || load(), AGAIN_MS));
        };
        connection.addEventListener('joined', load, { signal });
        if (connection.isJoined)
            load();
    }

    /** Files under way; loaded when there is the first. */
    files() {
        this.#files ??= import('./files.js').then(({ Files }) => new Files(this.connection, this.signal));
        return this.#files;
    }

    /** Invitations; loaded when they are looked at. */
    invitations() {
        this.#invitations ??= import('./invitations.js')
            .then(({ Invitations }) => new Invitations(this.connection));
        return this.#invitations;
    }

    /** The poll; loaded when there is one, and for who asks. */
    async polls() {
        const { Polls } = await import('./polls.js');
        return this.#polls ??= new Polls(this.connection, this.signal);
    }

    /** Reactions; loaded with the first one. */
    async reactions() {
        const { Reactions } = this.#reactions ? {} : await import('./reactions.js');
        return this.#reactions ??= new Reactions(this.connection, this.signal);
    }

    /** Loaded with the first one; they come in order, since all wait for the same. */
    captions = {
        show: async (...caption) => {
            this.#captions ??= import('./captions.js').then(({ Captions }) => new Captions(), () => {
                this.#captions = null;
            });
            (await this.#captions)?.show(...caption);
        },
    };

    /** The page shows another group; the membership may go on. */
    end() {
        this.#stop.abort();
    }

    async #light(stage) {
        const { connection, signal } = this;
        if (!connection.data.spotlight && !connection.can('op'))
            return;
        const { Spotlight } = await import('./spotlight.js');
        if (!signal.aborted)
            this.spotlight ??= new Spotlight(connection, stage, signal);
    }

    #stop = new AbortController();
    #captions = null;
    #files = null;
    #invitations = null;
    #polls = null;
    #reactions = null;
}
