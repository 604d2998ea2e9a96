/** A viewer behind a bad link: what it sees and hears goes on, at what the link takes. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { inbound, joinGroup, launch, seesAndHears } from './peer/browser.js';
import { Firefox } from './peer/firefox.js';
import { canMakeLinks, Link } from './peer/link.js';
import { filmNoise, publishNoise, received } from './peer/noise.js';
import { ORIGIN, Server } from './peer/server.js';
import { until } from './peer/wait.js';
import { helpers, openBlank, play, serversOf } from './peer/web-session.js';

describe('bad links', { concurrency: 1, skip: canMakeLinks() ? false : 'needs namespaces' }, () => {
    let server, link, browsers, viewer;
    const seen = () => viewer.evaluate(received);
    const moreFrames = async (what, more) => {
        const { video: { framesDecoded } } = await seen();
        await until(`${more} more frames ${what}`,
            async () => (await seen()).video.framesDecoded >= framesDecoded + more);
    };

    /** Whoever is alone on the link has all of it. */
    const viewerLeaves = () => viewer.evaluate(() => fetch(window.session, { method: 'DELETE' }));

    before(async () => {
        const group = {
            codecs: ['vp8', 'opus'],
            'wildcard-user': { password: { type: 'wildcard' }, permissions: 'present' },
        };
        server = await Server.start({
            args: ['--metrics', '127.0.0.1:9099'], groups: { test: group, single: group },
        });
        link = await Link.make();
        browsers = [await launch(), await link.launch()];
        const publisher = await openBlank(browsers[0], 'publisher');
        const url = `${ORIGIN}/group/test/.whip`;
        assert.equal((await publisher.evaluate(publishNoise, { url })).status, 201);
        viewer = await openBlank(browsers[1], 'viewer');
        await until('the viewer to be let in', async () => {
            const { status } = await viewer.evaluate(play, { url: `${ORIGIN}/group/test/.whep` });
            return status === 201;
        });
        await until('the large picture', async () => (await seen()).video?.frameWidth === 640);
    });

    after(async () => {
        for (const browser of browsers ?? [])
            await browser.close();
        link?.end();
        assert.equal(await server?.stop(), 0);
    });

    test('what is lost is sent again, and sound is sent twice', async () => {
        link.loss(5);
        try {
            const before = await seen();
            await until('packets to be lost and asked for', async () => {
                const { video } = await seen();
                return video.packetsLost > before.video.packetsLost + 3
                    && video.nackCount > before.video.nackCount + 3;
            });
            await moreFrames('with loss', 60);
            await until('lost packets to come again', async () => {
                const { video } = await seen();
                return (video.retransmittedPacketsReceived ?? 1) > 0;
            });
            // What a player has already it throws away: the second copy of what was not lost.
            await until('redundant sound', async () => {
                const { audio } = await seen();
                return audio.packetsDiscarded > (before.audio.packetsDiscarded ?? 0) + 50;
            });
            const text = await metrics();
            // Feedback of sound and of pictures counts apart (RFC 3711 s3.2.1).
            assert.match(text, /aula_udp_drops_total\{reason="srtp_denied"\} 0\n/);
        } catch (error) {
            server.dump();
            throw error;
        } finally {
            link.loss(0);
        }
    });

    test('sound that is lost on the way to the server is found in what comes after it', async () => {
        const rule = 'INPUT -i lo -p udp -m statistic --mode random --probability 0.1 -j DROP';
        execFileSync('sh', ['-c', `iptables -A ${rule}`]);
        try {
            const { audio: before } = await seen();
            const since = async () => {
                const { audio } = await seen();
                const lost = audio.packetsLost - before.packetsLost;
                return { lost, all: audio.packetsReceived - before.packetsReceived + lost };
            };
            await until('ten seconds of sound', async () => (await since()).all > 500);
            const { lost, all } = await since();
            console.log(`of ${all} packets of sound, of which 10 % were lost on the way here, the viewer lacks ${lost}`);
            assert.ok(lost < all / 20, `${lost} of ${all}`);
        } finally {
            execFileSync('sh', ['-c', `iptables -D ${rule}`]);
        }
    });

    test('Firefox behind loss and behind a policer', {
        skip: Firefox.isThere ? false : 'no Firefox',
    }, async () => {
        const firefox = await Firefox.launch(`${ORIGIN}/404-not-there`);
        const rules = [];
        /** What comes to Firefox, told by its port, meets this. */
        const rule = (port, match) => {
            rules.push(`INPUT -p udp --dport ${port} ${match} -j DROP`);
            execFileSync('sh', ['-c', `iptables -A ${rules.at(-1)}`]);
        };
        const clear = () => {
            for (const line of rules.splice(0))
                execFileSync('sh', ['-c', `iptables -D ${line}`]);
        };
        const shown = () => firefox.run(received);
        const more = async (what, count) => {
            const { video: { framesDecoded } } = await shown();
            await until(`${count} more frames in Firefox ${what}`,
                async () => (await shown()).video.framesDecoded >= framesDecoded + count);
        };
        try {
            await firefox.run(helpers);
            const { status } = await firefox.run(play, { url: `${ORIGIN}/group/test/.whep` });
            assert.equal(status, 201);
            await until('the large picture', async () => (await shown()).video?.frameWidth === 640);
            const port = await firefox.run(async () => {
                const stats = [...(await window.pc.getStats()).values()];
                const pair = stats.find(({ type, nominated, state }) =>
                    type === 'candidate-pair' && nominated && state === 'succeeded');
                return stats.find(({ id }) => id === pair.localCandidateId).port;
            });
            rule(port, '-m statistic --mode random --probability 0.05');
            const { video: before } = await shown();
            await until('packets to be lost and asked for', async () => {
                const { video } = await shown();
                return video.packetsLost > before.packetsLost + 3
                    && video.nackCount > before.nackCount + 3;
            });
            await more('with loss', 60);
            clear();
            rule(port, '-m hashlimit --hashlimit-name slow --hashlimit-above 62kb/s '
                + '--hashlimit-burst 64kb');
            await until('the small picture', async () => (await shown()).video.frameWidth === 320);
            await more('of the small picture', 10);
            clear();
            await until('the large picture', async () => (await shown()).video.frameWidth === 640);
            await more('of the large picture', 20);
        } catch (error) {
            server.dump();
            throw error;
        } finally {
            clear();
            await firefox.close();
        }
    });

    test('a slow link gets the small picture, and the large one again when it is fast', async () => {
        try {
            link.rate(500);
            await until('the small picture', async () => (await seen()).video.frameWidth === 320);
            await moreFrames('of the small picture', 10);
            link.rate(0);
            await until('the large picture', async () => (await seen()).video.frameWidth === 640);
            await moreFrames('of the large picture', 20);
        } catch (error) {
            server.dump();
            throw error;
        } finally {
            link.rate(0);
        }
    });

    test('ten viewers at full rate feel nothing of one that is slow', async () => {
        const others = await openBlank(browsers[0], 'others');
        /** What each of the ten has got. */
        const state = () => others.evaluate(async () => Promise.all(window.ten.map(async (pc) => {
            const found = {};
            for (const report of (await pc.getStats()).values()) {
                if (report.type === 'inbound-rtp')
                    found[report.kind] = report;
            }
            const { video, audio } = found;
            return {
                frames: video?.framesDecoded ?? 0, width: video?.frameWidth ?? 0,
                keyframes: video?.keyFramesDecoded ?? 0, asked: video?.pliCount ?? 0,
                lost: (video?.packetsLost ?? 0) + (audio?.packetsLost ?? 0),
                state: pc.signalingState,
            };
        })));
        try {
            await others.evaluate(async ({ helper, url }) => {
                window.ten = [];
                const play = new Function(`return ${helper}`)();
                for (let at = 0; at < 10; at += 1) {
                    const { status } = await play({ url });
                    if (status !== 201)
                        throw new Error(`refused: ${status}`);
                    window.ten.push(window.pc);
                }
            }, { helper: play.toString(), url: `${ORIGIN}/group/test/.whep` });
            const all = (what, is) => until(what, async () => (await state()).every(is));
            await all('ten large pictures', ({ width, frames }) => width === 640 && frames > 30);
            await until('the slow one to have it as well',
                async () => (await seen()).video.frameWidth === 640);
            const before = await state();
            link.rate(200);
            await until('the slow one to get less', async () => {
                const { video } = await seen();
                const first = video.framesDecoded;
                await new Promise((resolve) => setTimeout(resolve, 1000));
                const { video: now } = await seen();
                return now.frameWidth === 320 || now.framesDecoded === first;
            });
            await until('ten to have gone on', async () => (await state()).every(
                ({ frames }, at) => frames >= before[at].frames + 150));
            const after = await state();
            for (const [at, now] of after.entries()) {
                const then = before[at];
                const change = {
                    width: now.width, asked: now.asked - then.asked, lost: now.lost - then.lost,
                    state: now.state,
                };
                assert.deepEqual(change, { width: 640, asked: 0, lost: 0, state: 'stable' });
                // Chromium's VP8 makes a keyframe of every Encoding when it is asked for one of the small one,
                // as it is when the slow viewer steps down, and again if that one is lost on its full link.
                const keyframes = now.keyframes - then.keyframes;
                assert.ok(keyframes < 10, `${keyframes} keyframes within 150 pictures`);
            }
        } catch (error) {
            server.dump();
            throw error;
        } finally {
            link.rate(0);
            await others.context().close();
        }
    });

    test('who sends one picture only is asked for what the only viewer can take', async () => {
        const pages = [await openBlank(browsers[0], 'single'), await openBlank(browsers[1], 'sole')];
        const [publisher, sole] = pages;
        const target = () => publisher.evaluate(async () => {
            const stats = [...(await window.pc.getStats()).values()];
            return stats.find(({ type, kind }) => type === 'outbound-rtp' && kind === 'video')
                .targetBitrate;
        });
        const frames = async () => (await sole.evaluate(received)).video?.framesDecoded ?? 0;
        const more = async (what, count) => {
            const first = await frames();
            await until(`${count} more frames ${what}`,
                async () => await frames() >= first + count);
        };
        try {
            const url = `${ORIGIN}/group/single/`;
            const { status } = await publisher.evaluate(
                publishNoise, { url: `${url}.whip`, isSingle: true });
            assert.equal(status, 201);
            await until('the viewer to be let in', async () =>
                (await sole.evaluate(play, { url: `${url}.whep` })).status === 201);
            await until('all of it', async () => await target() > 1_000_000);
            await more('at the full rate', 10);
            await viewerLeaves();
            link.rate(500);
            await until('less to be sent', async () => await target() < 500_000);
            await more('at what the link takes', 20);
            link.rate(0);
            await until('all of it again', async () => await target() > 1_000_000);
            await more('at the full rate again', 20);
        } catch (error) {
            server.dump();
            throw error;
        } finally {
            link.rate(0);
            for (const page of pages)
                await page.context().close();
        }
    });

    test('who sends badly is told so, and so are the others, until it is over', async () => {
        const sender = await joinGroup(browsers[1], 'sender', { start: 'audio' });
        const watcher = await joinGroup(browsers[0], 'watcher');
        try {
            await watcher.waitForSelector('.tile-name:has-text("sender")');
            link.lossUpstream(25);
            await sender.waitForSelector('#banner[data-mood=weak]:has-text("others may not hear you well")');
            await watcher.waitForSelector('.tile-name:has-text("sender – their connection is weak")');
            await watcher.waitForSelector('.badge-weak', { state: 'attached' });
            assert.equal(await watcher.isVisible('#banner'), false, 'whose network is meant');
            link.lossUpstream(0);
            await sender.waitForSelector('#banner', { state: 'hidden' });
            await watcher.waitForSelector('.badge-weak', { state: 'detached' });
        } finally {
            link.lossUpstream(0);
            await sender.context().close();
            await watcher.context().close();
        }
    });

    test('an uplink that is too narrow for both pictures carries the small one, until it is wide again', async () => {
        const options = { group: 'single', prepare: (page) => page.addInitScript(filmNoise) };
        const sender = await joinGroup(browsers[1], 'sender', { start: 'both', ...options });
        const watcher = await joinGroup(browsers[0], 'watcher', options);
        /** Which pictures may be sent, and what the small one may take. */
        const sent = () => sender.evaluate(() => {
            const [stream] = window.aula.connection.up.values();
            const { encodings } = stream.pc.getSenders().find(({ track }) => track.kind === 'video').getParameters();
            const small = encodings.find(({ rid }) => rid === 'l').maxBitrate;
            return { rids: encodings.filter(({ active }) => active).map(({ rid }) => rid).join(), small };
        });
        const picture = async () => (await inbound(watcher))[0] ?? {};
        try {
            await until('the large picture', async () => (await picture()).width === 640);
            const { small } = await sent();
            link.rateUpstream(400);
            await until('the large one to be left out', async () => (await sent()).rids === 'l');
            assert.ok((await sent()).small > small, 'the small one gets what there is');
            await until('the small picture', async () => (await picture()).width === 320);
            await seesAndHears(watcher, 'sender', { more: 20 });
            link.rateUpstream(0);
            await until('both to be sent', async () => (await sent()).rids === 'h,l');
            assert.equal((await sent()).small, small);
            await until('the large picture again', async () => (await picture()).width === 640);
            await seesAndHears(watcher, 'sender', { more: 20 });
        } catch (error) {
            console.error(await sent().catch(String));
            server.dump();
            throw error;
        } finally {
            link.rateUpstream(0);
            await sender.context().close();
            await watcher.context().close();
        }
    });

    test('the page shows what the server makes of a link, in pictures that are less and more again', async () => {
        await viewerLeaves();
        const page = await joinGroup(browsers[1], 'watcher');
        const shown = () => page.textContent('.tile:not(.is-own) .tile-facts');
        /** The line about pictures in the part of the server. */
        const line = async () => /The server says:.*?(video .*)/s.exec(await shown())?.[1] ?? '';
        try {
            await page.locator('#stage').focus().catch(() => {});
            await page.keyboard.press('s');
            await until('the large picture and room for it', async () =>
                /^video VP8 \d{3,} kbit.s the large picture loss .* room for \d{4,} kbit.s/.test(await line()));
            link.rate(500);
            await until('the small picture and little room', async () =>
                /the small picture loss .* room for \d{2,3} kbit.s/.test(await line()));
            link.rate(0);
            await until('the large picture again', async () => /the large picture loss/.test(await line()));
            // Who looks no longer is told no more.
            await page.keyboard.press('s');
            assert.equal(await page.locator('.tile-facts:visible').count(), 0);
        } catch (error) {
            console.error(await shown().catch(String));
            server.dump();
            throw error;
        } finally {
            link.rate(0);
            await page.context().close();
        }
    });

    for (const way of ['ICE-TCP', 'TURN over TLS']) {
        test(`a slow link over ${way}: the sound goes on, and nothing is cut off`, async () => {
            const page = await openBlank(browsers[1], way);
            const shown = () => page.evaluate(received);
            const more = async (what, kind, field, count) => {
                const before = (await shown())[kind]?.[field] ?? 0;
                await until(`${what} over ${way}`,
                    async () => (await shown())[kind]?.[field] >= before + count);
            };
            await viewerLeaves();
            link.refuseUdp(true);
            try {
                const { status, link: offered } = await page.evaluate(play, { url: `${ORIGIN}/group/test/.whep` });
                assert.equal(status, 201);
                if (way !== 'ICE-TCP')
                    await page.evaluate(onlyRelays, serversOf(offered).filter(({ urls }) => urls.startsWith('turns:')));
                await until('the large picture', async () => (await shown()).video?.frameWidth === 640);
                const used = await page.evaluate(wayUsed);
                assert.equal(used, way === 'ICE-TCP' ? 'tcp' : 'relay tls');
                link.rate(500);
                await until('the small picture', async () => (await shown()).video.frameWidth === 320);
                await more('the small picture', 'video', 'framesDecoded', 30);
                await more('sound', 'audio', 'packetsReceived', 100);
                link.rate(0);
                await until('the large picture', async () => (await shown()).video.frameWidth === 640);
                await more('the large picture', 'video', 'framesDecoded', 20);
                assert.equal(await page.evaluate(wayUsed), used);
            } catch (error) {
                server.dump();
                throw error;
            } finally {
                link.rate(0);
                link.refuseUdp(false);
                await page.context().close();
            }
        });
    }
});

/** Runs in the page: from now on relays are all that it has. */
function onlyRelays(iceServers) {
    window.pc.setConfiguration({ iceServers, iceTransportPolicy: 'relay' });
    return window.restart();
}

/** Runs in the page: what it receives media over. */
async function wayUsed() {
    const stats = await window.pc.getStats();
    const transport = [...stats.values()].find(({ type }) => type === 'transport');
    const local = stats.get(stats.get(transport.selectedCandidatePairId).localCandidateId);
    return local.relayProtocol ? `relay ${local.relayProtocol}` : local.protocol;
}

async function metrics() {
    const answer = await fetch('http://127.0.0.1:9099/metrics');
    return answer.text();
}
