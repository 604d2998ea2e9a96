/** How the administrators' page writes what it shows: each a cell of a table, with a value to sort by. */

import { number, t } from './language.js';

/** Such a loss is seen and heard. */
const BAD_LOSS = 0.05;
const BAD_RTT_MS = 400;
const UNKNOWN = '–';
/** What the server says of connections that nothing comes of. */
const NOTHING_COMES = ['waiting', 'checked', 'silent'];

export function rate(bits) {
    const [value, unit] = bits >= 1e6 ? [bits / 1e6, 'Mbit/s'] : [bits / 1e3, 'kbit/s'];
    return `${number(value, { maximumFractionDigits: bits >= 1e6 ? 1 : 0 })} ${unit}`;
}

export function percent(part) {
    return number(part, { style: 'percent', maximumFractionDigits: 1 });
}

export function milliseconds(ms) {
    return `${number(ms, { maximumFractionDigits: 0 })} ms`;
}

/** A cell; without a value nothing is known. What is bad has a sign beside its colour, for who sees none. */
function cell(value, write, isBad = false) {
    if (value === undefined || value === null)
        return { text: UNKNOWN };
    return { value, isBad, text: isBad ? `⚠ ${write(value)}` : write(value) };
}

export const count = (value) => cell(value, (many) => number(many));
export const word = (value) => cell(value || undefined, String);
export const rateCell = (bits) => cell(bits, rate);
/** Nothing known is 0 in some sums. */
export const room = (bits) => cell(bits || undefined, rate);
export const loss = (part) => cell(part, percent, part >= BAD_LOSS);
export const roundTrip = (ms) => cell(ms || undefined, milliseconds, ms >= BAD_RTT_MS);
export const delay = (ms) => cell(ms || undefined, milliseconds);
/** Pictures that a way has no room for. */
export const heldBack = (many) => cell(many, (value) => number(value), many > 0);

/** How often pictures have stood still at the server, and for how long altogether. */
export function stoodStill(freezes, seconds) {
    return cell(freezes === undefined ? undefined : seconds, () => (freezes > 0
        ? t('{count}×, {seconds} s', {
            count: number(freezes), seconds: number(seconds, { maximumFractionDigits: 1 }),
        }) : number(0)));
}

/** What media goes over, or that nothing gets through. */
export function path(paths) {
    const known = paths.filter(Boolean);
    const over = [...new Set(known.map((each) => each.over).filter(Boolean))];
    return known.some(({ state }) => NOTHING_COMES.includes(state))
        ? cell('', () => t('interrupted'), true)
        : word(over.map((name) => name.toUpperCase()).join(', '));
}
