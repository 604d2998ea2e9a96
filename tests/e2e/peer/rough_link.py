"""A link between two network namespaces with what cables of the kernel lack: delay, jitter, loss in
bursts, packets out of order.

    rough_link.py DEVICE OURS FAR-PID FAR-DEVICE THEIRS

makes a TUN device here with the address OURS, and one in the network namespace of the process FAR-PID
with THEIRS, and carries packets between them. It says "ready", and then takes a line for each change:

    down rate=3000k,queue=300ms,delay=100ms,jitter=30ms,loss=3%,burst=10,reorder=1%
    up   (nothing: all that comes passes at once)

`down` is towards THEIRS, `up` towards OURS. `loss` comes in bursts of `burst` packets in the mean (1: each
by itself), `jitter` is evenly distributed on top of `delay` and keeps the order, `reorder` is the share
of packets that overtake by `jitter`. It ends with its standard input.
"""

import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
CLONE_NEWNET = 0x40000000


class Direction:
    """What happens to packets that are read from one device until they are written to the other."""

    def __init__(self, sink, seed):
        self.sink = sink
        self.random = random.Random(seed)
        self.under_way = []
        self.pushed = 0
        self.is_in_burst = False
        self.free_at = 0.0
        self.last_at = 0.0
        self.configure("")

    def configure(self, spec):
        self.rate = self.queue = self.delay = self.jitter = self.loss = self.reorder = 0.0
        self.burst = 1.0
        for pair in filter(None, spec.strip().split(",")):
            key, _, value = pair.partition("=")
            if not hasattr(self, key) or not value:
                raise ValueError(f"not known: {pair}")
            setattr(self, key, number(value))
        self.free_at = 0.0

    def is_lost(self):
        if self.loss <= 0.0:
            return False
        if self.burst <= 1.0:
            return self.random.random() < self.loss
        end = 1.0 / self.burst
        change = end if self.is_in_burst else end * self.loss / (1.0 - self.loss)
        self.is_in_burst ^= self.random.random() < change
        return self.is_in_burst

    def take(self, packet, now):
        if self.is_lost():
            return
        at = now
        if self.rate > 0.0:
            begins_at = max(self.free_at, now)
            if begins_at - now > self.queue:
                return
            at = self.free_at = begins_at + 8 * len(packet) / self.rate
        at += self.delay
        if self.random.random() >= self.reorder:
            at = self.last_at = max(self.last_at, at + self.random.random() * self.jitter)
        self.pushed += 1
        heapq.heappush(self.under_way, (at, self.pushed, packet))

    def give(self, now):
        while self.under_way and self.under_way[0][0] <= now:
            packet = heapq.heappop(self.under_way)[2]
            try:
                os.write(self.sink, packet)
            except OSError:
                pass  # What a device cannot take is lost.

    def next_at(self):
        return self.under_way[0][0] if self.under_way else float("inf")


def number(text):
    """Of `40ms`, `3%`, `500k` and plain numbers."""
    for unit, factor in (("ms", 1e-3), ("%", 1e-2), ("k", 1e3), ("m", 1e6), ("s", 1.0)):
        if text.endswith(unit):
            return float(text[: -len(unit)]) * factor
    return float(text)


def make_device(name, address, peer):
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH14x", name.encode(), IFF_TUN | IFF_NO_PI))
    for line in (f"ip link set {name} addrgenmode none up", f"ip addr add {address} peer {peer} dev {name}"):
        subprocess.run(line.split(), check=True)
    return device


def enter(pid):
    libc = ctypes.CDLL(None, use_errno=True)
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
    os.close(namespace)


def carry(near, far):
    down, up = Direction(far, 1), Direction(near, 2)
    sources = {near: down, far: up}
    print("ready", flush=True)
    while True:
        due = min(down.next_at(), up.next_at()) - time.monotonic()
        readable, _, _ = select.select([near, far, 0], [], [], max(0.0, min(due, 1.0)))
        now = time.monotonic()
        for source in readable:
            if source == 0:
                line = os.read(0, 4096).decode()
                if not line:
                    return
                for change in line.strip().splitlines():
                    way, _, spec = change.partition(" ")
                    {"down": down, "up": up}[way].configure(spec)
                continue
            # Not for ever: what is due must go.
            for _ in range(64):
                try:
                    packet = os.read(source, 65536)
                except BlockingIOError:
                    break
                sources[source].take(packet, now)
        for direction in (down, up):
            direction.give(time.monotonic())


def main():
    device, ours, pid, far_device, theirs = sys.argv[1:]
    near = make_device(device, ours, theirs)
    enter(pid)
    far = make_device(far_device, theirs, ours)
    try:
        # Late is what a link must not be by itself.
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        os.nice(-10)
    carry(near, far)


if __name__ == "__main__":
    main()
