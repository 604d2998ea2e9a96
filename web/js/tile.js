/** One stream on the stage: its picture or initials, its name, and what can be done with it. */

import { element, icon, putAt } from './element.js';
import { number, t } from './language.js';
import { openMenu } from './menu.js';
import { nameOf } from './names.js';
import { preferences } from './preferences.js';

export class Tile {
    /** `deeds(tile)` gives a promise of its menu's entries; `pin(tile)` pins it or takes the pin away. */
    constructor(stream, { deeds, pin, stop }) {
        this.stream = stream;
        this.isOwn = stream.direction === 'up';
        /** A slide or a film: something to look at for all. */
        this.isScreen = ['screenshare', 'video'].includes(stream.label);
        this.isPinned = false;
        /** Whether an operator shows it large for everybody (spotlight.js). */
        this.isLit = false;
        /** When its sound was last speech, in performance.now(). */
        this.spokeAt = 0;
        this.video = element('video', { autoplay: true, playsInline: true, muted: this.isOwn });
        this.caption = element('span', { className: 'tile-name', dir: 'auto' });
        this.hand = element('span', { className: 'tile-hand', hidden: true, 'aria-hidden': 'true' },
            icon('hand'), element('b', {}));
        this.avatar = element('div', { className: 'avatar', 'aria-hidden': 'true' });
        this.menu = button('more', '', async () => {
            const entries = await deeds(this);
            if (this.menu.isConnected)
                openMenu(this.menu, this.menu.title, entries);
        });
        this.menu.classList.add('tile-menu');
        this.menu.setAttribute('aria-haspopup', 'menu');
        this.menu.setAttribute('aria-expanded', 'false');
        this.pinButton = button('pin', t('Pin'), () => pin(this));
        this.pinButton.tabIndex = -1;
        /** Why nothing is to be seen or heard, if that is so. */
        this.note = element('p', { className: 'tile-note', hidden: true });
        this.facts = element('pre', { className: 'tile-facts', hidden: true });
        const buttons = element('div', { className: 'tile-buttons' });
        if (this.isOwn && this.isScreen)
            buttons.append(button('close', t('Stop sharing'), () => stop(this)));
        buttons.append(this.pinButton, this.menu);
        this.node = element('figure', { className: 'tile', hidden: true, ondblclick: () => pin(this) },
            this.avatar, this.video, this.note, this.facts,
            element('figcaption', {}, icon('mic-off'), this.hand, this.caption), buttons);
        this.node.classList.toggle('is-own', this.isOwn);
        this.node.classList.toggle('is-screen', this.isScreen);
        this.node.dataset.stream = stream.id;
        this.rename();
    }

    /** The name of whoever sends it, which namesakes may change. */
    rename() {
        this.name = nameOf({ id: this.stream.source ?? '', username: this.stream.username });
        const title = this.#titleFor(this.isOwn ? t('{name} (you)', { name: this.name }) : this.name);
        this.title = title;
        this.caption.textContent = title;
        this.avatar.textContent = initials(this.name);
        this.video.setAttribute('aria-label', title);
        const options = t('Options for {name}', { name: title });
        this.menu.setAttribute('aria-label', options);
        this.menu.title = options;
    }

    #titleFor(name) {
        switch (this.stream.label) {
        case 'screenshare': return t('{name} – screen', { name });
        case 'video': return t('{name} – film', { name });
        default: return name;
        }
    }

    /** The name, and what is wrong with the way to us or from them. */
    #captionFor(user) {
        const { stream, title: name } = this;
        if (stream.isHeld)
            return t('{name} – picture paused: your network is slow', { name });
        if (stream.isInterrupted)
            return t('{name} – interrupted: nothing comes from their network', { name });
        return user?.data?.weak && !this.isOwn ? t('{name} – their connection is weak', { name }) : name;
    }

    /** Whether there is a picture at present. */
    get hasVideo() {
        return this.stream.media.getVideoTracks().length > 0;
    }

    /** Shows what the stream has become: its tracks, its connection, a muted microphone. */
    update(user) {
        const { node, stream, video } = this;
        if (video.srcObject !== stream.media)
            video.srcObject = stream.media;
        const isMuted = this.isOwn
            ? stream.media.getAudioTracks().every((track) => !track.enabled)
            : Boolean(user?.data?.muted);
        // The server holds pictures back that our network has no room for.
        const isHeld = Boolean(stream.isHeld);
        this.caption.textContent = this.#captionFor(user);
        node.classList.toggle('audio-only', !this.hasVideo || isHeld);
        node.classList.toggle('is-muted', isMuted && !this.isScreen);
        node.classList.toggle('is-waiting', stream.pc.connectionState !== 'connected');
        node.classList.toggle('is-mirrored', this.isOwn && !this.isScreen && preferences.mirror);
    }

    /** Says why media does not come; empty takes the words away. */
    showNote(text) {
        this.note.textContent = text;
        this.note.hidden = text === '';
    }

    showHand(place) {
        this.hand.hidden = !place || this.isScreen;
        this.hand.querySelector('b').textContent = place ? number(place) : '';
    }

    showPin() {
        this.pinButton.setAttribute('aria-pressed', String(this.isPinned));
        this.pinButton.title = this.isPinned ? t('Unpin') : t('Pin');
    }

    /** Puts the tile at `box` of arrangement.js, or takes it off the page; sound goes on. */
    place(box) {
        this.node.hidden = !box;
        this.node.classList.toggle('is-large', Boolean(box?.isLarge));
        if (!box)
            return;
        putAt(this.node, box);
        this.node.classList.toggle('is-tiny', box.width < 180);
    }

    remove() {
        this.video.srcObject = null;
        this.node.remove();
    }
}

function button(iconName, label, onclick) {
    return element('button', {
        type: 'button', className: 'tile-button', title: label, 'aria-label': label, onclick,
    }, icon(iconName));
}

function initials(name) {
    const words = name.split(/[^\p{L}\p{N}]+/u).filter(Boolean);
    return words.slice(0, 2).map((word) => [...word][0].toUpperCase()).join('') || '?';
}
