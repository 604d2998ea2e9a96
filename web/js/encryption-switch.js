/** Switching a class to encryption from end to end, and back; loaded when an operator wants it. */

import { ask } from './ask.js';
import { canEncrypt } from './encryption.js';
import { need, t } from './language.js';
import { notify } from './notices.js';
import { state } from './state.js';

await need('tools');

/** Switches the class, by an operator; asks first. */
export async function toggleEncryption() {
    const { encryption, breakouts } = state;
    const switchTo = (encrypted) => breakouts.main.groupAction('setdata', { encrypted });
    if (encryption.isOn) {
        if (await ask(t('End the encryption? The server could then hear and see the class.'), t('End it'))) {
            encryption.forget();
            switchTo(false);
        }
        return;
    }
    if (!canBegin() || !await ask(t('Encrypt sound and pictures from end to end? Whoever has no link with '
        + 'the key is shut out until they open it. Not encrypted are chat, names and files; encoders, '
        + 'players and bots without the key cannot take part.'), t('Encrypt')))
        return;
    await encryption.begin();
    switchTo(encryption.check);
    try {
        await navigator.clipboard.writeText(location.href);
        notify(t('Encrypted. The link with the key was copied: give it to everybody, not through this chat.'), 'info');
    } catch {
        notify(t('Encrypted. Give everybody the address of this page with all that is behind the #, not '
            + 'through this chat.'), 'info');
    }
}

function canBegin() {
    if (canEncrypt())
        return true;
    notify(t('This browser cannot encrypt from end to end. Try a current Firefox, Chrome, Edge or Safari.'));
    return false;
}
