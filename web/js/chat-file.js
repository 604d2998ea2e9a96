/** The chat, or the transcript, as a text file; loaded when somebody wants it. */

import { element } from './element.js';
import { state } from './state.js';
import { localTime } from './time.js';

/** Saves what stands in `list`, in local time. */
export function save(list) {
    const lines = [...list.querySelectorAll('.chat-message')].map((line) => {
        const { dateTime: at } = line.querySelector('time');
        const note = line.querySelector('.chat-private')?.textContent ?? '';
        return `${at && localTime(new Date(at))} ${line.querySelector('b').textContent}${note}: `
            + line.querySelector('.chat-text').textContent;
    });
    saveAs('chat', lines);
}

/** Saves these lines under the name of the group and of what they are. */
export function saveAs(what, lines) {
    const url = URL.createObjectURL(new Blob([`${lines.join('\n')}\n`], { type: 'text/plain' }));
    element('a', { href: url, download: `${state.groupName.replaceAll('/', '-')}-${what}.txt` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
