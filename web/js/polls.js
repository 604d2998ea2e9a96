/**
 * Polls: the question is in the group's data, so that who comes later sees it, too; each answer goes to the
 * operators alone, who count them. An operator's page that comes later asks for the answers.
 */

import { isAnswer, pollOf, sum, Tally } from './ballot.js';
import { need, t } from './language.js';
import { announce, notify } from './notices.js';
import { personOf } from './person.js';
import { PollCard } from './poll-card.js';
import { randomId } from './random.js';
import { forget, keep, kept } from './tab.js';

await need('tools');

/** Answers that an operator asks for come within this time, not all at once. */
const SPREAD_MS = 4_000;
/** Between two rounds of telling our answer, and more for each operator: the server takes ten messages a second. */
const GAP_MS = 1_000;
const GAP_EACH_MS = 150;
/** So many operators are told in one round. */
const ROUND_MAX = 50;
/** Counts are drawn no more often. */
const DRAW_MS = 250;

export class Polls {
    /** Ends with `signal`, as the membership does. */
    constructor(connection, signal) {
        this.connection = connection;
        this.signal = signal;
        if (signal.aborted)
            return;
        const on = (name, handler) => connection.addEventListener(name, ({ detail }) => handler(detail), { signal });
        on('joined', () => this.#follow());
        on('user', (change) => this.#userChanged(change));
        on('vote', ({ message }) => this.#count(message));
        on('order', ({ kind, message }) => kind === 'askvotes' && this.#wasAsked(message));
        on('state', ({ state: now }) => {
            connection.isVoting = false;
            if (now === 'closed')
                this.#clear();
        });
        document.addEventListener('languagechange', () => this.#draw(), { signal });
        signal.addEventListener('abort', () => this.#clear());
        this.#follow();
    }

    /** Operators: shows the poll that is open, or lets them ask something. */
    async open() {
        if (this.#poll?.isOpen) {
            this.#card.reveal();
            return;
        }
        const { openPollDialog } = await import('./poll-dialog.js');
        // Meanwhile the page may show another group.
        if (this.signal.aborted)
            return;
        if (await openPollDialog((question, answers) => this.#ask(question, answers), this.signal))
            this.#card.uncover();
    }

    #card = new PollCard({
        choose: (answer) => this.#choose(answer),
        end: () => this.#poll?.isOpen && this.#change({ state: 'ended' }),
        publish: () => this.#isOver && this.#change({
            state: 'ended', result: this.#tally.counts, voters: this.#voters().size,
        }),
        putAway: () => this.#isOver && this.#set(false),
    });

    #poll = null;
    /** What we may do, as it was when we were last joined: nothing changes while the page reconnects. */
    #isOp = false;
    #mayAnswer = false;
    /** Our own answer; null as long as we have none. */
    #choice = null;
    /** Which answer of ours the operators have, by their clients' ids. */
    #told = new Map();
    #toldAt = -Infinity;
    #tellAt = Infinity;
    #tellTimer = null;
    #tally = null;
    /** The poll, the connection and what we may do, for which answers were told or asked for. */
    #occasion = '';
    #drawTimer = null;

    /** Why it could not be asked; empty if it could. */
    #ask(question, answers) {
        if (this.#poll?.isOpen)
            return t('Meanwhile somebody else has asked something. Your question can follow when that poll has ended.');
        return this.#put({ id: randomId(), question, answers, state: 'open' }) ? ''
            : t('There is no connection at present. Try again in a moment.');
    }

    #change(change) {
        const { id, question, answers } = this.#poll;
        return this.#set({ id, question, answers, ...change });
    }

    #set(poll) {
        const isSent = this.#put(poll);
        if (!isSent)
            notify(t('There is no connection at present. Try again in a moment.'));
        return isSent;
    }

    /** Whether it could be sent. */
    #put(poll) {
        return this.connection.isJoined && this.connection.groupAction('setdata', { poll });
    }

    get #isOver() {
        return this.#poll !== null && !this.#poll.isOpen;
    }

    /** The group's data, what we may do, or the connection may have changed. */
    #follow() {
        const { connection } = this;
        if (!connection.isJoined)
            return;
        const before = this.#poll;
        const now = this.#poll = pollOf(connection.data.poll);
        if (now && !isSame(now, before)) {
            this.#choice = this.#keptChoice();
            this.#tally = new Tally(now, this.#keptAnswers());
        }
        if (!now && before)
            [this.#voteKey, this.#tallyKey].forEach(forget);
        if (now)
            tell(now, isSame(now, before) ? before : null);
        const isOp = this.#isOp = connection.can('op');
        const mayWrite = this.#mayAnswer = connection.can('message');
        const occasion = `${connection.id} ${now?.id} ${isOp} ${mayWrite}`;
        if (now && occasion !== this.#occasion) {
            this.#occasion = occasion;
            this.#told.clear();
            if (!isOp)
                this.#tellSoon(Math.random() * SPREAD_MS);
            else if (mayWrite)
                connection.userMessage('askvotes', '', { poll: now.id }, true);
        }
        this.#draw();
    }

