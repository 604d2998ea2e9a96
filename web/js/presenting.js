/** Presenting allowed to all who are here, or taken back from them: a dialog of operators that says how many that is. */

import { element } from './element.js';
import { need, t, tn } from './language.js';
import { notify } from './notices.js';
import { state } from './state.js';
import './tools-style.js';

await need('tools');

/** So many at once, and one more each time: the server takes a hundred at once and ten a second. */
const AT_ONCE = 40;
const EACH_MS = 125;

/** Opens it over the group of `connection`. */
export function openPresenting(connection) {
    const { signal } = state.room;
    const [lack, hold] = [false, true].map((holds) => membersWho(connection, holds));
    const dialog = element('dialog', { className: 'presenting', 'aria-labelledby': 'presenting-title' });
    const deed = (ids, text, kind, told) => (ids.length === 0 ? [] : [element('button', {
        type: 'button',
        onclick: async () => {
            dialog.close();
            const { done, left } = await inTurn(() => each(connection, signal, ids, kind));
            report(signal, left, told(done));
        },
    }, text)]);
    dialog.append(
        element('h2', { id: 'presenting-title' }, t('Who may present')),
        element('p', {}, lack.length + hold.length === 0 ? t('Nobody is here but operators.')
            : t('Presenting is sound, camera and screen; who may no longer do it stops sending. Operators, and those who come later, are not affected.')),
        element('div', { className: 'actions' },
            ...deed(lack, tn(lack.length, 'Allow {count} person to present', 'Allow {count} people to present'),
                'present', (done) => tn(done, '{count} more person may present now.',
                    '{count} more people may present now.')),
            ...deed(hold, tn(hold.length, 'Take it from {count} person', 'Take it from {count} people'),
                'unpresent', (done) => tn(done, '{count} person may no longer present.',
                    '{count} people may no longer present.')),
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
    last = last.catch(() => {}).then(act);
    return last;
}

/** Whether the group is no longer on the page. */
function isOver(signal) {
    return signal.aborted || !state.isInside;
}

/**
 * Does it to each who is still here and not dealt with, as fast as the server takes it. Gives how many these were, and
 * how many are left because the connection was lost or the group left.
 */
async function each(connection, signal, ids, kind) {
    let done = 0;
    for (const [at, id] of ids.entries()) {
        if (done >= AT_ONCE)
            await new Promise((resolve) => setTimeout(resolve, EACH_MS));
        // Without a connection nobody is known.
        if (!connection.isJoined || isOver(signal))
            return { done, left: ids.length - at };
        const user = connection.users.get(id);
        if (!user || !isConcerned(user, kind === 'unpresent'))
            continue;
        if (!connection.userAction(kind, id))
            return { done, left: ids.length - at };
        done += 1;
    }
    return { done, left: 0 };
}

/** Says how it went, to who is still in the group. */
function report(signal, left, text) {
    if (isOver(signal))
        return;
    if (left === 0) {
        notify(text, 'info');
        return;
    }
    const rest = tn(left, 'The connection was lost: try again for the other one.',
        'The connection was lost: try again for the other {count}.');
    notify(`${text} ${rest}`);
}
