/** What a poll is, as it stands in the group's data, and the counting of its answers. */

export const ANSWERS_MIN = 2;
export const ANSWERS_MAX = 8;
/** Characters of a question and of an answer; what is longer is shown cut. */
export const QUESTION_MAX = 300;
export const ANSWER_MAX = 100;
const ID_MAX = 64;
/** Nobody teaches more: what comes beyond is somebody who answers under ever new names. */
const VOTERS_MAX = 10_000;
/** So many clients are remembered of one person; the ones before are those of lost connections. */
const CLIENTS_MAX = 4;

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

/**
 * Who answers what: one answer for each person, the last one, and for each client. What a client said as
 * somebody else is taken back when it says who it is now, and what was there before counts again.
 */
export class Tally {
    /** `kept` is what `entries` gave before. */
    constructor(poll, kept = []) {
        this.poll = poll;
        for (const [person, answer, source] of kept) {
            if (typeof person === 'string' && isAnswer(poll, answer))
                this.take(person, typeof source === 'string' ? source : '', answer);
        }
    }

    /** Takes the answer of `person`, who says it as the client `source`; whether that changes anything. */
    take(person, source, answer) {
        if (this.#votes.size >= VOTERS_MAX && !this.#votes.has(person))
            return false;
        const before = this.#persons.get(source);
        const was = this.#answerOf(person);
        if (before !== undefined)
            this.#takeBack(before, source);
        const votes = this.#votes.get(person) ?? [];
        this.#votes.set(person, votes);
        votes.push({ source, answer });
        if (votes.length > CLIENTS_MAX)
            this.#persons.delete(votes.shift().source);
        // Of an answer that was kept without its client nothing is known.
        if (source !== '')
            this.#persons.set(source, person);
        return was !== answer || before !== undefined && before !== person;
    }

    /** Whether there is an answer of this person, or one of this client. */
    has(person, source) {
        return this.#votes.has(person) || this.#persons.has(source);
    }

    get persons() {
        return [...this.#votes.keys()];
    }

    /** How often each answer was given. */
    get counts() {
        const counts = this.poll.answers.map(() => 0);
        for (const person of this.#votes.keys())
            counts[this.#answerOf(person)] += 1;
        return counts;
    }

    /** Of each person the answer, and the client that gave it. */
    get entries() {
        return [...this.#votes].map(([person, votes]) => [person, votes.at(-1).answer, votes.at(-1).source]);
    }

    /** By person, the last one of each client, in the order in which they came; never empty. */
    #votes = new Map();
    /** Under whose name each client has answered. */
    #persons = new Map();

    #answerOf(person) {
        return this.#votes.get(person)?.at(-1).answer;
    }

    #takeBack(person, source) {
        const left = this.#votes.get(person).filter((vote) => vote.source !== source);
        if (left.length > 0)
            this.#votes.set(person, left);
        else
            this.#votes.delete(person);
    }
}

function isCount(value) {
    return Number.isSafeInteger(value) && value >= 0;
}

function clipped(text, max) {
    const letters = [...text.slice(0, 2 * max + 2)];
    return letters.length > max ? `${letters.slice(0, max).join('')}…` : text;
}
