/** A small line chart, drawn as SVG: a few series of numbers over the last minutes. */

import { element } from './element.js';

const SPACE = 'http://www.w3.org/2000/svg';
const [WIDTH, HEIGHT] = [300, 100];
/** Points that are kept; at one each five seconds they are ten minutes. */
const POINTS_MAX = 120;

export class Chart {
    /** `names` are the series', `format(value)` makes text of a value. */
    constructor(title, names, format) {
        this.title = title;
        this.names = names;
        this.format = format;
        this.clear();
        this.#svg = drawing('svg', {
            viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img',
        });
        for (const y of [0, HEIGHT / 2, HEIGHT])
            this.#svg.append(drawing('line', { class: 'grid', x1: 0, x2: WIDTH, y1: y, y2: y }));
        this.#lines = names.map((_, at) => drawing('polyline', { class: `line-${at}` }));
        this.#svg.append(...this.#lines);
        this.#keys = names.map((_, at) => element('span', { className: `line-${at}` }));
        this.#most = element('span', { className: 'most' });
        this.node = element('figure', { className: 'chart' },
            element('figcaption', {}, element('b', {}, title), this.#most),
            this.#svg, element('div', { className: 'key' }, ...this.#keys));
    }

    /** Forgets what was. */
    clear() {
        this.series = this.names.map(() => []);
    }

    /** Adds one value for each series. */
    add(values) {
        values.forEach((value, at) => {
            this.series[at].push(value);
            if (this.series[at].length > POINTS_MAX)
                this.series[at].shift();
        });
        this.#draw();
    }

    #svg;
    #lines;
    #keys;
    #most;

    #draw() {
        const most = Math.max(...this.series.flat(), Number.MIN_VALUE);
        const texts = this.series.map((points, at) => (
            `${this.names[at]}: ${this.format(points.at(-1) ?? 0)}`));
        this.series.forEach((points, at) => {
            const step = WIDTH / (POINTS_MAX - 1);
            // The newest is at the right, in every language: so clocks of instruments run.
            const start = WIDTH - (points.length - 1) * step;
            this.#lines[at].setAttribute('points', points.map((value, index) => (
                `${(start + index * step).toFixed(1)},${(HEIGHT * (1 - value / most)).toFixed(1)}`)).join(' '));
            this.#keys[at].textContent = texts[at];
        });
        this.#most.textContent = `↑ ${this.format(Math.max(0, ...this.series.flat()))}`;
        this.#svg.setAttribute('aria-label', `${this.title}. ${texts.join(', ')}`);
    }
}

function drawing(tag, attributes) {
    const node = document.createElementNS(SPACE, tag);
    for (const [name, value] of Object.entries(attributes))
        node.setAttribute(name, String(value));
    return node;
}
