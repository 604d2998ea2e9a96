/** What user messages mean to a client. */

/** A kick with this text is a restart of the server, after which we may come back by ourselves. */
const SHUTDOWN_TEXT = 'server is shutting down';

/** The event that a user message becomes, as [name, detail]; null if it is none. */
export function meaningOf(message) {
    const { kind, value, username, source } = message;
    if (kind === 'filetransfer')
        return ['file', { message }];
    if (kind === 'vote' || kind === 'reaction')
        return [kind, { message }];
    // Anybody may send user messages: only those of the server and of operators are obeyed.
    if (!message.privileged)
        return null;
    switch (kind) {
    case 'kicked':
        return value === SHUTDOWN_TEXT ? null : ['kicked', { text: value ?? '', by: username }];
    case 'warning':
        if (message.error === 'stopping')
            return ['stopping', { seconds: Number(/\d+/.exec(value)?.[0] ?? 0) }];
        // falls through
    case 'error':
        // Another operator was faster, as the list tells.
        if (value === 'this user does not wait any more')
            return null;
        // falls through
    case 'info':
        // The server itself has no id.
        return ['notice', { kind, text: String(value ?? ''), by: source ? username : '' }];
    default:
        return ['order', { kind, message }];
    }
}
