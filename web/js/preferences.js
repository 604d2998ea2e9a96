/** What the user chose, kept in this browser. Works without storage, forgetting at reload. */

const KEY = 'aula';

const DEFAULTS = {
    username: '',
    start: 'both',
    microphone: '',
    camera: '',
    speaker: '',
    joinMuted: false,
    tellMuted: true,
    receive: 'everything',
    send: 'normal',
    simulcast: true,
    noise: true,
    sharp: false,
    mirror: true,
    hideSelf: false,
    blur: false,
    /** How far the camera's picture is turned clockwise, in degrees, as text. */
    rotation: '0',
    view: 'grid',
    captions: 'normal',
    handSound: true,
    keys: true,
    /** A tag of languages/index.json; empty follows the browser. */
    language: '',
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

/** Camera video rate in bits per second for each choice of "send"; 0 is unlimited. */
export const SEND = { low: 150_000, normal: 800_000, unlimited: 0 };
