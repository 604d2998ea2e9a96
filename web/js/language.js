/**
 * The language of the page. English is what stands in the code and in the pages, and is itself the
 * key of each message; every other language is a file `languages/TAG.json` beside the page, named in
 * `languages/index.json`. What a file lacks stays English. Modules that import this one run when the
 * messages are there.
 */

import { prefer, preferences } from './preferences.js';

const FOLDER = new URL('../languages/', import.meta.url);
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/;
const ATTRIBUTES = ['aria-label', 'title', 'placeholder', 'content'];

let messages = {};
/** Messages beside those that all pages have, by folder: the page's own, and those of parts loaded later. */
const parts = new Map();
let tag = 'en';
let locale = 'en';
let plural;
let collator;

/** The text in the language of the page; `{name}` in it becomes `values.name`. */
export function t(text, values = {}) {
    const found = messages[text];
    return fill(typeof found === 'string' ? found : text, values);
}

/** Loads the messages of a folder; modules that are loaded late have theirs there, and wait for them. */
export function need(part) {
    if (!parts.has(part))
        parts.set(part, loadPart(part));
    return parts.get(part);
}

/** The same for so many of something: `one` and `other` are the English forms, with `{count}`. */
export function tn(count, one, other, values = {}) {
    const found = messages[other];
    const form = typeof found === 'object'
        ? found[plural.select(count)] ?? found.other
        : new Intl.PluralRules('en').select(count) === 'one' ? one : other;
    return fill(form ?? other, { count: number(count), ...values });
}

/** A number as people here write it. */
export function number(value, options) {
    return new Intl.NumberFormat(locale, options).format(value);
}

/** A date, a time or both, by the options of Intl.DateTimeFormat. */
export function dateTime(date, options) {
    return new Intl.DateTimeFormat(locale, options).format(date);
}

/** Several names as one phrase. */
export function list(names) {
    return new Intl.ListFormat(locale, { type: 'conjunction', style: 'narrow' }).format(names);
}

/** For sorting as people here sort. */
export function compare(a, b) {
    return collator.compare(a, b);
}

/** Text of our own behind text of people, which may run the other way. */
export function isolated(text) {
    return document.dir === 'rtl' || RIGHT_TO_LEFT.test(text) ? `\u2068${text}\u2069` : text;
}

/** The tag of the language of the page. */
export function currentLanguage() {
    return tag;
}

/** Tags of all languages that there are, with their own names for themselves. */
export async function languages() {
    try {
        const response = await fetch(new URL('index.json', FOLDER));
        return response.ok ? await response.json() : {};
    } catch {
        return {};
    }
}

/** Changes the language; empty follows the browser. Pages listen to `languagechange` of document. */
export async function setLanguage(wanted) {
    prefer('language', wanted);
    await load();
    for (const [node, text] of originals)
        put(node, text);
    document.dispatchEvent(new Event('languagechange'));
}

function fill(text, values) {
    return text.replace(/\{(\w+)\}/g, (whole, name) => (
        name in values ? isolated(String(values[name])) : whole));
}

/** What stands in the page's own file: [node, attribute or null] and its English text. */
const originals = new Map();

/** Remembers and translates what stands in the page's own file, before anything else is there. */
function translatePage() {
    const walker = document.createTreeWalker(document.documentElement,
        NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        if (node.nodeType === Node.TEXT_NODE) {
            if (node.data.trim() !== '' && !node.parentNode.matches('script, style'))
                originals.set([node, null], node.data);
            continue;
        }
        for (const name of ATTRIBUTES) {
            if (node.hasAttribute(name) && !(name === 'content' && node.name !== 'description'))
                originals.set([node, name], node.getAttribute(name));
        }
    }
    for (const [node, text] of originals)
        put(node, text);
}

function put([node, attribute], text) {
    const key = text.trim().replace(/\s+/g, ' ');
    const [before, after] = [/^\s*/.exec(text)[0], /\s*$/.exec(text)[0]];
    const translated = before + t(key) + after;
    if (attribute)
        node.setAttribute(attribute, translated);
    else
        node.data = translated;
}

/** Takes the language that was chosen, or the first of the browser's that there is. */
async function load() {
    const wanted = preferences.language ? [preferences.language] : navigator.languages ?? ['en'];
    [tag, locale, messages] = ['en', wanted.find((other) => /^en\b/.test(other)) ?? 'en', {}];
    const first = wanted[0] ?? 'en';
    if (!/^en\b/.test(first)) {
        const known = await languages();
        const found = wanted.map((other) => [other, other in known ? other : other.split('-')[0]])
            .find(([, other]) => other in known);
        if (found && found[1] !== 'en')
            await take(...found);
    }
    plural = new Intl.PluralRules(tag);
    // As people sort names: without regard to case, and 9 before 10.
    collator = new Intl.Collator(locale, { numeric: true });
    document.documentElement.lang = tag;
    document.dir = ['ar', 'fa', 'he', 'ur'].includes(tag.split('-')[0]) ? 'rtl' : 'ltr';
}

async function take(wanted, name) {
    try {
        messages = await fetchMessages(name);
        [tag, locale] = [name, wanted];
        await Promise.all([...parts.keys()].map(loadPart));
    } catch {
        // English is better than nothing.
    }
}

async function loadPart(part) {
    if (tag === 'en')
        return;
    try {
        const found = await fetchMessages(`${part}/${tag}`);
        messages = { ...found, ...messages };
    } catch {
        // As above, for this part.
    }
}

async function fetchMessages(name) {
    return (await fetch(new URL(`${name}.json`, FOLDER))).json();
}

// A page may have messages of its own, which others need not load.
if (document.documentElement.dataset.messages)
    parts.set(document.documentElement.dataset.messages, null);
await load();
translatePage();
document.documentElement.classList.add('is-translated');
