/** Asks whether we may be recorded, where the group records only those who agree. */

import { element } from './element.js';
import { need, t } from './language.js';
import { state } from './state.js';

await need('tools');

/** What was said on this page; it holds when the connection comes back. */
let answer = null;
let dialog = null;

/** The group records, or no longer: asks, unless we have been asked. */
export function followRecording(connection) {
    const { recording, recordingConsent } = state.status;
    if (!recording || recordingConsent !== 'asked') {
        dialog?.close();
        return;
    }
    const isRecorded = Boolean(connection.users.get(connection.id)?.data.recorded);
    if (isRecorded)
        answer ??= true;
    if (answer === null)
        question();
    else if (answer !== isRecorded)
        send(connection);
}

/** Says it, or says something else than before. */
export function agree(agrees) {
    answer = agrees;
    send(state.connection);
}

function send(connection) {
    connection.userAction('consent', connection.id, answer);
}

function question() {
    if (dialog)
        return;
    const button = (text, value, className) => element('button', { value, className }, text);
    dialog = element('dialog', { 'aria-labelledby': 'consent-text', id: 'consent' },
        element('form', { method: 'dialog' },
            element('p', { id: 'consent-text' }, t('This class is being recorded. May what you say, show and '
                + 'write be recorded, too? Either way you take part as before, and you can change your mind '
                + 'in the list of people.')),
            button(t('Record me'), 'yes', 'primary'),
            button(t('Do not record me'), 'no', '')));
    document.body.append(dialog);
    dialog.onclose = () => {
        const said = dialog.returnValue;
        dialog.remove();
        dialog = null;
        if (said)
            agree(said === 'yes');
    };
    dialog.showModal();
}
