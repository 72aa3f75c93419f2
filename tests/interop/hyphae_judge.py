#!/usr/bin/env python3
"""Kith judged by an independent client (hyphae_peer.py), sentence by sentence of RFC 9000 and of the Hyphae handshake.

    hyphae_judge.py rules HOST PORT [NAME...]     each breach of a rule, on a connection of its own, must end as the RFC says
    hyphae_judge.py accuse PROGRAM [NAME...]      the same of a server, of which PROGRAM (nquic-peer) is the dialler

Prints "ok NAME" or "failed NAME why" for each; exit status 0, 1, or 77 as hyphae_peer.py."""
import concurrent.futures
import os
import socket
import subprocess
import sys
import time

sys.dont_write_bytecode = True  # nothing is left in the source folders
import hyphae_peer
from hyphae_peer import HANDSHAKE, INITIAL, ONE_RTT, Endpoint, Reader, varint

AT_A_TIME = 6
TRANSPORT_PARAMETER, FLOW_CONTROL, STREAM_LIMIT, STREAM_STATE, FINAL_SIZE, FRAME_ENCODING = 8, 3, 4, 5, 6, 7
ID_LIMIT, PROTOCOL, CRYPTO_BUFFER, HANDSHAKE_FAILURE = 9, 10, 13, 0x128


def parameter(key, value):
    return varint(key) + varint(len(value)) + value


class Judge(Endpoint):
    """Remembers how a connection ended, its ids, and what it was told."""

    def __init__(self, address, id_size=8, timeout=5):
        sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(timeout)
        super().__init__(True, sock, address, id_size)
        self.close_code, self.ids, self.ecn_counts, self.largest, self.reset_token = None, {}, None, 0, None
        self.retired = set()

    def frame(self, level, kind, r):
        start = r.at
        if kind == 0x18:
            seq, _ = r.varint(), r.varint()
            self.ids[seq] = (r.take(r.byte()), r.take(16))
        elif kind == 0x19:
            self.retired.add(r.varint())
        elif kind == 3:
            self.on_ack(level, r)
            self.ecn_counts = tuple(r.varint() for _ in range(3))
        else:
            r.at = start
            super().frame(level, kind, r)

    def datagram(self, data):
        self.largest = max(self.largest, len(data))
        super().datagram(data)

    def on_message(self, level, kind, body):
        if level == HANDSHAKE and kind == 3:
            self.theirs(body)
        super().on_message(level, kind, body)

    def theirs(self, body):
        r = Reader(body)
        assert r.take(2) == b"\x01\x02", "deferred payload"
        params = Reader(r.take(r.varint()))
        while params.left():
            key = params.varint()
            value = params.take(params.varint())
            if key == 2:
                self.reset_token = value

    def shake_hands(self):
        self.start()
        hyphae_peer.until(self, lambda: self.complete and self.done, "handshake")
        return self

    def echo(self, stream, data=b"still there"):
        self.stream(stream, data)
        hyphae_peer.until(self, lambda: self.whole(stream) is not None, "echo")
        assert self.whole(stream) == data, "echo differs"

    def frames(self, frames, fill=0):
        self.send(self.packet(ONE_RTT, frames, fill))

    def ends(self, *codes):
        hyphae_peer.until(self, lambda: self.closed, "no close", closes=True)
        assert self.close_code in codes, "closed with 0x%x" % self.close_code


# ---- what breaks a rule ----

def stream_frame(stream, offset, data, fin=False):
    return bytes([0x0e | fin]) + varint(stream) + varint(offset) + varint(len(data)) + data


