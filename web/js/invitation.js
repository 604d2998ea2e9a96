/**
 * The token of an invitation. It is a secret: it leaves the address bar, history and screenshots,
 * but stays in this tab, so that a reload does not lock the guest out.
 */

import { state } from './state.js';
import { forget, keep, kept } from './tab.js';

const KEY = `aula:token:${state.groupName}`;

/** Takes the token out of the address, or the one of before the reload; null without one. */
export function takeToken() {
    const query = new URLSearchParams(location.search);
    const token = query.get('token');
    if (!token)
        return kept(KEY);
    // With nowhere to keep it, it stays in the address.
    if (!keep(KEY, token))
        return token;
    query.delete('token');
    const rest = query.toString();
    history.replaceState(null, '', location.pathname + (rest && `?${rest}`) + location.hash);
    return token;
}

/** Forgets the token, for those who would rather log in. */
export function forgetToken() {
    forget(KEY);
}
