/**
 * Who comes back after a lost connection has another id, and the server holds the dead one for most of
 * a minute. Each membership therefore publishes the mark of a secret, and the next one tells the
 * secret: so that others can let the dead one go at once, and nobody can put another out this way.
 */

import { randomId } from './random.js';

/** A secret and its mark; null where the browser has no cryptography, outside secure contexts. */
export async function newMark() {
    if (!globalThis.crypto?.subtle)
        return null;
    const secret = randomId();
    return { secret, mark: await markOf(secret) };
}

/** Whether `user` has shown to be `old`, come back. */
export async function isHeir(user, old) {
    const { was, proof } = user.data;
    return user.id !== old.id && was === old.id && user.username === old.username
        && typeof proof === 'string' && typeof old.data.mark === 'string'
        && Boolean(globalThis.crypto?.subtle) && await markOf(proof) === old.data.mark;
}

async function markOf(secret) {
    const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(secret));
    return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
