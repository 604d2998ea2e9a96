/** Texts without what cannot be seen, such as names; loaded with the first one. */

/** The flags of England, Scotland and Wales: tags, which nobody sees, follow a black one. */
const FLAGS = ['gbeng', 'gbsct', 'gbwls'].map((code) => String.fromCodePoint(
    0x1f3f4, ...[...code].map((letter) => 0xe0000 + letter.charCodeAt()), 0xe007f));
/** Flags; and what cannot be seen or turns what stands beside it, but for joiners. */
const UNSEEN = new RegExp(String.raw`(${FLAGS.join('|')})|(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]`, 'gu');

/** The text without what cannot be seen; flags stay whole. */
export function visible(text) {
    return text.replace(UNSEEN, '$1');
}

/** The text without what cannot be seen, which keyboards and pages leave in it; joiners stay where they join. */
export function tidy(text) {
    return visible(text)
        .replace(/(?<![^\0-\x7f])[\u200c\u200d]+|[\u200c\u200d]+(?![^\0-\x7f])/g, '');
}
