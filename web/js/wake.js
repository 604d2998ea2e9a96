/** Keeps the screen on: one that goes dark in class must be woken by hand, every time. */

let lock = null;
let isWanted = false;

export async function keepAwake() {
    isWanted = true;
    try {
        lock = await navigator.wakeLock?.request('screen');
    } catch {
        // Batteries that are low come first.
    }
}

export function sleepAgain() {
    isWanted = false;
    lock?.release();
    lock = null;
}

// The browser takes the lock away with the page's visibility.
document.addEventListener('visibilitychange', () => {
    if (!document.hidden && isWanted)
        keepAwake();
});
