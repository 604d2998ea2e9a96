/** What the page offers follows from what we may do. */

import { byId } from './element.js';
import { t } from './language.js';
import { state } from './state.js';

/** Shows the buttons for what the member of `connection` may do; guests have no password to change. */
export function showPowers(connection, isGuest) {
    const mayPresent = connection.can('present');
    for (const id of ['mic-button', 'camera-button', 'film-button'])
        byId(id).hidden = !mayPresent;
    byId('screen-button').hidden = !mayPresent || !navigator.mediaDevices?.getDisplayMedia;
    byId('chat-form').hidden = !connection.can('message');
    document.body.classList.toggle('is-op', connection.can('op'));
    byId('invite-button').hidden = !connection.can('token');
    byId('lock-button').textContent = state.status.locked ? t('Unlock group') : t('Lock group');
    byId('room-locked').hidden = !state.status.locked;
    const { recording } = state.status;
    byId('record-button').hidden = !connection.can('record');
    byId('record-button').textContent = recording ? t('Stop recording') : t('Record');
    byId('room-recording').hidden = !recording;
    byId('password-link').hidden = !state.status.canChangePassword || isGuest;
    byId('password-link').firstElementChild.href = `/change-password.html?${new URLSearchParams({
        group: state.groupName, username: connection.username,
    })}`;
}
