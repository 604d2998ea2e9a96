/** axe-core: what it finds on a page. Its rules about colours take as long as all the others together. */

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

/** Its text: once a page has evaluated it, there is `window.axe`. */
export const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const COLOUR_RULES = ['color-contrast', 'link-in-text-block'];
const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

/** All rules. */
export const ALL = { runOnly: TAGS };
/** Those about colours: in the dark nothing else is different. */
export const COLOURS = { runOnly: { type: 'rule', values: COLOUR_RULES } };
/** The others: colours are the same in every language. */
export const NO_COLOURS = {
    runOnly: TAGS, rules: Object.fromEntries(COLOUR_RULES.map((rule) => [rule, { enabled: false }])),
};

/**
 * What axe finds on the page as it is, a line for each rule; `what` is one of the above. Of a page with an
 * open dialog that is in the dialog: nothing else can be reached then.
 */
export async function faultsOf(page, what = ALL) {
    if (!await page.evaluate(() => 'axe' in window))
        await page.evaluate(`${AXE};0`);
    return page.evaluate(async (options) => {
        const place = document.querySelector('dialog:modal') ?? document;
        const { violations } = await window.axe.run(place, { ...options, resultTypes: ['violations'] });
        return violations.map(({ id, nodes }) => (
            `${id}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(' | ')}`));
    }, what);
}
