/** Invitations by command, as Galene's client has them; loaded when the first is typed. */

import { dateTime, need, t } from './language.js';
import { linkOf, tokenOf } from './invitations.js';
import { state } from './state.js';

await need('tools');

const UNITS_MS = {
    s: 1_000, min: 60_000, h: 3_600_000, d: 86_400_000, mon: 31 * 86_400_000, yr: 365 * 86_400_000,
};

const tell = (text, isDone = true) => ({ text, isDone });

/** Carries out `invite`, `reinvite`, `revoke` or `listtokens`: {text, isDone}. */
export async function obey(command, rest) {
    const { connection } = state.room;
    if (!connection.can('token') || (command !== 'invite' && !connection.can('op')))
        return tell(t('You may not do that here.'), false);
    const invitations = await state.room.invitations();
    const words = [...rest.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, word]) => quoted ?? word);
    try {
        switch (command) {
        case 'invite':
            return tell(await invite(invitations, words));
        case 'listtokens': {
            const valid = await invitations.valid();
            return tell(valid.length > 0 ? valid.map(line).join('\n') : t('There are none.'));
        }
        default:
            return await change(invitations, command, words);
        }
    } catch (error) {
        return tell(error.message, false);
    }
}

async function invite(invitations, words) {
    // With one word that is a time, the guest chooses a name.
    const [name, time] = words.length === 1 && untilOf(words[0]) ? ['', words[0]] : words;
    const expires = time === undefined ? new Date(Date.now() + UNITS_MS.d) : untilOf(time);
    if (!expires)
        throw new Error(t('That is no time: write one such as 2h, 7d or 2027-01-31.'));
    return line(await invitations.make({ username: name, expires }));
}

async function change(invitations, command, [link, time]) {
    if (!link)
        return tell(t('Which one? Write {command} LINK.', { command: `/${command}` }), false);
    const token = tokenOf(link);
    if (command === 'revoke') {
        await invitations.edit(token, new Date(Date.now() - UNITS_MS.s));
        return tell(t('The invitation is over.'));
    }
    const expires = time === undefined ? new Date(Date.now() + UNITS_MS.d) : untilOf(time);
    if (!expires)
        throw new Error(t('That is no time: write one such as 2h, 7d or 2027-01-31.'));
    return tell(line(await invitations.edit(token, expires)));
}

/** When a time such as `7d`, or a date, ends; null if it is none. */
function untilOf(text) {
    const [, count, unit] = /^(\d+)(s|min|h|d|mon|yr)$/.exec(text) ?? [];
    const date = new Date(unit ? Date.now() + Number(count) * UNITS_MS[unit] : /^\d{4}-/.test(text) ? text : NaN);
    return Number.isNaN(date.getTime()) ? null : date;
}

function line(token) {
    const name = token.username || t('anybody');
    const link = linkOf(token);
    return token.expires
        ? t('{name}, until {time}: {link}', {
            name, link, time: dateTime(new Date(token.expires), { dateStyle: 'medium', timeStyle: 'short' }),
        }) : `${name}: ${link}`;
}
