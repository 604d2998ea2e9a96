/** A host of its own behind a link that can get bad: a network namespace and a veth. */

import { execFileSync } from 'node:child_process';
import { Host } from './host.js';

const OURS = '10.78.0.1';
const THEIRS = '10.78.0.2';
const ELSEWHERE = '10.78.0.3';
export const OURS_V6 = 'fd00:78::1';
const THEIRS_V6 = 'fd00:78::2';

/** Whether this process may make one. */
export function canMakeLinks() {
    try {
        execFileSync('unshare', ['--net', 'true'], { stdio: 'ignore' });
        execFileSync('iptables', ['--version'], { stdio: 'ignore' });
        execFileSync('tc', ['-V'], { stdio: 'ignore' });
        return process.env.AULA_E2E_NET === 'own';
    } catch {
        return false;
    }
}

export class Link {
    static async make() {
        const link = new Link();
        try {
            await link.#make();
            return link;
        } catch (error) {
            // Its process would keep this one alive.
            link.end();
            throw error;
        }
    }

    async #make() {
        // The kernel may not have cleared away yet what another test has ended.
        removeCable();
        this.host = await Host.make();
        const pid = String(this.pid);
        const run = (line) => execFileSync('sh', ['-c', line]);
        run(`ip link add aula-l0 type veth peer name aula-l1 netns ${pid}`);
        run(`ip addr add ${OURS}/24 dev aula-l0 && ip link set aula-l0 addrgenmode none up`);
        this.#inside(`ip link set lo up && ip addr add ${THEIRS}/24 dev aula-l1`);
        this.#inside('ip link set aula-l1 addrgenmode none up');
        this.#inside(`ip route add default via ${OURS}`);
    }

    /** A process of the far end's namespace, and its address. */
    get pid() {
        return this.host.pid;
    }

    get address() {
        return THEIRS;
    }

    /** The far end has IPv6 and nothing else. */
    onlyV6() {
        const up = (address, device) => `ip -6 addr add ${address}/64 dev ${device} nodad`;
        execFileSync('sh', ['-c', up(OURS_V6, 'aula-l0')]);
        this.#inside(`ip addr flush dev aula-l1 && ${up(THEIRS_V6, 'aula-l1')}`);
        this.#inside(`ip -6 route add default via ${OURS_V6}`);
    }

    /** The largest packet in either direction. */
    mtu(bytes) {
        execFileSync('ip', ['link', 'set', 'aula-l0', 'mtu', String(bytes)]);
        this.#inside(`ip link set aula-l1 mtu ${bytes}`);
    }

    #inside(line) {
        return this.host.inside(line);
    }

    /** Chromium on the far end. */
    async launch(more) {
        return this.host.launch(more);
    }

    /** What the link towards the far end carries, in kbit/s, with a queue of 200 ms; 0: anything. */
    rate(kbit) {
        execFileSync('sh', ['-c', narrow('aula-l0', kbit)]);
    }

    /** The same in the other direction. */
    rateUpstream(kbit) {
        this.#inside(narrow('aula-l1', kbit));
    }

    /** How many of a hundred datagrams towards the far end are lost. At its door, so that the sender
     * sees no error. */
    loss(percent) {
        this.#inside('iptables -F INPUT');
        if (percent > 0) {
            const share = `-m statistic --mode random --probability ${percent / 100}`;
            this.#inside(`iptables -A INPUT -i aula-l1 -p udp ${share} -j DROP`);
        }
    }

    /** The same in the other direction, at our door. */
    lossUpstream(percent) {
        const rule = 'INPUT -i aula-l0 -p udp -m statistic --mode random --probability';
        execFileSync('sh', ['-c', 'iptables -F INPUT']);
        if (percent > 0)
            execFileSync('sh', ['-c', `iptables -A ${rule} ${percent / 100} -j DROP`]);
    }

    /** The far end moves to another address, as a phone does that leaves the house. */
    readdress() {
        this.#inside(`ip addr flush dev aula-l1 && ip addr add ${ELSEWHERE}/24 dev aula-l1`);
        this.#inside(`ip route add default via ${OURS}`);
    }

    /** What lies between forgets all connections that there are, as a NAT does that starts again: nothing
     * gets through any more on their ports, and neither end is told. */
    forget() {
        const sockets = this.#inside("ss -Hntua | awk '$2 != \"LISTEN\" { print $1, $5 }'").toString();
        for (const line of new Set(sockets.trim().split('\n'))) {
            const [protocol, local] = line.split(' ');
            const port = local.split(':').at(-1);
            this.#inside(`iptables -A INPUT -i aula-l1 -p ${protocol} --dport ${port} -j DROP`);
            execFileSync('sh', ['-c', `iptables -A INPUT -i aula-l0 -p ${protocol} --sport ${port} -j DROP`]);
        }
    }

    /** No datagram of the far end gets to us. */
    refuseUdp(isRefused) {
        const rule = 'INPUT -i aula-l0 -p udp -j DROP';
        execFileSync('sh', ['-c', `iptables ${isRefused ? '-A' : '-D'} ${rule}`]);
    }

    /** Whatever the far end sends is lost at our door. */
    silence(isSilent) {
        const rule = 'INPUT -i aula-l0 -j DROP';
        execFileSync('sh', ['-c', `iptables ${isSilent ? '-A' : '-D'} ${rule}`]);
    }

    end() {
        this.host?.end();
        removeCable();
    }
}

/** Lines of the shell that make a device take so many kbit/s. */
function narrow(device, kbit) {
    const old = `tc qdisc del dev ${device} root 2>/dev/null; true`;
    return kbit > 0 ? `${old}; tc qdisc add dev ${device} root tbf rate ${kbit}kbit burst 4kb latency 200ms` : old;
}

function removeCable() {
    execFileSync('sh', ['-c', 'ip link del aula-l0 2>/dev/null; true']);
}
