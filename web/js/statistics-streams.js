/** What one member sends and gets, stream by stream, on the administrators' page. */

import { byId } from './element.js';
import { number, t } from './language.js';
import {
    count, delay, loss, path, rateCell, room, roundTrip, stoodStill, word,
} from './statistics-format.js';
import { Table } from './statistics-table.js';

export class Streams {
    #sends = new Table('sends');
    #gets = new Table('gets');
    #part = byId('streams-part');
    #title = byId('streams-title');

    /** `closed(id)` hears that somebody has looked enough. */
    constructor(closed) {
        this.id = null;
        const close = () => {
            const { id } = this;
            this.hide();
            closed(id);
        };
        byId('streams-close').addEventListener('click', close);
        this.#part.addEventListener('keydown', ({ key }) => {
            if (key === 'Escape')
                close();
        });
    }

    /** The part of the page goes; says whether the focus was in it. */
    hide() {
        const hadFocus = this.#part.contains(document.activeElement);
        [this.id, this.#part.hidden] = [null, true];
        return hadFocus;
    }

    /** Leads to what it shows of a member. */
    open(member, group) {
        this.id = member.id;
        this.show(member, group);
        this.#part.hidden = false;
        this.#title.focus();
        this.#title.scrollIntoView({ block: 'start' });
    }

    show({ id, up, down }, { members }) {
        this.#title.textContent = t('Streams of {member}', { member: shortId(id) });
        const owners = new Map(members.flatMap((member) => member.up.map((stream) => [stream.id, member.id])));
        this.#sends.show(rowsOf(up, sent));
        this.#gets.show(rowsOf(down, (stream, track) => got(stream, track, owners.get(stream.id))));
        byId('sends-part').hidden = up.length === 0;
        byId('gets-part').hidden = down.length === 0;
        byId('no-streams').hidden = up.length + down.length > 0;
    }
}

/** Enough of an id to tell it from the others. */
export function shortId(id) {
    return id.slice(0, 12);
}

/** One row for each sound or picture; a stream of which nothing has come has one as well. */
function rowsOf(streams, cellsOf) {
    return streams.flatMap((stream) => (stream.tracks?.length ? stream.tracks : [{}]).map((track, at) => ({
        key: `${stream.id} ${at}`, name: shortId(stream.id), cells: cellsOf(stream, track),
    })));
}

function sent(stream, track) {
    return [
        kind(track), word(track.rid), rateCell(track.bitrate), loss(track.loss), delay(track.jitter),
        roundTrip(track.rtt), wanted(track), path([stream.path]),
    ];
}

function got(stream, track, owner) {
    return [
        word(owner && shortId(owner)), kind(track), goesOut(track), word(track.target && layersOf(track, track.target)),
        rateCell(track.bitrate), room(track.maxBitrate), loss(track.loss), delay(track.jitter),
        roundTrip(track.rtt), stoodStill(track.freezes, track.frozen), count(track.keyframes), path([stream.path]),
    ];
}

function kind({ kind: what, codec = '' }) {
    if (!what)
        return word(t('no media yet'));
    return word((what === 'audio' ? `${t('sound')} ${codec}` : `${t('pictures')} ${codec.toUpperCase()}`).trim());
}

function wanted({ wanted: isWanted }) {
    return word(isWanted === undefined ? '' : isWanted ? t('yes') : t('no'));
}

function goesOut(track) {
    if (!track.kind)
        return word('');
    if (!track.held)
        return word(layersOf(track, track));
    return { value: '', isBad: track.held === 'path', text: track.held === 'path' ? `⚠ ${whyHeld(track.held)}` : whyHeld(track.held) };
}

function whyHeld(held) {
    switch (held) {
    case 'path': return t('nothing: no room on the path');
    case 'publisher': return t('nothing: the sender sends none');
    default: return t('nothing until the next keyframe');
    }
}

/** Which of several encodings, or which layers of how many. */
function layersOf({ maxSid, maxTid }, { rid, sid, tid }) {
    if (rid)
        return rid;
    return maxSid > 0 || maxTid > 0
        ? `S${number(sid + 1)}/${number(maxSid + 1)} T${number(tid + 1)}/${number(maxTid + 1)}` : t('all of it');
}
