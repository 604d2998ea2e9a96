/** How loud one person is, for us only. */

import { byId } from './element.js';
import { need, t } from './language.js';
import { nameOf } from './names.js';

await need('tools');

/** Asks for the volume of `user`, {id, username}, on `stage`. */
export function askVolume(stage, user) {
    byId('volume-title').textContent = t('Volume of {name}', { name: nameOf(user) });
    const range = byId('volume-range');
    range.value = String(100 * (stage.volumeOf(user.id)));
    range.oninput = () => stage.setVolume(user.id, Number(range.value) / 100);
    byId('volume').showModal();
}
