/**
 * A NAT between a link and the server's media port, which can forget what it knows: everybody behind it then
 * comes from another port, and what is sent to the old one goes nowhere.
 */

import { execFileSync } from 'node:child_process';
import dgram from 'node:dgram';
import { once } from 'node:events';

const LISTENS_AT = 7443;

const iptables = (line) => execFileSync('sh', ['-c', `iptables ${line}`]);

export class Nat {
    /** Ports outside, by the peer's address and port. */
    #bindings = new Map();

    /** Datagrams from `device` to `address` and `port` go through it, and come from `outside`. */
    static async make(device, { address, port, outside }) {
        const nat = new Nat();
        nat.to = { address, port };
        nat.outside = outside;
        nat.rule = `PREROUTING -i ${device} -p udp -d ${address} --dport ${port} -j REDIRECT --to-ports ${LISTENS_AT}`;
        nat.socket = dgram.createSocket('udp4');
        nat.socket.bind(LISTENS_AT);
        await once(nat.socket, 'listening');
        nat.socket.on('message', (datagram, from) => nat.#leave(datagram, from));
        iptables(`-t nat -A ${nat.rule}`);
        return nat;
    }

    #leave(datagram, from) {
        const key = `${from.address} ${from.port}`;
        let binding = this.#bindings.get(key);
        if (!binding) {
            binding = dgram.createSocket('udp4');
            this.#bindings.set(key, binding);
            binding.bind(0, this.outside);
            binding.on('message', (answer) => this.socket.send(answer, from.port, from.address));
            // What it was told goes nowhere (ICMP): a NAT is silent.
            binding.on('error', () => {});
        }
        binding.send(datagram, this.to.port, this.to.address);
    }

    /** How many are behind it. */
    get size() {
        return this.#bindings.size;
    }

    /** Forgets everybody. */
    forget() {
        for (const binding of this.#bindings.values())
            binding.close();
        this.#bindings.clear();
    }

    end() {
        iptables(`-t nat -D ${this.rule}`);
        this.forget();
        this.socket.close();
    }
}
