"""A client of a relay for its tests: RFC 6455 and docs/protocol-relay.md, written from those pages and nothing else."""
import base64
import hashlib
import os
import socket
import ssl
import struct
import subprocess
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PATIENCE = 10
(CHALLENGE, REGISTER, REGISTERED, CONNECT, CONNECTED, INCOMING, GONE, DATA, RESTARTING, RATE_LIMITED, PING, PONG, ERROR, MAILBOX_OPEN,
 MAILBOX, MAILBOX_CONNECT, MAILBOX_CLOSE) = range(1, 18)
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


# ---- CBOR, as far as it is needed ----

def head(major, n):
    for size, first in ((0, None), (1, 24), (2, 25), (4, 26), (8, 27)):
        if size == 0 and n < 24:
            return bytes([major << 5 | n])
        if size and n < 256 ** size:
            return bytes([major << 5 | first]) + n.to_bytes(size, "big")
    raise ValueError(n)


def encode(x):
    if isinstance(x, int):
        return head(0, x)
    if isinstance(x, bytes):
        return head(2, len(x)) + x
    return head(5, len(x)) + b"".join(encode(k) + encode(v) for k, v in sorted(x.items()))


def decode(data, at=0):
    major, n, at = data[at] >> 5, data[at] & 31, at + 1
    if n >= 24:
        size = 1 << (n - 24)
        n, at = int.from_bytes(data[at:at + size], "big"), at + size
    if major == 0:
        return n, at
    if major in (2, 3):
        return (data[at:at + n] if major == 2 else data[at:at + n].decode()), at + n
    assert major == 5, major
    out = {}
    for _ in range(n):
        key, at = decode(data, at)
        out[key], at = decode(data, at)
    return out, at


def frame(payload, opcode=2, fin=True, rsv=0, mask=True):
    first = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    bit, n = (0x80 if mask else 0), len(payload)
    length = bytes([bit | n]) if n < 126 else bytes([bit | 126]) + struct.pack(">H", n) if n < 65536 else bytes([bit | 127]) + struct.pack(">Q", n)
    if not mask:
        return first + length + payload
    key = b"\0\0\0\0" if n > 4096 else os.urandom(4)
    return first + length + key + (payload if n > 4096 else bytes(b ^ key[i % 4] for i, b in enumerate(payload)))


class Closed(Exception):
    def __init__(self, code):
        super().__init__(f"closed with {code}")
        self.code = code


class WebSocket:
    """One connection; frames in and out."""

    def __init__(self, port, tls=None, protocol="kith-relay.v1", host=None, source=None, address="127.0.0.1", rcvbuf=None):
        self.raw = socket.socket()
        if rcvbuf:
            self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if source:
            self.raw.bind((source, 0))
        self.raw.settimeout(PATIENCE)
        self.raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.raw.connect((address, port))
        self.s = tls.wrap_socket(self.raw, server_hostname="localhost") if tls else self.raw
        self.host = host or f"{address}:{port}"
        self.buffer = b""
        self.upgrade(protocol)

    def upgrade(self, protocol):
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET / HTTP/1.1", f"Host: {self.host}", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}",
                 "Sec-WebSocket-Version: 13"] + ([f"Sec-WebSocket-Protocol: {protocol}"] if protocol else [])
        self.s.sendall("\r\n".join(lines + ["", ""]).encode())
        while b"\r\n\r\n" not in self.buffer:
            self.fill()
        answer, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        self.answer = answer.decode()
        if " 101 " not in self.answer.split("\r\n")[0]:
            raise Closed(self.answer.split("\r\n")[0])
        accept = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
        assert f"sec-websocket-accept: {accept}".lower() in self.answer.lower(), self.answer

    def fill(self):
        try:
            more = self.s.recv(1 << 18)
        except (ConnectionError, ssl.SSLError):
            more = b""
        if not more:
            raise Closed(None)
        self.buffer += more

    def take(self, n):
        while len(self.buffer) < n:
            self.fill()
        out, self.buffer = self.buffer[:n], self.buffer[n:]
        return out

    def read_frame(self):
        first, second = self.take(2)
        assert not second & 0x80, "a server masks nothing"
        n = second & 127
        if n == 126:
            n = struct.unpack(">H", self.take(2))[0]
        elif n == 127:
            n = struct.unpack(">Q", self.take(8))[0]
        return first, self.take(n)

    def message(self):
        """The next binary message; Closed when there is none."""
        out = b""
        while True:
            first, data = self.read_frame()
            opcode = first & 15
            if opcode == 8:
                raise Closed(struct.unpack(">H", data[:2])[0] if len(data) > 1 else 1005)
            if opcode == 9:
                self.send(data, opcode=10)
            elif opcode == 10:
                self.pong = data
            else:
                out += data
                if first & 0x80:
                    return out

    def send(self, payload, **how):
        self.s.sendall(frame(payload, **how))

    def close(self):
        self.s.close()


def blake3(data):
    return bytes.fromhex(subprocess.run(["b3sum", "--no-names"], input=data, capture_output=True, check=True).stdout.decode().split()[0])


class Client(WebSocket):
    """A registered one, unless `register` is false."""

    def __init__(self, port, number=1, instance=b"instance", register=True, token=None, authority=None, **how):
        super().__init__(port, **how)
        self.key = Ed25519PrivateKey.from_private_bytes(bytes([number & 255, number >> 8]) + bytes(30))
        self.public = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.device, self.instance = bytes([number & 255, number >> 8]) + bytes(14), instance
        self.nonce = self.expect(CHALLENGE)[1]
        if register:
            self.say_register(token, authority)
            self.registered = self.expect(REGISTERED)
            self.udp_key = self.registered[2]

    @property
    def fingerprint(self):
        return blake3(self.device + self.public)

    def say_register(self, token=None, authority=None):
        name = (authority or self.host).lower().encode()
        signed = b"kith relay register v1\0" + self.nonce + bytes([len(name)]) + name + self.device + self.instance
        m = {1: self.device, 2: self.public, 3: self.instance, 4: self.key.sign(signed)}
        self.say(REGISTER, {**m, **({5: token} if token else {})})

    def say(self, kind, m):
        self.send(bytes([kind]) + encode(m))

    def data(self, session, packets, segment=None):
        self.send(bytes([DATA]) + struct.pack(">IH", session, segment or len(packets)) + packets)

    def get(self):
        """(type, map), or (DATA, (session, segment, packets))"""
        m = self.message()
        if m[0] == DATA:
            return DATA, (*struct.unpack(">IH", m[1:7]), m[7:])
        out, end = decode(m, 1)
        assert end == len(m)
        return m[0], out

    def expect(self, kind):
        got, m = self.get()
        assert got == kind, f"message {got} {m} where {kind} is due"
        return m

    def ping(self, bytes8=b"ping-pon"):
        started = time.monotonic()
        self.say(PING, {1: bytes8})
        while True:
            kind, m = self.get()
            if kind == PONG and m == {1: bytes8}:
                return time.monotonic() - started

    def connect(self, other, session=1, offer=b"offer"):
        """Both sides' numbers and udp ids."""
        self.say(CONNECT, {1: other.fingerprint, 3: session, 4: struct.pack(">H", len(offer)) + offer})
        mine = self.expect(CONNECTED)
        theirs = other.expect(INCOMING)
        assert mine[1] == session and theirs[5][2:] == offer and theirs[2] == self.fingerprint
        return mine[2], theirs[1], theirs[4]
