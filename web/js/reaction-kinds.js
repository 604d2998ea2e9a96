/** The reactions that there are, by the names that go over the wire: their words and their pictures. */

import { icon } from './element.js';
import { need, t } from './language.js';

await need('tools');

const WORDS = {
    thumbsup: () => t('Thumbs up'),
    applause: () => t('Applause'),
    heart: () => t('Heart'),
    laugh: () => t('Laughing'),
    surprise: () => t('Surprised'),
    slower: () => t('Slower'),
    faster: () => t('Faster'),
};
/** Not every system has a font with such pictures: ours are in a file, loaded with the first. */
const PICTURES = new URL('../reactions.svg', import.meta.url).pathname;

/** In the order in which they are offered. */
export const KINDS = Object.keys(WORDS);
/** What is said of how fast somebody teaches. */
export const PACE_KINDS = ['slower', 'faster'];

export function wordOf(kind) {
    return WORDS[kind]();
}

/** Decoration only, as `icon` is. */
export function pictureOf(kind) {
    const picture = icon(kind);
    picture.classList.add('reaction', `is-${kind}`);
    picture.firstElementChild.setAttribute('href', `${PICTURES}#${kind}`);
    return picture;
}
