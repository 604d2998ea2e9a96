/** A table that is filled again and again, and sorted by any column. Its rows stay what they are, so that focus does. */

import { byId, element } from './element.js';
import { compare } from './language.js';
import { rove } from './roving.js';

export class Table {
    #head;
    #body;
    #choose;
    #refresh = () => {};
    /** By key: the row's elements. */
    #kept = new Map();
    #rows = [];
    #sorted = null;

    /** With `choose(key)` each row begins with a button; all of them are one Tab stop, and arrow keys go on. */
    constructor(id, choose = null) {
        const table = byId(id);
        [this.#head, this.#body, this.#choose] = [[...table.tHead.rows[0].cells], table.tBodies[0], choose];
        this.#head.forEach((th, column) => {
            const button = element('button', { type: 'button', className: 'sort' }, ...th.childNodes);
            button.addEventListener('click', () => this.#sortBy(column));
            th.append(button);
        });
        if (choose)
            this.#refresh = rove(this.#body, 'button');
    }

    /** Shows rows of { key, name, cells, isOpen }: the key is the row's own, and every cell { text, value, isBad }. */
    show(rows) {
        this.#rows = rows;
        const keys = new Set(rows.map(({ key }) => key));
        for (const key of this.#kept.keys()) {
            if (!keys.has(key))
                this.#kept.delete(key);
        }
        for (const row of rows)
            this.#put(row);
        this.#order();
        this.#refresh();
    }

    /** Puts the focus on a row; says whether there is such a row. */
    focus(key) {
        const button = this.#kept.get(key)?.button;
        button?.focus();
        return Boolean(button);
    }

    #put({ key, name, cells, isOpen }) {
        if (!this.#kept.has(key))
            this.#kept.set(key, this.#make(key, cells.length));
        const { title, button, fields } = this.#kept.get(key);
        write(title, name);
        button?.setAttribute('aria-expanded', String(Boolean(isOpen)));
        cells.forEach(({ text, isBad }, at) => {
            write(fields[at], text);
            fields[at].classList.toggle('is-bad', Boolean(isBad));
        });
    }

    #make(key, width) {
        const button = this.#choose && element('button', { type: 'button', className: 'plain' });
        button?.addEventListener('click', () => this.#choose(key));
        const th = element('th', { scope: 'row', dir: 'auto' }, ...button ? [button] : []);
        const fields = Array.from({ length: width }, () => element('td'));
        return { node: element('tr', {}, th, ...fields), title: button ?? th, button, fields };
    }

    /** Largest first, as what is large is looked for; names the other way. The same column again turns that round. */
    #sortBy(column) {
        const before = this.#sorted;
        this.#sorted = { column, isDown: before?.column === column ? !before.isDown : column > 0 };
        this.#head.forEach((th, at) => {
            if (at === column)
                th.setAttribute('aria-sort', this.#sorted.isDown ? 'descending' : 'ascending');
            else
                th.removeAttribute('aria-sort');
        });
        this.#order();
    }

    #order() {
        const rows = this.#sorted ? [...this.#rows].sort((a, b) => this.#which(a, b)) : this.#rows;
        const nodes = rows.map(({ key }) => this.#kept.get(key).node);
        const { children } = this.#body;
        if (nodes.length === children.length && nodes.every((node, at) => node === children[at]))
            return;
        // What is moved in the document loses the focus.
        const focused = this.#body.contains(document.activeElement) ? document.activeElement : null;
        this.#body.replaceChildren(...nodes);
        focused?.focus({ preventScroll: true });
    }

    #which(a, b) {
        const { column, isDown } = this.#sorted;
        const [left, right] = [a, b].map(({ name, cells }) => (column === 0 ? name : cells[column - 1].value));
        // What is not known comes last either way.
        if (left === undefined || right === undefined)
            return (left === undefined) - (right === undefined);
        const order = typeof left === 'number' ? left - right : compare(left, right);
        return isDown ? -order : order;
    }
}

function write(node, text) {
    if (node.textContent !== text)
        node.textContent = text;
}
