/**
 * Who somebody is beyond one connection, whose id goes with it: a number that each page publishes under
 * `person`, and keeps in its tab over lost connections and reloads. It tells people of one name apart. It
 * proves nothing, as a name does not.
 */

import { randomId } from './random.js';
import { state } from './state.js';
import { keep, kept } from './tab.js';

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
    const known = kept(keyOf(name));
    if (PERSON.test(known))
        return known;
    const made = randomId().slice(0, 16);
    keepPerson(name, made);
    return made;
}

/** We are somebody whom the group knows already. */
export function keepPerson(name, person) {
    keep(keyOf(name), person);
}

function keyOf(name) {
    return `aula:person:${state.mainGroup}:${name}`;
}
