/** What people are called on the page. */

import { t } from './language.js';
import { personOf } from './person.js';
import { state } from './state.js';

/** Digits of the number that tell people of the same name apart. */
const MARK_DIGITS = 3;

/** The name of {id, username} among `users`; of several Annas each gets a mark, the same for all who see it. */
export function nameOf(user, users = state.connection?.users) {
    const name = user.username || t('(anonymous)');
    const person = personOf(users?.get(user.id) ?? user);
    for (const other of users?.values() ?? []) {
        // Somebody with two devices is one person.
        if ((other.username || t('(anonymous)')) === name && personOf(other) !== person)
            return marked(name, person);
    }
    return name;
}

/** A name that others have, too, with the mark of one person. */
export function marked(name, person) {
    return `${name} · ${person.slice(0, MARK_DIGITS)}`;
}
