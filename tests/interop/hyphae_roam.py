#!/usr/bin/env python3
"""Addresses that change, between Kith and an independent endpoint (hyphae_peer.py) that repairs what is lost.

    hyphae_roam.py wander HOST PORT LOSS   an echo of 300 kB while the client's address changes; LOSS: datagrams of a hundred, each way
    hyphae_roam.py follow PORT_FILE        an echo that follows its client, which must answer when it is asked
    hyphae_roam.py nat PORT_FILE HOST PORT a NAT before a dialler: every 150 datagrams it takes another port and forgets the one before

Prints "ok ..." or "failed ..."; exit status 0, 1, or 77 as hyphae_peer.py."""
import os
import random
import select
import socket
import sys

sys.dont_write_bytecode = True  # nothing is left in the source folders
from hyphae_judge import Judge, stream_frame
from hyphae_peer import ONE_RTT, Endpoint, outcome

REBINDS_EVERY = 150  # datagrams


class Repairing:
    """What an Endpoint lacks for a network that loses: `loss` of what goes either way, and repair when nothing comes for a moment."""

    def begin_repairing(self, loss, timeout):
        self.loss, self.under_way, self.random = loss, {}, random.Random(1)
        self.sock.settimeout(timeout)

    def lost(self):
        return self.complete and self.random.random() < self.loss

    def send(self, *packets):
        if not self.lost():
            super().send(*packets)

    def datagram(self, data):
        if not self.lost():
            super().datagram(data)

    def reliably(self, frames):
        self.under_way[self.pn[ONE_RTT]] = frames
        self.send(self.packet(ONE_RTT, frames))

    def repair(self):
        for pn, frames in sorted(self.under_way.items())[:16]:
            del self.under_way[pn]
            self.reliably(frames)

    def settle(self):
        for pn in [n for n in self.under_way if n in self.acked[ONE_RTT]]:
            del self.under_way[pn]

    def send_some(self, stream, data, at):
        """As far as 16 packets are under way; where it is then."""
        self.settle()
        while at < len(data) and len(self.under_way) < 16:
            self.reliably(stream_frame(stream, at, data[at:at + 1000], at + 1000 >= len(data)))
            at += 1000
        return at


class Wanderer(Repairing, Judge):
    def __init__(self, address, loss):
        super().__init__(address)
        self.asked = 0
        self.begin_repairing(loss, 0.1)

    def frame(self, level, kind, r):
        self.asked += kind == 0x1a
        super().frame(level, kind, r)

    def goes_elsewhere(self):
        family, timeout = self.sock.family, self.sock.gettimeout()
        self.sock.close()
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.settimeout(timeout)


def wander(address, loss):
    e = Wanderer(address, loss / 100).shake_hands()
    data, at, moves = os.urandom(300000), 0, 0
    while e.whole(0) is None:
        at = e.send_some(0, data, at)
        if moves < 3 and at > 50000 + 80000 * moves:
            e.goes_elsewhere()
            moves += 1
        if not e.step():
            e.repair()
        assert not e.closed, "closed"
    assert e.whole(0) == data, "echo differs"
    assert moves == 3 and e.asked, "%d moves, asked %d times" % (moves, e.asked)
    e.loss = 0
    e.close()
    print("ok wander asked=%d" % e.asked)


class Follower(Repairing, Endpoint):
    """A server that follows (RFC 9000 section 9.3): it sends to wherever the newest came from, and asks there."""
    want_retry = False

    def __init__(self, sock):
        super().__init__(False, sock, None)
        self.begin_repairing(0, 0.1)
        self.before, self.asked = None, {}

    def answer(self):
        if self.complete and self.address != self.before:
            if self.before:
                self.asked[os.urandom(8)] = self.address
                self.send(self.packet(ONE_RTT, b"\x1a" + list(self.asked)[-1], 1200))
            self.before = self.address
        super().answer()


def follow(port_file):
    """Echo for one dialler, until it closes."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    e, sent, silence = Follower(sock), {}, 0
    with open(port_file, "w") as f:
        f.write(str(sock.getsockname()[1]))
    while not e.closed:
        silence = 0 if e.step() else silence + 1
        assert silence < 200, "silence"
        if silence:
            e.repair()
        for stream in [n for n in e.streams if n % 4 == 0 and e.whole(n) is not None]:
            sent[stream] = e.send_some(stream, e.whole(stream), sent.get(stream, 0))
    answered = [data for data in e.asked if data in e.responses]
    assert len(answered) >= 2, "%d challenges, %d answered" % (len(e.asked), len(answered))
    print("ok follow asked=%d answered=%d" % (len(e.asked), len(answered)))


def nat(port_file, server):
    """For one dialler, until it is killed."""
    inner, outer, count, client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), None, 0, None
    inner.bind(("127.0.0.1", 0))
    with open(port_file, "w") as f:
        f.write(str(inner.getsockname()[1]))
    while True:
        if count % REBINDS_EVERY == 0:
            if outer:
                outer.close()
            outer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            outer.connect(server)
            count += 1
        for ready in select.select([inner, outer], [], [])[0]:
            try:
                if ready is outer:
                    inner.sendto(outer.recv(65536), client)
                else:
                    data, client = inner.recvfrom(65536)
                    count += 1
                    outer.send(data)
            except OSError:  # nobody there, which is the sender's to notice
                pass


def act(args):
    if args[:1] == ["wander"] and len(args) == 4:
        wander((args[1], int(args[2])), int(args[3]))
    elif args[:1] == ["follow"] and len(args) == 2:
        follow(args[1])
    elif args[:1] == ["nat"] and len(args) == 4:
        nat(args[1], (args[2], int(args[3])))
    else:
        return False
    return True


if __name__ == "__main__":
    sys.exit(outcome(act, sys.argv[1:], __doc__))
