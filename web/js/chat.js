/** The chat: messages to all or to one, and what an operator may remove. */

import { ChatEnd } from './chat-end.js';
import { byId, element } from './element.js';
import { dateTime, number, t, tn } from './language.js';
import { nameOf } from './names.js';
import { announce } from './notices.js';
import { Outbox } from './outbox.js';
import { rove } from './roving.js';
import { isSelf, state } from './state.js';
import { keep, kept } from './tab.js';

/** Older messages leave the page. */
const MESSAGES_MAX = 500;
const LINK = /https?:\/\/[^\s<>"]+[^\s<>".,;:!?)\]}'’»]/g;
const DRAFT_KEY = `aula:draft:${state.groupName}`;

let refreshStops;

const WORDS = {
    waiting: () => t('Waiting for the connection…'),
    sending: () => t('Sending…'),
};

export class Chat {
    /** `obey(text)` promises to carry out a command. */
    constructor(connection, obey, signal) {
        this.connection = connection;
        this.obey = obey;
        this.list = byId('chat-list');
        this.input = byId('chat-input');
        this.outbox = new Outbox(connection, (entry) => this.#showState(entry), signal);
        this.dest = null;
        this.unread = 0;
        this.list.replaceChildren();
        this.end = new ChatEnd(this.list, byId('chat-below'), signal);
        refreshStops ??= rove(this.list, '.chat-delete');
        byId('chat-form').onsubmit = (event) => {
            event.preventDefault();
            this.#submit();
        };
        this.input.onkeydown = (event) => {
            if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
                event.preventDefault();
                this.#submit();
            }
        };
        this.input.value = kept(DRAFT_KEY) ?? '';
        this.input.oninput = () => keep(DRAFT_KEY, this.input.value);
        byId('chat-dest-clear').onclick = () => {
            this.writeTo(null);
            this.input.focus();
        };
        byId('chat-save').onclick = async () => (await import('./chat-file.js')).save(this.list);
        this.writeTo(null);
        this.markRead();
    }

    /** Chooses whom the next messages go to; null means everybody. */
    writeTo(user) {
        this.dest = user;
        byId('chat-dest').hidden = !user;
        byId('chat-dest-name').textContent = user ? t('To {name} only', { name: nameOf(user) }) : '';
        if (user)
            this.input.focus();
    }

    /** Sends to all, or to the one chosen, or to `dest`. */
    send(value, { kind = '', dest = this.dest } = {}) {
        if (value === '')
            return;
        const entry = this.outbox.add({ value, kind, dest });
        const { id: source, username } = this.connection;
        this.#add({ id: entry.id, source, username, dest: dest?.id, kind, value }, true);
        this.#showState(entry);
    }

    /** Shows a message of the server. */
    show(message, isHistory) {
        if (typeof message.value !== 'string' || !['', 'me', undefined].includes(message.kind))
            return;
        if (isList(message)) {
            this.tell(message.value.trim() || t('Nobody is in a group below this one.'));
            return;
        }
        const known = message.id && this.#line(message.id);
        if (known) {
            // Ours has come back, or history repeats what was seen before the connection broke.
            const mine = this.outbox.confirm(message.id);
            if (mine && message.time)
                known.querySelector('time').replaceWith(clock(message.time));
            known.dataset.source = message.source ?? '';
            return;
        }
        this.#add(message, isSelf({ id: message.source }), isHistory);
        if (isHistory || isSelf({ id: message.source }))
            return;
        const who = authorOf(message);
        if (byId('chat').hidden) {
            if (this.unread === 0)
                this.#markNew();
            this.#countUnread(this.unread + 1);
        }
        const said = { name: who, text: message.value };
        announce(message.dest ? t('{name}, in private: {text}', said) : t('{name}: {text}', said));
    }

    /** Shows something that only we are told: an answer of this page to a command. */
    tell(value) {
        this.#add({ value, isAnswer: true }, true);
        announce(value);
    }

    /** Removes what an operator cleared: everything, one author's messages, or one message. */
    clear({ userId, id } = {}) {
        const hadFocus = this.list.contains(document.activeElement);
        for (const line of [...this.list.children]) {
            if ((!userId || line.dataset.source === userId) && (!id || line.dataset.id === id))
                line.remove();
        }
        refreshStops();
        this.end.look();
        if (hadFocus && !this.list.contains(document.activeElement))
            this.list.focus();
    }

    markRead() {
        const { unread } = this;
        this.#countUnread(0);
        this.end.reach();
        const line = this.list.querySelector('.chat-new');
        // Of an earlier look.
        if (unread === 0)
            line?.remove();
        else if (line)
            this.end.showFrom(line, unread);
    }

