/** What operators can do with a person of the list: loaded when one of them opens the menu. */

import { ask } from './ask.js';
import { byId, element } from './element.js';
import { need, t } from './language.js';
import { nameOf } from './names.js';
import { isSelf } from './state.js';

await need('tools');

/** The entries of the menu of `user`; `deeds` are those of people.js. */
export function powersOver(user, connection, deeds) {
    const holds = (permission) => user.permissions.includes(permission);
    const act = (text, kind) => ({ text, onclick: () => connection.userAction(kind, user.id) });
    if (holds('system'))
        return [act(t('Stop'), 'kick')];
    const items = [];
    if (!isSelf(user) && connection.data.quiet && holds('present'))
        items.push({ text: t('Let speak'), onclick: () => deeds.letSpeak(user) });
    items.push(...deeds.spotlight(user));
    if (!isSelf(user) && holds('present'))
        items.push({ text: t('Mute'), onclick: () => connection.userMessage('mute', user.id, undefined) });
    items.push(
        holds('present') ? act(t('Forbid presenting'), 'unpresent') : act(t('Allow presenting'), 'present'),
        holds('message') ? act(t('Forbid chat'), 'shutup') : act(t('Allow chat'), 'unshutup'),
        holds('op') ? act(t('Take operator role'), 'unop') : act(t('Make operator'), 'op'),
    );
    if (!isSelf(user))
        items.push({ text: t('Remove from group'), isDanger: true, onclick: () => remove(user, connection) });
    return items;
}

/** Asks whether `user` shall go, and whether the group shall be locked, so that who was put out must knock. */
async function remove(user, connection) {
    const box = element('input', { type: 'checkbox', id: 'ask-lock' });
    const offer = element('label', { className: 'check' }, box,
        t('Lock the group as well, so that nobody comes back without knocking'));
    const mayLock = connection.met.includes('knock') && !connection.status.locked;
    if (mayLock)
        byId('ask-text').after(offer);
    const isSure = await ask(t('Remove {name} from the group?', { name: nameOf(user) }), t('Remove'));
    offer.remove();
    if (!isSure)
        return;
    // First: who is quick would be back already.
    if (mayLock && box.checked)
        connection.groupAction('lock');
    connection.userAction('kick', user.id);
}
