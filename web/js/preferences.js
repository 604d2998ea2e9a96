/** What the user chose, kept in this browser. Works without storage, forgetting at reload. */

const KEY = 'aula';

const DEFAULTS = {
    username: '',
    start: 'both',
    microphone: '',
    camera: '',
    receive: 'everything',
    send: 'normal',
    simulcast: false,
};

let stored = {};
try {
    stored = JSON.parse(localStorage.getItem(KEY)) ?? {};
} catch {
    // Storage is switched off or holds something else.
}

export const preferences = { ...DEFAULTS, ...stored };

export function prefer(name, value) {
    preferences[name] = value;
    try {
        localStorage.setItem(KEY, JSON.stringify(preferences));
    } catch {
        // Storage is switched off or full: the choice holds until reload.
    }
}

/** What each choice of "receive" asks the server for, by stream label. */
export const RECEIVE = {
    'everything': { '': ['audio', 'video'] },
    'low': { screenshare: ['audio', 'video'], '': ['audio', 'video-low'] },
    'screenshare': { screenshare: ['audio', 'video'], '': ['audio'] },
    'audio': { '': ['audio'] },
    'nothing': {},
};

/** Camera video rate in bits per second for each choice of "send"; 0 is unlimited. */
export const SEND = { low: 150_000, normal: 800_000, unlimited: 0 };
