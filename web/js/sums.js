/** Sums over what the server tells administrators (GET /galene-api/v0/.stats). */

/** What the server says of connections that nothing comes of. */
const NOTHING_COMES = ['waiting', 'checked', 'silent'];

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
    return {
        id,
        streamsIn: up.length,
        streamsOut: down.length,
        bitsIn: received.reduce((sum, { bitrate = 0 }) => sum + bitrate, 0),
        bitsOut: sent.reduce((sum, { bitrate = 0 }) => sum + bitrate, 0),
        room: most(sent, 'maxBitrate'),
        lossIn: most(received, 'loss'),
        lossOut: most(sent, 'loss'),
        rttMs: most(sent, 'rtt'),
        paths: [...new Set([...up, ...down].map(({ path }) => path?.over).filter(Boolean))],
        isCutOff: [...up, ...down].some(({ path }) => NOTHING_COMES.includes(path?.state)),
        jitterMs: Math.max(most(received, 'jitter'), most(sent, 'jitter')),
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
