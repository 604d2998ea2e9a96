/** The list of who is here, and what an operator can do with them. */

import { byId, element, icon } from './element.js';

export class People {
    /** `writeTo(user)` opens a private chat. */
    constructor(connection, writeTo) {
        this.connection = connection;
        this.writeTo = writeTo;
        this.list = byId('people-list');
        this.list.replaceChildren();
    }

    /** Shows one user as it now is; `kind` is add, change or delete. */
    update(kind, user) {
        const old = this.list.querySelector(`[data-id="${CSS.escape(user.id)}"]`);
        if (kind === 'delete') {
            old?.remove();
        } else {
            const row = this.#row(user);
            row.querySelector('details')?.toggleAttribute(
                'open', Boolean(old?.querySelector('details')?.open),
            );
            old?.remove();
            const next = [...this.list.children].find((other) => row.dataset.key < other.dataset.key);
            this.list.insertBefore(row, next ?? null);
        }
        byId('people-count').textContent = String(this.connection.users.size);
    }

    /** Draws all rows anew, after our own permissions have changed. */
    refresh() {
        for (const user of this.connection.users.values())
            this.update('change', user);
    }

    #row(user) {
        const isSelf = user.id === this.connection.id;
        const name = user.username || '(anonymous)';
        const raised = user.data?.raisehand ? 0 : 1;
        const label = element('span', { className: 'person-name' },
            name, isSelf ? element('small', {}, ' (you)') : '');
        const badges = element('span', { className: 'person-badges' });
        if (raised === 0)
            badges.append(badge('hand', 'Hand raised'));
        if (user.permissions.includes('op'))
            badges.append(badge('star', 'Operator'));
        if (user.permissions.includes('present'))
            badges.append(badge('camera', 'May present'));
        const actions = this.#actions(user, isSelf);
        const row = element('li', { className: 'person' });
        if (actions.length > 0) {
            const menu = element('details', {},
                element('summary', {}, label, badges),
                element('div', { className: 'person-actions' }, ...actions));
            row.append(menu);
        } else {
            row.append(element('div', { className: 'person-plain' }, label, badges));
        }
        row.dataset.id = user.id;
        // Raised hands first, then by name; the id keeps equal names in a stable order.
        row.dataset.key = `${raised} ${name.toLowerCase()} ${user.id}`;
        return row;
    }

    #actions(user, isSelf) {
        const isOp = this.connection.can('op');
        const holds = (permission) => user.permissions.includes(permission);
        const act = (text, kind, value) => action(text,
            () => this.connection.userAction(kind, user.id, value));
        const actions = [];
        if (holds('system'))
            return isOp ? [act('Stop', 'kick')] : [];
        if (!isSelf && this.connection.can('message'))
            actions.push(action('Write in private', () => this.writeTo(user)));
        if (!isOp)
            return actions;
        if (!isSelf) {
            actions.push(action('Mute',
                () => this.connection.userMessage('mute', user.id, undefined)));
        }
        actions.push(
            holds('present') ? act('Forbid presenting', 'unpresent')
                : act('Allow presenting', 'present'),
            holds('message') ? act('Forbid chat', 'shutup') : act('Allow chat', 'unshutup'),
            holds('op') ? act('Take operator role', 'unop') : act('Make operator', 'op'),
        );
        if (!isSelf)
            actions.push(act('Remove from group', 'kick'));
        return actions;
    }
}

function action(text, onclick) {
    return element('button', { type: 'button', className: 'plain', onclick }, text);
}

function badge(iconName, text) {
    return element('span', { className: `badge badge-${iconName}`, title: text, role: 'img',
        'aria-label': text }, icon(iconName));
}