    #line(id) {
        return this.list.querySelector(`[data-id="${CSS.escape(id)}"]`);
    }

    #add(message, isOwn, isHistory = false) {
        const isSeen = isOwn || this.end.isSeen;
        const author = authorOf(message);
        const body = element('div', { className: 'chat-text', dir: 'auto' });
        if (message.kind === 'me')
            body.append(`${author} `);
        body.append(...linkified(message.value));
        const line = element('li', { className: 'chat-message' },
            element('div', { className: 'chat-head' },
                element('b', { dir: 'auto' }, author),
                message.dest || message.isAnswer || message.isToAllRooms ? this.#note(message, isOwn) : '',
                this.#deleteButton(message, author),
                clock(message.time)),
            body);
        line.classList.toggle('is-own', isOwn);
        line.classList.toggle('is-private', Boolean(message.dest));
        line.classList.toggle('is-me', message.kind === 'me');
        line.classList.toggle('is-history', isHistory);
        line.dataset.id = message.id ?? '';
        line.dataset.source = message.source ?? '';
        this.list.append(line);
        while (this.list.childElementCount > MESSAGES_MAX)
            this.list.firstElementChild.remove();
        this.end.grew(isSeen);
        const last = line.querySelector('.chat-delete');
        // Tab leads to the newest, but not away from one that is in use.
        if (last && !document.activeElement?.closest('#chat-list .chat-delete'))
            refreshStops(last);
    }

    #deleteButton(message, author) {
        if (!message.id || !message.source || message.dest)
            return '';
        return element('button', {
            type: 'button', className: 'plain chat-delete for-op', tabIndex: -1,
            'aria-label': t('Delete this message of {name} for everybody', { name: author }),
            title: t('Delete'),
            onclick: ({ target }) => {
                const line = target.closest('li');
                const { id, source: userId } = line.dataset;
                (line.nextElementSibling?.querySelector('.chat-delete') ?? this.list).focus();
                this.connection.groupAction('clearchat', { id, userId });
            },
        }, '×');
    }

    /** Who else can read it. */
    #note(message, isOwn) {
        const peer = this.connection.users.get(isOwn ? message.dest : message.source);
        const text = message.isAnswer ? t('only you see this')
            : message.isToAllRooms ? t('to all rooms')
                : isOwn ? t('to {name}, in private', { name: peer ? nameOf(peer) : t('one person') })
                    : t('to you, in private');
        return element('span', { className: 'chat-private' }, ` ${text}`);
    }

    /** Says under a message of ours what has become of it. */
    #showState(entry) {
        const line = this.#line(entry.id);
        line?.querySelector('.chat-state')?.remove();
        line?.classList.toggle('is-pending', entry.state !== 'sent');
        if (!line || entry.state === 'sent')
            return;
        if (entry.state !== 'failed') {
            line.append(element('p', { className: 'chat-state' }, WORDS[entry.state]()));
            return;
        }
        const text = t('Not sent: {reason}.', { reason: entry.reason });
        announce(text);
        line.append(element('p', { className: 'chat-state error' },
            `${text} `,
            element('button', {
                type: 'button', className: 'plain link',
                onclick: () => {
                    line.remove();
                    this.input.value = entry.value;
                    this.input.focus();
                },
            }, t('Take back'))));
    }

    /** A line above the first message that was not seen. */
    #markNew() {
        this.list.querySelector('.chat-new')?.remove();
        const last = this.list.lastElementChild;
        last?.before(element('li', { className: 'chat-new' }, t('New')));
    }

    #countUnread(count) {
        this.unread = count;
        byId('chat-unread').textContent = count > 0 ? number(Math.min(count, 99)) : '';
        byId('chat-unread').setAttribute('aria-label', count > 0
            ? tn(count, '{count} unread message', '{count} unread messages') : '');
    }

    async #submit() {
        const text = this.input.value.trim();
        if (text === '' || this.isObeying)
            return;
        let answer = null;
        if (/^\/\w/.test(text)) {
            this.isObeying = true;
            answer = await this.obey(text).catch(() => ({ text: WORDS.waiting() }));
            this.isObeying = false;
        }
        if (answer === null)
            this.send(text.startsWith('//') ? text.slice(1) : text);
        else if (answer.text)
            this.tell(answer.text);
        if (answer === null || answer.isDone) {
            this.input.value = '';
            keep(DRAFT_KEY, '');
        }
    }
}

/** The server's answer to `/subgroups`, which nobody wrote. */
function isList({ source, username, privileged, dest, id }) {
    return !source && username === 'Server' && privileged !== false && Boolean(dest) && !id;
}

function authorOf(message) {
    if (message.isAnswer)
        return 'Aula';
    if (!message.source && !message.username)
        return t('The server');
    return nameOf({ id: message.source ?? '', username: message.username });
}

function clock(time) {
    const date = time ? new Date(time) : new Date();
    const isDate = !Number.isNaN(date.getTime());
    return element('time', { dateTime: isDate ? date.toISOString() : '' },
        isDate ? dateTime(date, { hour: '2-digit', minute: '2-digit' }) : '');
}

function linkified(text) {
    const parts = [];
    let end = 0;
    for (const match of text.matchAll(LINK)) {
        parts.push(text.slice(end, match.index), element('a', {
            href: match[0], target: '_blank', rel: 'noopener noreferrer',
        }, match[0]));
        end = match.index + match[0].length;
    }
    parts.push(text.slice(end));
    return parts;
}
