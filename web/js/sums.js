/** Sums over what the server tells administrators (GET /galene-api/v0/.stats). */

/** What is in `groups`, and in each of them and of their members. */
export function sumUp(groups) {
    const all = groups.map((group) => {
        const members = (group.clients ?? []).map(ofMember);
        return { name: group.name, members, ...together(members), people: members.length };
    });
    return { groups: all, ...together(all), people: all.reduce((sum, { people }) => sum + people, 0) };
}

function ofMember({ id, up = [], down = [] }) {
    const [received, sent] = [up, down].map((streams) => streams.flatMap(({ tracks }) => tracks ?? []));
    const most = (tracks, key) => Math.max(0, ...tracks.map((track) => track[key] ?? 0));
    const sum = (tracks, key) => tracks.reduce((total, track) => total + (track[key] ?? 0), 0);
    return {
        id,
        up,
        down,
        streamsIn: up.length,
        streamsOut: down.length,
        bitsIn: sum(received, 'bitrate'),
        bitsOut: sum(sent, 'bitrate'),
        room: most(sent, 'maxBitrate'),
        lossIn: most(received, 'loss'),
        lossOut: most(sent, 'loss'),
        rttMs: most(sent, 'rtt'),
        jitterMs: Math.max(most(received, 'jitter'), most(sent, 'jitter')),
        heldBack: sent.filter(({ held }) => held === 'path').length,
        freezes: sum(sent, 'freezes'),
        frozen: sum(sent, 'frozen'),
        paths: [...up, ...down].map(({ path }) => path),
    };
}

/** Rates add up; of losses and delays the worst counts. */
function together(parts) {
    const sum = (key) => parts.reduce((total, part) => total + part[key], 0);
    const worst = (key) => Math.max(0, ...parts.map((part) => part[key]));
    return {
        streamsIn: sum('streamsIn'), streamsOut: sum('streamsOut'),
        bitsIn: sum('bitsIn'), bitsOut: sum('bitsOut'),
        lossIn: worst('lossIn'), lossOut: worst('lossOut'),
        rttMs: worst('rttMs'), jitterMs: worst('jitterMs'),
    };
}
