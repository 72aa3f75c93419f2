#!/usr/bin/env python3
"""An independent QUIC endpoint with the Hyphae v1 handshake (Noise XX, ChaChaPoly, BLAKE2s), as small as an echo needs: no loss recovery, for
loopback only.  It shares no code with Kith: what they agree on is the wire format.

    hyphae_peer.py client HOST PORT [--update] [--expect HEX]   dial an echo, send two streams, check what comes back
    hyphae_peer.py odd HOST PORT ID_SIZE                        likewise with all that other stacks may do and Kith does not
    hyphae_peer.py server PORT_FILE [--retry]                   echo for one client, until it closes

Prints "ok ..." or "failed ..."; exit status 0, 1, or 77 when the Python package `cryptography` is missing."""
import hashlib
import hmac
import os
import socket
import struct
import sys
import time

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
except ImportError:
    print("skip: no cryptography")
    sys.exit(77)

VERSION = bytes.fromhex("48510101")
NAME = b"Noise_XX_25519_ChaChaPoly_BLAKE2s"
INITIAL, HANDSHAKE, ONE_RTT = range(3)


def hash_(data):
    return hashlib.blake2s(data).digest()


def mac(key, data):
    return hmac.new(key, data, hashlib.blake2s).digest()


def hkdf(salt, ikm, count, info=b""):
    prk, out, last = mac(salt, ikm), [], b""
    for i in range(count):
        last = mac(prk, last + info + bytes([i + 1]))
        out.append(last)
    return out


def expand(secret, label):
    return hkdf(bytes(32), secret, 1, label)[0]


def nonce(n):
    return bytes(4) + struct.pack("<Q", n)


def varint(v):
    for size, bits in ((1, 0), (2, 1), (4, 2), (8, 3)):
        if v < 1 << (8 * size - 2):
            return (v | bits << (8 * size - 2)).to_bytes(size, "big")
    raise ValueError(v)


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def left(self):
        return len(self.data) - self.at

    def take(self, size):
        if size > self.left():
            raise ValueError("short")
        self.at += size
        return self.data[self.at - size:self.at]

    def byte(self):
        return self.take(1)[0]

    def varint(self):
        size = 1 << (self.data[self.at] >> 6)
        return int.from_bytes(self.take(size), "big") & ((1 << (8 * size - 2)) - 1)


class Noise:
    """XX, either side."""

    def __init__(self, initiator):
        self.initiator = initiator
        self.s, self.e = X25519PrivateKey.generate(), X25519PrivateKey.generate()
        self.rs = self.re = self.k = None
        self.n = 0
        self.h = self.ck = hash_(NAME)
        self.mix_hash(b"hyphae-h-v1.quic-v1." + bytes(2))

    def mix_hash(self, data):
        self.h = hash_(self.h + data)

    def mix_key(self, ikm):
        self.ck, self.k = hkdf(self.ck, ikm, 2)
        self.n = 0

    def dh(self, mine, theirs):
        self.mix_key(mine.exchange(X25519PublicKey.from_public_bytes(theirs)))

    def seal(self, data):
        if self.k:
            data = ChaCha20Poly1305(self.k).encrypt(nonce(self.n), data, self.h)
            self.n += 1
        self.mix_hash(data)
        return data

    def open(self, data):
        plain = data
        if self.k:
            plain = ChaCha20Poly1305(self.k).decrypt(nonce(self.n), data, self.h)
            self.n += 1
        self.mix_hash(data)
        return plain

    def send_e(self):
        public = self.e.public_key().public_bytes_raw()
        self.mix_hash(public)
        return public

    def take_e(self, r):
        self.re = r.take(32)
        self.mix_hash(self.re)

    def write_1(self, payload):
        return self.send_e() + self.seal(payload)

    def read_1(self, data):
        r = Reader(data)
        self.take_e(r)
        return self.open(r.take(r.left()))

    def write_2(self, payload):
        out = self.send_e()
        self.dh(self.e, self.re)
        out += self.seal(self.s.public_key().public_bytes_raw())
        self.dh(self.s, self.re)
        return out + self.seal(payload)

    def read_2(self, data):
        r = Reader(data)
        self.take_e(r)
        self.dh(self.e, self.re)
        self.rs = self.open(r.take(48))
        self.dh(self.e, self.rs)
        return self.open(r.take(r.left()))

    def write_3(self):
        out = self.seal(self.s.public_key().public_bytes_raw())
        self.dh(self.s, self.re)
        return out + self.seal(b"")

    def read_3(self, data):
        r = Reader(data)
        self.rs = self.open(r.take(48))
        self.dh(self.e, self.rs)
        return self.open(r.take(r.left()))

    def ask(self):
        return hkdf(self.ck, self.h + b"hyphae key", 1, b"ask")[0]


