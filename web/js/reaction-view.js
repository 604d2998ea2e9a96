/**
 * Reactions on the page: counts at the side of the videos, a picture on the tile and beside the name of whom it
 * comes from, and for operators in the bar how the pace is found. Only what has changed is drawn.
 */

import { byId, element } from './element.js';
import { need, number, t } from './language.js';
import { KINDS, pictureOf, wordOf } from './reaction-kinds.js';
import { state } from './state.js';
import './tools-style.js';

await need('tools');

/** Beside the videos; the most frequent are. */
const COUNTS_MAX = 5;

export class ReactionView {
    /** `reactions` is a Map of client ids to {kind}; `pace` one of kinds to counts, or null for who need not know. */
    show(reactions, pace) {
        this.#showCounts(reactions);
        this.#showBadges(reactions);
        this.#showPace(pace);
    }

    clear() {
        this.show(new Map(), null);
        this.#counts.remove();
    }

    /** Who listens hears of them from reaction-announcer.js. */
    #counts = element('div', { className: 'reactions', 'aria-hidden': 'true' });
    /** By kind. */
    #chips = new Map();
    /** By the node that they are in. */
    #badges = new Map();
    #pace = null;

    #showCounts(reactions) {
        const counts = new Map();
        for (const { kind } of reactions.values())
            counts.set(kind, (counts.get(kind) ?? 0) + 1);
        const most = KINDS.filter((kind) => counts.has(kind))
            .sort((a, b) => counts.get(b) - counts.get(a)).slice(0, COUNTS_MAX);
        for (const [kind, { node }] of this.#chips) {
            if (most.includes(kind))
                continue;
            node.remove();
            this.#chips.delete(kind);
        }
        if (most.length > 0 && !this.#counts.isConnected)
            byId('grid').append(this.#counts);
        // In one order, so that a count stays where it is when another overtakes it.
        let before = null;
        for (const kind of KINDS.filter((kind) => most.includes(kind))) {
            const chip = this.#chips.get(kind) ?? this.#chip(kind);
            if (!chip.node.isConnected)
                this.#counts.insertBefore(chip.node, before ? before.nextSibling : this.#counts.firstChild);
            put(chip.count, number(counts.get(kind)));
            before = chip.node;
        }
    }

    #chip(kind) {
        const count = element('b', {});
        const chip = { node: element('span', {}, pictureOf(kind), count), count };
        this.#chips.set(kind, chip);
        return chip;
    }

    #showBadges(reactions) {
        const wanted = new Map();
        for (const { node, stream, isScreen } of state.stage.tiles.values()) {
            if (!isScreen && !node.hidden && reactions.has(stream.source))
                wanted.set(node, reactions.get(stream.source).kind);
        }
        const rows = state.panel === 'people' ? state.room?.people.rows : null;
        for (const [id, { kind }] of rows ? reactions : []) {
            const row = rows.get(id);
            if (row)
                wanted.set(row.name, kind);
        }
        for (const [host, { kind, badge }] of this.#badges) {
            if (wanted.get(host) === kind)
                continue;
            badge.remove();
            this.#badges.delete(host);
        }
        for (const [host, kind] of wanted) {
            if (this.#badges.has(host))
                continue;
            const badge = badgeIn(host, kind);
            this.#badges.set(host, { kind, badge });
        }
    }

    /** Words as well as pictures: it stays, and is read rather than glanced at. */
    #showPace(pace) {
        const said = [...pace ?? []].filter(([, count]) => count > 0);
        if (said.length === 0) {
            this.#pace?.remove();
            this.#pace = null;
            return;
        }
        if (!this.#pace) {
            this.#pace = element('span', { id: 'pace', className: 'chip' });
            byId('hands-chip').after(this.#pace);
        }
        const text = said.map(([kind, count]) => `${wordOf(kind)} ${number(count)}`).join(', ');
        if (this.#pace.dataset.text === text)
            return;
        this.#pace.dataset.text = text;
        this.#pace.title = t('Said within the last minute; each person counts once.');
        this.#pace.replaceChildren(...said.map(([kind, count]) => element('span', {}, pictureOf(kind),
            element('span', { className: 'pace-word' }, wordOf(kind)), ' ', element('b', {}, number(count)))));
    }
}

/** On a tile, or behind a name in the list of people. */
function badgeIn(host, kind) {
    const isTile = host.matches('.tile');
    const badge = element('span', isTile ? { className: 'tile-reaction', 'aria-hidden': 'true' }
        : { className: 'person-reaction', role: 'img', 'aria-label': wordOf(kind) }, pictureOf(kind));
    if (isTile)
        host.append(badge);
    else
        host.after(badge);
    return badge;
}

function put(node, text) {
    if (node.textContent !== text)
        node.textContent = text;
}
