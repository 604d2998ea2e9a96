/** The form before the room: what the group is, who we are, and why we were not let in. */

import { byId } from './element.js';
import { forgetToken, takeToken } from './invitation.js';
import { t } from './language.js';
import { sentence } from './notices.js';
import { prefer, preferences } from './preferences.js';
import { withoutWebRtc } from './requirements.js';
import { state } from './state.js';

let token = takeToken();
let enter;

/** `onEnter(credentials)` is called when the user wants to join. */
export async function openEntrance(onEnter) {
    enter = onEnter;
    byId('group-name').textContent = state.groupName;
    document.title = `${state.groupName} – Aula`;
    // Whoever was faster than the scripts has written a name already.
    byId('username').value ||= preferences.username;
    byId('start').value = preferences.start;
    byId('join-muted').checked = preferences.joinMuted;
    byId('join-form').addEventListener('submit', submit);
    byId('forget-token').addEventListener('click', () => {
        forgetToken();
        token = null;
        showToken();
        refuse('');
        byId('username').focus();
    });
    showToken();
    await askStatus();
}

function showToken() {
    byId('password-row').hidden = Boolean(token);
    byId('username-hint').hidden = !token;
    byId('forget-token').hidden = !token;
}

async function askStatus() {
    try {
        const response = await fetch('.status', { cache: 'no-store' });
        if (!response.ok) {
            throw new Error(response.status === 404
                ? t('There is no group at this address. Compare it with the link that you were given, or ask '
                    + 'whoever gave it to you for it again.')
                : t('The server says: {text}', { text: response.statusText || response.status }));
        }
        state.status = await response.json();
        const sentAt = Date.parse(response.headers.get('Date') ?? '');
        state.clockSkewMs = Number.isNaN(sentAt) ? 0 : sentAt - Date.now();
    } catch (error) {
        refuse(error instanceof TypeError
            ? t('The server cannot be reached. Check the network, and load this page again.')
            : error.message);
        return;
    }
    if (typeof RTCPeerConnection === 'undefined') {
        refuse(withoutWebRtc());
        byId('join-button').disabled = true;
        return;
    }
    if (state.status.redirect) {
        location.assign(state.status.redirect);
        return;
    }
    if (state.status.authPortal && !token) {
        location.assign(state.status.authPortal);
        return;
    }
    showStatus();
    byId('join-button').disabled = false;
}

export function showStatus() {
    const { status } = state;
    const title = status.displayName || state.groupName;
    document.title = `${title} – Aula`;
    byId('group-name').textContent = title;
    byId('room-name').textContent = title;
    byId('group-description').textContent = status.description ?? '';
}

/** Says why not, and lets the user try again. */
export function refuse(text) {
    byId('join-error').textContent = text;
    byId('join-button').disabled = !state.status.name;
    byId('join-button').textContent = t('Join');
    // A button that was switched off has lost it.
    if (document.activeElement === document.body)
        byId('join-button').focus();
}

async function submit(event) {
    event.preventDefault();
    byId('join-button').disabled = true;
    let tidy;
    try {
        ({ tidy } = await import('./visible.js'));
    } catch {
        refuse(t('The server cannot be reached. Check the network, and try again.'));
        return;
    }
    const username = tidy(byId('username').value).trim();
    const password = byId('password').value;
    const objection = objectionTo(username);
    if (objection) {
        refuse(objection);
        byId('username').focus();
        return;
    }
    prefer('username', username);
    prefer('start', byId('start').value);
    prefer('joinMuted', byId('join-muted').checked);
    byId('join-error').textContent = '';
    byId('join-button').textContent = t('Joining…');
    let credentials = { username, password };
    if (token) {
        credentials = { token, username: username || undefined };
    } else if (state.status.authServer) {
        try {
            credentials = await askAuthServer(username, password);
        } catch (error) {
            refuse(t('The login server refused: {text}', { text: error.message }));
            return;
        }
    }
    enter(credentials);
}

/** What is wrong with a name, before the server says so less kindly. */
function objectionTo(username) {
    if (username === '')
        return token ? '' : t('Please enter your name.');
    if (username.includes('\\') || username.split('/').some((part) => part === ''
        || part.startsWith('.')))
        return t('A name cannot contain \\, and neither begin nor end with / or begin with a dot.');
    return '';
}

async function askAuthServer(username, password) {
    const response = await fetch(state.status.authServer, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ location: location.href, username, password }),
    });
    if (response.status === 204)
        return { username, password };
    if (!response.ok)
        throw new Error(response.statusText || `status ${response.status}`);
    return { username, token: await response.text() };
}

const REFUSALS = {
    'group does not exist': () => t('This group does not exist any more. Ask whoever gave you the link.'),
    'this group is locked': () => t('This group is locked. Ask a teacher to unlock it, and try again.'),
    'this group is not open yet': () => t('This group is not open yet. Try again later.'),
    'this group is closed': () => t('This group is closed. Ask whoever runs it for another one.'),
    'there are no operators in this group':
        () => t('This group opens when a teacher is there. Try again in a moment.'),
    'too many users': () => t('This group is full. Try again when somebody has left.'),
    'busy': () => t('The server is busy. Try again in a moment.'),
};

/** The words for a refused join. */
export function failureText(error, text) {
    if (error === 'need-username')
        return t('Please enter your name.');
    if (error === 'duplicate-username')
        return t('This name is reserved for somebody else. Please choose another one.');
    if (text === 'not authorised') {
        if (token)
            forgetToken();
        return token
            ? t('This invitation is not valid, or not any more. Ask for a new link.')
            : t('Wrong name or password.');
    }
    if (text === '')
        return t('The server refused without a reason. Try again in a moment.');
    if (text === 'internal server error')
        return t('The server has a problem of its own. Tell whoever runs it.');
    // Anything else is the message with which an operator locked the group.
    return REFUSALS[/^(server )?busy/.test(text) ? 'busy' : text]?.()
        ?? (/^(server|this user|illegal)/.test(text) ? sentence(text)
            : t('This group is locked, and says: {text}', { text: sentence(text) }));
}
