/** One Tab stop for a whole row or list; arrow keys move within it. */

const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

/** `selector` finds the stops inside `container`, in reading order. */
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
        for (const node of container.querySelectorAll(selector))
            node.tabIndex = node === current ? 0 : -1;
    };
    const refresh = () => {
        const nodes = stops();
        const current = nodes.find((node) => node.tabIndex === 0 && node.hasAttribute('tabindex'));
        settle(current ?? nodes[0]);
    };
    refresh();
    return refresh;
}
