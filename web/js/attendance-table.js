/** The attendance as a file; loaded when somebody wants it. */

import { element } from './element.js';
import { need, t } from './language.js';
import { marked } from './names.js';
import { state } from './state.js';
import { localTime } from './time.js';

await need('tools');

/** The record as comma-separated values (RFC 4180). */
export function csv(attendance, nowMs = Date.now()) {
    const rows = [[t('name'), t('first seen'), t('last seen'), t('minutes present')]];
    const all = [...attendance.people.values()];
    for (const { person, name, firstMs, lastMs, presentMs, here, sinceMs } of all) {
        const isHere = here.size > 0;
        const isAlone = all.filter((other) => other.name === name).length === 1;
        rows.push([
            isAlone ? name : marked(name, person), localTime(new Date(firstMs)),
            localTime(new Date(isHere ? nowMs : lastMs)),
            ((presentMs + (isHere ? nowMs - sinceMs : 0)) / 60_000).toFixed(1),
        ]);
    }
    return rows.map((row) => row.map(field).join(',')).join('\r\n') + '\r\n';
}

export function save(attendance) {
    const url = URL.createObjectURL(new Blob([csv(attendance)], { type: 'text/csv' }));
    const day = localTime(new Date()).slice(0, 10);
    element('a', {
        href: url, download: `${state.groupName.replaceAll('/', '-')}-${day}.csv`,
    }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** A field in quotes; what a spreadsheet would take for a formula is made text. */
function field(text) {
    const harmless = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return `"${harmless.replaceAll('"', '""')}"`;
}
