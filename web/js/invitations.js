/** Invitations: links that let one person in without a password. Made, listed, copied, ended. */

import { byId, element } from './element.js';
import { dateTime, t } from './language.js';
import { announce, notify } from './notices.js';
import { state } from './state.js';

const HOUR_MS = 3_600_000;
/** What a guest may do, as far as whoever invites may do it. */
const GUEST_PERMISSIONS = ['present', 'message'];

export class Invitations {
    constructor(connection) {
        this.connection = connection;
        byId('invite-form').onsubmit = (event) => {
            event.preventDefault();
            this.#make();
        };
    }

    open() {
        byId('invite-link').hidden = true;
        byId('invite-name').value = '';
        byId('invite-list').replaceChildren();
        byId('invite').showModal();
        this.#askForList();
    }

    /** Takes the server's answer to what was asked here. */
    took(kind, { error, value }) {
        if (kind === 'tokenlist') {
            this.#list(value ?? []);
            return;
        }
        if (error) {
            notify(error === 'not-authorised' ? t('You may not invite anybody here.')
                : t('The invitation was refused: {reason}.', { reason: value }));
            return;
        }
        // An invitation that was ended comes back, too; only new ones are copied.
        if (this.#isMaking) {
            this.#isMaking = false;
            byId('invite-link').hidden = false;
            byId('invite-url').value = linkOf(value);
            copy(linkOf(value));
        }
        this.#askForList();
    }

    #isMaking = false;

    #askForList() {
        // Only operators may see them all.
        if (this.connection.can('op'))
            this.connection.groupAction('listtokens');
    }

    #make() {
        const { connection } = this;
        this.#isMaking = true;
        connection.groupAction('maketoken', {
            group: state.groupName,
            username: byId('invite-name').value.trim() || undefined,
            expires: HOUR_MS * Number(byId('invite-hours').value),
            // Guests go to breakout rooms with everybody else.
            includeAutoSubgroups: true,
            permissions: GUEST_PERMISSIONS.filter((permission) => connection.can(permission)),
        });
    }

    #list(tokens) {
        const now = Date.now();
        const valid = tokens.filter(({ expires }) => !expires || new Date(expires) > now);
        const hadFocus = byId('invite-list').contains(document.activeElement);
        byId('invite-list').replaceChildren(...valid.map((token) => {
            const name = token.username || t('anybody');
            return element('li', {},
                element('span', { dir: 'auto' }, token.expires
                    ? t('{name}, until {time}', { name, time: when(token.expires) }) : name),
                small(t('Copy'), t('Copy the link for {name}', { name }), () => copy(linkOf(token))),
                small(t('A day more'), t('A day more for {name}', { name }),
                    () => this.#edit(token, new Date(token.expires).getTime() + 24 * HOUR_MS)),
                small(t('End'), t('End the invitation of {name}', { name }), () => this.#edit(token, now - 1_000)));
        }));
        byId('invite-none').hidden = valid.length > 0;
        if (hadFocus)
            byId('invite-name').focus();
    }

    #edit({ token }, untilMs) {
        this.connection.groupAction('edittoken', {
            token, group: state.groupName, expires: new Date(untilMs).toISOString(),
        });
    }
}

function small(text, label, onclick) {
    return element('button', { type: 'button', className: 'plain link', 'aria-label': label, onclick },
        text);
}

function linkOf({ token }) {
    const url = new URL(location.pathname, location.origin);
    url.searchParams.set('token', token);
    // The key of an encrypted class, which no server sees.
    url.hash = location.hash;
    return url.href;
}

async function copy(link) {
    try {
        await navigator.clipboard.writeText(link);
        announce(t('The link was copied.'));
        byId('invite-copied').textContent = t('Copied. Whoever has the link can come in.');
    } catch {
        byId('invite-copied').textContent = t('Copy it from here; whoever has it can come in.');
        byId('invite-url').select();
    }
}

function when(time) {
    return dateTime(new Date(time), { dateStyle: 'medium', timeStyle: 'short' });
}