def ask_next(chain):
    return hkdf(chain, b"", 2)


class Keys:
    def __init__(self, secret, client, old=None):
        mine, theirs = (b"init", b"resp") if client else (b"resp", b"init")
        self.tx, self.rx = expand(secret, mine + b" data"), expand(secret, theirs + b" data")
        self.tx_hp = old.tx_hp if old else expand(secret, mine + b" hp")
        self.rx_hp = old.rx_hp if old else expand(secret, theirs + b" hp")


def mask(key, sample):
    return Cipher(algorithms.ChaCha20(key, sample), None).encryptor().update(bytes(5))


def retry_tag(odcid, packet):
    return ChaCha20Poly1305(expand(b"hyphae-h-v1.quic-v1." + odcid, b"hyphae retry")).encrypt(nonce(0), packet, b"")[-16:]


class Endpoint:
    def __init__(self, client, sock, address, id_size=8):
        self.client, self.sock, self.address = client, sock, address
        self.noise = Noise(client)
        self.scid, self.dcid = os.urandom(id_size), os.urandom(8)
        self.odcid, self.retry_scid, self.token = self.dcid, None, b""
        self.keys, self.pn = [None] * 3, [0] * 3
        self.got = [set() for _ in range(3)]
        self.owe = [False] * 3
        self.crypto_in = [{} for _ in range(3)]
        self.crypto_at, self.crypto_buffer, self.crypto_out = [0] * 3, [b""] * 3, [0] * 3
        self.phase, self.chain, self.old_rx = 0, None, None
        self.streams, self.fins, self.sent_at = {}, {}, {}
        self.closed = self.done = self.complete = False
        self.want_hash = None
        self.updates = 0
        self.more_params, self.responses, self.message_3 = b"", [], None
        self.challenges, self.acked = [], [set() for _ in range(3)]

    # ---- packets ----
    def initial_keys(self, dcid):
        self.keys[INITIAL] = Keys(expand(b"hyphae-h-v1.quic-v1." + dcid, b"hyphae initial"), self.client)

    def packet(self, level, payload, fill=0):
        keys, pn = self.keys[level], self.pn[level]
        self.pn[level] += 1
        if level == ONE_RTT:
            header = bytes([0x43 | self.phase << 2]) + self.dcid
            payload += bytes(max(0, fill - len(header) - 4 - len(payload) - 16))
        else:
            header = bytes([(0xc3, 0xe3)[level]]) + VERSION + bytes([len(self.dcid)]) + self.dcid + bytes([len(self.scid)]) + self.scid
            if level == INITIAL:
                header += varint(len(self.token)) + self.token
            payload += bytes(max(0, fill - len(header) - 2 - 4 - len(payload) - 16))
            header += struct.pack(">H", 0x4000 | len(payload) + 20)
        payload += bytes(max(0, 4 - len(payload)))
        header += struct.pack(">I", pn)
        sealed = bytearray(header + ChaCha20Poly1305(keys.tx).encrypt(nonce(pn), payload, header))
        at = len(header) - 4
        m = mask(keys.tx_hp, bytes(sealed[at + 4:at + 20]))
        sealed[0] ^= m[0] & (0x1f if level == ONE_RTT else 0x0f)
        for i in range(4):
            sealed[at + i] ^= m[1 + i]
        return bytes(sealed)

    def send(self, *packets):
        self.sock.sendto(b"".join(packets), self.address)

    def acks(self, level):
        if not self.owe[level] or not self.got[level]:
            return b""
        self.owe[level] = False
        numbers, ranges = sorted(self.got[level], reverse=True), []
        for n in numbers:
            if ranges and ranges[-1][0] == n + 1:
                ranges[-1][0] = n
            elif len(ranges) < 20:
                ranges.append([n, n])
            else:
                break
        out = b"\x02" + varint(ranges[0][1]) + varint(0) + varint(len(ranges) - 1) + varint(ranges[0][1] - ranges[0][0])
        for before, after in zip(ranges, ranges[1:]):
            out += varint(before[0] - after[1] - 2) + varint(after[1] - after[0])
        return out

    def crypto(self, level, message):
        framed = varint(len(message)) + message
        frame = b"\x06" + varint(self.crypto_out[level]) + varint(len(framed)) + framed
        self.crypto_out[level] += len(framed)
        return frame

    def unprotect(self, level, packet, pn_at, keys):
        p = bytearray(packet)
        m = mask(keys.rx_hp, packet[pn_at + 4:pn_at + 20])
        p[0] ^= m[0] & (0x1f if level == ONE_RTT else 0x0f)
        size = (p[0] & 3) + 1
        for i in range(size):
            p[pn_at + i] ^= m[1 + i]
        short = int.from_bytes(p[pn_at:pn_at + size], "big")
        expected, window = max(self.got[level], default=-1) + 1, 1 << 8 * size
        pn = expected & ~(window - 1) | short
        if pn + window // 2 <= expected:
            pn += window
        elif pn > expected + window // 2 and pn >= window:
            pn -= window
        header = bytes(p[:pn_at + size])
        sealed = bytes(p[pn_at + size:])
        if level == ONE_RTT and (p[0] >> 2 & 1) != self.phase:
            try:  # of before the last update, on its way meanwhile
                return pn, ChaCha20Poly1305(self.old_rx or bytes(32)).decrypt(nonce(pn), sealed, header)
            except InvalidTag:
                after = Keys(ask_next(self.chain)[1], self.client, keys)
                plain = ChaCha20Poly1305(after.rx).decrypt(nonce(pn), sealed, header)
                self.turn_keys()
                return pn, plain
        return pn, ChaCha20Poly1305(keys.rx).decrypt(nonce(pn), sealed, header)

    def turn_keys(self):
        self.chain, secret = ask_next(self.chain)
        self.old_rx = self.keys[ONE_RTT].rx
        self.keys[ONE_RTT] = Keys(secret, self.client, self.keys[ONE_RTT])
        self.phase ^= 1
        self.updates += 1
        return self.keys[ONE_RTT]

    def datagram(self, data):
        while data:
            if data[0] & 0x80:
                r = Reader(data)
                kind = r.byte() >> 4 & 3
                assert r.take(4) == VERSION, "version"
                dcid, scid = r.take(r.byte()), r.take(r.byte())
                if kind == 3:
                    self.on_retry(data, scid, r)
                    return
                token = r.take(r.varint()) if kind == 0 else b""
                level, length = (INITIAL if kind == 0 else HANDSHAKE), r.varint()
                packet, at, data = data[:r.at + length], r.at, data[r.at + length:]
                if not self.client and level == INITIAL and not self.keys[INITIAL]:
                    if self.on_first(dcid, scid, token):
                        return
            else:
                level, packet, at, data = ONE_RTT, data, 1 + len(self.scid), b""
            if not self.keys[level]:
                continue
            try:
                opened = self.unprotect(level, packet, at, self.keys[level])
            except InvalidTag:
                if level == INITIAL and self.retry_scid:
                    continue  # an answer to what was sent before the Retry
                raise
            if self.client and level == INITIAL:
                self.dcid = scid
            self.on_packet(level, *opened)

    def on_packet(self, level, pn, payload):
        if pn in self.got[level]:
            return
        self.got[level].add(pn)
        r = Reader(payload)
        while r.left():
            kind = r.varint()
            if kind not in (0, 2, 3, 0x1c, 0x1d):
                self.owe[level] = True
            self.frame(level, kind, r)

    def frame(self, level, kind, r):
        if kind in (0, 1, 0x1e):
            self.done = self.done or kind == 0x1e
        elif kind in (2, 3):
            self.on_ack(level, r)
            for _ in range(3 if kind == 3 else 0):
                r.varint()
        elif kind == 6:
            offset = r.varint()
            self.on_crypto(level, offset, r.take(r.varint()))
        elif 8 <= kind < 0x10:
            stream, offset = r.varint(), r.varint() if kind & 4 else 0
            data = r.take(r.varint() if kind & 2 else r.left())
            self.streams.setdefault(stream, {})[offset] = data
            if kind & 1:
                self.fins[stream] = offset + len(data)
        elif kind == 0x18:
            r.varint(), r.varint(), r.take(r.byte()), r.take(16)
        elif kind == 0x1a:
            self.challenges.append(r.take(8))
        elif kind == 0x1b:
            self.responses.append(r.take(8))
        elif kind in (0x1c, 0x1d):
            self.closed = True
            self.close_code = r.varint()
            r.at = len(r.data)
        else:
            for _ in range({4: 3, 5: 2, 0x11: 2, 0x15: 2}.get(kind, 1)):
                r.varint()

    def on_ack(self, level, r):
        largest, _, more, first = r.varint(), r.varint(), r.varint(), r.varint()
        self.acked[level].update(range(largest - first, largest + 1))
        smallest = largest - first
        for _ in range(more):
            largest = smallest - r.varint() - 2
            smallest = largest - r.varint()
            self.acked[level].update(range(smallest, largest + 1))

    def on_crypto(self, level, offset, data):
        self.crypto_in[level][offset] = data
        moved = True
        while moved:
            moved = False
            for at, piece in self.crypto_in[level].items():
                if at <= self.crypto_at[level] < at + len(piece):
                    self.crypto_buffer[level] += piece[self.crypto_at[level] - at:]
                    self.crypto_at[level] = at + len(piece)
                    moved = True
        while self.crypto_buffer[level]:
            r = Reader(self.crypto_buffer[level])
            try:
                message = r.take(r.varint())
            except ValueError:
                return
            self.crypto_buffer[level] = self.crypto_buffer[level][r.at:]
            self.on_message(level, message[0], message[1:])

    # ---- handshake ----
    def params(self):
        def one(key, value):
            return varint(key) + varint(len(value)) + value
        out = one(1, varint(30000)) + one(15, self.scid) + b"".join(one(k, varint(1 << 24)) for k in (4, 5, 6, 7))
        out += one(8, varint(64)) + one(9, varint(64))
        if not self.client:
            out += one(0, self.odcid) + (one(16, self.retry_scid) if self.retry_scid else b"")
        return out + self.more_params

    def one_rtt(self):
        self.chain, secret = ask_next(self.noise.ask())
        self.keys[ONE_RTT] = Keys(secret, self.client)
        self.complete = True

    def on_message(self, level, kind, body):
        if level == INITIAL and kind == 2 and self.client:
            payload = self.noise.read_2(body)
            assert payload[:2] == b"\x01\x03" and len(payload) == 34, "message 2"
            self.want_hash = payload[2:]
            self.keys[HANDSHAKE] = Keys(ask_next(self.noise.ask())[1], True)
        elif level == HANDSHAKE and kind == 3 and self.client:
            assert hash_(body) == self.want_hash, "deferred hash"
            assert self.odcid in body and (not self.retry_scid or self.retry_scid in body), "parameters"
            message = self.noise.write_3()
            if self.message_3:
                self.message_3(message)
                return
            # The Handshake packet acknowledges the server's Initial as well as an ACK would.
            self.send(self.packet(HANDSHAKE, self.acks(HANDSHAKE) + self.crypto(HANDSHAKE, b"\x04" + message)))
            self.one_rtt()
            self.send(self.packet(ONE_RTT, self.crypto(ONE_RTT, b"\x7f")))
        elif level == INITIAL and kind == 2:
            payload = self.noise.read_1(body)
            assert payload[:2] == b"\x01\x02", "message 1"
            params = self.params()
            deferred = b"\x01\x02" + varint(len(params)) + params
            message = self.noise.write_2(b"\x01\x03" + hash_(deferred))
            self.keys[HANDSHAKE] = Keys(ask_next(self.noise.ask())[1], False)
            self.owe[INITIAL] = True
            self.send(self.packet(INITIAL, self.acks(INITIAL) + self.crypto(INITIAL, b"\x02" + message), 1200 - 400),
                      self.packet(HANDSHAKE, self.crypto(HANDSHAKE, b"\x03" + deferred), 300))
        elif level == HANDSHAKE and kind == 4 and not self.client:
            assert self.noise.read_3(body) == b"", "message 3"
            self.one_rtt()
            self.send(self.packet(ONE_RTT, b"\x1e" + self.crypto(ONE_RTT, b"\x7f")))
        else:
            assert level == ONE_RTT and kind in (126, 127), "message %d at level %d" % (kind, level)

    def start(self):
        self.initial_keys(self.dcid)
        params = self.params()
        self.message_1 = b"\x02" + self.noise.write_1(b"\x01\x02" + varint(len(params)) + params)
        self.send_1()

    def send_1(self):
        self.crypto_out[INITIAL] = 0
        self.send(self.packet(INITIAL, self.crypto(INITIAL, self.message_1), 1200))

    def on_retry(self, packet, scid, r):
        if self.token:
            return  # one is enough (RFC 9000 section 17.2.5.2)
        assert retry_tag(self.odcid, packet[:-16]) == packet[-16:], "retry tag"
        self.token, self.dcid, self.retry_scid = packet[r.at:-16], scid, scid
        self.initial_keys(scid)
        self.send_1()

    def on_first(self, dcid, scid, token):
        """True: a Retry was sent instead."""
        self.dcid = scid
        if self.want_retry and not token:
            self.odcid, self.retry_scid = dcid, os.urandom(8)
            head = b"\xf0" + VERSION + bytes([len(scid)]) + scid + bytes([8]) + self.retry_scid + b"a token of mine"
            self.send(head + retry_tag(dcid, head))
            return True
        if self.want_retry:
            assert token == b"a token of mine" and dcid == self.retry_scid, "token"
        else:
            self.odcid = dcid
        self.initial_keys(dcid)
        return False

    # ---- the rest ----
    def answer(self):
        while self.challenges:
            self.send(self.packet(ONE_RTT, b"\x1b" + self.challenges.pop(), 1200))
        for level in (HANDSHAKE, ONE_RTT):
            if self.keys[level]:
                ack = self.acks(level)
                if ack:
                    self.send(self.packet(level, ack))

    def step(self):
        try:
            data, self.address = self.sock.recvfrom(65536)
        except socket.timeout:
            return False
        try:
            self.datagram(data)
        except InvalidTag:
            if data[0] != 5:  # a probe of Kith's; or a packet, when we let it clear the fixed bit (RFC 9287)
                raise
        self.answer()
        return True

    def whole(self, stream):
        if stream not in self.fins:
            return None
        out, pieces = bytearray(), self.streams[stream]
        for offset in sorted(pieces):
            if offset <= len(out):
                out[offset:offset + len(pieces[offset])] = pieces[offset]
        return bytes(out) if len(out) == self.fins[stream] else None

    def stream(self, stream, data):
        for count, at in enumerate(range(0, len(data) or 1, 1100)):
            piece = data[at:at + 1100]
            last = at + len(piece) == len(data)
            self.send(self.packet(ONE_RTT, bytes([0x0e | last]) + varint(stream) + varint(at) + varint(len(piece)) + piece))
            if count % 16 == 15:
                time.sleep(0.002)

    def close(self):
        self.send(self.packet(ONE_RTT, b"\x1d\x00\x04done"))


