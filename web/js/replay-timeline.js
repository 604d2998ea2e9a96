/**
 * What a timeline says: streams with their files, what was said, and when. Times are seconds since
 * the recording began. Knows nothing of the page.
 */

/** Two pieces of one file so close to each other are one. */
const JOINED_S = 0.25;

/** Reads the lines of a timeline; what is no whole line yet is left out. */
export function parseTimeline(text) {
    const session = { startMs: 0, group: '', by: '', isOver: false, durationS: 0, streams: [], messages: [], speeches: [] };
    const streams = new Map();
    const files = new Map();
    for (const line of text.split('\n')) {
        const event = parsed(line);
        if (!event)
            continue;
        const atS = (event.at_us ?? 0) / 1e6;
        session.durationS = Math.max(session.durationS, atS);
        switch (event.event) {
        case 'session':
            Object.assign(session, { startMs: event.unix_ms, group: event.group, by: event.by });
            break;
        case 'stream':
            // Told again where a timeline had to begin anew.
            if (!streams.has(event.stream)) {
                const { stream: id, client, username, label } = event;
                streams.set(id, { id, client, username, label, files: [] });
            }
            break;
        case 'file': {
            const file = {
                name: event.file, startS: atS, spans: [],
                hasVideo: event.tracks.some(({ kind }) => kind === 'video'),
            };
            files.set(file.name, file);
            streams.get(event.stream)?.files.push(file);
            break;
        }
        case 'fragment':
            addSpan(files.get(event.file), event.start_us / 1e6, event.end_us / 1e6);
            session.durationS = Math.max(session.durationS, event.end_us / 1e6);
            break;
        case 'file-deleted': {
            const file = files.get(event.file);
            if (file)
                file.spans = [];
            break;
        }
        case 'chat':
            if (typeof event.value === 'string')
                session.messages.push({ atS, kind: event.kind, name: event.username ?? '', text: event.value });
            break;
        case 'speakers':
            if (Array.isArray(event.streams))
                addSpeech(session.speeches, atS, event.streams);
            break;
        case 'hand-up':
            session.messages.push({ atS, kind: 'hand', name: event.username ?? '', text: '' });
            break;
        case 'end':
            session.isOver = true;
            break;
        }
    }
    session.streams = [...streams.values()].filter((stream) => {
        stream.files = stream.files.filter((file) => file.spans.length > 0);
        return stream.files.length > 0;
    });
    return session;
}

function parsed(line) {
    try {
        return JSON.parse(line);
    } catch {
        return null;
    }
}

function addSpan(file, startS, endS) {
    if (!file)
        return;
    const last = file.spans.at(-1);
    if (last && startS - last[1] < JOINED_S)
        last[1] = Math.max(last[1], endS);
    else
        file.spans.push([startS, endS]);
}

/** Whoever speaks longest stays the speaker: others that join in do not take over. */
function addSpeech(speeches, atS, ids) {
    const before = speeches.at(-1)?.speaker ?? null;
    speeches.push({ atS, ids, speaker: ids.length === 0 || ids.includes(before) ? before : ids[0] });
}

/** Who speaks at a time: ids of streams, and of whose it is to be shown; nothing where nobody has told. */
export function speechAt(speeches, atS) {
    let [from, to] = [0, speeches.length];
    while (from < to) {
        const middle = (from + to) >> 1;
        if (speeches[middle].atS <= atS)
            from = middle + 1;
        else
            to = middle;
    }
    return speeches[from - 1];
}

/** The file of a stream that has something at a time. */
export function fileAt(stream, atS) {
    return stream.files.find(({ spans }) => spans.some(([startS, endS]) => startS <= atS && atS < endS));
}