RULES = {  # name: (frames of a 1-RTT packet, codes with which it must end)
    "a stream beyond the limit": (stream_frame(4 * 64, 0, b"x"), STREAM_LIMIT),
    "a unidirectional stream beyond the limit": (stream_frame(4 * 64 + 2, 0, b"x"), STREAM_LIMIT),
    "the largest stream number": (stream_frame((1 << 62) - 4, 0, b"x"), STREAM_LIMIT),
    "more than a stream's window": (stream_frame(0, 1 << 20, b"x"), FLOW_CONTROL),
    "the largest offset": (stream_frame(0, (1 << 62) - 1, b""), FLOW_CONTROL, FRAME_ENCODING),
    "an offset beyond all": (stream_frame(0, (1 << 62) - 1, b"xy"), FLOW_CONTROL, FRAME_ENCODING),
    "a reset beyond the window": (b"\x04\x00\x07" + varint(2 << 20), FLOW_CONTROL),
    "an end before what was sent": (stream_frame(0, 0, b"12345") + stream_frame(0, 2, b"", True), FINAL_SIZE),
    "bytes behind the end": (stream_frame(0, 0, b"12345", True) + stream_frame(0, 5, b"6"), FINAL_SIZE),
    "two ends": (stream_frame(0, 0, b"12345", True) + b"\x04\x00\x07\x04", FINAL_SIZE),
    "a stream of theirs that is not open": (stream_frame(1, 0, b"x"), STREAM_STATE),
    "their unidirectional stream": (stream_frame(3, 0, b"x"), STREAM_STATE),
    "credit for our own unidirectional stream": (stream_frame(2, 0, b"x") + b"\x05\x02\x00", STREAM_STATE),
    "credit for a stream that is not open": (b"\x11\x01\x40\x40", STREAM_STATE),
    "too many streams allowed": (b"\x12" + varint((1 << 60) + 1), FRAME_ENCODING),
    "too many streams blocked": (b"\x16" + varint((1 << 60) + 1), FRAME_ENCODING, STREAM_LIMIT),
    "HANDSHAKE_DONE of a client": (b"\x1e", PROTOCOL),
    "NEW_TOKEN of a client": (b"\x07\x01t", PROTOCOL),
    "an acknowledgement of what was not sent": (b"\x02" + varint(1 << 20) + b"\0\0\0", PROTOCOL),
    "an acknowledgement below zero": (b"\x02\x01\x00\x00\x05", FRAME_ENCODING),
    "a retired id that was never given": (b"\x19\x40\x64", PROTOCOL),
    "an id to be retired after itself": (b"\x18\x01\x02\x08" + bytes(24), FRAME_ENCODING),
    "an id of 21 bytes": (b"\x18\x01\x00\x15" + bytes(37), FRAME_ENCODING),
    "an id of no bytes": (b"\x18\x01\x00\x00" + bytes(16), FRAME_ENCODING),
    "more ids than are kept": (b"".join(b"\x18" + bytes([n, 0, 8]) + os.urandom(24) for n in range(1, 12)), ID_LIMIT),
    "one number for two ids": (b"".join(b"\x18\x01\x00\x08" + os.urandom(24) for _ in range(2)), PROTOCOL),
    "a frame that is cut": (b"\x0e\x00\x00\x40\xffcut", FRAME_ENCODING),
    "an unknown frame": (varint(0x4030), FRAME_ENCODING),
    "a type in more bytes than it needs": (b"\x40\x01", PROTOCOL, FRAME_ENCODING),
    "much CRYPTO out of order": (b"\x06" + varint(1 << 20) + b"\x01x", CRYPTO_BUFFER),
    "CRYPTO that is no message": (b"\x06\x02\x02\x01\x63", HANDSHAKE_FAILURE),
    "a second Final": (b"\x06\x02\x02\x01\x7f", HANDSHAKE_FAILURE),
}
BAD_PARAMETERS = {
    "a payload size of 1,199": parameter(3, varint(1199)),
    "one connection id": parameter(14, varint(1)),
    "an exponent of 21": parameter(10, varint(21)),
    "a delay of 2^14 ms": parameter(11, varint(1 << 14)),
    "a server's original id": parameter(0, bytes(8)),
    "a server's reset token": parameter(2, bytes(16)),
    "a server's Retry id": parameter(16, bytes(8)),
    "a server's preferred address": parameter(13, bytes(24 + 1) + bytes([8]) + bytes(24)),
    "2^60 streams and one": parameter(8, varint((1 << 60) + 1)),
    "another's first id": None,
    "no first id": None,
    "a cut parameter": b"\x03\x04\x45",
}


