/** The dialog in which operators make breakout rooms, move people, speak to all rooms and end them. */

import { roomOf } from './breakout-plan.js';
import { element, icon, ROOT } from './element.js';
import { list, need, t, tn } from './language.js';
import { nameOf } from './names.js';
import { personOf } from './person.js';
import { serverNow, state } from './state.js';
import './tools-style.js';

await need('tools');

const ROOMS_MAX = 50;
const MINUTE_MS = 60_000;
const MORE_MINUTES = 5;

/** Opens the dialog over the `breakouts` of the page. */
export async function openBreakoutDialog(breakouts) {
    const dialog = element('dialog', { className: 'rooms', 'aria-labelledby': 'rooms-title' });
    document.body.append(dialog);
    let shown = '';
    let plan = null;
    const draw = () => {
        // Drawn anew only when it tells something else: a choice that is open must not vanish.
        const now = JSON.stringify([breakouts.plan, breakouts.isRunning, people(breakouts)]);
        if (now === shown)
            return;
        const isPlanning = !breakouts.isRunning && plan !== null;
        shown = now;
        if (isPlanning) {
            // What was chosen so far is kept.
            plan.refresh();
            return;
        }
        plan = breakouts.isRunning ? null : planning(breakouts);
        const hadFocus = dialog.contains(document.activeElement);
        const focus = document.activeElement?.id;
        dialog.replaceChildren(
            element('h2', { id: 'rooms-title', tabIndex: -1 }, t('Breakout rooms')),
            ...plan ? [plan.form] : running(breakouts, dialog),
            element('form', { method: 'dialog' }, element('button', {}, t('Close'))),
        );
        // What was pressed may be gone, with the plan that it changed.
        if (hadFocus)
            (focus && dialog.querySelector(`#${CSS.escape(focus)}`)
                || dialog.querySelector('#rooms-title')).focus();
    };
    breakouts.onChange = draw;
    breakouts.onTick = () => {
        draw();
        const clock = dialog.querySelector('#rooms-left');
        if (clock)
            clock.textContent = timeLeft(breakouts);
    };
    dialog.addEventListener('close', () => {
        breakouts.onChange = breakouts.onTick = null;
        dialog.remove();
    });
    draw();
    dialog.showModal();
    if (!await canMakeRooms()) {
        dialog.querySelector('#rooms-error').textContent = t('This group has no rooms below it. Its file '
            + 'must say {line}: ask whoever runs the server.', { line: '"auto-subgroups": true' });
        dialog.querySelector('#rooms-start').disabled = true;
    }
}

/** Whether rooms can be made below the main group. */
async function canMakeRooms() {
    const path = `${state.mainGroup}/1`.split('/').map(encodeURIComponent).join('/');
    try {
        return (await fetch(`${ROOT}group/${path}/.status`, { cache: 'no-store' })).ok;
    } catch {
        return false;
    }
}

/** Those who could go into rooms, operators last: {person, name, label, isTeacher, isCalling}. */
function people({ main }) {
    const users = [...main.users.values()].filter(({ id, username, permissions }) => (
        id !== main.id && username !== '' && !permissions.includes('system')));
    const here = users.map((user) => ({
        person: personOf(user),
        name: user.username,
        label: nameOf(user, main.users),
        isTeacher: user.permissions.includes('op'),
        isCalling: typeof user.data?.room === 'string' && Boolean(user.data.raisehand),
    }));
    here.sort((a, b) => a.isTeacher - b.isTeacher || a.label.localeCompare(b.label));
    // With two devices somebody is one person.
    return [...new Map(here.reverse().map((one) => [one.person, one])).values()].reverse();
}

// ---- Before ------------------------------------------------------------------------------------

function planning(breakouts) {
    let here = people(breakouts);
    const count = field('rooms-count', t('How many rooms'), {
        type: 'number', min: 1, max: ROOMS_MAX, value: Math.max(2, Math.ceil(here.length / 4)), required: true,
    });
    const minutes = field('rooms-minutes', t('Minutes (empty: without end)'), {
        type: 'number', min: 1, max: 1_440, value: '',
    });
    const names = element('ul', { 'aria-label': t('Who goes where') });
    const selects = new Map();
    const rooms = () => Array.from({ length: clamp(count.input.valueAsNumber) }, (_, at) => String(at + 1));
    const fill = () => {
        const kept = new Map([...selects].map(([person, select]) => [person, select.value]));
        const focus = names.contains(document.activeElement) ? document.activeElement.id : '';
        selects.clear();
        names.replaceChildren(...here.map(({ person, label }) => {
            const select = chooser(`rooms-person-${person}`, label, rooms(), kept.get(person) ?? '');
            selects.set(person, select);
            return element('li', {}, element('span', { dir: 'auto' }, label), select);
        }));
        if (focus)
            (document.getElementById(focus) ?? count.input).focus();
    };
    const atRandom = () => {
        const free = here.filter(({ isTeacher }) => !isTeacher).map(({ person }) => person);
        const all = rooms();
        shuffle(free).forEach((person, at) => { selects.get(person).value = all[at % all.length]; });
    };
    count.input.onchange = () => {
        fill();
        atRandom();
    };
    fill();
    atRandom();
    const form = element('form', {
        onsubmit: (event) => {
            event.preventDefault();
            const length = minutes.input.valueAsNumber;
            breakouts.change({
                rooms: rooms(),
                people: Object.fromEntries(here.map(({ person, name }) => (
                    [person, { room: selects.get(person).value, name }]))),
                until: length > 0 ? Math.round(serverNow() + length * MINUTE_MS) : null,
                hasVoice: false,
            });
        },
    },
    element('div', { className: 'row' }, count.node, minutes.node),
    element('p', { id: 'rooms-error', className: 'error', role: 'alert' }),
    names,
    element('div', { className: 'actions' },
        element('button', { type: 'button', onclick: atRandom }, t('Mix again')),
        element('button', { id: 'rooms-start', className: 'primary' }, t('Send them to their rooms'))));
    const refresh = () => {
        here = people(breakouts);
        fill();
    };
    return { form, refresh };
}

