/** What can be typed in the chat with a slash before it. */

import { t } from './language.js';

const help = () => [
    t('/me TEXT: say what you are doing'),
    t('/msg NAME TEXT: write to one person'),
    t('/raise, /lower: raise or lower your hand'),
    t('/leave: leave the group'),
    t('For operators: /muteall, /lock [TEXT], /unlock, /clear, /subgroups, /record, /unrecord, /wall TEXT'),
    t('For operators, with a name: /mute, /kick, /op, /unop, /present, /unpresent, /shutup, /unshutup'),
    t('//TEXT: a message that begins with a slash'),
].join('\n');

const DONE = { isDone: true };
const tell = (text, isDone = false) => ({ text, isDone });

export class Commands {
    /** `deeds` has raise(isRaised), say(text, {kind, dest}), muteAll() and leave(). */
    constructor(connection, deeds) {
        this.connection = connection;
        this.deeds = deeds;
    }

    /** Carries out `text`, which begins as a command does: {isDone, text?} with what to tell the user. */
    obey(text) {
        const [, command, rest] = /^\/(\w+)\s*([^]*)$/.exec(text);
        const { connection, deeds } = this;
        switch (command) {
        case 'help':
            return tell(help(), true);
        case 'me':
            deeds.say(rest, { kind: 'me' });
            return DONE;
        case 'raise':
        case 'lower':
        case 'unraise':
            deeds.raise(command === 'raise');
            return DONE;
        case 'leave':
            deeds.leave();
            return DONE;
        case 'lock':
        case 'unlock':
            connection.groupAction(command, rest || undefined);
            return DONE;
        case 'record':
        case 'unrecord':
            connection.groupAction(command);
            return DONE;
        case 'subgroups':
            connection.groupAction('subgroups');
            return DONE;
        case 'clear':
            connection.groupAction('clearchat');
            return DONE;
        case 'muteall':
            deeds.muteAll();
            return DONE;
        case 'wall':
            connection.userMessage('warning', '', rest);
            return DONE;
        case 'msg':
        case 'mute':
        case 'kick':
        case 'op':
        case 'unop':
        case 'present':
        case 'unpresent':
        case 'shutup':
        case 'unshutup':
        case 'identify':
        case 'warn':
            return this.#toOne(command, rest);
        default:
            return tell(t('There is no command {command}. Try /help.', { command: `/${command}` }));
        }
    }

    #toOne(command, rest) {
        const { user, text } = this.#addressee(rest);
        if (!user)
            return tell(rest === '' ? t('Whom? Write {command} NAME.', { command: `/${command}` })
                : t('Nobody of that name is here.'));
        if (command === 'msg')
            this.deeds.say(text, { dest: user });
        else if (command === 'mute')
            this.connection.userMessage('mute', user.id);
        else if (command === 'warn')
            this.connection.userMessage('warning', user.id, text);
        else
            this.connection.userAction(command, user.id, text || undefined);
        return DONE;
    }

    /** The person whom `rest` begins with, perhaps in quotes, and what follows. */
    #addressee(rest) {
        const [, quoted, after] = /^"([^"]*)"\s*([^]*)$/.exec(rest) ?? [];
        const users = [...this.connection.users.values()];
        if (quoted !== undefined)
            return { user: users.find(({ username, id }) => [username, id].includes(quoted)), text: after };
        const user = users
            .filter(({ username, id }) => id === rest.split(/\s/)[0]
                || (username && `${rest} `.startsWith(`${username} `)))
            .sort((a, b) => b.username.length - a.username.length)[0];
        const length = user && (`${rest} `.startsWith(`${user.username} `)
            ? user.username.length : user.id.length);
        return { user, text: rest.slice(length).trim() };
    }
}