def breach(address, name):
    frames, *codes = RULES[name]
    e = Judge(address).shake_hands()
    e.frames(frames)
    e.ends(*codes)


def bad_parameters(address, name):
    e = Judge(address)
    params, original = BAD_PARAMETERS[name], e.params
    if name == "another's first id":
        e.params = lambda: original().replace(parameter(15, e.scid), parameter(15, bytes(8)))
    elif name == "no first id":
        e.params = lambda: original().replace(parameter(15, e.scid), b"")
    else:
        e.more_params = params
    e.start()
    e.ends(TRANSPORT_PARAMETER)


# ---- the same of a server, to a dialler ----

class Accuser(Endpoint):
    """A server for one dialler that breaks a rule as soon as the handshake is complete, or in its parameters."""
    want_retry, close_code = False, None

    def dialled_by(self, program):
        port = self.sock.getsockname()[1]
        command = [program, "--connect", "127.0.0.1:%d" % port, "--streams", "1", "--bytes", "10"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


CLIENTS_ALONE = ("HANDSHAKE_DONE of a client", "NEW_TOKEN of a client",
                 "bytes behind the end", "two ends")  # the dialler's stream: when it has ended, nobody remembers it
SERVER_RULES = {name: rule for name, rule in RULES.items() if name not in CLIENTS_ALONE and "stream" not in name} | {
    "a stream beyond the limit, to a dialler": (stream_frame(4 * 64 + 1, 0, b"x"), STREAM_LIMIT),
    "the dialler's stream that is not open": (stream_frame(400, 0, b"x"), STREAM_STATE),
    "the dialler's unidirectional stream": (stream_frame(2, 0, b"x"), STREAM_STATE),
    "more than a stream's window, to a dialler": (stream_frame(1, 1 << 20, b"x"), FLOW_CONTROL),
    "an empty token": (b"\x07\x00", FRAME_ENCODING),
}
SERVER_PARAMETERS = {  # what is made of the right ones
    "no original id": lambda e, params: params.replace(parameter(0, e.odcid), b""),
    "another original id": lambda e, params: params.replace(parameter(0, e.odcid), parameter(0, bytes(8))),
    "no first id of the server": lambda e, params: params.replace(parameter(15, e.scid), b""),
    "another first id of the server": lambda e, params: params.replace(parameter(15, e.scid), parameter(15, bytes(8))),
    "a Retry that there was not": lambda e, params: params + parameter(16, bytes(8)),
    "a payload size of 1,199, to a dialler": lambda e, params: params + parameter(3, varint(1199)),
    "a reset token of 15 bytes": lambda e, params: params + parameter(2, bytes(15)),
}


def accuse(program, name):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(10)
    e = Accuser(False, sock, None)
    if name in SERVER_PARAMETERS:
        original, codes = e.params, (TRANSPORT_PARAMETER,)
        e.params = lambda: SERVER_PARAMETERS[name](e, original())
    else:
        frames, *codes = SERVER_RULES[name]
    dialler = e.dialled_by(program)
    try:
        if name in SERVER_RULES:
            hyphae_peer.until(e, lambda: e.complete, "handshake")
            e.send(e.packet(ONE_RTT, frames))
        hyphae_peer.until(e, lambda: e.closed, "no close", closes=True)
        assert e.close_code in codes, "closed with 0x%x" % e.close_code
        said = dialler.communicate(timeout=10)[0]
        assert "failed PROTOCOL" in said or "failed CRYPTO" in said, said
    finally:
        dialler.kill()
        dialler.wait()


# ---- what keeps to the rules, and is unusual ----

def ids_rotate(address):
    """All ids that they gave, one after the other, each retired when the next is used; and ids of ours."""
    e = Judge(address).shake_hands()
    hyphae_peer.until(e, lambda: e.ids, "NEW_CONNECTION_ID")
    for number in range(24):
        hyphae_peer.until(e, lambda: number + 1 in e.ids, "id %d" % (number + 1))
        e.dcid = e.ids[number + 1][0]
        e.frames(b"\x19" + varint(number))
        e.echo(4 * number)
    for number in range(1, 20):  # and of ours: they go over to the next as we want, and say so
        e.frames(b"\x18" + varint(number) + varint(number) + b"\x08" + os.urandom(24))
        hyphae_peer.until(e, lambda: number - 1 in e.retired, "RETIRE_CONNECTION_ID %d" % (number - 1))
    e.echo(96)
    e.close()


def many_ranges(address):
    """An acknowledgement of every other packet, as far as a datagram holds them."""
    e = Judge(address).shake_hands()
    e.acks = lambda level, usual=e.acks: b"" if level == ONE_RTT and e.complete else usual(level)
    data = os.urandom(400000)
    for number in range(0, 20):
        e.frames(stream_frame(0, number * 1000, data[number * 1000:number * 1000 + 1000]))
    hyphae_peer.until(e, lambda: len(e.got[ONE_RTT]) > 8, "the beginning of an echo")
    numbers = sorted(e.got[ONE_RTT])[::2][::-1]
    out = b"\x02" + varint(numbers[0]) + b"\x00" + varint(len(numbers) - 1) + b"\x00"
    for before, after in zip(numbers, numbers[1:]):
        out += varint(before - after - 2) + b"\x00"
    e.frames(out)
    del e.acks
    e.echo(4)
    e.close()


def listen(e, seconds):
    end = time.monotonic() + seconds
    e.sock.settimeout(0.02)
    while time.monotonic() < end:
        e.step()
    e.sock.settimeout(5)


def small_payloads(address):
    e = Judge(address)
    e.more_params = parameter(3, varint(1200))
    e.shake_hands().echo(0, os.urandom(200000))
    assert e.largest <= 1200, "a datagram of %d bytes" % e.largest
    e.close()


def congestion_marks(address):
    """ECT(0) on ours is counted (RFC 9000 section 13.4)."""
    e = Judge(address)
    e.sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 2)
    e.shake_hands().echo(0, os.urandom(30000))
    hyphae_peer.until(e, lambda: e.ecn_counts, "ECN counts")
    assert e.ecn_counts[0] > 20 and e.ecn_counts[1] == 0, "counts %s" % (e.ecn_counts,)
    e.close()


