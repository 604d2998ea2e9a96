/** Questions before something that cannot be undone. */

import { byId } from './element.js';
import { t } from './language.js';

/** Asks `text`; resolves to whether `yes` was chosen. Focus returns to where it was. */
export function ask(text, yes, no = t('Cancel')) {
    const dialog = byId('ask');
    byId('ask-text').textContent = text;
    byId('ask-yes').textContent = yes;
    byId('ask-no').textContent = no;
    dialog.returnValue = '';
    dialog.showModal();
    return new Promise((resolve) => {
        dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
    });
}
