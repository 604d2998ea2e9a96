/** Menus that open at a button: arrow keys move, Enter chooses, Escape and Tab close. */

import { element } from './element.js';

const GAP_PX = 4;
let open = null;

/** Opens a menu of {text, onclick, isDanger?, picture?} at `anchor`, or closes it if it is open there. */
export function openMenu(anchor, label, items) {
    const isAgain = open?.anchor === anchor;
    closeMenu();
    if (isAgain || items.length === 0)
        return;
    const node = element('div', { className: 'menu', role: 'menu', 'aria-label': label },
        ...items.map((item) => entry(item)));
    // Inside a full-screen element or a dialog nothing else is visible.
    (document.fullscreenElement ?? anchor.closest('dialog, aside, main, footer') ?? document.body)
        .append(node);
    place(node, anchor);
    anchor.setAttribute('aria-expanded', 'true');
    open = { node, anchor };
    node.addEventListener('keydown', onKey);
    document.addEventListener('pointerdown', onPointer, true);
    node.firstElementChild.focus();
}

export function closeMenu({ restoresFocus = false } = {}) {
    if (!open)
        return;
    const { node, anchor } = open;
    open = null;
    document.removeEventListener('pointerdown', onPointer, true);
    anchor.setAttribute('aria-expanded', 'false');
    if (restoresFocus)
        anchor.focus();
    node.remove();
}

/** The button `anchor` goes away: so does its menu, and the focus is at the button for its owner to pass on. */
export function closeMenuOf(anchor) {
    if (open?.anchor === anchor)
        closeMenu({ restoresFocus: open.node.contains(document.activeElement) });
}

function entry({ text, onclick, isDanger = false, picture = '' }) {
    return element('button', {
        type: 'button', role: 'menuitem', className: isDanger ? 'is-danger' : '',
        onclick: () => {
            closeMenu({ restoresFocus: true });
            onclick();
        },
    }, picture, text);
}

function place(node, anchor) {
    const at = anchor.getBoundingClientRect();
    const { width, height } = node.getBoundingClientRect();
    const left = Math.min(Math.max(GAP_PX, at.right - width), innerWidth - width - GAP_PX);
    const isRoomBelow = at.bottom + GAP_PX + height <= innerHeight;
    const top = isRoomBelow ? at.bottom + GAP_PX : Math.max(GAP_PX, at.top - height - GAP_PX);
    node.style.left = `${left}px`;
    node.style.top = `${top}px`;
}

function onKey(event) {
    const items = [...open.node.children];
    const at = items.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
    if (to !== undefined)
        items.at(to % items.length).focus();
    else if (event.key === 'Escape' || event.key === 'Tab')
        closeMenu({ restoresFocus: true });
    else
        return;
    event.preventDefault();
    event.stopPropagation();
}

function onPointer(event) {
    if (!open.node.contains(event.target) && !open.anchor.contains(event.target))
        closeMenu();
}
