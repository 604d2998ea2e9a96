/** What stays in this tab over a reload, as text. Without storage it ends with the page. */

/** Whether there is somewhere to keep it. */
export function keep(key, text) {
    try {
        sessionStorage.setItem(key, text);
        return true;
    } catch {
        return false;
    }
}

/** What was kept; null if that is nothing. */
export function kept(key) {
    try {
        return sessionStorage.getItem(key);
    } catch {
        return null;
    }
}

export function forget(key) {
    try {
        sessionStorage.removeItem(key);
    } catch {
        // Then it was not kept either.
    }
}
