/** The two buttons that leaf through pages of videos. */

import { byId, putAt } from './element.js';
import { number } from './language.js';

/** Shows where we are in the plan of arrangement.js. */
export function showPager({ page, pages, pager }) {
    const node = byId('pager');
    node.hidden = !pager;
    if (!pager)
        return;
    putAt(node, pager);
    byId('page-now').textContent = `${number(page + 1)} / ${number(pages)}`;
    // Not disabled: a button that loses focus at the last page would throw it away.
    byId('page-back').setAttribute('aria-disabled', String(page === 0));
    byId('page-on').setAttribute('aria-disabled', String(page === pages - 1));
}
