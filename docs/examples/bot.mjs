#!/usr/bin/env node
/**
 * A bot that tells who is next: write "next" in the chat, and it names the first raised hand.
 *
 *     node bot.mjs wss://aula.example.org:8443/ws algebra robot [PASSWORD]
 *
 * Node 22 or newer (or 20 with --experimental-websocket). For a certificate that nobody has signed:
 * NODE_EXTRA_CA_CERTS=data/cert.pem. The library is the web client's own, from web/js.
 */

import { ServerConnection } from '../../web/js/protocol.js';

const [endpoint, group, username, password = ''] = process.argv.slice(2);
if (!username) {
    console.error('usage: bot.mjs ENDPOINT GROUP NAME [PASSWORD]');
    process.exit(64);
}

const connection = new ServerConnection(endpoint);
// Sound and pictures are not for us. Node could not receive them anyway.
connection.wishes = {};

const on = (name, handler) => connection.addEventListener(name, ({ detail }) => handler(detail));

/** Whoever raised a hand first: the lowest number, as the web client orders them. */
function next() {
    return [...connection.users.values()]
        .filter(({ data }) => data.raisehand)
        .sort((a, b) => (a.data.hand ?? Infinity) - (b.data.hand ?? Infinity))[0];
}

on('joined', ({ kind }) => {
    if (kind === 'join')
        console.log(`joined ${group} as ${connection.username}, may ${connection.permissions.join(', ')}`);
});
on('chat', ({ message, isHistory }) => {
    // What was said before we came has been dealt with; our own words come back to us.
    if (isHistory || message.source === connection.id || message.value !== 'next')
        return;
    const user = next();
    connection.chat(user ? `Next is ${user.username}.` : 'No hand is up.');
    // An operator may ask clients to lower their hands.
    if (user && connection.can('op'))
        connection.userMessage('lowerhand', user.id);
});
on('notice', ({ kind, text }) => console.log(`${kind}: ${text}`));
on('failed', ({ text }) => {
    console.error(`refused: ${text}`);
    process.exitCode = 1;
});
on('kicked', ({ text, by }) => console.error(`removed by ${by ?? 'the server'}: ${text}`));
on('state', ({ state }) => {
    if (state === 'closed')
        process.exit();
});
process.on('SIGINT', () => connection.leave());
process.on('SIGTERM', () => connection.leave());
connection.join(group, { username, password });