def idle(address):
    """The smaller time-out of both counts; a packet after it is answered with a reset by the token that they gave (RFC 9000 section 10.3)."""
    e = Judge(address, timeout=1)
    params = e.params
    e.params = lambda: params().replace(parameter(1, varint(30000)), parameter(1, varint(600)))
    e.shake_hands().echo(0)
    e.answer = lambda: None  # as one who is gone
    while e.step():  # until nothing comes for a second
        pass
    e.sock.settimeout(5)
    e.frames(b"\x01" + bytes(60))
    data = e.sock.recvfrom(2000)[0]
    assert data[-16:] == e.reset_token and data[0] & 0xc0 == 0x40 and len(data) < 100, "no reset"
    return e


def closes_early(address):
    """CONNECTION_CLOSE in each packet number space; they answer none of it, and serve the next."""
    for level in (INITIAL, HANDSHAKE):
        e = Judge(address)
        if level == HANDSHAKE:
            e.message_3 = lambda message: e.send(e.packet(HANDSHAKE, b"\x1c\x0c\x00\x03bye"))
            e.start()
            while not e.keys[HANDSHAKE] or HANDSHAKE not in [k for k in (HANDSHAKE,) if e.got[k]]:
                assert e.step(), "handshake"
        else:
            e.start()
            e.send(e.packet(INITIAL, b"\x1c\x0c\x00\x03bye", 1200))
    Judge(address).shake_hands().echo(0)


