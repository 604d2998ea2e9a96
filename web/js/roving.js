/** One Tab stop for a whole row or list; arrow keys move within it. */

const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

/**
 * `selector` finds the stops inside `container`, in reading order. Gives what is to be called when they have
 * changed, with the one that shall be the Tab stop if it is not to stay.
 */
export function rove(container, selector) {
    const stops = () => [...container.querySelectorAll(selector)]
        .filter((node) => !node.disabled && !container.contains(node.closest('[hidden]')));
    container.addEventListener('keydown', (event) => {
        const nodes = stops();
        const at = nodes.indexOf(event.target);
        if (at < 0 || event.altKey || event.ctrlKey || event.metaKey)
            return;
        let to = event.key === 'Home' ? 0 : event.key === 'End' ? nodes.length - 1
            : at + (STEPS[event.key] ?? 0);
        if (event.key !== 'Home' && event.key !== 'End' && !(event.key in STEPS))
            return;
        if (document.dir === 'rtl' && ['ArrowLeft', 'ArrowRight'].includes(event.key))
            to = at - STEPS[event.key];
        nodes[(to + nodes.length) % nodes.length].focus();
        event.preventDefault();
    });
    container.addEventListener('focusin', (event) => {
        if (event.target.matches(selector))
            settle(event.target);
    });
    const settle = (current) => {
        for (const node of container.querySelectorAll(selector)) {
            const tabIndex = node === current ? 0 : -1;
            if (node.tabIndex !== tabIndex || !node.hasAttribute('tabindex'))
                node.tabIndex = tabIndex;
        }
    };
    const refresh = (wanted) => {
        if (wanted) {
            settle(wanted);
            return;
        }
        const nodes = stops();
        const current = nodes.find((node) => node.tabIndex === 0 && node.hasAttribute('tabindex'));
        settle(current ?? nodes[0]);
    };
    refresh();
    return refresh;
}
