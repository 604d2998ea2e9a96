/** The list of who is here, and what can be done with each. */

import { byId, element, icon } from './element.js';
import { compare, list, number, t } from './language.js';
import { closeMenuOf, openMenu } from './menu.js';
import { nameOf } from './names.js';
import { announce, notify } from './notices.js';
import { rove } from './roving.js';
import { isSelf, state } from './state.js';

/** After joining, people who are there already are no news. */
const QUIET_MS = 2_000;
/** A field to search in appears with so many people. */
const SEARCH_FROM = 15;
/** Letters that no accent comes off, and what those type who do not have them. */
const PLAIN = { ł: 'l', ø: 'o', đ: 'd', ð: 'd', ı: 'i', æ: 'ae', œ: 'oe', ß: 'ss' };

let refreshStops;

export class People {
    /** `deeds` has writeTo, lowerHand, letSpeak, giveFile and volume, and spotlight for more entries, each of a user. */
    constructor(connection, deeds) {
        this.connection = connection;
        this.deeds = deeds;
        this.list = byId('people-list');
        this.rows = new Map();
        this.places = new Map();
        refreshStops ??= rove(this.list, '.person-button');
        byId('people-search').oninput = () => this.#filter();
        this.clear();
    }

    /** Nobody is known: before a (new) connection tells who is there. */
    clear() {
        this.quietUntil = performance.now() + QUIET_MS;
        this.rows.clear();
        this.list.replaceChildren();
    }

    /** Shows one user as it now is; `kind` is add, change or delete. */
    update(kind, user) {
        const isKnown = this.rows.has(user.id);
        if (kind === 'delete')
            this.#remove(user);
        else
            this.#show(user);
        if (isKnown !== (kind !== 'delete')) {
            // Others of the same name need their marks, or no longer.
            for (const other of this.connection.users.values()) {
                if (other.username === user.username && other.id !== user.id)
                    this.#show(other);
            }
            if (performance.now() > this.quietUntil && !isSelf(user) && !user.isBack
                && !(kind === 'add' && user.data?.was) && !this.connection.data.breakouts)
                announce(kind === 'delete' ? t('{name} left.', { name: nameOf(user) })
                    : t('{name} joined.', { name: nameOf(user) }));
        }
        const { size } = this.connection.users;
        byId('people-count').textContent = number(size);
        byId('people-search').hidden = size < SEARCH_FROM;
        refreshStops();
    }

    /** Draws all rows anew, after our own permissions have changed. */
    refresh() {
        for (const user of this.connection.users.values())
            this.#show(user);
    }

    /** Takes the places in the queue of raised hands. */
    showHands(places) {
        const before = this.places;
        const changed = [...new Set([...places.keys(), ...before.keys()])]
            .filter((id) => places.get(id) !== before.get(id));
        this.places = places;
        for (const id of changed) {
            const user = this.connection.users.get(id);
            if (user)
                this.#show(user);
        }
        byId('people-hands').hidden = places.size === 0;
        byId('people-hands').querySelector('span').textContent = number(places.size);
    }

