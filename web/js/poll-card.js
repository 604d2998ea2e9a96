/**
 * A poll on the page: a card above the videos, which makes room instead of lying on them, and a button in the
 * bar that puts it aside and brings it back. It never takes the focus by itself.
 */

import { openPanel } from './controls.js';
import { byId, element } from './element.js';
import { need, number, t, tn } from './language.js';
import { state } from './state.js';
import { steady } from './steady.js';
import './tools-style.js';

await need('tools');

/** Longer answers stand one below the other. */
const SHORT_MAX = 24;
/** There the panels lie on the stage. */
const NARROW = '(max-width: 45rem)';

export class PollCard {
    /**
     * `deeds` has choose(answer) for who answers, and end(), publish() and putAway() for operators, which may
     * give false if they could not be told.
     */
    constructor(deeds) {
        this.deeds = deeds;
    }

    /**
     * Shows {poll, isOp, mayAnswer, choice, counts, answered, voters}; the counts are null for who may not see
     * them. Null shows nothing.
     */
    show(view) {
        if (!view) {
            this.#remove();
            return;
        }
        const { poll, isOp, mayAnswer, choice } = view;
        if (poll.id !== this.#view?.poll.id || poll.result && !this.#view.poll.result)
            this.#isAside = false;
        this.#view = view;
        // Built anew only when it is another thing: who reads it or has the focus in it keeps the place.
        const shape = JSON.stringify([poll, isOp, mayAnswer, document.documentElement.lang]);
        if (shape !== this.#shape) {
            this.#shape = shape;
            this.#build();
        }
        this.#fill();
        this.#chip.classList.toggle('is-due', poll.isOpen && !isOp && mayAnswer && choice === null);
        this.#place();
    }

    /** Brings it to the front, with the focus. */
    reveal() {
        this.#isAside = false;
        if (this.#isCovered)
            openPanel(null);
        this.#place();
        (this.#card.querySelector('.poll-answers button, .poll-foot button') ?? this.#title).focus();
    }

    /** Takes away the panel that lies on it, if one does. */
    uncover() {
        if (!this.#isCovered)
            return;
        const { panel } = state;
        openPanel(null);
        byId(`${panel}-button`).focus();
    }

    #view = null;
    #shape = '';
    #isAside = false;
    /** To be called when other buttons take the places of those that were there, and whether we have made them do so. */
    #moved = null;
    #isOurDoing = false;
    #card = null;
    #chip = null;

    get #title() {
        return this.#card.querySelector('h2');
    }

    get #isCovered() {
        return state.panel !== null && matchMedia(NARROW).matches;
    }

    #remove() {
        const hadFocus = [this.#card, this.#chip].some((node) => node?.contains(document.activeElement));
        this.#card?.remove();
        this.#chip?.remove();
        this.#card = this.#chip = this.#view = null;
        this.#shape = '';
        if (hadFocus)
            byId('room-name').focus();
    }

    #place() {
        this.#card.hidden = this.#isAside;
        this.#chip.setAttribute('aria-expanded', String(!this.#isAside));
    }

    #putAside() {
        this.#isAside = true;
        this.#chip.focus();
        this.#place();
    }

