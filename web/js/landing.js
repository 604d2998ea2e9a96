/** The landing page: go to a group by name, or pick one of the public ones. */

import { byId, element, ROOT } from './element.js';

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
                ? 'There is no group of that name.' : `The server says: ${response.statusText}`;
    } catch {
        byId('group-error').textContent = 'The server cannot be reached.';
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
        const people = `${count} ${count === 1 ? 'person' : 'people'}`;
        const note = group.redirect ? 'on another server'
            : people + (group.locked ? ', locked' : '');
        return element('li', {},
            element('a', { href: group.redirect ?? group.location },
                group.displayName || group.name),
            element('small', {}, note),
            element('p', {}, group.description ?? ''));
    }));
}

byId('group-form').addEventListener('submit', go);
listGroups();
