/** Firefox over WebDriver BiDi, with a fake camera. */

import { existsSync } from 'node:fs';
import puppeteer from 'puppeteer-core';
import { ADDRESS } from './server.js';

const LIMIT_MS = 180_000;
const PATHS = [process.env.FIREFOX, '/usr/bin/firefox', '/usr/bin/firefox-esr'];
const PATH = PATHS.find((path) => path && existsSync(path));

export class Firefox {
    static isThere = PATH !== undefined;

    /** Starts with one page. */
    static async launch(url, prefs = {}) {
        const firefox = new Firefox();
        firefox.browser = await puppeteer.launch({
            browser: 'firefox', executablePath: PATH, headless: true, acceptInsecureCerts: true,
            timeout: LIMIT_MS, protocolTimeout: LIMIT_MS,
            extraPrefsFirefox: {
                'media.navigator.streams.fake': true,
                'media.navigator.permission.disabled': true,
                'media.autoplay.default': 0,
                'media.peerconnection.ice.obfuscate_host_addresses': false,
                'media.peerconnection.ice.loopback': ADDRESS.startsWith('127.'),
                // Neither is there in a namespace without the Internet.
                'network.connectivity-service.enabled': false,
                'media.gmp-manager.updateEnabled': false,
                ...prefs,
            },
        });
        firefox.page = await firefox.browser.newPage();
        firefox.page.setDefaultTimeout(LIMIT_MS);
        await firefox.page.goto(url);
        return firefox;
    }

    /** Runs a function in the page. */
    run(body, argument) {
        return this.page.evaluate(body, argument);
    }

    async close() {
        await this.browser.close();
    }
}
