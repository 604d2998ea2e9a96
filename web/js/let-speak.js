/** The buttons that give raised hands the word; loaded for operators when there is a hand. */

import { byId, element } from './element.js';
import { need, t } from './language.js';
import { nameOf } from './names.js';
import { isSelf } from './state.js';
import { steady } from './steady.js';

await need('tools');

const moved = steady(byId('hands-list'), 'button');
// The buttons come late, and push others aside.
moved();
let shown = [];

/** The button for `user` in the list of `hands`, which lowers the hand, too; empty for who has none. */
export function letSpeakButton(hands, user) {
    if (!hands.connection.can('op') || isSelf(user))
        return '';
    return element('button', {
        type: 'button', className: 'plain', 'aria-label': t('Let speak: {name}', { name: nameOf(user) }),
        onclick: () => {
            hands.letSpeak(user);
            hands.lower(user);
        },
    }, t('Let speak'));
}

/** Takes the ids of those in the list, in its order: whoever takes the place of another gets no press meant for that one. */
export function follow(queue) {
    if (queue.some((id, at) => at < shown.length && id !== shown[at]))
        moved();
    shown = queue;
}