def twice_updated(address):
    """Key updates, each after what was sent under the one before is acknowledged."""
    e = Judge(address).shake_hands()
    for number in range(6):
        e.echo(4 * number, os.urandom(5000))
        listen(e, 0.3)  # three probe time-outs, before the next (RFC 9001 section 6.5)
        e.turn_keys()
    e.echo(24)
    assert e.updates == 6, "%d updates" % e.updates
    e.close()


def short_initial(address):
    """A first datagram of fewer than 1,200 bytes is not answered (RFC 9000 section 14.1)."""
    e = Judge(address, timeout=0.3)
    e.initial_keys(e.dcid)
    params = e.params()
    message = b"\x02" + e.noise.write_1(b"\x01\x02" + varint(len(params)) + params)
    e.send(e.packet(INITIAL, e.crypto(INITIAL, message), 1199))
    assert not e.step(), "answered"


def no_padding_of_challenges(address):
    """A PATH_CHALLENGE of theirs is padded, and so is what answers ours, where the limit lets it (RFC 9000 section 8.2)."""
    e = Judge(address).shake_hands()
    e.largest = 0
    e.frames(b"\x1aeight...", 1200)
    hyphae_peer.until(e, lambda: b"eight..." in e.responses, "PATH_RESPONSE")
    assert e.largest >= 1200, "PATH_RESPONSE in %d bytes" % e.largest
    e.close()


def bad_handshake(address):
    """Messages out of order and changed ones fail with alert 40; nothing is told of why."""
    def with_message(first):
        e = Judge(address)
        e.initial_keys(e.dcid)
        params = e.params()
        payload = b"\x01\x02" + varint(len(params)) + params
        message = first(e, payload)
        e.send(e.packet(INITIAL, e.crypto(INITIAL, message), 1200))
        e.ends(HANDSHAKE_FAILURE)
    with_message(lambda e, payload: b"\x01preamble")
    with_message(lambda e, payload: b"\x03" + payload)
    with_message(lambda e, payload: b"\xff")
    with_message(lambda e, payload: b"\x02" + e.noise.write_1(b"\x02" + payload[1:]))
    with_message(lambda e, payload: b"\x02" + e.noise.write_1(payload + payload[1:]))
    with_message(lambda e, payload: b"\x02" + e.noise.write_1(payload + b"\x05"))
    with_message(lambda e, payload: b"\x02" + e.noise.write_1(b"\x01"))

    e = Judge(address)
    e.message_3 = lambda message: e.send(e.packet(HANDSHAKE, e.acks(HANDSHAKE) + e.crypto(HANDSHAKE, b"\x04" + message[:-1] + b"\0\0")))
    e.start()
    e.ends(HANDSHAKE_FAILURE)


GOOD = {"ids rotate": ids_rotate, "many ranges": many_ranges, "small payloads": small_payloads, "congestion marks": congestion_marks, "idle": idle,
        "closes early": closes_early, "key updates": twice_updated, "a short Initial": short_initial, "path responses": no_padding_of_challenges,
        "bad handshakes": bad_handshake}


def verdict(name, function, *arguments):
    try:
        function(*arguments)
        return "ok " + name
    except (AssertionError, ValueError, OSError) as problem:
        return "failed %s: %s %s" % (name, type(problem).__name__, problem)


def rules(address):
    return [(n, f, address) for n, f in GOOD.items()] + [(n, breach, address, n) for n in RULES] + [(n, bad_parameters, address, n) for n in BAD_PARAMETERS]


def accusations(program):
    return [(n, accuse, program, n) for n in list(SERVER_RULES) + list(SERVER_PARAMETERS)]


def judge(every, names):
    """Some at a time, since most wait."""
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        verdicts = list(pool.map(lambda each: verdict(*each), [each for each in every if not names or each[0] in names]))
    print("\n".join(verdicts))
    return sum(not v.startswith("ok ") for v in verdicts)


def main(args):
    if args[:1] == ["rules"] and len(args) >= 3:
        return 1 if judge(rules((args[1], int(args[2]))), args[3:]) else 0
    if args[:1] == ["accuse"] and len(args) >= 2:
        return 1 if judge(accusations(args[1]), args[2:]) else 0
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
