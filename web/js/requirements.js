/** What a browser must have, in words for who uses one that has it not. */

import { t } from './language.js';

export function withoutWebRtc() {
    return t('This browser cannot do video calls: WebRTC is missing or switched off. Try a current '
        + 'Firefox, Chrome, Edge or Safari.');
}
