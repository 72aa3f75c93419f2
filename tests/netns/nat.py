"""Homes behind NATs of each kind, in network namespaces, and a relay's namespace on the public segment between them.

        a 192.168.1.10                                        b 192.168.1.20
        |  eth0                                               |  eth0
     `in` 192.168.1.1   (bridge)                           `in` 192.168.1.1
      a's router  kn<N>ra                                   b's router  kn<N>rb
     `out` 198.51.100.11                                   `out` 198.51.100.12
        |                                                     |
        +----------- bridge (namespace kn<N>br) --------------+       the public segment, 198.51.100.0/24
                         |  eth0
                  relay 198.51.100.1 and .2 (with which RFC 5780 tells NATs apart)

with Nats("port-restricted", "symmetric") as n: ... n.a.kith(...) ... n.b ... n.relay
A side is a kind of KINDS, or several, from the inside out: Nats(["full-cone", "symmetric"], "open") is a double NAT, its
routers kn<N>ra (with the device) and kn<N>ra1, and 10.0.1.0/24 between them.  Nats(kind, None): both devices in one
home, where they cannot talk past the router (bridge ports are isolated, as on a guest network): with `hairpin` they meet
at its outside address.  spare=kind: one more home, its router kn<N>rc at 198.51.100.13, to which move("a") takes a device.  ipv6="a": the letters of the sides that have IPv6, too; it is routed, 2001:db8:<side>::/64, and the
router lets in what belongs to what went out.  Both homes use the same private network, as homes do.

How Linux is made to be each kind (RFC 4787's words).  Its connection tracking by itself maps by address and port,
but keeps the port where it is free, which it is as long as no two devices of a home use the same one: so that
`masquerade` is endpoint-independent mapping with address and port-dependent filtering: port-restricted.
- symmetric: `masquerade fully-random`; each new remote endpoint gets another port.
- full cone, address-restricted: `masquerade`, and what goes out is written down, in a map from the port to the device
  and in a set of (port, address written to); what comes to such a port, for address-restricted only from such an
  address, is `dnat`ed to the device.  That makes a connection like any other, and answers leave from the same port.
- forwarded: a full cone, and TCP to such a port as well: what a forwarded port is.
- hairpin: the same for what comes from inside to the outside address, which is then also `snat`ed to it (REQ-9 a).
What is written down is taken before any translation (prerouting, mangle).
- Unsolicited packets to the router itself are dropped in `input`, which undoes their connections.  Otherwise the
  peer's first probe would take the port, and what goes out to the peer later would get another one: punching would fail.
"""
import ctypes
import shutil
import socket
import threading

from netns import Device, Skipped, World, sh

PUBLIC = "198.51.100."
RELAY = (PUBLIC + "1", PUBLIC + "2")
HOME = "192.168.1."
OPEN_HOME = {"a": "203.0.113.", "b": "192.0.2."}
DEVICES = {"a": 10, "b": 20}  # their numbers at home
UDP_LIFETIME_S = 120  # conntrack's for a UDP stream
CLONE_NEWNET = 0x40000000

# Each cone's rule for who may come in: matched with the packet as it comes, of which `ip saddr . udp sport` is the remote.
# At the hairpin the remote's outside endpoint is the router's own address and, since ports are kept, the same port.
ADMITS = {"full-cone": ("", ""),
          "address-restricted": ("udp dport . ip saddr @by_address", "udp dport . ip daddr @by_address"),
          "port-restricted": ("udp dport . ip saddr . udp sport @by_endpoint",
                              "udp dport . ip daddr . udp sport @by_endpoint")}
# What else does not go out: lines of the forward chain.
BLOCKS = {"udp-blocked": 'iifname "in" meta l4proto udp drop',
          "only-443": 'iifname "in" tcp dport != 443 drop\n iifname "in" meta l4proto != tcp drop'}
NAT_AT_ALL = "add table ip t; add chain ip t c { type nat hook postrouting priority 100; }; delete table ip t"
CONES = tuple(ADMITS)
KINDS = CONES + ("symmetric", *BLOCKS, "open", "forwarded")