// ---- While it goes on ----------------------------------------------------------------------------

function running(breakouts, dialog) {
    const { plan } = breakouts;
    const here = people(breakouts);
    const rooms = plan.rooms.map((room) => {
        const inside = here.filter(({ person }) => roomOf(plan, person) === room);
        const calling = inside.filter(({ isCalling }) => isCalling).map(({ label }) => label);
        return element('li', {},
            element('span', {}, element('b', {}, t('Room {room}', { room })), ' ',
                element('small', { dir: 'auto' },
                    inside.length > 0 ? list(inside.map(({ label }) => label)) : t('nobody')),
                calling.length > 0 ? element('span', { className: 'rooms-call' }, icon('hand'),
                    t('A teacher is called by {names}.', { names: list(calling) })) : ''),
            element('button', {
                type: 'button', id: `rooms-visit-${room}`,
                'aria-label': t('Visit room {room}', { room }),
                onclick: () => {
                    dialog.close();
                    breakouts.visit(room);
                },
            }, t('Visit')));
    });
    const moves = here.map(({ person, name, label }) => {
        const select = chooser(`rooms-person-${person}`, label, plan.rooms, roomOf(plan, person));
        select.onchange = () => breakouts.change({
            people: { ...plan.people, [person]: { room: select.value, name } },
        });
        return element('li', {}, element('span', { dir: 'auto' }, label), select);
    });
    return [
        element('p', { id: 'rooms-left', role: 'timer' }, timeLeft(breakouts)),
        element('p', { id: 'rooms-error', className: 'error', role: 'alert' }),
        element('div', { className: 'actions' },
            element('button', {
                type: 'button', id: 'rooms-more', hidden: !plan.until,
                onclick: () => breakouts.change({ until: plan.until + MORE_MINUTES * MINUTE_MS }),
            }, t('Five minutes more')),
            element('button', {
                type: 'button', id: 'rooms-end', className: 'primary',
                onclick: () => breakouts.change(false),
            }, t('Bring all back'))),
        section(t('Rooms'), element('ul', {}, ...rooms)),
        section(t('Speak to all rooms'), messageForm(breakouts), voiceBox(breakouts)),
        section(t('Move people'), element('ul', {}, ...moves)),
    ];
}

function messageForm(breakouts) {
    const text = field('rooms-message', t('Message'), { maxLength: 500, dir: 'auto', required: true });
    const form = element('form', {
        className: 'row',
        onsubmit: (event) => {
            event.preventDefault();
            breakouts.broadcast(text.input.value.trim());
            text.input.value = '';
        },
    }, text.node, element('button', {}, t('Tell all rooms')));
    return form;
}

function voiceBox(breakouts) {
    return element('label', { className: 'check' },
        element('input', {
            id: 'rooms-voice', type: 'checkbox', checked: Boolean(breakouts.plan.hasVoice),
            onchange: ({ target }) => breakouts.change({ hasVoice: target.checked }),
        }),
        t('All rooms hear who speaks in the main group'));
}

function timeLeft(breakouts) {
    return breakouts.left ? t('The rooms close in {time}.', { time: breakouts.left })
        : tn(breakouts.plan?.rooms.length ?? 0, '{count} room is open.', '{count} rooms are open.');
}

// ---- Small parts -----------------------------------------------------------------------------------

function section(title, ...children) {
    return element('fieldset', {}, element('legend', {}, title), ...children);
}

function field(id, label, properties) {
    const input = element('input', { id, ...properties });
    return { input, node: element('div', {}, element('label', { htmlFor: id }, label), input) };
}

function chooser(id, name, rooms, value) {
    const select = element('select', { id, 'aria-label': t('Room of {name}', { name }) },
        new Option(t('main group'), ''), ...rooms.map((room) => new Option(t('Room {room}', { room }), room)));
    select.value = value;
    if (select.selectedIndex < 0)
        select.value = '';
    return select;
}

function clamp(count) {
    return Math.min(ROOMS_MAX, Math.max(1, Math.floor(count) || 1));
}

function shuffle(names) {
    const left = [...names];
    return names.map(() => left.splice(Math.floor(Math.random() * left.length), 1)[0]);
}
