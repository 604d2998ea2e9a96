/** Presenting allowed to all who are here, or taken back from them: a dialog of operators that says how many that is. */

import { element } from './element.js';
import { need, t, tn } from './language.js';
import { notify } from './notices.js';
import './tools-style.js';

await need('tools');

/** So many at once, and one more each time: the server takes a hundred at once and ten a second. */
const AT_ONCE = 40;
const EACH_MS = 125;

/** Opens it over the group of `connection`. */
export function openPresenting(connection) {
    const [lack, hold] = [false, true].map((holds) => membersWho(connection, holds));
    const dialog = element('dialog', { className: 'presenting', 'aria-labelledby': 'presenting-title' });
    const deed = (ids, text, act) => (ids.length === 0 ? [] : [element('button', {
        type: 'button',
        onclick: () => {
            dialog.close();
            act(ids);
        },
    }, text)]);
    dialog.append(
        element('h2', { id: 'presenting-title' }, t('Who may present')),
        element('p', {}, lack.length + hold.length === 0 ? t('Nobody is here but operators.')
            : t('Presenting is sound, camera and screen; who may no longer do it stops sending. Operators, and those who come later, are not concerned.')),
        element('div', { className: 'actions' },
            ...deed(lack, tn(lack.length, 'Allow it to {count} person', 'Allow it to {count} people'), async (ids) => {
                const count = await inTurn(() => each(connection, ids, 'present'));
                notify(tn(count, '{count} person more may present now.', '{count} people more may present now.'), 'info');
            }),
            ...deed(hold, tn(hold.length, 'Take it from {count} person', 'Take it from {count} people'), async (ids) => {
                const count = await inTurn(() => each(connection, ids, 'unpresent'));
                notify(tn(count, '{count} person may no longer present.', '{count} people may no longer present.'), 'info');
            }),
            element('button', { type: 'button', autofocus: true, onclick: () => dialog.close() }, t('Cancel'))),
    );
    dialog.addEventListener('close', () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
}

/** The ids of those who may present, or of those who may not. */
function membersWho({ users }, holds) {
    return [...users.values()].filter((user) => isConcerned(user, holds)).map(({ id }) => id);
}

function isConcerned({ permissions }, holds) {
    return !permissions.includes('op') && !permissions.includes('system') && permissions.includes('present') === holds;
}

let last = Promise.resolve();

/** Two at once would be more than the server takes. */
function inTurn(act) {
    last = last.then(act);
    return last;
}

/** Does it to each who is still here and not dealt with, as fast as the server takes it; gives how many these were. */
async function each(connection, ids, kind) {
    let count = 0;
    for (const id of ids) {
        const user = connection.users.get(id);
        if (!user || !isConcerned(user, kind === 'unpresent'))
            continue;
        if (count >= AT_ONCE)
            await new Promise((resolve) => setTimeout(resolve, EACH_MS));
        if (!connection.userAction(kind, id))
            break;
        count += 1;
    }
    return count;
}
