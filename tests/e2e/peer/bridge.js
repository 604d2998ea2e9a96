/** A bridge with hosts behind it, as Docker and home routers have: this namespace is the router. */

import { execFileSync } from 'node:child_process';
import { Host } from './host.js';

const NETWORK = '10.79.0.0/24';
const ROUTER = '10.79.0.1';

const run = (line) => execFileSync('sh', ['-c', line]);

export class Bridge {
    #hosts = [];

    static make() {
        // The kernel may not have cleared away yet what another test has ended.
        removeBridge();
        run('ip link add aula-br type bridge');
        run(`ip addr add ${ROUTER}/24 dev aula-br && ip link set aula-br addrgenmode none up`);
        run('sysctl -qw net.ipv4.ip_forward=1');
        return new Bridge();
    }

    /** One more host, with its address as `address`. */
    async add() {
        const host = await Host.make();
        const at = this.#hosts.push(host);
        host.address = `10.79.0.${at + 1}`;
        run(`ip link add aula-b${at} type veth peer name eth0 netns ${host.pid}`);
        run(`ip link set aula-b${at} addrgenmode none master aula-br up`);
        host.inside(`ip link set lo up && ip addr add ${host.address}/24 dev eth0`);
        host.inside(`ip link set eth0 addrgenmode none up && ip route add default via ${ROUTER}`);
        return host;
    }

    /**
     * Publishes a port of a host's under `address` of the router's, and nothing else of that host can be
     * reached from outside. To the host everybody comes from the router, as with Docker's own proxy.
     */
    publish(host, address, port) {
        for (const protocol of ['tcp', 'udp']) {
            for (const chain of ['PREROUTING ! -i aula-br', 'OUTPUT']) {
                run(`iptables -t nat -A ${chain} -p ${protocol} -d ${address} --dport ${port} `
                    + `-j DNAT --to-destination ${host.address}`);
            }
        }
        run('iptables -t nat -A POSTROUTING -o aula-br -j MASQUERADE');
        run(`iptables -A FORWARD ! -i aula-br -o aula-br -m conntrack ! --ctstate DNAT,ESTABLISHED -j DROP`);
        run(`iptables -A OUTPUT -o aula-br -d ${NETWORK} -m conntrack ! --ctstate DNAT,ESTABLISHED -j DROP`);
    }

    /** What hosts behind the bridge send to the published port comes back to them by the router. */
    hairpin(host, address, port) {
        for (const protocol of ['tcp', 'udp']) {
            run(`iptables -t nat -A PREROUTING -i aula-br -p ${protocol} -d ${address} --dport ${port} `
                + `-j DNAT --to-destination ${host.address}`);
        }
    }

    end() {
        for (const host of this.#hosts)
            host.end();
        removeBridge();
    }
}

function removeBridge() {
    run('ip link del aula-br 2>/dev/null; true');
}
