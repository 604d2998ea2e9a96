/**
 * Buttons that take the places of others: a press that was meant for what stood there before shall not do what it
 * does to the next. Such are the second click of a double one, a key that is held, and what comes right after a move.
 */

/** Nobody reads a button and decides on it in less. */
const SETTLE_MS = 500;

/** Guards the buttons in `container` that `selector` finds. Gives what is to be called when they have moved. */
export function steady(container, selector) {
    let movedAt = -Infinity;
    const refuse = (event) => {
        event.preventDefault();
        event.stopImmediatePropagation();
    };
    const isGuarded = ({ target }) => target.closest(selector) !== null;
    container.addEventListener('keydown', (event) => {
        if (event.repeat && event.key === 'Enter' && isGuarded(event))
            refuse(event);
    }, { capture: true });
    container.addEventListener('click', (event) => {
        if ((event.detail > 1 || performance.now() - movedAt < SETTLE_MS) && isGuarded(event))
            refuse(event);
    }, { capture: true });
    return () => {
        movedAt = performance.now();
    };
}
