/** The grid of videos: one tile per stream, ours and theirs. */

import { byId, element, icon } from './element.js';

const SPEAKING_TICK_MS = 400;
/** RFC 6464 levels arrive as 0..1; about -40 dB counts as speech. */
const SPEAKING_LEVEL_MIN = 0.01;

export class Stage {
    /** `onStop(stream)` is called when the user ends one of our own screen shares. */
    constructor(onStop) {
        this.onStop = onStop;
        this.grid = byId('grid');
        this.tiles = new Map();
        byId('hear').addEventListener('click', () => this.#playAll());
        new ResizeObserver(() => this.#layOut()).observe(this.grid);
        setInterval(() => this.#markSpeakers(), SPEAKING_TICK_MS);
    }

    add(stream, replaces) {
        const tile = this.#build(stream);
        const old = this.tiles.get(replaces);
        if (old)
            old.node.replaceWith(tile.node);
        else if (stream.label === 'screenshare')
            this.grid.prepend(tile.node);
        else
            this.grid.append(tile.node);
        this.tiles.delete(replaces);
        this.tiles.set(stream.id, tile);
        this.update(stream);
    }

    remove(stream) {
        const tile = this.tiles.get(stream.id);
        if (!tile)
            return;
        tile.video.srcObject = null;
        tile.node.remove();
        this.tiles.delete(stream.id);
        this.#layOut();
    }

    /** Shows what the stream has become: its tracks, its connection, our own muted microphone. */
    update(stream) {
        const tile = this.tiles.get(stream.id);
        if (!tile)
            return;
        if (tile.video.srcObject !== stream.media)
            tile.video.srcObject = stream.media;
        const hasVideo = stream.media.getVideoTracks().length > 0;
        const isMuted = stream.direction === 'up'
            && stream.media.getAudioTracks().some((track) => !track.enabled);
        tile.node.classList.toggle('audio-only', !hasVideo);
        tile.node.classList.toggle('is-muted', isMuted);
        tile.node.classList.toggle('is-waiting', stream.pc.connectionState !== 'connected');
        if (stream.media.getTracks().length > 0)
            this.#play(tile);
        this.#layOut();
    }

    #build(stream) {
        const isOwn = stream.direction === 'up';
        const isScreen = stream.label === 'screenshare';
        const name = stream.username || '(anonymous)';
        const title = `${name}${isOwn ? ' (you)' : ''}${isScreen ? ' – screen' : ''}`;
        const video = element('video', {
            autoplay: true, playsInline: true, muted: isOwn, 'aria-label': title,
        });
        const buttons = element('div', { className: 'tile-buttons' });
        const node = element(
            'figure',
            { className: 'tile' },
            element('div', { className: 'avatar', 'aria-hidden': 'true' }, initials(name)),
            video,
            element('figcaption', {}, icon('mic-off'), title),
            buttons,
        );
        node.classList.toggle('is-own', isOwn);
        node.classList.toggle('is-screen', isScreen);
        node.dataset.stream = stream.id;
        if (isOwn && isScreen)
            buttons.append(tileButton('close', 'Stop sharing', () => this.onStop(stream)));
        buttons.append(tileButton('expand', `Full screen: ${title}`, () => {
            if (document.fullscreenElement)
                document.exitFullscreen();
            else
                node.requestFullscreen?.().catch(() => {});
        }));
        return { node, video, stream };
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
    }

    #markSpeakers() {
        for (const { node, stream } of this.tiles.values()) {
            if (stream.direction !== 'down')
                continue;
            const levels = stream.pc.getReceivers()
                .filter((receiver) => receiver.track?.kind === 'audio')
                .flatMap((receiver) => receiver.getSynchronizationSources())
                .map((source) => source.audioLevel ?? 0);
            node.classList.toggle('is-speaking', Math.max(0, ...levels) > SPEAKING_LEVEL_MIN);
        }
    }

    /** Chooses the number of columns that makes 16:9 tiles largest. */
    #layOut() {
        const count = this.tiles.size;
        byId('empty').hidden = count > 0;
        const hasScreen = [...this.tiles.values()].some(
            ({ stream }) => stream.label === 'screenshare',
        );
        this.grid.classList.toggle('has-screen', hasScreen && count > 1);
        const { clientWidth: width, clientHeight: height } = this.grid;
        let best = { columns: 1, tileWidth: 0 };
        for (let columns = 1; columns <= count; columns += 1) {
            const rows = Math.ceil(count / columns);
            const tileWidth = Math.min(width / columns, height / rows * 16 / 9);
            if (tileWidth > best.tileWidth)
                best = { columns, tileWidth };
        }
        this.grid.style.setProperty('--columns', best.columns);
        this.grid.style.setProperty('--rows', Math.max(1, Math.ceil(count / best.columns)));
    }
}

function tileButton(iconName, label, onclick) {
    return element('button', {
        type: 'button', className: 'tile-button', title: label, 'aria-label': label, onclick,
    }, icon(iconName));
}

function initials(name) {
    const words = name.split(/[^\p{L}\p{N}]+/u).filter(Boolean);
    return words.slice(0, 2).map((word) => [...word][0].toUpperCase()).join('') || '?';
}
