/** What a poll is, as it stands in the group's data, and the counting of its answers. */

export const ANSWERS_MIN = 2;
export const ANSWERS_MAX = 8;
/** Characters of a question and of an answer; what is longer is shown cut. */
export const QUESTION_MAX = 300;
export const ANSWER_MAX = 100;
const ID_MAX = 64;
/** Nobody teaches more: what comes beyond is somebody who answers under ever new names. */
const VOTERS_MAX = 10_000;

/**
 * The poll that group data tells: {id, question, answers, isOpen, result, voters}. `result`, if it is shown
 * to all, is a list of counts, and `voters` how many could answer; else both are null. Null if it is none.
 */
export function pollOf(data) {
    const { id, question, answers, state, result, voters } = data ?? {};
    const isPoll = typeof id === 'string' && id !== '' && id.length <= ID_MAX
        && ['open', 'ended'].includes(state)
        && Array.isArray(answers) && answers.length >= ANSWERS_MIN && answers.length <= ANSWERS_MAX
        && answers.every((answer) => typeof answer === 'string' && answer.trim() !== '');
    if (!isPoll)
        return null;
    const isShown = state === 'ended' && Array.isArray(result) && result.length === answers.length
        && result.every(isCount);
    return {
        id,
        question: typeof question === 'string' ? clipped(question.trim(), QUESTION_MAX) : '',
        answers: answers.map((answer) => clipped(answer.trim(), ANSWER_MAX)),
        isOpen: state === 'open',
        result: isShown ? result : null,
        voters: isShown && isCount(voters) ? voters : null,
    };
}

/** Whether `answer` is one of the poll's, as the number of its place. */
export function isAnswer(poll, answer) {
    return Number.isInteger(answer) && answer >= 0 && answer < poll.answers.length;
}

/** How many have answered, by counts of answers. */
export function sum(counts) {
    return counts.reduce((all, count) => all + count, 0);
}

/** Who answers what: one answer for each person, and for each connection. */
export class Tally {
    /** `kept` is what `entries` gave before. */
    constructor(poll, kept = []) {
        this.poll = poll;
        this.#answers = new Map(kept.filter(([person, answer]) => typeof person === 'string' && isAnswer(poll, answer)));
    }

    /** Takes the answer of `person`, who says it as the client `source`; whether that changes anything. */
    take(person, source, answer) {
        const before = this.#persons.get(source);
        if (before !== undefined && before !== person)
            this.#answers.delete(before);
        if (this.#answers.size >= VOTERS_MAX && !this.#answers.has(person))
            return false;
        const isNew = this.#answers.get(person) !== answer;
        this.#persons.set(source, person);
        this.#answers.set(person, answer);
        return isNew;
    }

    has(person) {
        return this.#answers.has(person);
    }

    get persons() {
        return [...this.#answers.keys()];
    }

    /** How often each answer was given. */
    get counts() {
        const counts = this.poll.answers.map(() => 0);
        for (const answer of this.#answers.values())
            counts[answer] += 1;
        return counts;
    }

    get entries() {
        return [...this.#answers];
    }

    #answers;
    #persons = new Map();
}

function isCount(value) {
    return Number.isSafeInteger(value) && value >= 0;
}

function clipped(text, max) {
    const letters = [...text.slice(0, 2 * max + 2)];
    return letters.length > max ? `${letters.slice(0, max).join('')}…` : text;
}
