/** The styles of what is loaded late: whoever imports this waits until they are there. */

import { element } from './element.js';

const link = element('link', { rel: 'stylesheet', href: new URL('../tools.css', import.meta.url).href });
await new Promise((resolve) => {
    // Without them it is still of use.
    link.onload = link.onerror = resolve;
    document.head.append(link);
});
