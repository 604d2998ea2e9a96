/** How loud one person is, for us only. */

import { byId } from './element.js';
import { t } from './language.js';
import { nameOf } from './names.js';

/** Asks for the volume of `user`, {id, username}, on `stage`. */
export function askVolume(stage, user) {
    byId('volume-title').textContent = t('Volume of {name}', { name: nameOf(user) });
    const range = byId('volume-range');
    range.value = String(100 * (stage.volumes.get(user.username) ?? 1));
    range.oninput = () => stage.setVolume(user, Number(range.value) / 100);
    byId('volume').showModal();
}
