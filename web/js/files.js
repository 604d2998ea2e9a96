/** Files that members give each other, each a line with its progress. */

import { byId, element } from './element.js';
import { need, number, t } from './language.js';
import { nameOf } from './names.js';
import { announce, notify } from './notices.js';
import { randomId } from './random.js';
import './tools-style.js';
import { FILE_MAX_BYTES, Transfer } from './transfer.js';
import { visible } from './visible.js';

await need('tools');

/** Offers of one person that wait at a time; more are declined. */
const OFFERS_MAX = 3;
/** So long it is said that a file has arrived. */
const ARRIVED_MS = 8_000;

export class Files {
    constructor(connection, signal) {
        this.connection = connection;
        /** By the peer's id and the transfer's. */
        this.transfers = new Map();
        byId('files').replaceChildren();
        connection.addEventListener('state', ({ detail }) => {
            if (detail.state !== 'joined')
                this.#endAll();
        }, { signal });
        signal.addEventListener('abort', () => this.#endAll());
    }

    /** Lets the user choose a file for `user`. */
    choose(user) {
        const input = byId('give-file');
        input.onchange = () => {
            const [file] = input.files;
            input.value = '';
            if (file)
                this.#give(user, file);
        };
        input.click();
    }

    #give(user, file) {
        if (file.size === 0 || file.size > FILE_MAX_BYTES) {
            notify(file.size === 0 ? t('This file is empty.')
                : t('This file is too large: 512 MiB are the most.'));
            return;
        }
        this.#add(randomId(), user, file, true).invite();
    }

    /** Takes what a member says of a file. */
    took({ source, value }) {
        const peer = this.connection.users.get(source);
        if (!peer || typeof value?.id !== 'string')
            return;
        const known = this.transfers.get(`${source} ${value.id}`);
        if (known) {
            known.took(value);
            return;
        }
        const isOffer = value.type === 'invite' && Number.isSafeInteger(value.size) && value.size > 0
            && value.size <= FILE_MAX_BYTES;
        if (!isOffer)
            return;
        // What turns the direction of writing would let one kind of file look like another.
        const name = visible(String(value.name || 'file')).replace(/[\u200c\u200d]/g, '');
        const file = { name: name || 'file', size: value.size };
        const waiting = [...this.transfers.values()].filter((transfer) => (
            !transfer.isSending && transfer.peer.id === source && transfer.state === 'offered'));
        if (waiting.length >= OFFERS_MAX)
            return;
        this.#add(value.id, peer, file, false);
        announce(t('{name} offers you the file {file}.', { name: nameOf(peer), file: file.name }));
    }

    #add(id, peer, file, isSending) {
        const line = element('li', { className: 'notice notice-info' });
        const transfer = new Transfer(this.connection, { id, peer, file, isSending },
            () => this.#show(transfer, line));
        this.transfers.set(`${peer.id} ${id}`, transfer);
        byId('files').append(line);
        this.#show(transfer, line);
        return transfer;
    }

    #show(transfer, line) {
        const { file, peer, isSending, state, doneBytes, reason } = transfer;
        const bar = line.querySelector('progress');
        if (state === 'running' && bar) {
            bar.value = doneBytes / file.size;
            return;
        }
        const hadFocus = line.contains(document.activeElement);
        const about = { file: file.name, size: size(file.size), name: nameOf(peer) };
        const what = isSending ? t('{file} ({size}) to {name}', about)
            : t('{file} ({size}) from {name}', about);
        const words = {
            offered: isSending ? t('waiting for their word')
                : t('Accepting shows each of you the other’s network address.'),
            connecting: t('connecting…'), running: '', done: isSending ? t('arrived') : t('complete'),
            failed: t('failed: {reason}', { reason }),
        }[state];
        const text = element('span', { dir: 'auto' }, what, element('br'), element('small', {}, words));
        const buttons = [];
        if (state === 'offered' && !isSending)
            buttons.push(button(t('Accept'), () => transfer.accept()));
        if (state === 'done' && !isSending)
            buttons.push(button(t('Save'), () => save(transfer)));
        const isOver = state === 'done' || state === 'failed';
        buttons.push(button(isOver ? t('Close') : isSending ? t('Cancel') : t('Decline'), () => {
            if (!isOver)
                transfer.cancel();
            this.transfers.delete(`${peer.id} ${transfer.id}`);
            line.remove();
            byId('people-button').focus();
        }));
        line.replaceChildren(text, ...(state === 'running' ? [element('progress', {
            value: doneBytes / file.size, 'aria-label': what,
        })] : []), ...buttons);
        if (isOver)
            announce(`${what}: ${words}.`);
        if (state === 'done' && isSending)
            setTimeout(() => !line.contains(document.activeElement) && line.remove(), ARRIVED_MS);
        if (hadFocus)
            line.querySelector('button').focus();
    }

    #endAll() {
        for (const transfer of this.transfers.values()) {
            // The other side has us under an id that is no more; data under way goes on.
            if (transfer.state === 'offered')
                transfer.cancel(t('the connection was lost'));
        }
    }
}

function button(text, onclick) {
    return element('button', { type: 'button', onclick }, text);
}

function save({ blob, file }) {
    const url = URL.createObjectURL(blob);
    element('a', { href: url, download: file.name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

function size(bytes) {
    const unit = bytes < 1_048_576 ? ['KiB', 1_024] : ['MiB', 1_048_576];
    return `${number(bytes / unit[1], { maximumFractionDigits: 1 })} ${unit[0]}`;
}
