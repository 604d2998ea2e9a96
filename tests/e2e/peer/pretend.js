/** A class that exists in one page only: no server sends what its members show. */

/** Runs in the page: members whose streams come from a canvas, told as the server would tell them. */
export async function fillClass(count) {
    const { connection } = window.aula;
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [320, 180];
    const context = canvas.getContext('2d');
    setInterval(() => {
        context.fillStyle = '#8a6d4b';
        context.fillRect(0, 0, 320, 180);
        context.fillStyle = '#e8c9a0';
        context.beginPath();
        context.ellipse(160, 90 + Math.sin(Date.now() / 500) * 4, 45, 60, 0, 0, 7);
        context.fill();
    }, 200);
    const streamOf = (user, label) => {
        const media = canvas.captureStream();
        return {
            id: `s${label}${user.id}`, label, source: user.id, username: user.username, media,
            direction: 'down', closed: false, dispose() {}, heardMedia: () => false,
            pc: {
                connectionState: 'connected', getReceivers: () => [], getTransceivers: () => [],
                getStats: async () => new Map(),
            },
        };
    };
    const names = ['Anna', 'Ben', 'Çağla Öztürk', 'Anna', 'Nguyễn Thị Minh Khai', 'Łukasz', '王小明',
        'فاطمة الزهراء', 'Maximilian-Alexander von Hohenstein'];
    const users = Array.from({ length: count }, (_, at) => ({
        id: `${at}0f3a9c`.padStart(8, '0'),
        username: `${names[at % names.length]}${at < names.length ? '' : ` ${at}`}`,
        permissions: ['present', 'message'],
        data: {
            muted: at % 3 === 0 || undefined, camera: true,
            ...(at % 9 === 2 ? { raisehand: true, hand: at } : {}),
        },
    }));
    for (const user of users) {
        // Each message of a server is a task of its own.
        await new Promise((resolve) => setTimeout(resolve));
        connection.users.set(user.id, user);
        connection.emit('user', { kind: 'add', user });
        const stream = streamOf(user, 'camera');
        connection.down.set(stream.id, stream);
        connection.emit('stream', { kind: 'add', stream });
        connection.emit('chat', {
            message: {
                id: `m${user.id}`, source: user.id, username: user.username,
                time: new Date().toISOString(),
                value: 'Is this right? See https://example.org/a for why I think that it is.',
            },
        });
    }
    window.shareScreen = () => {
        const stream = streamOf(users[4], 'screenshare');
        connection.down.set(stream.id, stream);
        connection.emit('stream', { kind: 'add', stream });
    };
}
