/**
 * Who was here and for how long, as this page saw it: an operator's own record, kept while the page
 * is open and told to nobody else. Several people of one name are several rows.
 */

import { t } from './language.js';
import { hasPerson, personOf } from './person.js';

export class Attendance {
    constructor() {
        /** By person: {name, isSure, firstMs, lastMs, presentMs, here: the ids now here, sinceMs}. */
        this.people = new Map();
    }

    /** Takes what happened to `user` at `nowMs`. */
    update(kind, user, nowMs = Date.now()) {
        if (kind === 'delete') {
            this.#left(this.#byId.get(user.id), user.id, nowMs);
            this.#byId.delete(user.id);
            return;
        }
        if (user.permissions?.includes('system'))
            return;
        if (this.#byId.has(user.id)) {
            this.#becomes(user, nowMs);
            return;
        }
        const person = this.#recordOf(user, nowMs);
        this.#byId.set(user.id, person);
        // With two devices somebody is present once.
        if (person.here.size === 0)
            person.sinceMs = nowMs;
        person.here.add(user.id);
    }

    /** Our own connection was lost: until it is back nobody is seen. */
    blind(nowMs = Date.now()) {
        for (const [id, person] of this.#byId)
            this.#left(person, id, nowMs);
        this.#byId.clear();
    }

    #byId = new Map();

    #recordOf(user, nowMs) {
        const name = user.username || t('(anonymous)');
        const isSure = hasPerson(user.data);
        const person = personOf(user);
        // Of another client, which tells no more than a name, whoever left under it has come back.
        const known = isSure ? this.people.get(`${person} ${name}`)
            : [...this.people.values()].find((other) => (
                other.name === name && !other.isSure && other.here.size === 0));
        if (known)
            return known;
        const made = {
            person, name, isSure, firstMs: nowMs, lastMs: nowMs, presentMs: 0, here: new Set(), sinceMs: nowMs,
        };
        this.people.set(`${person} ${name}`, made);
        return made;
    }

    /** Somebody turns out to be one whom we have had before. */
    #becomes(user, nowMs) {
        const was = this.#byId.get(user.id);
        const known = this.people.get(`${personOf(user)} ${user.username}`);
        if (!known || known === was)
            return;
        this.#left(was, user.id, nowMs);
        if (was.here.size === 0) {
            known.presentMs += was.presentMs;
            this.people.delete(`${was.person} ${was.name}`);
        }
        if (known.here.size === 0)
            known.sinceMs = nowMs;
        known.here.add(user.id);
        this.#byId.set(user.id, known);
    }

    #left(person, id, nowMs) {
        if (!person?.here.delete(id) || person.here.size > 0)
            return;
        person.presentMs += nowMs - person.sinceMs;
        person.lastMs = nowMs;
    }
}