    #show(user) {
        const row = this.rows.get(user.id) ?? this.#build(user);
        const name = nameOf(user);
        const badges = this.#badges(user);
        row.name.textContent = isSelf(user) ? t('{name} (you)', { name }) : name;
        row.badges.replaceChildren(...badges.map(([iconName, text]) => badge(iconName, text)));
        row.button.title = list(badges.map(([, text]) => text));
        const key = `${isSelf(user) ? 0 : 1} ${name} ${user.id}`;
        if (row.key !== key) {
            row.key = key;
            this.#place(row);
        }
        this.#filter(row);
    }

    #build(user) {
        const name = element('span', { className: 'person-name', dir: 'auto' });
        const badges = element('span', { className: 'person-badges' });
        const button = element('button', {
            type: 'button', className: 'plain person-button',
            'aria-haspopup': 'menu', 'aria-expanded': 'false', tabIndex: -1,
        }, name, badges);
        const node = element('li', { className: 'person' }, button);
        node.dataset.id = user.id;
        button.onclick = async () => {
            const more = this.connection.can('op') && await import('./operating.js').catch(() => {
                notify(t('The server cannot be reached. Check the network, and try again.'));
            });
            const now = this.connection.users.get(user.id);
            const actions = now ? this.#actions(now) : [];
            if (more && now)
                actions.push(...more.powersOver(now, this.connection, this.deeds));
            if (actions.length > 0)
                openMenu(button, t('What to do with {name}', { name: nameOf(now) }), actions);
        };
        const row = { node, name, badges, button };
        this.rows.set(user.id, row);
        return row;
    }

    #place(row) {
        const hadFocus = document.activeElement === row.button;
        const next = [...this.list.children].find((other) => (
            other !== row.node
            && compare(row.key, this.rows.get(other.dataset.id).key) < 0));
        this.list.insertBefore(row.node, next ?? null);
        if (hadFocus)
            row.button.focus();
    }

    #remove(user) {
        const row = this.rows.get(user.id);
        if (!row)
            return;
        closeMenuOf(row.button);
        // Those that a search has left.
        const seen = [...this.list.children].filter((node) => !node.hidden);
        const at = seen.indexOf(row.node);
        const neighbour = seen[at + 1] ?? seen[at - 1];
        const hadFocus = row.node.contains(document.activeElement);
        row.node.remove();
        this.rows.delete(user.id);
        if (hadFocus)
            (neighbour?.querySelector('.person-button') ?? byId('people-close')).focus();
    }

    #filter(only) {
        const wanted = folded(byId('people-search').value.trim());
        for (const row of only ? [only] : this.rows.values())
            row.node.hidden = !folded(row.name.textContent).includes(wanted);
        const isFound = wanted === '' || [...this.rows.values()].some(({ node }) => !node.hidden);
        const text = isFound ? '' : t('Nobody of that name is here.');
        if (byId('people-none').textContent !== text)
            byId('people-none').textContent = text;
        if (!only)
            refreshStops();
    }

    #badges(user) {
        const badges = [];
        const place = this.places.get(user.id);
        if (place)
            badges.push(['hand', t('Hand raised, number {place}', { place: number(place) })]);
        if (typeof user.data?.room === 'string')
            badges.push(['door', t('In room {room}', { room: user.data.room })]);
        if (isRecorded(user))
            badges.push(['record', t('Is recorded')]);
        if (user.data?.weak)
            badges.push(['weak', t('Weak connection')]);
        if (user.permissions.includes('op'))
            badges.push(['star', t('Operator')]);
        if (user.permissions.includes('present')) {
            if (user.data?.camera)
                badges.push(['camera', t('Camera on')]);
            // Other clients do not tell; then nothing is said rather than something wrong.
            badges.push(user.data?.muted ? ['mic-off', t('Microphone off')] : ['mic', t('May speak')]);
        }
        return badges;
    }

    #actions(user) {
        const { connection, deeds } = this;
        const holds = (permission) => user.permissions.includes(permission);
        if (holds('system'))
            return [];
        const items = [];
        if (!isSelf(user) && connection.can('message'))
            items.push({ text: t('Write in private'), onclick: () => deeds.writeTo(user) });
        if (!isSelf(user) && connection.can('message'))
            items.push({ text: t('Give a file…'), onclick: () => deeds.giveFile(user) });
        if (!isSelf(user) && holds('present'))
            items.push({ text: t('Volume…'), onclick: () => deeds.volume(user) });
        if (isSelf(user) && state.status.recording && state.status.recordingConsent === 'asked') {
            const agrees = !isRecorded(user);
            items.push({
                text: agrees ? t('Record me') : t('Do not record me'),
                onclick: async () => (await import('./consent.js')).agree(agrees),
            });
        }
        if (this.places.has(user.id) && (isSelf(user) || connection.can('op')))
            items.push({ text: t('Lower hand'), onclick: () => deeds.lowerHand(user) });
        return items;
    }
}

/** Where all are recorded the server tells of nobody by name. */
function isRecorded({ permissions, data }) {
    const { recording, recordingConsent } = state.status;
    return recording && !permissions.includes('system') && (!recordingConsent || data?.recorded);
}

/** As it is searched for: who types "Jose" or "Lukasz" finds José and Łukasz. */
function folded(text) {
    return text.toLowerCase().normalize('NFKD').replace(/\p{M}/gu, '')
        .replace(/[łøđðıæœß]/g, (letter) => PLAIN[letter]);
}

function badge(iconName, text) {
    return element('span', { className: `badge badge-${iconName}`, role: 'img',
        'aria-label': text }, icon(iconName));
}