def client(host, port, update, expect):
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(5)
    e = Endpoint(True, sock, (host, port))
    e.start()
    while not (e.complete and e.done):
        assert e.step() and not e.closed, "handshake"
    assert not expect or e.noise.rs.hex() == expect, "static key"
    for number, size in ((0, 9000), (4, 30000)):
        if update and number:
            e.turn_keys()
        data = os.urandom(size)
        e.stream(number, data)
        while e.whole(number) is None:
            assert e.step() and not e.closed, "echo"
        assert e.whole(number) == data, "echo differs"
    e.close()
    print("ok client retry=%d updates=%d" % (bool(e.token), e.updates))


def negotiation(host, port, version):
    """What a first packet of another version is answered with."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(5)
    dcid, scid = os.urandom(8), os.urandom(20)
    sock.sendto((b"\xc3" + version + b"\x08" + dcid + b"\x14" + scid).ljust(1200, b"\0"), (host, port))
    r = Reader(sock.recvfrom(2000)[0])
    assert r.byte() & 0x80 and r.take(4) == bytes(4), "negotiation"
    assert r.take(r.byte()) == scid and r.take(r.byte()) == dcid, "negotiation's ids"
    versions = [r.take(4) for _ in range(r.left() // 4)]
    assert VERSION in versions and version not in versions and not r.left(), "versions"


def odd(host, port, id_size):
    for version in (b"\0\0\0\1", b"\x6b\x33\x43\xcf", b"\x0a\x0a\x0a\x0a"):
        negotiation(host, port, version)
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(5)
    e = Endpoint(True, sock, (host, port), id_size)

    # Parameters nobody knows, and some that others send: min_ack_delay, grease_quic_bit, datagrams, an ack delay exponent.
    def one(key, value):
        return varint(key) + varint(len(value)) + value
    e.more_params = (one(31 * 1000003 + 27, os.urandom(13)) + one(0xff04de1b, varint(1000)) + one(0x2ab2, b"") + one(0x20, varint(65535)) +
                     one(10, varint(5)) + one(11, varint(20)) + one(14, varint(5)) + one(3, varint(1472)) + one(0x3fff, b""))

    # Message 1 in two datagrams of 1,200 and 1,452 bytes, the end first: nobody keeps that without a proof of the address.
    def pieces():
        framed, cut = varint(len(e.message_1)) + e.message_1, 50
        for at, piece, size in ((cut, framed[cut:], 1200), (0, framed[:cut], 1452)):
            e.send(e.packet(INITIAL, b"\x01\0\0\x06" + varint(at) + varint(len(piece)) + piece, size))
    e.send_1 = pieces
    e.start()

    # Message 3, the end of the handshake and a stream in one datagram.
    def coalesced(message):
        first = e.packet(HANDSHAKE, e.acks(HANDSHAKE) + e.crypto(HANDSHAKE, b"\x04" + message))
        e.one_rtt()
        e.send(first, e.packet(ONE_RTT, e.crypto(ONE_RTT, b"\x7e\x01\x01odd") + b"\x0a\x00\x05early"))
    e.message_3 = coalesced
    echoed = lambda stream, size: sum(map(len, e.streams.get(stream, {}).values())) >= size
    until(e, lambda: e.complete and e.done, "handshake")
    assert e.token, "a Retry"
    until(e, lambda: echoed(0, 5) and 0 not in e.fins, "an echo before the end of the stream")

    # An MTU probe, a datagram, ids of ours, a path challenge; from a second address, too, which gets the answer to its challenge alone.
    e.send(e.packet(ONE_RTT, b"\x01" + bytes(1300)))
    e.send(e.packet(ONE_RTT, b"\x31\x03abc" + b"\x30the rest"))
    if id_size:
        e.send(e.packet(ONE_RTT, b"\x18\x01\x00" + varint(id_size) + os.urandom(id_size) + os.urandom(16)))
    e.send(e.packet(ONE_RTT, b"\x1aeight..."))
    until(e, lambda: b"eight..." in e.responses, "PATH_RESPONSE")
    e.sock = socket.socket(sock.family, socket.SOCK_DGRAM)
    e.send(e.packet(ONE_RTT, b"\x0f\x00\x05\x06 later"))
    e.sock = sock
    until(e, lambda: e.whole(0) == b"early later", "the echo of what came from another address")

    # More streams than may be open at once, one after another; one of no bytes; one that is reset.
    for number in range(1, 150):
        data = os.urandom(number % 7)
        e.stream(4 * number, data)
        until(e, lambda: e.whole(4 * number) is not None, "echo")
        assert e.whole(4 * number) == data, "echo differs"
    e.send(e.packet(ONE_RTT, b"\x0a" + varint(600) + b"\x01x" + b"\x04" + varint(600) + varint(77) + varint(1)))
    e.turn_keys()
    e.stream(604, b"new keys")
    until(e, lambda: e.whole(604) == b"new keys", "echo under new keys")

    # A frame of no known type ends the connection (RFC 9000 section 12.4).
    e.send(e.packet(ONE_RTT, varint(0x4030) + b"what"))
    until(e, lambda: e.closed, "close", closes=True)
    assert e.close_code == 7, "closed with %d" % e.close_code
    print("ok odd id_size=%d" % id_size)


def until(e, condition, what, closes=False):
    while not condition():
        assert e.step() and (closes or not e.closed), what


def server(port_file, retry):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(10)
    with open(port_file, "w") as f:
        f.write(str(sock.getsockname()[1]))
    e = Endpoint(False, sock, None)
    e.want_retry = retry
    echoed = set()
    while not e.closed:
        assert e.step(), "silence"
        for stream in list(e.streams):
            data = e.whole(stream)
            if stream % 4 == 0 and data is not None and stream not in echoed:
                echoed.add(stream)
                e.stream(stream, data)
    assert echoed and e.close_code == 0, "closed with %d after %d streams" % (e.close_code, len(echoed))
    print("ok server streams=%d updates=%d" % (len(echoed), e.updates))


def outcome(act, args, usage):
    """A program's exit status: act(args) is false for what is no use of it, and raises what failed."""
    try:
        if act(args) is False:
            print(usage)
            return 2
    except (AssertionError, ValueError) as problem:
        print("failed", type(problem).__name__, problem)
        return 1
    return 0


def act(args):
    if args[:1] == ["client"] and len(args) >= 3:
        expect = args[args.index("--expect") + 1] if "--expect" in args else None
        client(args[1], int(args[2]), "--update" in args, expect)
    elif args[:1] == ["odd"] and len(args) == 4:
        odd(args[1], int(args[2]), int(args[3]))
    elif args[:1] == ["server"] and len(args) >= 2:
        server(args[1], "--retry" in args)
    else:
        return False
    return True


if __name__ == "__main__":
    sys.exit(outcome(act, sys.argv[1:], __doc__))