    #build() {
        if (!this.#card) {
            this.#card = element('section', { id: 'poll', 'aria-labelledby': 'poll-title' });
            this.#chip = element('button', {
                id: 'poll-chip', type: 'button', className: 'chip', 'aria-controls': 'poll',
                onclick: () => (this.#isAside || this.#isCovered ? this.reveal() : this.#putAside()),
            });
            byId('shares').before(this.#card);
            byId('hands-chip').after(this.#chip);
            this.#moved = steady(this.#card, '.poll-foot button');
        } else if (!this.#isOurDoing) {
            this.#moved();
        }
        this.#isOurDoing = false;
        this.#chip.textContent = t('Poll');
        const focus = this.#card.contains(document.activeElement) ? document.activeElement : null;
        const { poll } = this.#view;
        this.#card.replaceChildren(
            element('div', { className: 'poll-head' },
                element('h2', { id: 'poll-title', dir: 'auto', tabIndex: -1 }, poll.question || t('Poll')),
                element('button', {
                    type: 'button', className: 'plain', 'aria-label': t('Hide the poll'),
                    title: t('Hide the poll'), onclick: () => this.#putAside(),
                }, '×')),
            ...this.#list(),
            element('div', { className: 'poll-foot' },
                element('p', { className: 'poll-note', dir: 'auto' }), ...this.#deeds()),
        );
        this.#card.classList.toggle('is-long', poll.answers.some(({ length }) => length > SHORT_MAX));
        // What was pressed may be gone, with the state that it changed.
        if (focus)
            (this.#card.querySelector('.poll-foot button') ?? this.#title).focus();
    }

    /** The answers: to choose among, with their counts, or not at all. */
    #list() {
        const { poll, isOp, mayAnswer, counts } = this.#view;
        if (counts)
            return [element('ul', { className: 'poll-counts' }, ...poll.answers.map((answer) => bar(answer)))];
        if (!poll.isOpen || isOp || !mayAnswer)
            return [];
        return [element('ul', { className: 'poll-answers' }, ...poll.answers.map((answer, at) => (
            element('li', {}, element('button', {
                type: 'button', dir: 'auto', onclick: () => this.deeds.choose(at),
            }, answer)))))];
    }

    #deeds() {
        const { poll, isOp } = this.#view;
        if (!isOp)
            return [];
        const deed = (text, act) => element('button', {
            type: 'button',
            onclick: () => {
                this.#isOurDoing = act() !== false;
            },
        }, text);
        if (poll.isOpen)
            return [deed(t('End the poll'), this.deeds.end)];
        const removal = deed(t('Remove the poll'), this.deeds.putAway);
        return poll.result ? [removal] : [deed(t('Show the result to all'), this.deeds.publish), removal];
    }

    /** What changes while it is the same thing. */
    #fill() {
        const { counts, choice, answered } = this.#view;
        this.#card.querySelectorAll('.poll-answers button').forEach((button, at) => (
            button.setAttribute('aria-pressed', String(at === choice))));
        this.#card.querySelectorAll('.poll-counts li').forEach((item, at) => {
            const part = answered > 0 ? counts[at] / answered : 0;
            item.querySelector('b').textContent = `${number(counts[at])} · ${number(part, { style: 'percent' })}`;
            item.querySelector('.poll-bar span').style.inlineSize = `${part * 100}%`;
            item.classList.toggle('is-own', at === choice);
        });
        const note = this.#card.querySelector('.poll-note');
        const text = this.#note();
        if (note.textContent !== text)
            note.textContent = text;
    }

    #note() {
        const { poll, isOp, mayAnswer, choice, counts, answered, voters } = this.#view;
        const own = choice === null ? '' : t('Your answer: {answer}', { answer: poll.answers[choice] });
        if (counts) {
            const how = voters === null ? tn(answered, '{count} person has answered.', '{count} people have answered.')
                : tn(answered, '{count} of {all} has answered.', '{count} of {all} have answered.', { all: number(voters) });
            return isOp || own === '' ? how : `${how} ${own}`;
        }
        if (!poll.isOpen)
            return `${t('The poll has ended.')} ${own}`.trim();
        if (!mayAnswer)
            return t('You may not write here, so you cannot answer.');
        return choice === null ? t('Only the teachers see your answer.')
            : t('Answered. You may still change it; only the teachers see your answer.');
    }
}

function bar(answer) {
    return element('li', {},
        element('span', { className: 'poll-answer', dir: 'auto' }, answer), ' ', element('b', {}),
        element('span', { className: 'poll-bar', 'aria-hidden': 'true' }, element('span')));
}
