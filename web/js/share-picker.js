/** The row of buttons that chooses among several shared screens. */

import { byId, element } from './element.js';

/** Offers the `shares`, of which `shownId` is shown; `choose(tile)` is called for another one. */
export function showShares(shares, shownId, choose) {
    const place = byId('shares');
    place.hidden = shares.length < 2;
    const hadFocus = place.contains(document.activeElement);
    place.replaceChildren(...shares.map((tile) => element('button', {
        type: 'button', 'aria-pressed': String(tile.stream.id === shownId), dir: 'auto',
        onclick: () => choose(tile),
    }, tile.title)));
    if (hadFocus)
        (place.querySelector('[aria-pressed=true]') ?? byId('grid')).focus();
}
