/**
 * Captions that somebody with that permission, or a program, writes while others speak. They are
 * shown over the stage for a while, in a size of the reader's choice, and kept as a transcript. They
 * are not announced: who listens to the page hears the speaker already.
 */

import { byId, element } from './element.js';
import { nameOf } from './names.js';
import { preferences } from './preferences.js';
import { localTime } from './time.js';

const LINES_MAX = 3;
const SHOWN_MS = 8_000;
/** Some hours of speech; then the oldest go. */
const TRANSCRIPT_MAX = 5_000;

export class Captions {
    constructor() {
        this.transcript = [];
        byId('transcript').onclick = async () => (await import('./chat-file.js'))
            .saveAs('transcript', this.transcript);
    }

    /** Takes a chat message of the kind `caption`. */
    show(message, isHistory) {
        if (typeof message.value !== 'string')
            return;
        const name = nameOf({ id: message.source ?? '', username: message.username });
        const at = new Date(message.time ?? Date.now());
        const time = localTime(Number.isNaN(at.getTime()) ? new Date() : at);
        this.transcript.push(`${time} ${name}: ${message.value}`);
        if (this.transcript.length > TRANSCRIPT_MAX)
            this.transcript.shift();
        byId('transcript').hidden = false;
        if (isHistory || preferences.captions === 'off')
            return;
        const line = element('p', { dir: 'auto' }, message.value);
        const place = byId('captions');
        place.dataset.size = preferences.captions;
        place.append(line);
        while (place.childElementCount > LINES_MAX)
            place.firstElementChild.remove();
        setTimeout(() => line.remove(), SHOWN_MS);
    }
}
