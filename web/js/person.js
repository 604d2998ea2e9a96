/**
 * Who somebody is beyond one connection, whose id goes with it: a number that each page publishes under
 * `person`, and keeps in its tab over lost connections and reloads. It tells people of one name apart. It
 * proves nothing, as a name does not.
 */

import { randomId } from './random.js';
import { state } from './state.js';

const PERSON = /^[0-9a-f]{16}$/;

/** The number of `user`; of whose client tells none, the id of the connection. */
export function personOf({ id, data }) {
    return hasPerson(data) ? data.person : id ?? '';
}

/** Whether this public data tells who its owner is beyond the connection. */
export function hasPerson(data) {
    return typeof data?.person === 'string' && PERSON.test(data.person);
}

/** Our own number in this group under this name. */
export function ownPerson(name) {
    try {
        const kept = sessionStorage.getItem(keyOf(name));
        if (PERSON.test(kept))
            return kept;
    } catch {
        // Without storage it ends with the page.
    }
    const made = randomId().slice(0, 16);
    keepPerson(name, made);
    return made;
}

/** We are somebody whom the group knows already. */
export function keepPerson(name, person) {
    try {
        sessionStorage.setItem(keyOf(name), person);
    } catch {
        // As above.
    }
}

function keyOf(name) {
    return `aula:person:${state.mainGroup}:${name}`;
}
