/** The server is about to end: people see how long they have to finish a sentence. */

import { byId } from './element.js';
import { number, t } from './language.js';

let timer = null;

/** Counts the seconds down until the server ends. */
export function countDown(seconds) {
    const end = performance.now() + 1000 * seconds;
    clearInterval(timer);
    const show = () => {
        const left = Math.max(0, Math.ceil((end - performance.now()) / 1000));
        byId('stopping').hidden = false;
        byId('stopping').textContent = left > 0
            ? t('The server restarts in {seconds} s; you come back by yourself', { seconds: number(left) })
            : t('The server restarts; you come back by yourself');
    };
    show();
    timer = setInterval(show, 250);
}

/** It is back. */
export function endCountDown() {
    clearInterval(timer);
    byId('stopping').hidden = true;
}