def rules(kind, outside, hairpin):
    """A router's rule set."""
    come_in, turn = ADMITS.get(kind, ("", ""))
    back, at_turn = [], []
    if kind in CONES:
        back = [f'iifname "out" ip daddr {outside} {come_in} meta l4proto udp dnat to udp dport map @inside']
    if kind == "forwarded":
        back = [f'iifname "out" ip daddr {outside} meta l4proto {{ tcp, udp }} dnat to th dport map @inside']
    if hairpin:
        back += [f'iifname "in" ip daddr {outside} {turn} meta l4proto udp dnat to udp dport map @inside']
        at_turn = [f'iifname "in" oifname "in" ct status dnat snat to {outside}']
    lines = "\n    ".join
    return f"""
table inet home {{
  chain input {{
    type filter hook input priority filter; policy accept;
    ip daddr {outside} ct state new drop
  }}
  chain forward {{
    type filter hook forward priority filter; policy drop;
    {BLOCKS.get(kind, "")}
    ct state established,related accept
    iifname "in" oifname "out" accept
    ct status dnat accept
    meta l4proto ipv6-icmp accept
  }}
}}
table ip nat {{
  map inside {{ type inet_service : ipv4_addr; flags dynamic,timeout; timeout {UDP_LIFETIME_S}s; size 65535; }}
  set by_address {{ type inet_service . ipv4_addr; flags dynamic,timeout; timeout {UDP_LIFETIME_S}s; size 65535; }}
  set by_endpoint {{
    type inet_service . ipv4_addr . inet_service; flags dynamic,timeout; timeout {UDP_LIFETIME_S}s; size 65535;
  }}
  chain written {{
    type filter hook prerouting priority mangle; policy accept;
    iifname "in" meta l4proto udp update @inside {{ udp sport : ip saddr }}
    iifname "in" meta l4proto udp update @by_address {{ udp sport . ip daddr }}
    iifname "in" meta l4proto udp update @by_endpoint {{ udp sport . ip daddr . udp dport }}
  }}
  chain come {{
    type nat hook prerouting priority dstnat; policy accept;
    {lines(back)}
  }}
  chain go {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname "out" masquerade {"fully-random" if kind == "symmetric" else ""}
    {lines(at_turn)}
  }}
}}
"""


