/**
 * Whom an operator shows large for everybody: the group's data names a person and the label of a stream,
 * which stay when the camera is switched off and on. It takes the place of who speaks; a viewer's own pin
 * wins over it, and a shared screen stays large beside a camera. On their own page people are only marked.
 */

import { element, icon } from './element.js';
import { need, t } from './language.js';
import { nameOf } from './names.js';
import { announce, notify } from './notices.js';
import { personOf } from './person.js';
import { isSelf } from './state.js';

await need('tools');

/** Who is away for less is back from a reload or a lost connection. */
const GRACE_MS = 5_000;

export class Spotlight {
    /** Ends with `signal`, as the membership does. */
    constructor(connection, stage, signal) {
        this.connection = connection;
        this.stage = stage;
        for (const event of ['joined', 'user'])
            connection.addEventListener(event, () => this.#follow(), { signal });
        signal.addEventListener('abort', () => clearTimeout(this.#timer));
        this.#follow();
    }

    /** Marks the one of `tiles` that is shown, and chooses it if it is one of several screens. */
    mark(tiles) {
        for (const tile of tiles) {
            const isLit = this.#isOn(tile.stream);
            if (isLit && !tile.isLit && tile.isScreen && !tile.isOwn)
                this.stage.shareId = tile.stream.id;
            tile.isLit = isLit;
            showMark(tile);
        }
    }

    /** What an operator can do in the menu of a tile. */
    entriesOf({ stream }) {
        if (!this.connection.can('op'))
            return [];
        return this.#isOn(stream) ? [this.#end()] : [{
            text: t('Show large for everybody'),
            onclick: () => this.#set({ person: this.#personOf(stream.source), label: stream.label }),
        }];
    }

    /** The same in the menu of a person. */
    entriesFor(user) {
        if (this.connection.can('op') && this.#now?.person === personOf(user))
            return [this.#end()];
        const tile = [...this.stage.tiles.values()]
            .find(({ stream, isScreen }) => stream.source === user.id && !isScreen);
        return tile ? this.entriesOf(tile) : [];
    }

    /** As the group's data has it: {person, label}, or null. */
    get #now() {
        return this.connection.data.spotlight || null;
    }

    #timer = null;
    #told = null;

    #end() {
        return { text: t('No longer show large for everybody'), onclick: () => this.#set(false) };
    }

    #set(spotlight) {
        // Not taken back by null: data that is empty is not told.
        this.connection.groupAction('setdata', { spotlight });
    }

    #isOn({ label, source }) {
        const now = this.#now;
        return now !== null && now.label === label && now.person === this.#personOf(source);
    }

    #personOf(id) {
        return personOf(this.connection.users.get(id) ?? { id });
    }

    #userOf(now) {
        return now && [...this.connection.users.values()].find((user) => personOf(user) === now.person);
    }

    /** The group's data or who is here may have changed. */
    #follow() {
        const now = this.#now;
        const user = this.#userOf(now);
        this.#tell(now, user);
        if (!now || user) {
            clearTimeout(this.#timer);
            this.#timer = null;
        } else {
            this.#timer ??= setTimeout(() => this.#endWithout(), GRACE_MS);
        }
        this.stage.layOut();
    }

    /** Without the person it is over, which any operator's page says. */
    #endWithout() {
        this.#timer = null;
        const { connection } = this;
        if (connection.isJoined && connection.can('op') && this.#now && !this.#userOf(this.#now))
            this.#set(false);
    }

    /** Tells once who is shown, and the end to those who still see them. */
    #tell(now, user) {
        const before = this.#told;
        if (now ? !user || isSame(now, before) : !before)
            return;
        this.#told = now;
        const whom = user ?? this.#userOf(before);
        if (!whom)
            return;
        const isOwn = isSelf(whom);
        const name = isOwn ? t('{name} (you)', { name: nameOf(whom) }) : nameOf(whom);
        const text = now ? t('{name} is large for everybody.', { name })
            : t('{name} is no longer large for everybody.', { name });
        if (isOwn)
            notify(text, 'info');
        else
            announce(text);
    }
}

function isSame(one, other) {
    return one.person === other?.person && one.label === other.label;
}

/** Part of the caption, which names the tile. */
function showMark({ isLit, caption }) {
    const old = caption.parentNode.querySelector('.tile-spotlight');
    if (!isLit) {
        old?.remove();
        return;
    }
    const mark = old ?? element('span', { className: 'tile-spotlight', role: 'img' }, icon('spotlight'));
    mark.setAttribute('aria-label', t('Large for everybody'));
    mark.title = t('Large for everybody');
    if (!old)
        caption.before(mark);
}