    /** The membership is over, or the page shows another group. */
    #clear() {
        clearTimeout(this.#tellTimer);
        clearTimeout(this.#drawTimer);
        this.#tellAt = Infinity;
        this.#drawTimer = null;
        this.#poll = null;
        this.#occasion = '';
        this.#card.show(null);
    }

    /** Somebody has come or gone, or may do something else than before. */
    #userChanged({ kind, user }) {
        const { id, permissions } = user;
        if (kind === 'delete')
            this.#told.delete(id);
        else if (this.#choice !== null && permissions.includes('op') && this.#told.get(id) !== this.#choice)
            this.#tellSoon(Math.random() * SPREAD_MS);
        this.#drawSoon();
    }

    // ---- Who answers ---------------------------------------------------------------------------

    #choose(answer) {
        if (!this.#poll?.isOpen || !isAnswer(this.#poll, answer))
            return;
        this.#choice = answer;
        keep(this.#voteKey, JSON.stringify({ id: this.#poll.id, person: this.connection.ownData.person, answer }));
        this.#tellSoon(0);
        this.#draw();
    }

    #wasAsked({ source, value }) {
        if (value?.poll !== this.#poll?.id)
            return;
        this.#told.delete(source);
        this.#tellSoon(Math.random() * SPREAD_MS);
    }

    /** Tells the operators our answer in so many milliseconds, or as soon as the server takes it. */
    #tellSoon(afterMs) {
        const now = performance.now();
        const gapMs = GAP_MS + GAP_EACH_MS * Math.min(ROUND_MAX, this.#operators().length);
        const at = Math.max(now + afterMs, this.#toldAt + gapMs);
        if (at >= this.#tellAt)
            return;
        clearTimeout(this.#tellTimer);
        this.#tellAt = at;
        this.#tellTimer = setTimeout(() => this.#tell(), at - now);
    }

    #tell() {
        this.#tellAt = Infinity;
        const { connection } = this;
        const mayTell = connection.isJoined && connection.can('message') && !connection.can('op');
        if (!mayTell || this.#choice === null || !this.#poll || this.#poll.result)
            return;
        const untold = this.#operators().filter(({ id }) => this.#told.get(id) !== this.#choice);
        if (untold.length === 0)
            return;
        // Between these two the server answers what is sent between them, and nothing else.
        connection.whenDealtWith(() => { connection.isVoting = true; });
        for (const { id } of untold.slice(0, ROUND_MAX)) {
            if (connection.userMessage('vote', id, { poll: this.#poll.id, answer: this.#choice }))
                this.#told.set(id, this.#choice);
        }
        connection.whenDealtWith(() => { connection.isVoting = false; });
        this.#toldAt = performance.now();
        if (untold.length > ROUND_MAX)
            this.#tellSoon(0);
    }

    #operators() {
        return [...this.connection.users.values()].filter(({ id, permissions }) => (
            id !== this.connection.id && permissions.includes('op') && !permissions.includes('system')));
    }

    // ---- Who counts ----------------------------------------------------------------------------

    /** A vote came; anybody may send anything. */
    #count({ source, value }) {
        const [poll, user] = [this.#poll, this.connection.users.get(source)];
        const isMeant = poll && !poll.result && user && this.connection.can('op')
            && value?.poll === poll.id && isAnswer(poll, value.answer);
        if (!isMeant || user.permissions.includes('op'))
            return;
        const person = personOf(user);
        // Then nobody changes an answer, but those come in that an operator has not had.
        if (!poll.isOpen && this.#tally.has(person, source))
            return;
        if (this.#tally.take(person, source, value.answer))
            this.#drawSoon();
    }

    /** Who has answered or could: the persons who are here, in no room, and may write. */
    #voters() {
        const persons = new Set(this.#tally.persons);
        for (const user of this.connection.users.values()) {
            const { permissions, data } = user;
            if (permissions.includes('message') && !permissions.includes('op') && !permissions.includes('system')
                && typeof data?.room !== 'string')
                persons.add(personOf(user));
        }
        return persons;
    }

    // ---- What is seen --------------------------------------------------------------------------

    #drawSoon() {
        if (this.#poll)
            this.#drawTimer ??= setTimeout(() => this.#draw(), DRAW_MS);
    }

    #draw() {
        clearTimeout(this.#drawTimer);
        this.#drawTimer = null;
        const poll = this.#poll;
        if (!poll) {
            this.#card.show(null);
            return;
        }
        const isOp = this.#isOp;
        if (isOp)
            keep(this.#tallyKey, JSON.stringify({ id: poll.id, answers: this.#tally.entries }));
        const counts = poll.result ?? (isOp ? this.#tally.counts : null);
        this.#card.show({
            poll,
            isOp,
            mayAnswer: this.#mayAnswer,
            choice: isOp ? null : this.#choice,
            counts,
            answered: counts && sum(counts),
            voters: poll.result ? poll.voters : counts && this.#voters().size,
        });
    }

    // ---- What stays over a reload --------------------------------------------------------------

    get #voteKey() {
        return `aula:vote:${this.connection.group}`;
    }

    get #tallyKey() {
        return `aula:tally:${this.connection.group}`;
    }

    #keptChoice() {
        const { id, person, answer } = fieldsOf(kept(this.#voteKey));
        const isOurs = id === this.#poll.id && person === this.connection.ownData.person;
        return isOurs && isAnswer(this.#poll, answer) ? answer : null;
    }

    #keptAnswers() {
        const { id, answers } = fieldsOf(kept(this.#tallyKey));
        return id === this.#poll.id && Array.isArray(answers) ? answers.filter(Array.isArray) : [];
    }
}

/** Whether they are one poll at two times. Nobody should change the answers under way. */
function isSame(now, before) {
    return now.id === before?.id && now.answers.length === before.answers.length;
}

/** Tells those who listen what has happened to the poll, which was `before`. */
function tell(poll, before) {
    if (poll.isOpen && !before)
        announce(poll.question ? t('Poll: {question}', { question: poll.question }) : t('There is a poll.'));
    else if (poll.result && !before?.result)
        announce(t('The result of the poll is there.'));
    else if (!poll.isOpen && before?.isOpen)
        announce(t('The poll has ended.'));
}

/** What was kept, with no fields if that is nothing. */
function fieldsOf(text) {
    try {
        return JSON.parse(text) ?? {};
    } catch {
        return {};
    }
}
