/**
 * The page never stands black without a word: whatever keeps people out, or sound and pictures away,
 * is said in a sentence with a next step.
 */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { joinGroup, openPage, screenshot, seesAndHears } from './peer/browser.js';
import { ADDRESS, ORIGIN, PORT } from './peer/server.js';
import { lower, raise } from './peer/stage.js';
import { until } from './peer/wait.js';

const hasOwnNetwork = !ADDRESS.startsWith('127.');
const OPEN = { 'wildcard-user': { password: { type: 'wildcard' }, permissions: 'op' } };
const OBSERVER = { 'wildcard-user': { password: { type: 'wildcard' }, permissions: 'observe' } };

describe('sentences', { concurrency: 1 }, () => {
    let server;
    let browser;

    before(async () => {
        ({ server, browser } = await raise({
            // With TURN over TLS too little would be lacking.
            args: ['-turn', ''],
            groups: {
                test: OPEN,
                full: { ...OBSERVER, 'max-clients': 1 },
                waits: { ...OBSERVER, autokick: true },
                lockable: { ...OBSERVER, users: { teacher: { password: 'secret', permissions: 'op' } } },
            },
        }));
    });

    after(async () => {
        block(false);
        await lower({ server, browser });
    });

    /** Drops all datagrams to the server's media port, as many company networks do. */
    function block(isBlocked) {
        const verb = isBlocked ? '-A' : '-D';
        const rule = ['INPUT', '-p', 'udp', '--dport', String(PORT), '-j', 'DROP'];
        try {
            execFileSync('iptables', [verb, ...rule], { stdio: 'pipe' });
        } catch (error) {
            if (isBlocked)
                throw error;
        }
    }

    async function enter(page, group, name) {
        await page.goto(`${ORIGIN}/group/${group}/`);
        await page.fill('#username', name);
        await page.click('#join-button:not([disabled])');
    }

    test('a password that cannot be changed, and why', async () => {
        const page = await openPage(browser, 'password');
        await page.goto(`${ORIGIN}/change-password.html`);
        const fill = async (group, old) => {
            const values = { group, username: 'teacher', old, new: 'n', again: 'n' };
            for (const [id, value] of Object.entries(values))
                await page.fill(`#${id}`, value);
            await page.click('button.primary');
        };
        await fill('nowhere', 'secret');
        await page.waitForSelector('#error:has-text("no group of this name")');
        await fill('lockable', 'wrong');
        await page.waitForSelector('#error:has-text("Wrong name or old password.")');
        await fill('lockable', 'secret');
        await page.waitForSelector('#error:has-text("this server writes no group files")');
        await page.close();
    });

    test('a wrong link has a next step', async () => {
        const page = await openPage(browser, 'lost');
        for (const path of ['/nothing/here', '/group/nowhere/']) {
            await page.goto(ORIGIN + path);
            await page.waitForSelector('main:has-text("ask whoever gave it to you")');
        }
        await page.close();
    });

    test('UDP is blocked', { skip: !hasOwnNetwork && 'needs a network of its own' }, async () => {
        block(true);
        try {
            const ann = await joinGroup(browser, 'ann', {
                start: 'both', prepare: (page) => page.addInitScript(withoutTcp),
            });
            const text = () => ann.textContent('#banner-text');
            await until('the reason', async () => (await text()).includes(`UDP port ${PORT}`));
            assert.equal(await ann.locator('.tile-note:visible').count(), 0, 'it is said once');
            await screenshot(ann, 'sentence-udp');
            block(false);
            const bob = await joinGroup(browser, 'bob');
            await seesAndHears(bob, 'ann');
            await until('the words to go', async () => !await ann.isVisible('#banner')
                && await ann.locator('.tile-note:visible').count() === 0);
            await bob.close();
            await ann.close();
        } finally {
            block(false);
        }
    });

    test('nothing comes from somebody', async () => {
        const ann = await joinGroup(browser, 'ann', { start: 'both' });
        // Before that the server knows of no stream, and nobody would miss one.
        await until('something of ann to have come', async () => ann.evaluate(async () => {
            const [stream] = window.aula.connection.up.values();
            const sent = [...(await stream.pc.getStats()).values()].filter(({ type }) => type === 'outbound-rtp');
            return new Set(sent.filter(({ packetsSent }) => packetsSent > 20).map(({ kind }) => kind)).size === 2;
        }));
        await ann.evaluate(async () => {
            for (const { pc } of window.aula.connection.up.values()) {
                for (const sender of pc.getSenders())
                    await sender.replaceTrack(null);
            }
        });
        const bob = await joinGroup(browser, 'bob');
        await bob.waitForSelector('.tile-note:has-text("Nothing comes from them")');
        assert.equal(await bob.isVisible('#banner'), false, 'nothing is wrong with the network');
        await screenshot(bob, 'sentence-nothing-comes');
        await bob.close();
        await ann.close();
    });

    test('the user receives nothing by choice', async () => {
        const ann = await joinGroup(browser, 'ann');
        await ann.waitForSelector('#empty:has-text("Nobody is sending anything yet")');
        await ann.click('#settings-button');
        await ann.selectOption('#receive', 'nothing');
        await ann.keyboard.press('Escape');
        await ann.waitForSelector('#empty:has-text("the settings change that")');
        await ann.close();
    });

    test('WebRTC is missing', async () => {
        const page = await openPage(browser, 'without');
        await page.addInitScript('delete window.RTCPeerConnection');
        for (const [path, place] of [['/', '#join-error'], ['/publish', '#error'], ['/watch', '#state']]) {
            await page.goto(`${ORIGIN}/group/test${path}`);
            await page.waitForSelector(`${place}:has-text("Try a current Firefox")`);
        }
        await page.close();
    });

    test('the browser is too old, or a script does not arrive', async () => {
        for (const [name, answer] of [
            ['missing', (route) => route.abort()],
            ['unknown words', (route) => route.fulfill({
                contentType: 'text/javascript', body: 'export const Socket = class { not javascript',
            })],
        ]) {
            const page = await openPage(browser, name);
            await page.route('**/js/socket.js', answer);
            await page.goto(`${ORIGIN}/group/test/`);
            await page.waitForSelector('#too-old:has-text("try a current Firefox")');
            await screenshot(page, `sentence-old-${name.replace(' ', '-')}`);
            await page.close();
        }
    });

    test('no group, a full one, a locked one, one without a teacher', async () => {
        const page = await openPage(browser, 'ann');
        await page.goto(`${ORIGIN}/group/nowhere/`);
        await page.waitForSelector('p:has-text("There is no group or page at this address")');
        await page.waitForSelector('a:has-text("All groups")');
        const first = await joinGroup(browser, 'first', { group: 'full' });
        await enter(page, 'full', 'ann');
        await page.waitForSelector('#join-error:has-text("Try again when somebody has left")');
        await first.close();
        await enter(page, 'waits', 'ann');
        await page.waitForSelector('#outside:has-text("There is no teacher here yet.")');
        const teacher = await joinGroup(browser, 'teacher', { group: 'lockable', password: 'secret' });
        await teacher.click('#people-button');
        await teacher.click('#lock-button');
        await teacher.waitForSelector('#room-locked:not([hidden])');
        await enter(page, 'lockable', 'ann');
        await page.waitForSelector('.outside-reason:has-text("This group is locked.")');
        await teacher.close();
        await page.close();
    });
});

/** Runs in the page: its network lets TLS through, and nothing else over TCP. */
function withoutTcp() {
    const { setRemoteDescription, addIceCandidate } = RTCPeerConnection.prototype;
    RTCPeerConnection.prototype.setRemoteDescription = function(description) {
        const sdp = description.sdp.replace(/a=candidate:\S+ \d+ tcp .*\r\n/gi, '');
        return setRemoteDescription.call(this, { type: description.type, sdp });
    };
    RTCPeerConnection.prototype.addIceCandidate = function(candidate) {
        return / tcp /i.test(candidate?.candidate ?? '') ? Promise.resolve()
            : addIceCandidate.call(this, candidate);
    };
}
