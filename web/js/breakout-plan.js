/**
 * Who goes into which breakout room, as the main group's data has it under `breakouts`:
 * {rooms: [names], people: {person: {room, name}}, until?: UTC ms, hasVoice?}; false when there is none.
 * Whoever stays in the main group is in it with an empty room.
 */

/** Whether `value` is a plan at all. */
export function isPlan(value) {
    return Array.isArray(value?.rooms) && typeof value.people === 'object' && value.people !== null;
}

/** The room of somebody; empty in the main group. */
export function roomOf(plan, person) {
    const place = Object.hasOwn(plan.people, person) ? plan.people[person] : null;
    return typeof place?.room === 'string' ? place.room : '';
}

/**
 * Whose place is free for somebody new of this name, for who comes back with another browser or tab;
 * null if nobody's, or if there are several such places. `present` are the people who are here.
 */
export function freePlace(plan, name, present) {
    const free = Object.entries(plan.people)
        .filter(([person, place]) => place?.name === name && !present.has(person));
    return free.length === 1 ? free[0][0] : null;
}
