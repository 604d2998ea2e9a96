/** Settings by command: what the dialog shows, by the names that it has for them in the page. */

import { byId } from './element.js';
import { need, t } from './language.js';

await need('tools');

const ON = ['on', 'true', 'yes', '1'];
const OFF = ['off', 'false', 'no', '0'];
const tell = (text, isDone = false) => ({ text, isDone });

/** Carries out `set` or `unset`: {text?, isDone}. */
export function obey(command, rest) {
    const [name, ...words] = rest.split(/\s+/).filter(Boolean);
    if (name === undefined)
        return tell(controls().map((control) => `${control.id}: ${valueOf(control)}`).join('\n'), true);
    const control = controls().find(({ id }) => id === name);
    if (!control)
        return tell(t('There is no setting {name}. /set lists them.', { name }));
    const value = command === 'unset' ? 'off' : words.join(' ').toLowerCase() || 'on';
    const possible = control.type === 'checkbox' ? ['on', 'off'] : [...control.options].map((option) => option.value);
    if (control.type === 'checkbox' && [...ON, ...OFF].includes(value))
        control.checked = ON.includes(value);
    else if (control.type !== 'checkbox' && possible.includes(value))
        control.value = value;
    else
        return tell(t('{name} can be {values}.', { name, values: possible.filter(Boolean).join(', ') }));
    control.dispatchEvent(new Event('change', { bubbles: true }));
    return tell(`${name}: ${valueOf(control)}`, true);
}

/** What can be set. Devices, whose names nobody can type, are left to the dialog. */
function controls() {
    return [...byId('settings').querySelectorAll('select, input[type=checkbox]')]
        .filter(({ id, disabled }) => !disabled && !['microphone', 'camera', 'speaker'].includes(id));
}

function valueOf(control) {
    return control.type === 'checkbox' ? (control.checked ? 'on' : 'off') : control.value || '–';
}
