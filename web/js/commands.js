/** What can be typed in the chat with a slash before it. */

import { need, t } from './language.js';
import { nameOf } from './names.js';

await need('tools');

const help = () => [
    t('/me TEXT: say what you are doing'),
    t('/msg NAME TEXT: write to one person'),
    t('/raise, /lower: raise or lower your hand'),
    t('/sendfile NAME: give somebody a file, which shows each of you the other’s network address'),
    t('/presentfile: show a video or sound file to all; /sharescreen, /unsharescreen: share your screen, or stop'),
    t('/set: your settings; /set NAME VALUE: change one; /unset NAME: switch one off'),
    t('/renegotiate: set all connections for sound and pictures up again'),
    t('/leave: leave the group'),
    t('For who may invite: /invite [NAME] [TIME], with a time such as 2h, 7d or 2027-01-31'),
    t('For operators: /muteall, /lock [TEXT], /unlock, /clear, /subgroups, /record, /unrecord, /wall TEXT, /listtokens'),
    t('For operators, with a name: /mute, /kick, /op, /unop, /present, /unpresent, /shutup, /unshutup, /warn NAME TEXT, /identify NAME (its network address)'),
    t('For operators, with the link of an invitation: /reinvite LINK [TIME], /revoke LINK'),
    t('//TEXT: a message that begins with a slash'),
].join('\n');

const DONE = { isDone: true };
const tell = (text, isDone = false) => ({ text, isDone });

/** Those that go to one person, and need a name. */
const TO_ONE = ['msg', 'sendfile', 'mute', 'kick', 'op', 'unop', 'present', 'unpresent', 'shutup', 'unshutup',
    'identify', 'warn'];

/** The words for the answer to `/identify`. */
export function addressOf({ id = '', username = '', address }) {
    return t('{name} has the address {address}.', { name: nameOf({ id, username }), address: address || t('unknown') });
}

export class Commands {
    /**
     * `deeds` has raise(isRaised), say(text, {kind, dest}), muteAll(), leave(), giveFile(user), showFilm(),
     * shareScreen(isOn) and restart().
     */
    constructor(connection, deeds) {
        this.connection = connection;
        this.deeds = deeds;
    }

    /** Carries out `text`, which begins as a command does: {isDone, text?}, or a promise of that. */
    obey(text) {
        const [, command, rest] = /^\/(\w+)\s*([^]*)$/.exec(text);
        const { connection, deeds } = this;
        if (TO_ONE.includes(command))
            return this.#toOne(command, rest);
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
        case 'subgroups':
            connection.groupAction(command);
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
        case 'presentfile':
        case 'sharescreen':
        case 'unsharescreen':
            return this.#show(command);
        case 'renegotiate':
            deeds.restart();
            return DONE;
        case 'invite':
        case 'reinvite':
        case 'revoke':
        case 'listtokens':
            return import('./invite-commands.js').then(({ obey }) => obey(command, rest));
        case 'set':
        case 'unset':
            return import('./set-commands.js').then(({ obey }) => obey(command, rest));
        default:
            return tell(t('There is no command {command}. Try /help.', { command: `/${command}` }));
        }
    }

    #show(command) {
        if (!this.connection.can('present'))
            return tell(t('You may not do that here.'));
        if (command === 'presentfile')
            this.deeds.showFilm();
        else
            this.deeds.shareScreen(command === 'sharescreen');
        return DONE;
    }

    #toOne(command, rest) {
        const { user, text, isShared } = this.#addressee(rest);
        if (isShared)
            return tell(t('Several people have that name. Write it as the list of people does, with its mark.'));
        if (!user)
            return tell(rest === '' ? t('Whom? Write {command} NAME.', { command: `/${command}` })
                : t('Nobody of that name is here.'));
        if (command === 'msg')
            this.deeds.say(text, { dest: user });
        else if (command === 'sendfile')
            this.deeds.giveFile(user);
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
        const called = (user) => [nameOf(user), user.username, user.id].filter(Boolean);
        const [longest] = quoted !== undefined ? [quoted]
            : users.flatMap(called).filter((name) => `${rest} `.startsWith(`${name} `))
                .sort((a, b) => b.length - a.length);
        const found = users.filter((user) => called(user).includes(longest));
        return {
            user: found[0],
            // Of several Annas it is not known who is meant.
            isShared: found.length > 1,
            text: quoted !== undefined ? after : rest.slice(longest?.length ?? 0).trim(),
        };
    }
}
