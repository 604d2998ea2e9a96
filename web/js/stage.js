/** The stage: who is large, who is in the strip or the grid, and which page of it is shown. */

import { arrange } from './arrangement.js';
import { byId } from './element.js';
import { t } from './language.js';
import { closeMenuOf } from './menu.js';
import { announce } from './notices.js';
import { showPager } from './pager.js';
import { personOf } from './person.js';
import { prefer, preferences } from './preferences.js';
import { largeOf, rankOf } from './ranking.js';
import { LARGE_FROM_PX } from './reception.js';
import { rove } from './roving.js';
import { showShares } from './share-picker.js';
import { listenFor, longestSilent } from './speaking.js';
import { state } from './state.js';
import { Tile } from './tile.js';

/** A page that nobody looks at gets no pictures after so long. */
const HIDDEN_AFTER_MS = 10_000;
/** So many tiles come up in one frame: the page answers in between while a large class comes in. */
const NEW_AT_ONCE = 8;
/** Without frames, as in a window that nobody sees, the page is laid out all the same. */
const FRAMELESS_MS = 100;

export class Stage {
    /** `deeds` has stopSharing(stream), volume(user) and shown(Map of stream ids to large or small). */
    constructor(deeds) {
        this.deeds = deeds;
        this.grid = byId('grid');
        /** By stream id, in the order in which they are shown. */
        this.tiles = new Map();
        this.page = 0;
        this.pages = 1;
        this.shareId = null;
        this.speakerId = null;
        this.places = new Map();
        this.volumes = new Map();
        this.isLookedAt = true;
        byId('hear').addEventListener('click', () => this.#playAll());
        byId('page-back').addEventListener('click', () => this.turn(-1));
        byId('page-on').addEventListener('click', () => this.turn(1));
        document.addEventListener('visibilitychange', () => this.#lookedAt());
        document.addEventListener('leavepictureinpicture', () => this.#lookedAt(), true);
        this.refreshStops = rove(this.grid, '.tile-menu');
        new ResizeObserver(() => this.layOut()).observe(this.grid);
        listenFor(() => this.tiles.values(), (tile, isNew) => this.#speaks(tile, isNew));
    }

    add(stream, replaces) {
        const tile = new Tile(stream, {
            deeds: async (tile) => (await import('./tile-menu.js')).entriesOf(tile, this),
            pin: (tile) => this.pin(tile),
            stop: (tile) => this.deeds.stopSharing(tile.stream),
        });
        const old = this.tiles.get(replaces);
        this.#take(tile, old, replaces);
        tile.showHand(this.places.get(stream.source));
        if (preferences.speaker && !tile.isOwn)
            tile.video.setSinkId?.(preferences.speaker).catch(() => {});
        this.update(stream);
    }

    remove(stream) {
        const tile = this.tiles.get(stream.id);
        // Its place may have been taken already, after a lost connection.
        if (tile?.stream !== stream)
            return;
        closeMenuOf(tile.menu);
        const hadFocus = tile.node.contains(document.activeElement);
        tile.remove();
        this.tiles.delete(stream.id);
        this.layOut();
        if (hadFocus)
            (this.grid.querySelector('.tile:not([hidden]) .tile-menu') ?? this.grid).focus();
    }

    /** All others and we ourselves leave the stage: another group is entered. */
    clear() {
        for (const tile of this.tiles.values())
            tile.remove();
        this.tiles.clear();
        this.layOut();
    }

    update(stream) {
        const tile = this.tiles.get(stream.id);
        if (tile?.stream !== stream)
            return;
        tile.update(state.connection?.users.get(stream.source));
        tile.video.volume = this.volumeOf(stream.source);
        if (stream.media.getTracks().length > 0)
            this.#play(tile);
        this.layOut();
    }

    /** Somebody came, went or changed: names and muted microphones may have, too. */
    userChanged(user) {
        for (const tile of this.tiles.values()) {
            if (tile.stream.username === user.username)
                tile.rename();
            if (tile.stream.source === user.id)
                tile.update(user);
        }
    }

    /** The language is another one. */
    rename() {
        for (const tile of this.tiles.values()) {
            tile.rename();
            this.update(tile.stream);
        }
    }

    /** Says why the media of some streams does not come; what all suffer from the banner says. */
    showNotes({ findings, network }) {
        for (const tile of this.tiles.values()) {
            const text = findings.get(tile.stream) ?? '';
            tile.showNote(text === network ? '' : text);
        }
    }

    showHands(places) {
        this.places = places;
        for (const tile of this.tiles.values())
            tile.showHand(places.get(tile.stream.source));
    }

    /** How loud the person with this id is, from 0 to 1. */
    volumeOf(id) {
        return this.volumes.get(this.#personOf(id)) ?? 1;
    }

    setVolume(id, volume) {
        this.volumes.set(this.#personOf(id), volume);
        for (const tile of this.tiles.values()) {
            if (!tile.isOwn)
                tile.video.volume = this.volumeOf(tile.stream.source);
        }
    }

    /** Sound comes out of this device, where browsers can choose. */
    setSpeaker(deviceId) {
        for (const tile of this.tiles.values())
            tile.video.setSinkId?.(deviceId).catch(() => {});
    }

    pin(tile) {
        tile.isPinned = !tile.isPinned;
        tile.showPin();
        announce(tile.isPinned ? t('{name} pinned.', { name: tile.title })
            : t('{name} unpinned.', { name: tile.title }));
        this.layOut();
    }

    /** Shows another page of the strip or grid. */
    turn(by) {
        const before = this.page;
        this.page = Math.min(Math.max(0, this.page + by), this.pages - 1);
        this.layOut();
        if (this.page !== before)
            announce(t('Page {page} of {pages}.', { page: this.page + 1, pages: this.pages }));
    }

    setView(view) {
        prefer('view', view);
        byId('view-button').setAttribute('aria-pressed', String(view === 'speaker'));
        this.page = 0;
        this.layOut();
    }

    setSelfHidden(isHidden) {
        prefer('hideSelf', isHidden);
        byId('hide-self').checked = isHidden;
        this.layOut();
    }

    /** Lays out with the next frame, once for all that happens until then. */
    layOut() {
        if (this.#isDue)
            return;
        this.#isDue = true;
        const now = () => this.#isDue && this.#layOutNow();
        requestAnimationFrame(now);
        setTimeout(now, FRAMELESS_MS);
    }

    #isDue = false;

    #layOutNow() {
        this.#isDue = false;
        const all = [...this.tiles.values()];
        state.room?.spotlight?.mark(all);
        byId('empty').hidden = all.length > 0 || !state.connection?.isJoined;
        byId('empty').textContent = state.encryption.objection || (preferences.receive === 'nothing'
            ? t('You have chosen to receive nothing; the settings change that.')
            : t('Nobody is sending anything yet.'));
        const shares = all.filter((tile) => tile.isScreen && !tile.isOwn);
        if (!shares.some((tile) => tile.stream.id === this.shareId))
            this.shareId = shares[0]?.stream.id ?? null;
        showShares(shares, this.shareId, (tile) => {
            this.shareId = tile.stream.id;
            this.layOut();
        });
        const main = largeOf(all, this.tiles.get(this.shareId), this.tiles.get(this.speakerId));
        const rest = all.filter((tile) => !main.includes(tile)
            && !(tile.isScreen && !tile.isOwn)
            && !(tile.isOwn && !tile.isScreen && preferences.hideSelf))
            .sort((a, b) => rankOf(a) - rankOf(b));
        const { clientWidth: width, clientHeight: height } = this.grid;
        const plan = arrange({
            width, height, main: main.length, rest: rest.length, page: this.page,
        });
        this.page = plan.page;
        this.pages = plan.pages;
        this.onPage = rest.slice(plan.first, plan.first + plan.shown);
        const shown = [...main, ...this.onPage];
        const visible = new Map();
        let newcomers = 0;
        for (const tile of all) {
            const box = plan.boxes[shown.indexOf(tile)];
            if (box)
                visible.set(tile.stream.id, box.isLarge || box.width >= LARGE_FROM_PX ? 'large' : 'small');
            newcomers += Boolean(box) && tile.node.hidden;
            if (newcomers <= NEW_AT_ONCE || !tile.node.hidden)
                tile.place(box);
        }
        if (newcomers > NEW_AT_ONCE)
            this.layOut();
        showPager(plan);
        this.refreshStops();
        this.deeds.shown(this.isLookedAt ? visible : new Map());
    }

    #personOf(id) {
        return personOf(state.connection?.users.get(id) ?? { id });
    }

    /** Puts a new tile where the one before it was, or at the end. */
    #take(tile, old, replaces) {
        if (!old) {
            this.grid.append(tile.node);
            this.tiles.set(tile.stream.id, tile);
            return;
        }
        tile.isPinned = old.isPinned;
        tile.isLit = old.isLit;
        closeMenuOf(old.menu);
        const hadFocus = old.node.contains(document.activeElement);
        old.node.replaceWith(tile.node);
        old.video.srcObject = null;
        if (hadFocus)
            tile.menu.focus();
        if (this.shareId === replaces)
            this.shareId = tile.stream.id;
        this.tiles = new Map([...this.tiles].map(([id, other]) => (
            other === old ? [tile.stream.id, tile] : [id, other])));
        tile.showPin();
    }

    async #play(tile) {
        try {
            await tile.video.play();
        } catch (error) {
            // Browsers mute pages that the user has not touched; other errors are mere races.
            if (error.name === 'NotAllowedError')
                byId('hear').hidden = false;
        }
    }

    #playAll() {
        byId('hear').hidden = true;
        for (const tile of this.tiles.values())
            this.#play(tile);
        byId('mic-button').focus();
    }

    /** Makes whoever speaks large, if that is wished, and visible, if the first page is shown. */
    #speaks(tile, isNewSpeaker) {
        if (isNewSpeaker) {
            this.speakerId = tile.stream.id;
            if (preferences.view === 'speaker')
                this.layOut();
        }
        if (!tile.node.hidden || this.page !== 0 || tile.isScreen)
            return;
        const quietest = longestSilent(this.onPage);
        if (!quietest)
            return;
        this.tiles = new Map([...this.tiles].map((entry) => (
            entry[1] === tile ? [quietest.stream.id, quietest]
                : entry[1] === quietest ? [tile.stream.id, tile] : entry)));
        this.layOut();
    }

    #lookedAt() {
        clearTimeout(this.timer);
        const isLookedAt = !document.hidden || Boolean(document.pictureInPictureElement);
        this.timer = setTimeout(() => {
            this.isLookedAt = isLookedAt;
            this.layOut();
        }, isLookedAt ? 0 : HIDDEN_AFTER_MS);
    }
}
