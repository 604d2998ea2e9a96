/** The page on which a member who is named in a group's file changes the password. */

import { byId } from './element.js';
import { basic } from './http-session.js';
import { t } from './language.js';

const query = new URLSearchParams(location.search);

function groupPath(name) {
    return name.split('/').map(encodeURIComponent).join('/');
}

async function change(event) {
    event.preventDefault();
    byId('error').textContent = '';
    byId('done').textContent = '';
    const [group, username] = ['group', 'username'].map((id) => byId(id).value.trim());
    if (byId('new').value !== byId('again').value) {
        byId('error').textContent = t('The two new passwords are not the same.');
        byId('again').focus();
        return;
    }
    try {
        if (!await isThere(group)) {
            byId('error').textContent = t('There is no group of this name. It stands behind /group/ in the address '
                + 'of the group’s page.');
            byId('group').focus();
            return;
        }
        const response = await fetch(
            `/galene-api/v0/.groups/${groupPath(group)}/.users/${encodeURIComponent(username)}/.password`,
            {
                method: 'POST',
                // Otherwise the browser would ask for a password itself when this one is wrong.
                credentials: 'omit',
                headers: {
                    'Content-Type': 'text/plain',
                    'Authorization': basic(username, byId('old').value),
                },
                body: byId('new').value,
            },
        );
        if (!response.ok) {
            byId('error').textContent = await words(response);
            return;
        }
    } catch {
        byId('error').textContent = t('The server cannot be reached. Check the network, and try again.');
        return;
    }
    for (const id of ['old', 'new', 'again'])
        byId(id).value = '';
    byId('back').href = `/group/${groupPath(group)}/`;
    byId('back').textContent = t('To the group');
    byId('done').textContent = t('Your password is changed.');
}

/** Whether there is a group of this name; the answer to a wrong one would not tell. */
async function isThere(group) {
    return (await fetch(`/group/${groupPath(group)}/.status`, { cache: 'no-store' })).status !== 404;
}

async function words(response) {
    switch (response.status) {
    case 401:
    case 403:
        // Whoever is asked for a password once more has shown a wrong one.
        return response.headers.has('WWW-Authenticate')
            ? t('Wrong name or old password.')
            : t('Passwords cannot be changed here: this server writes no group files. Ask whoever runs it.');
    case 404:
        return t('Your password is not in this group’s own file, and cannot be changed here. Ask whoever gave it to you.');
    case 429:
        return t('Too many attempts. Try again in a minute.');
    default:
        return t('The server refused: {text}',
            { text: (await response.text()).slice(0, 200) || response.status });
    }
}

byId('group').value = query.get('group') ?? '';
byId('username').value = query.get('username') ?? '';
byId('form').addEventListener('submit', change);
