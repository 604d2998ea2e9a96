/**
 * Who may have the microphone on. An operator can mute everybody in a way that sticks: the group's
 * data says so, newcomers obey, too, and single people can be let speak. It is an agreement among
 * clients, as muting is; whoever breaks it can be forbidden to present.
 */

import { showOwn } from './controls.js';
import { byId } from './element.js';
import { t } from './language.js';
import { notify } from './notices.js';
import { setMuted } from './own.js';
import { state } from './state.js';

export class Floor {
    constructor(connection) {
        this.connection = connection;
        byId('mute-all').onclick = () => this.muteAll(!this.isQuiet);
    }

    /** Whether everybody is muted until let speak. */
    get isQuiet() {
        return Boolean(this.connection.data.quiet);
    }

    /** Whether our own microphone must stay off. */
    get isTaken() {
        return this.isQuiet && !this.connection.can('op') && !this.#maySpeak;
    }

    muteAll(isQuiet) {
        // Not taken back by null: data that is empty is not told.
        this.connection.groupAction('setdata', { quiet: isQuiet });
        // For those whose client does not know the agreement.
        if (isQuiet)
            this.connection.userMessage('mute', '', undefined, true);
        notify(isQuiet ? t('Everybody is muted, and so is who comes later. “Let all speak” in the list of people ends this.')
            : t('Everybody may speak again.'), 'info');
    }

    /** Gives the word, and with it the permission to present to who lacks it. */
    letSpeak({ id }) {
        // As they are now.
        const mayPresent = this.connection.users.get(id)?.permissions.includes('present');
        if (!mayPresent)
            this.connection.userAction('present', id);
        // Otherwise the server's word is enough.
        if (mayPresent || this.isQuiet)
            this.connection.userMessage('mayspeak', id);
    }

    /** An operator asks for silence, of us or of all. */
    mute(by) {
        this.#maySpeak = false;
        if (!state.own.audio?.enabled)
            return;
        setMuted(true);
        notify(t('{name} muted your microphone.', { name: by || t('An operator') }), 'info');
    }

    mayspeak(by) {
        this.#maySpeak = true;
        const text = t('{name} lets you speak.', { name: by || t('An operator') });
        notify(state.own.audio?.enabled ? text : `${text} ${t('Your microphone is still off.')}`, 'info');
    }

    /** The group's data may have changed. */
    refresh() {
        const button = byId('mute-all');
        button.textContent = this.isQuiet ? t('Let all speak') : t('Mute all');
        button.title = this.isQuiet ? '' : t('Who comes later is muted, too, until you let all speak.');
        byId('room-quiet').hidden = !this.isQuiet;
        if (!this.isQuiet)
            this.#maySpeak = false;
        if (this.isTaken)
            this.mute('');
        showOwn();
    }

    /** Tells somebody new what is agreed here. */
    greet() {
        if (this.isTaken)
            notify(t('Everybody is muted for now. Raise your hand, and a teacher can let you speak.'), 'info');
    }

    /** Says why the microphone stays off, if it must; whether it must. */
    refuses() {
        if (!this.isTaken || state.own.audio?.enabled)
            return false;
        notify(t('Everybody is muted. Raise your hand to be let speak.'), 'info');
        return true;
    }

    #maySpeak = false;
}
