/** Times in files that people keep. */

/** Local time with its distance from UTC, as ISO 8601 has it: clear for people and for programs. */
export function localTime(date) {
    const minutes = -date.getTimezoneOffset();
    const two = (value) => String(Math.floor(value)).padStart(2, '0');
    const local = new Date(date.getTime() + minutes * 60_000).toISOString().slice(0, 19);
    const distance = Math.abs(minutes);
    return `${local}${minutes < 0 ? '-' : '+'}${two(distance / 60)}:${two(distance % 60)}`;
}
