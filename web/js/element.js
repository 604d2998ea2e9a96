/** The path of the server's root: not `/` if a proxy shows it under a prefix. */
export const ROOT = new URL(import.meta.url).pathname.replace(/(v\/[0-9a-f]+\/)?js\/[^/]*$/, '');

/** Builds DOM elements: element('p', {className: 'a'}, 'text', child). Text is never parsed. */
export function element(tag, properties = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
        if (name.includes('-') || name === 'role')
            node.setAttribute(name, value);
        else
            node[name] = value;
    }
    node.append(...children);
    return node;
}

/** An icon of /icons.svg; decoration only, the text beside it carries the meaning. */
export function icon(name) {
    const space = 'http://www.w3.org/2000/svg';
    const svg = document.createElementNS(space, 'svg');
    svg.setAttribute('class', 'icon');
    svg.setAttribute('aria-hidden', 'true');
    const use = document.createElementNS(space, 'use');
    use.setAttribute('href', `${new URL('../icons.svg', import.meta.url).pathname}#${name}`);
    svg.append(use);
    return svg;
}

/** Puts a node at a box of CSS pixels, which is counted from the side where lines begin. */
export function putAt(node, { left, top, width, height }) {
    Object.assign(node.style, {
        insetInlineStart: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${height}px`,
    });
}

/** The element with this id; the page has it. */
export function byId(id) {
    return document.getElementById(id);
}
