/** axe-core, as it goes into a page, and what pages are held against. */

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

/** Its text: once a page has evaluated it, there is `window.axe`. */
export const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
/** The tags of all rules that count. */
export const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
