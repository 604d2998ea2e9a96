/** What the page tells without being asked: notices to see, announcements to hear. */

import { byId, element } from './element.js';
import { t, tn } from './language.js';

const NOTICE_MS = 8_000;
const NOTICES_MAX = 4;
/** Announcements that come together are read out together. */
const GATHER_MS = 700;
const GATHERED_MAX = 3;

/** What had the focus before a notice had it. */
let cameFrom = null;
let gathered = [];
let timer = 0;

/** Shows `text` for a while. Errors are read out at once, everything else politely. */
export function notify(text, kind = 'error') {
    const place = byId('notices');
    const close = element('button', {
        type: 'button', className: 'plain', 'aria-label': t('Dismiss'), onclick: () => dismiss(notice),
    }, '×');
    const notice = element('div', {
        className: `notice notice-${kind}`, role: kind === 'error' ? 'alert' : 'status',
    },
    element('span', { dir: 'auto' }, text), close);
    close.onfocus = ({ relatedTarget }) => {
        cameFrom = place.contains(relatedTarget) ? cameFrom : relatedTarget;
    };
    // Said twice it is shown once, and anew.
    const same = [...place.children].find((other) => other.textContent === notice.textContent);
    if (same)
        dismiss(same);
    place.append(notice);
    // In front of dialogs, too, which are in a layer of their own.
    if (document.querySelector('dialog[open]') && place.showPopover) {
        if (place.matches(':popover-open'))
            place.hidePopover();
        place.showPopover();
    }
    while (place.childElementCount > NOTICES_MAX)
        dismiss(place.firstElementChild);
    expire(notice);
}

/** Takes a notice away after a while, but not from under the eyes or hands of who is at it. */
function expire(notice) {
    // After a touch what was touched stays hovered.
    const isHeld = () => notice.matches(':focus-within')
        || (matchMedia('(hover: hover)').matches && notice.matches(':hover'));
    setTimeout(() => (isHeld() ? expire(notice) : dismiss(notice)), NOTICE_MS);
}

/** The focus goes to the next notice, or back to where it was before. */
function dismiss(notice) {
    if (notice.contains(document.activeElement)) {
        const next = notice.nextElementSibling ?? notice.previousElementSibling;
        const isThere = cameFrom?.isConnected && (cameFrom.checkVisibility?.() ?? true);
        const back = isThere ? cameFrom : byId('room-name');
        (next?.querySelector('button') ?? back).focus();
    }
    notice.remove();
}

/** Tells `text` to those who listen to the page instead of looking at it. */
export function announce(text) {
    gathered.push(text);
    clearTimeout(timer);
    timer = setTimeout(() => {
        const more = gathered.length - GATHERED_MAX;
        const told = gathered.slice(0, GATHERED_MAX).join(' ');
        byId('announcer').textContent = more > 0
            ? `${told} ${tn(more, 'And {count} more.', 'And {count} more.')}` : told;
        gathered = [];
    }, GATHER_MS);
}

/** What the server says to a person, in more helpful words. */
const WORDS = {
    'permission denied': () => t('You may not present any more: camera, microphone and screen are off.'),
    'not authorised': () => t('You may not do that here.'),
};

/** Makes a sentence of a server's text. */
export function sentence(text) {
    if (WORDS[text])
        return WORDS[text]();
    const trimmed = text.trim();
    return trimmed && trimmed[0].toUpperCase() + trimmed.slice(1)
        + (/[.!?]$/.test(trimmed) ? '' : '.');
}
