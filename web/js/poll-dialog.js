/** The dialog in which an operator asks the class something. */

import { ANSWER_MAX, ANSWERS_MAX, ANSWERS_MIN, QUESTION_MAX } from './ballot.js';
import { element } from './element.js';
import { need, t } from './language.js';
import './tools-style.js';

await need('tools');

/**
 * Opens it, until `signal` at the longest; `ask(question, answers)` says why that could not be sent, or nothing.
 * Resolves to whether something was asked.
 */
export function openPollDialog(ask, signal) {
    const question = element('input', { id: 'poll-question', maxLength: QUESTION_MAX, autocomplete: 'off', dir: 'auto' });
    const answers = element('textarea', {
        id: 'poll-answers', rows: 4, dir: 'auto', 'aria-describedby': 'poll-error',
        value: [t('Yes'), t('No')].join('\n'),
    });
    const error = element('p', { id: 'poll-error', className: 'error', role: 'alert' });
    const preset = (text, lines) => element('button', {
        type: 'button', onclick: () => { answers.value = lines.join('\n'); },
    }, text);
    const dialog = element('dialog', { 'aria-labelledby': 'poll-ask-title' });
    const send = (event) => {
        event.preventDefault();
        const found = linesOf(answers.value);
        if (found.length < ANSWERS_MIN || found.length > ANSWERS_MAX) {
            error.textContent = t('Write two to eight different answers, each on a line of its own.');
            answers.focus();
            return;
        }
        error.textContent = ask(question.value.trim(), found);
        if (error.textContent === '')
            dialog.close('asked');
    };
    dialog.append(
        element('h2', { id: 'poll-ask-title' }, t('Ask the class')),
        element('form', { onsubmit: send },
            element('label', { htmlFor: 'poll-question' }, t('Question (empty: you say it)')), question,
            element('label', { htmlFor: 'poll-answers' }, t('Answers, two to eight, each on a line of its own')),
            answers, error,
            element('div', { className: 'actions', role: 'group', 'aria-label': t('Usual answers') },
                preset(t('Yes / No'), [t('Yes'), t('No')]),
                preset(t('A to D'), t('A B C D').split(' '))),
            element('div', { className: 'actions' },
                element('button', { type: 'button', onclick: () => dialog.close() }, t('Cancel')),
                element('button', { className: 'primary' }, t('Ask')))),
    );
    document.body.append(dialog);
    dialog.showModal();
    signal.addEventListener('abort', () => dialog.close());
    return new Promise((resolve) => {
        dialog.addEventListener('close', () => {
            dialog.remove();
            resolve(dialog.returnValue === 'asked');
        });
    });
}

/** What stands in the lines, each once. */
function linesOf(text) {
    const lines = text.split('\n').map((line) => line.trim().slice(0, ANSWER_MAX));
    return [...new Set(lines)].filter((line) => line !== '');
}