class Nats(World):
    def __init__(self, a, b, hairpin=False, ipv6="", spare=None):
        if not shutil.which("nft"):
            raise Skipped("there is no `nft` here (Debian: nftables)")
        super().__init__()
        self.hairpin, self.ipv6 = hairpin, ipv6
        self.outside = {}  # by letter: the address as which the device is known outside
        self.homes = {}  # by letter: what _home() says, of where the device is
        self.public = []  # the namespaces on the public segment, and
        self.with_ipv6 = []  # those of them that have it;
        self.networks = []  # what they reach through one of them: its namespace, its address, the network
        try:
            self._build(a, b, spare)
        except BaseException:
            self.close()
            raise

    def _build(self, a, b, spare):
        self.segment = self._namespace("br")
        self._bridge(self.segment)
        relay = self._namespace("relay")
        self._plug(self.segment, "relay", relay, "eth0")
        for address in (*RELAY, "2001:db8::1"):
            self._address(relay, "eth0", address)
        self._set(relay, "net.ipv4.ip_forward=0")  # it is also where ways to nowhere end, silently
        self.relay = Device(self, "relay", relay)
        self.public.append(relay)
        self.with_ipv6.append(relay)
        home = self._home("a", 1, a)
        self._device("a", *home, isolated=b is None)
        if b is not None:
            home = self._home("b", 2, b)
        self._device("b", *home, isolated=b is None)
        self.spare = self._home("c", 3, spare) if spare else None
        for router, address, network in self.networks:
            for namespace in self.public:
                if namespace != router and (":" not in network or namespace in self.with_ipv6):
                    self._ip(namespace, "route", "add", network, "via", address)

    def _bridge(self, namespace):
        self._ip(namespace, "link", "add", "in", "type", "bridge")
        self._ip(namespace, "link", "set", "in", "up")
        for family in ("ip", "ip6"):  # where the kernel would, on its own, take what it bridges for what it routes
            sh(*self._in(namespace), "sysctl", "-qw", f"net.bridge.bridge-nf-call-{family}tables=0", check=False)

    def _plug(self, bridge, port, namespace, name):
        """A cable from the bridge there to a new interface here."""
        self._ip(bridge, "link", "add", f"port-{port}", "type", "veth", "peer", "name", name, "netns", namespace)
        self._ip(bridge, "link", "set", f"port-{port}", "master", "in", "up")
        self._ip(namespace, "link", "set", name, "up")

    def _address(self, namespace, interface, address):
        more = ("/64", "nodad") if ":" in address else ("/24",)
        self._ip(namespace, "addr", "add", address + more[0], "dev", interface, *more[1:])

    def _in(self, namespace):
        return ["nsenter", f"--net=/run/netns/{namespace}"]

    def _set(self, namespace, *settings):
        sh(*self._in(namespace), "sysctl", "-qw", *settings)

    def _home(self, letter, number, kinds):
        """Its routers, from the outermost in: the last one's namespace, the network inside of it, where the first NAT is
        known, and the IPv6 network."""
        kinds = [kinds] if isinstance(kinds, str) else kinds
        above, outside, gateway, known = self.segment, f"{PUBLIC}{10 + number}", RELAY[0], None
        for depth in reversed(range(len(kinds))):
            router = self._namespace(f"r{letter}{depth or ''}")
            inside = OPEN_HOME[letter] if kinds[depth] == "open" else f"10.0.{depth}." if depth else HOME
            self._plug(above, f"r{letter}", router, "out")
            self._router(router, kinds[depth], outside, gateway, inside)
            if above == self.segment:
                self.public.append(router)
            if kinds[depth] == "open":
                self.networks.append((router, outside, inside + "0/24"))
            else:
                known = known or outside
            above, outside, gateway = router, inside + "2", inside + "1"
        return router, inside, known, self._ipv6_home(router, number) if letter in self.ipv6 else None

    def _router(self, router, kind, outside, gateway, inside):
        if kind not in KINDS:
            raise ValueError(f"{kind} is none of {', '.join(KINDS)}")
        if self.hairpin and kind not in CONES:
            raise ValueError(f"hairpinning is not built for {kind}")
        self._bridge(router)
        self._address(router, "out", outside)
        self._address(router, "in", inside + "1")
        self._ip(router, "route", "add", "default", "via", gateway)
        self._set(router, "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        if kind == "open":
            return
        tried = sh(*self._in(router), "nft", NAT_AT_ALL, check=False)
        if tried.returncode:
            raise Skipped("nft cannot make a NAT here: " + tried.stderr.strip())
        file = self.folder / f"{router}.nft"
        file.write_text(rules(kind, outside, self.hairpin))
        sh(*self._in(router), "nft", "-f", file)

    def _ipv6_home(self, router, number):
        if router not in self.public:
            raise ValueError("IPv6 is built for homes with one router")
        network = f"2001:db8:{number}::"
        self.with_ipv6.append(router)
        self._address(router, "out", f"2001:db8::{10 + number}")
        self._address(router, "in", network + "1")
        self._ip(router, "route", "add", "default", "via", "2001:db8::1")
        self.networks.append((router, f"2001:db8::{10 + number}", network + "/64"))
        return network

    def _device(self, letter, router, inside, known, ipv6, isolated):
        device = self._namespace(letter)
        self._enter(letter, device, router, inside, known, DEVICES[letter])
        if isolated:
            sh("bridge", "-n", router, "link", "set", "dev", f"port-{letter}", "isolated", "on")
        if ipv6 and letter in self.ipv6:
            self._address(device, "eth0", f"{ipv6}{DEVICES[letter]}")
            self._ip(device, "route", "add", "default", "via", ipv6 + "1")
        else:
            self._set(device, "net.ipv6.conf.all.disable_ipv6=1")
        setattr(self, letter, Device(self, letter, device))

    def _enter(self, letter, device, router, inside, known, number):
        self._plug(router, letter, device, "eth0")
        self._address(device, "eth0", f"{inside}{number}")
        self._ip(device, "route", "add", "default", "via", inside + "1")
        self.outside[letter] = known or f"{inside}{number}"
        self.homes[letter] = router

    def link(self, letter, up):
        """Pull its cable, or put it back."""
        self._ip(self.homes[letter], "link", "set", f"port-{letter}", "up" if up else "down")

    def leave(self, letter):
        """The device's interface goes, with its addresses."""
        self._ip(self.homes[letter], "link", "del", f"port-{letter}")

    def move(self, letter, number):
        """Into the spare home, as this number in its network: over IPv4."""
        device = getattr(self, letter).namespace
        self.leave(letter)
        self._enter(letter, device, *self.spare[:3], number)


# ---- sockets of this program in a device's network ----

libc = ctypes.CDLL(None, use_errno=True)


def socket_in(device, kind=socket.SOCK_DGRAM, address=None, family=socket.AF_INET):
    """A socket that lives in the device's namespace: made by a thread that goes there and ends."""
    made = []

    def make():
        with open(f"/run/netns/{device.namespace}", "rb") as namespace:
            if libc.setns(namespace.fileno(), CLONE_NEWNET):
                made.append(OSError(ctypes.get_errno(), "setns"))
                return
        try:
            s = socket.socket(family, kind)
            if address:
                s.bind(address)
            made.append(s)
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise made[0]
    return made[0]
