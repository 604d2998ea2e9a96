/** The messages of the web client, as they stand in its code and pages. */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const WEB = fileURLToPath(new URL('../../../web/', import.meta.url));
const STRING = String.raw`'(?:[^'\\\n]|\\.)*'`;
const STRINGS = String.raw`(?:${STRING}(?:\s*\+\s*${STRING})*)`;
const CALL = new RegExp(String.raw`\bt\(\s*(${STRINGS})`, 'g');
const PLURAL = new RegExp(String.raw`\btn\([^,]+,\s*(${STRINGS}),\s*(${STRINGS})`, 'g');

/** Pages, and parts of pages that are loaded late, with messages of their own in a folder of that name: their files. */
const FILES_OF = {
    tools: /^(attendance-table|breakout-dialog|commands|consent|device-errors|diagnosis|door|encryption-switch|facts|files|film-choice|invitations|invite-commands|let-speak|operating|outside|poll-card|poll-dialog|polls|presenting|reaction-[a-z]+|reactions|set-commands|spotlight|transfer|unheard|uplink|volume)\b/,
    replay: /^replay/,
    statistics: /^(stats|statistics|sums|chart)\b/,
    sessions: /^(publish|watch)\b/,
    password: /^change-password\b/,
};
export const PARTS = Object.keys(FILES_OF);

/** Keys of messages: of one part, of what belongs to none (`main`), or of all. Map of each to whether it is a plural. */
export function messageKeys(part = 'all') {
    const keys = new Map();
    const partOf = (name) => PARTS.find((other) => FILES_OF[other].test(name)) ?? 'main';
    const isWanted = (name) => part === 'all' || partOf(name) === part;
    for (const name of readdirSync(join(WEB, 'js')).filter(isWanted)) {
        const text = readFileSync(join(WEB, 'js', name), 'utf8');
        for (const [, literal] of text.matchAll(CALL))
            keys.set(value(literal), false);
        for (const [, , literal] of text.matchAll(PLURAL))
            keys.set(value(literal), true);
    }
    for (const name of readdirSync(WEB).filter((file) => file.endsWith('.html') && isWanted(file))) {
        for (const key of pageKeys(readFileSync(join(WEB, name), 'utf8')))
            keys.set(key, false);
    }
    return keys;
}

/** How often t and tn are called at all: with something else than literals they cannot be checked. */
export function uncheckedCalls() {
    const found = [];
    for (const name of readdirSync(join(WEB, 'js'))) {
        const text = readFileSync(join(WEB, 'js', name), 'utf8');
        const calls = [...text.matchAll(/(?<![\w.$]|function )tn?\((?!text|key|count, one)/g)].length;
        const checked = [...text.matchAll(CALL), ...text.matchAll(PLURAL)].length;
        if (calls !== checked)
            found.push(`${name}: ${calls} calls, ${checked} with literal texts`);
    }
    return found;
}

export function placeholders(text) {
    return [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort().join();
}

function value(literals) {
    return [...literals.matchAll(new RegExp(STRING, 'g'))]
        .map(([literal]) => literal.slice(1, -1).replace(/\\(.)/g, '$1')).join('');
}

/** What language.js finds in a page: texts between tags, and attributes that are read. */
function pageKeys(html) {
    const clean = html.replace(/<!--[^]*?-->/g, '').replace(/<noscript>[^]*?<\/noscript>/g, '')
        .replace(/<(script|style)[^>]*>[^]*?<\/\1>/g, '');
    const texts = [...clean.matchAll(/>([^<]+)</g)].map(([, text]) => text);
    const attributes = [...clean.matchAll(/\s(?:aria-label|title|placeholder)="([^"]*)"/g)]
        .map(([, text]) => text);
    return [...texts, ...attributes].map((text) => text.replaceAll('&amp;', '&').trim().replace(/\s+/g, ' '))
        // Marks, letters of keys and names are the same everywhere.
        .filter((text) => /\p{L}{2}/u.test(text) && !['Aula', 'Esc'].includes(text));
}
