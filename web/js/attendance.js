/**
 * Who was here and for how long, as this page saw it: an operator's own record, kept while the page
 * is open and told to nobody else. People are told apart by name, because a lost connection gives
 * them another id.
 */

import { element } from './element.js';
import { t } from './language.js';
import { state } from './state.js';

export class Attendance {
    constructor() {
        /** By name: {firstMs, lastMs, presentMs, here: the ids now here, sinceMs}. */
        this.people = new Map();
    }

    /** Takes what happened to `user` at `nowMs`. */
    update(kind, { id, username, permissions }, nowMs = Date.now()) {
        if (permissions?.includes('system'))
            return;
        const name = username || t('(anonymous)');
        const person = this.people.get(name)
            ?? { firstMs: nowMs, lastMs: nowMs, presentMs: 0, here: new Set(), sinceMs: nowMs };
        this.people.set(name, person);
        if (kind === 'delete')
            this.#left(person, id, nowMs);
        else if (!person.here.has(id)) {
            // With two devices somebody is present once.
            if (person.here.size === 0)
                person.sinceMs = nowMs;
            person.here.add(id);
        }
    }

    /** Our own connection was lost: until it is back nobody is seen. */
    blind(nowMs = Date.now()) {
        for (const person of this.people.values()) {
            for (const id of [...person.here])
                this.#left(person, id, nowMs);
        }
    }

    /** The record as comma-separated values (RFC 4180). */
    csv(nowMs = Date.now()) {
        const rows = [[t('name'), t('first seen'), t('last seen'), t('minutes present')]];
        for (const [name, person] of this.people) {
            const isHere = person.here.size > 0;
            const presentMs = person.presentMs + (isHere ? nowMs - person.sinceMs : 0);
            rows.push([
                name, new Date(person.firstMs).toISOString(),
                new Date(isHere ? nowMs : person.lastMs).toISOString(),
                (presentMs / 60_000).toFixed(1),
            ]);
        }
        return rows.map((row) => row.map(field).join(',')).join('\r\n') + '\r\n';
    }

    save() {
        const url = URL.createObjectURL(new Blob([this.csv()], { type: 'text/csv' }));
        const day = new Date().toISOString().slice(0, 10);
        element('a', {
            href: url, download: `${state.groupName.replaceAll('/', '-')}-${day}.csv`,
        }).click();
        setTimeout(() => URL.revokeObjectURL(url), 10_000);
    }

    #left(person, id, nowMs) {
        if (!person.here.delete(id) || person.here.size > 0)
            return;
        person.presentMs += nowMs - person.sinceMs;
        person.lastMs = nowMs;
    }
}

/** A field in quotes; what a spreadsheet would take for a formula is made text. */
function field(text) {
    const harmless = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return `"${harmless.replaceAll('"', '""')}"`;
}
