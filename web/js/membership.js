/** Which groups we are members of: the one of the page's address, and perhaps a breakout room. */

import { Breakouts } from './breakouts.js';
import { ROOT } from './element.js';
import { followEncryption } from './encrypting.js';
import { stopFilm } from './film.js';
import { joined, kicked, leave, listen, tell, userChanged } from './happenings.js';
import * as own from './own.js';
import { ownPerson } from './person.js';
import { ServerConnection } from './protocol.js';
import { Room } from './room.js';
import { inSlices } from './slices.js';
import { state } from './state.js';

/** Enters the group of the page's address. */
export function enter(credentials) {
    state.room?.end();
    state.groupName = state.mainGroup;
    const connection = connect();
    state.breakouts = new Breakouts(connection, {
        move, changed: followEncryption, told: ({ username, value }) => tell(username, String(value ?? '')),
    });
    connection.addEventListener('kicked', ({ detail }) => kicked(detail));
    connection.addEventListener('state', ({ detail }) => {
        const other = state.room?.connection;
        if (!other || other === connection)
            return;
        // Whoever is out of the main group is out of its rooms.
        if (detail.state === 'closed' && other.state !== 'closed')
            other.leave();
        else if (detail.state === 'knocking')
            import('./outside.js').then(({ tellInRoom }) => tellInRoom(connection), () => {});
    });
    settle(connection, credentials);
    connection.join(state.groupName, credentials);
}

/** Shows the group of `connection` on the page. */
function settle(connection, credentials) {
    state.connection = window.aula.connection = connection;
    connection.ownData.person ??= state.breakouts.main.ownData.person ?? ownPerson(credentials.username ?? '');
    connection.prepare = (stream) => state.encryption.prepare(stream);
    state.room = new Room(connection, {
        stage: state.stage, leave, credentials, attendance: state.breakouts.attendance,
    });
    listen(state.room);
}

/** Goes into a breakout room or back: another group on the same page, with the same devices. */
function move(group) {
    const { connection, credentials } = state.room;
    state.room.end();
    state.room = null;
    state.stage.clear();
    own.stopScreen();
    stopFilm();
    const camera = state.own.cameraStream;
    state.own.cameraStream = null;
    if (connection === state.breakouts.main)
        connection.unpublish(camera?.id);
    else
        connection.leave();
    state.groupName = group;
    if (group !== state.mainGroup) {
        const next = connect();
        settle(next, credentials);
        state.breakouts.away();
        next.join(group, credentials);
        return;
    }
    state.breakouts.back();
    const { main } = state.breakouts;
    settle(main, credentials);
    // Otherwise it is being made again, and all of this comes with it.
    if (main.isJoined)
        showAgain(main);
}

/** The membership has gone on without being seen: shows what has become of the group. */
function showAgain(main) {
    main.request(main.wishes);
    joined('join');
    for (const { message } of state.breakouts.said)
        (message.kind === 'caption' ? state.room.captions : state.room.chat).show(message, true);
    for (const user of main.users.values())
        userChanged('add', user);
    const mine = state.room;
    // Meanwhile one may have ended, or come by itself.
    inSlices([...main.down.values()],
        (stream) => !stream.closed && !state.stage.tiles.has(stream.id) && state.stage.add(stream),
        () => state.room !== mine);
}

function connect() {
    const endpoint = state.status.endpoint ?? `${location.origin.replace(/^http/, 'ws')}${ROOT}ws`;
    const connection = new ServerConnection(endpoint);
    connection.mayKnock = true;
    // Who waits at the door is shown to operators, where the server tells it.
    connection.addEventListener('joined', async () => {
        if (connection.can('op') && connection.met.includes('knock'))
            (await import('./door.js')).follow(connection);
    });
    return connection;
}
