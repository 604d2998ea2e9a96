/** The chat: messages to all or to one, `/me`, and a few commands for those who like to type. */

import { byId, element } from './element.js';

/** Older messages leave the page. */
const MESSAGES_MAX = 500;
const LINK = /https?:\/\/[^\s<>"]+[^\s<>".,;:!?)\]}'’»]/g;

const HELP = [
    '/me TEXT: say what you are doing',
    '/msg NAME TEXT: write to one person',
    '/raise, /lower: raise or lower your hand',
    '/lock [TEXT], /unlock, /clear: for operators',
].join('\n');

export class Chat {
    /** `raise(isRaised)` raises and lowers our hand. */
    constructor(connection, raise) {
        this.connection = connection;
        this.raise = raise;
        this.list = byId('chat-list');
        this.input = byId('chat-input');
        this.dest = null;
        this.unread = 0;
        this.list.replaceChildren();
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
        byId('chat-dest-clear').onclick = () => this.writeTo(null);
        this.writeTo(null);
        this.markRead();
    }

    /** Chooses whom the next messages go to; null means everybody. */
    writeTo(user) {
        this.dest = user;
        byId('chat-dest').hidden = !user;
        byId('chat-dest-name').textContent = user ? `To ${user.username} only` : '';
        if (user)
            this.input.focus();
    }

    /** Shows a message of the server. */
    show(message, isHistory) {
        if (typeof message.value !== 'string' || !['', 'me', undefined].includes(message.kind))
            return;
        const isOwn = message.source === this.connection.id;
        const isAtEnd = this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 40;
        const author = message.source || message.username
            ? message.username || '(anonymous)' : 'The server';
        const time = message.time ? new Date(message.time) : new Date();
        const body = element('div', { className: 'chat-text' });
        if (message.kind === 'me')
            body.append(`${author} `);
        body.append(...linkified(message.value));
        const line = element('li', { className: 'chat-message' },
            element('div', { className: 'chat-head' },
                element('b', {}, author),
                message.dest ? this.#privateNote(message, isOwn) : '',
                element('time', { dateTime: time.toISOString() },
                    time.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }))),
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
        if (isAtEnd || isOwn)
            this.list.scrollTop = this.list.scrollHeight;
        if (!isHistory && !isOwn && byId('chat').hidden)
            this.#countUnread(this.unread + 1);
    }

    /** Removes what an operator cleared: everything, one author's messages, or one message. */
    clear({ userId, id } = {}) {
        for (const line of [...this.list.children]) {
            if ((!userId || line.dataset.source === userId) && (!id || line.dataset.id === id))
                line.remove();
        }
    }

    markRead() {
        this.#countUnread(0);
    }

    #countUnread(count) {
        this.unread = count;
        byId('chat-unread').textContent = count > 0 ? String(Math.min(count, 99)) : '';
    }

    #privateNote(message, isOwn) {
        const peer = this.connection.users.get(isOwn ? message.dest : message.source);
        const text = isOwn ? ` to ${peer?.username ?? 'one person'}` : ' to you';
        return element('span', { className: 'chat-private' }, `${text}, in private`);
    }

    #submit() {
        const text = this.input.value.trim();
        if (text === '')
            return;
        if (this.#say(text))
            this.input.value = '';
    }

    /** Whether the text was taken; if not it stays in the input. */
    #say(text) {
        const [, command, rest] = /^\/(\w+)\s*([^]*)$/.exec(text) ?? [];
        switch (command) {
        case undefined:
            this.#send(text.startsWith('//') ? text.slice(1) : text, '', this.dest);
            return true;
        case 'me':
            this.#send(rest, 'me', this.dest);
            return true;
        case 'msg': {
            const user = [...this.connection.users.values()]
                .filter(({ username }) => username && `${rest} `.startsWith(`${username} `))
                .sort((a, b) => b.username.length - a.username.length)[0];
            if (!user)
                return this.#tell('Nobody of that name is here.');
            this.#send(rest.slice(user.username.length).trim(), '', user);
            return true;
        }
        case 'raise':
        case 'lower':
            this.raise(command === 'raise');
            return true;
        case 'lock':
        case 'unlock':
            this.connection.groupAction(command, rest || undefined);
            return true;
        case 'clear':
            this.connection.groupAction('clearchat');
            return true;
        case 'help':
            this.#tell(HELP);
            return true;
        default:
            return this.#tell(`There is no command /${command}. Try /help.`);
        }
    }

    #send(value, kind, dest) {
        if (value === '')
            return;
        this.connection.chat(value, { kind, dest: dest?.id ?? '' });
        // The server does not echo private messages.
        if (dest && dest.id !== this.connection.id) {
            const { id: source, username } = this.connection;
            this.show({ source, username, dest: dest.id, kind, value }, false);
        }
    }

    #tell(value) {
        this.show({ value }, true);
        this.list.scrollTop = this.list.scrollHeight;
        return false;
    }
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
