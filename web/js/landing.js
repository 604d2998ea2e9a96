/** The landing page: go to a group by name, or pick one of the public ones. */

import { byId, element, ROOT } from './element.js';
import { t, tn } from './language.js';

async function go(event) {
    event.preventDefault();
    const name = byId('group').value.trim().replace(/^\/+|\/+$/g, '');
    if (name === '')
        return;
    const url = `${ROOT}group/${name.split('/').map(encodeURIComponent).join('/')}/`;
    byId('group-error').textContent = '';
    try {
        const response = await fetch(`${url}.status.json`, { method: 'HEAD' });
        if (response.ok)
            location.assign(url);
        else
            byId('group-error').textContent = response.status === 404
                ? t('There is no group of that name.')
                : t('The server says: {text}', { text: response.statusText });
    } catch {
        byId('group-error').textContent = t('The server cannot be reached. Check the network, and try again.');
    }
}

async function listGroups() {
    const response = await fetch(`${ROOT}public-groups.json`);
    if (!response.ok)
        return;
    const groups = await response.json() ?? [];
    byId('public').hidden = groups.length === 0;
    byId('public-list').replaceChildren(...groups.map((group) => {
        const count = group.clientCount ?? 0;
        const people = tn(count, '{count} person', '{count} people');
        const note = group.redirect ? t('on another server')
            : group.locked ? t('{people}, locked', { people }) : people;
        return element('li', {},
            element('a', { href: group.redirect ?? group.location, dir: 'auto' },
                group.displayName || group.name),
            element('small', {}, note),
            element('p', { dir: 'auto' }, group.description ?? ''));
    }));
}

byId('group-form').addEventListener('submit', go);
listGroups();
