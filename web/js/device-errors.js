/** Why a microphone, a camera or a screen could not be had, in plain words; loaded when that is so. */

import { need, t } from './language.js';

await need('tools');

/** What to tell the user when `what` ("camera", "microphone", ..) could not be opened. */
export function explanation(error, what) {
    const words = wordsFor(what);
    switch (error.name) {
    case 'NotAllowedError':
    case 'SecurityError':
        return refusal(what, words);
    case 'NotFoundError':
        return words.missing;
    case 'NotReadableError':
    case 'AbortError':
        return words.busy;
    default:
        return error.message || words.busy;
    }
}

/** Whole sentences for each device: other languages decline them. */
function wordsFor(what) {
    switch (what) {
    case 'microphone':
        return {
            missing: t('No microphone was found. Is it plugged in and switched on? Everything else works.'),
            busy: t('The microphone could not be started. Another program may be using it: close that '
                + 'one, and try again.'),
            forbidden: t('The browser may not use the microphone.'),
        };
    case 'camera':
        return {
            missing: t('No camera was found. Is it plugged in and switched on? Everything else works.'),
            busy: t('The camera could not be started. Another program may be using it: close that one, '
                + 'and try again.'),
            forbidden: t('The browser may not use the camera.'),
        };
    default:
        return {
            missing: t('There is no screen that could be shared.'),
            busy: t('The screen could not be shared. Try again, or share a single window.'),
            forbidden: t('The browser may not share the screen.'),
        };
    }
}

/** Where the permission is given, which is elsewhere in every browser. */
function refusal(what, words) {
    if (window !== window.top && !isAllowedInFrame(what)) {
        return `${words.forbidden} ${t('The page around this one does not pass it on. Open this page in a '
            + 'tab of its own, or ask for {attribute} on its frame.',
        { attribute: 'allow="camera; microphone; display-capture"' })}`;
    }
    const agent = navigator.userAgent;
    let where = t('Allow it with the icon beside the address of this page');
    if (/Firefox/.test(agent))
        where = t('Allow it with the crossed-out icon beside the address of this page');
    else if (/Android/.test(agent))
        where = t('Allow it with the icon left of the address, then “Permissions”');
    else if (/iPhone|iPad/.test(agent))
        where = t('Allow it with the button aA beside the address, then “Website Settings”');
    else if (/Safari/.test(agent) && !/Chrom/.test(agent))
        where = t('Allow it in the menu Safari, “Settings for This Website”');
    else if (/Edg|Chrom/.test(agent))
        where = t('Allow it with the icon left of the address of this page');
    return `${words.forbidden} ${where}${t(', and in the settings of your system; then try again.')}`;
}

function isAllowedInFrame(what) {
    const feature = what === 'screen' ? 'display-capture' : what;
    return document.featurePolicy?.allowsFeature(feature) ?? true;
}
