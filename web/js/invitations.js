/** Invitations: links that let one person in without a password. Made, listed, copied, ended. */

import { byId, element } from './element.js';
import { dateTime, need, t } from './language.js';
import { announce, notify } from './notices.js';
import { state } from './state.js';
import './tools-style.js';

await need('tools');

const HOUR_MS = 3_600_000;
/** Who asks too often is not answered. */
const ANSWER_MAX_MS = 10_000;
/** What a guest may do, as far as whoever invites may do it. */
const GUEST_PERMISSIONS = ['present', 'message'];

export class Invitations {
    constructor(connection) {
        this.connection = connection;
        connection.addEventListener('state', ({ detail }) => (
            detail.state !== 'joined' && this.#failAll(t('the connection was lost'))));
        byId('invite-form').onsubmit = async (event) => {
            event.preventDefault();
            try {
                const token = await this.make({
                    username: byId('invite-name').value.trim(),
                    expires: HOUR_MS * Number(byId('invite-hours').value),
                });
                byId('invite-link').hidden = false;
                byId('invite-url').value = linkOf(token);
                copy(linkOf(token));
                this.#show();
            } catch (error) {
                notify(error.message);
            }
        };
    }

    open() {
        byId('invite-link').hidden = true;
        byId('invite-name').value = '';
        byId('invite-list').replaceChildren();
        byId('invite').showModal();
        this.#show();
    }

    /** Makes an invitation, valid for so many milliseconds or until a date: promises the token. */
    make({ username, expires }) {
        const { connection } = this;
        return this.#ask('maketoken', {
            group: state.groupName,
            username: username || undefined,
            expires,
            // Guests go to breakout rooms with everybody else.
            includeAutoSubgroups: true,
            permissions: GUEST_PERMISSIONS.filter((permission) => connection.can(permission)),
        });
    }

    /** Makes an invitation end at `expires`: promises the token as it then is. */
    edit(token, expires) {
        return this.#ask('edittoken', { token, group: state.groupName, expires });
    }

    /** Promises all invitations that are valid; for operators only. */
    async valid() {
        const tokens = await this.#ask('listtokens');
        return tokens.filter(({ expires }) => !expires || new Date(expires) > Date.now());
    }

    /** Takes the server's answer, a `token` or a `tokenlist`: each kind comes in the order of the questions. */
    took(kind, { error, value }) {
        const question = this.#asked.find((other) => other.kind === kind);
        if (error) {
            question?.fail(error === 'not-authorised' ? t('You may not invite anybody here.')
                : t('The invitation was refused: {reason}.', { reason: value }));
        } else {
            question?.done(value ?? []);
        }
    }

    #asked = [];

    #ask(action, value) {
        return new Promise((resolve, reject) => {
            const over = () => {
                clearTimeout(timer);
                this.#asked = this.#asked.filter((other) => other !== question);
            };
            const question = {
                kind: action === 'listtokens' ? 'tokenlist' : 'token',
                done: (answer) => {
                    over();
                    resolve(answer);
                },
                fail: (reason) => {
                    over();
                    reject(new Error(reason));
                },
            };
            const timer = setTimeout(
                () => question.fail(t('The server has not answered. Try again.')), ANSWER_MAX_MS);
            this.#asked.push(question);
            this.connection.groupAction(action, value);
        });
    }

    #failAll(reason) {
        for (const question of this.#asked)
            question.fail(reason);
    }

    /** Draws the list, for operators: only they may see it. */
    async #show() {
        if (!this.connection.can('op'))
            return;
        const valid = await this.valid().catch((error) => {
            notify(error.message);
            return [];
        });
        const hadFocus = byId('invite-list').contains(document.activeElement);
        byId('invite-list').replaceChildren(...valid.map((token) => {
            const name = token.username || t('anybody');
            return element('li', {},
                element('span', { dir: 'auto' }, token.expires
                    ? t('{name}, until {time}', { name, time: when(token.expires) }) : name),
                small(t('Copy'), t('Copy the link for {name}', { name }), () => copy(linkOf(token))),
                small(t('A day more'), t('A day more for {name}', { name }),
                    () => this.#change(token, new Date(token.expires).getTime() + 24 * HOUR_MS)),
                small(t('End'), t('End the invitation of {name}', { name }), () => this.#change(token, Date.now() - 1_000)));
        }));
        byId('invite-none').hidden = valid.length > 0;
        if (hadFocus)
            byId('invite-name').focus();
    }

    async #change({ token }, untilMs) {
        await this.edit(token, new Date(untilMs)).catch((error) => notify(error.message));
        await this.#show();
    }
}

function small(text, label, onclick) {
    return element('button', { type: 'button', className: 'plain link', 'aria-label': label, onclick },
        text);
}

/** What a guest opens. */
export function linkOf({ token }) {
    const url = new URL(location.pathname, location.origin);
    url.searchParams.set('token', token);
    // The key of an encrypted class, which no server sees.
    url.hash = location.hash;
    return url.href;
}

/** The token of such a link, or what is one already. */
export function tokenOf(link) {
    return URL.canParse?.(link) ? new URL(link).searchParams.get('token') ?? '' : link;
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
