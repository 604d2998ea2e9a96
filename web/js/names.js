/** What people are called on the page. */

import { t } from './language.js';
import { state } from './state.js';

/** Digits of the id that tell people of the same name apart. */
const MARK_DIGITS = 3;

/** The name of {id, username}; of several Annas each gets a mark, the same for all who see it. */
export function nameOf({ id, username }) {
    const name = username || t('(anonymous)');
    let namesakes = 0;
    for (const user of state.connection?.users.values() ?? [])
        namesakes += (user.username || t('(anonymous)')) === name;
    return namesakes > 1 ? `${name} · ${id.slice(0, MARK_DIGITS)}` : name;
}
