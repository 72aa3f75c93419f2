"""That the NATs of nat.py are what they are called, by what RFC 5780 (section 4) observes, and that two of them let their
devices meet just where that is possible.  No `kith` takes part."""
import itertools
import socket
import time

from nat import BLOCKS, CONES, Nats, RELAY, socket_in
from netns import Failed, beside

PORTS = (3478, 3479)
SURE = 30  # tries for what must arrive: on a machine that is busy as well
TRIES, QUIET_S = 3, 0.15  # what is not heard after so many tries, waiting so long for each, does not arrive
tokens = itertools.count(1)


def expect(condition, what):
    if not condition:
        raise Failed(what)


class Probe:
    """The relay's four UDP sockets, and the devices' as they are asked for."""

    def __init__(self, nats):
        self.nats, self.sockets = nats, []
        self.server = {(ip, port): self.at(nats.relay, (ip, port)) for ip in RELAY for port in PORTS}
        self.first = self.server[RELAY[0], PORTS[0]]

    def at(self, device, address=("0.0.0.0", 0), **more):
        s = socket_in(device, address=address, **more)
        self.sockets.append(s)
        return s

    def hears(self, to, by, address, tries=TRIES):
        """The source `to` sees of what `by` sends to this address; None when it does not arrive."""
        for _ in range(tries):
            token = str(next(tokens)).encode()
            try:
                by.sendto(token, address)
            except OSError:
                return None  # no way there, and this host knows it
            end = time.monotonic() + QUIET_S
            while (left := end - time.monotonic()) > 0:
                to.settimeout(left)
                try:
                    data, source = to.recvfrom(100)
                except (TimeoutError, ConnectionError):
                    continue
                if data == token:
                    return source[:2]
        return None

    def seen(self, by, address):
        """As what the relay sees this socket there; it must."""
        source = self.hears(self.server[address], by, address, SURE)
        expect(source, f"nothing came to {address}")
        return source

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for s in self.sockets:
            s.close()


def mapping_of(p, by):
    """The word of RFC 4787 for how the port depends on the remote side."""
    first = p.seen(by, (RELAY[0], PORTS[0]))
    same_port = p.seen(by, (RELAY[1], PORTS[0])) == first
    same_ip = p.seen(by, (RELAY[0], PORTS[1])) == first
    expect(p.seen(by, (RELAY[0], PORTS[0])) == first, "the mapping does not stay")
    if same_port and same_ip and p.seen(by, (RELAY[1], PORTS[1])) == first:
        return "endpoint-independent"
    return "address-dependent" if same_ip else "address and port-dependent"


def filtering_of(p, by):
    """The same for who may answer a socket that has written to one endpoint only."""
    outside = p.seen(by, (RELAY[0], PORTS[0]))
    expect(p.hears(by, p.first, outside, SURE) == (RELAY[0], PORTS[0]), "the answer does not arrive")
    other_ip = p.hears(by, p.server[RELAY[1], PORTS[0]], outside)
    other_port = p.hears(by, p.server[RELAY[0], PORTS[1]], outside)
    if other_ip and other_port:
        return "endpoint-independent"
    return "address-dependent" if other_port else "address and port-dependent"


BEHAVIOUR = {"full-cone": ("endpoint-independent", "endpoint-independent"),
             "address-restricted": ("endpoint-independent", "address-dependent"),
             "port-restricted": ("endpoint-independent", "address and port-dependent"),
             "symmetric": ("address and port-dependent", "address and port-dependent")}


def check_kind(p, n, kind):
    """Of a's outermost NAT, all that counts for a device behind it."""
    mapping, filtering = BEHAVIOUR[kind]
    one, other = p.at(n.a), p.at(n.a)
    outside = p.seen(one, (RELAY[0], PORTS[0]))
    expect(outside[0] == n.outside["a"], f"{outside} is not the NAT's address")
    expect(mapping_of(p, one) == mapping, f"{kind}: mapping is {mapping_of(p, one)}")
    expect(filtering_of(p, other) == filtering, f"{kind}: filtering is {filtering_of(p, p.at(n.a))}")
    expect(p.seen(other, (RELAY[0], PORTS[0])) != outside, "two sockets share a mapping")
    kept = outside[1] == one.getsockname()[1]
    expect(kept == (kind in CONES), f"{kind}: the port is {'' if kept else 'not '}kept")
    # Whoever knows the address, but not of any mapping, gets nowhere.
    quiet = p.at(n.a)
    expect(not p.hears(quiet, p.first, (outside[0], quiet.getsockname()[1])), f"{kind}: a port not mapped is open")
    expect(not p.hears(one, p.first, one.getsockname()), "an inside address is reached from outside")
    check_early_stranger(p, n, kind)
    check_tcp(p, n)


def check_early_stranger(p, n, kind):
    """What came, unwanted, before the device wrote there does not take the port."""
    s, stranger = p.at(n.a), p.server[RELAY[1], PORTS[1]]
    outside = p.seen(s, (RELAY[0], PORTS[0]))
    came = p.hears(s, stranger, outside)
    expect(bool(came) == (kind == "full-cone"), f"{kind}: a stranger is {'' if came else 'not '}heard")
    seen = p.seen(s, (RELAY[1], PORTS[1]))
    expect((seen == outside) == (kind in CONES), f"{kind}: {outside} became {seen}")
    expect(p.hears(s, stranger, seen, SURE), f"{kind}: not heard, though written to")


def connects(p, by, address, port):
    """Whether TCP does, and as what it is seen."""
    listener = p.at(p.nats.relay, (address, port), kind=socket.SOCK_STREAM)
    listener.listen()
    client = p.at(by, kind=socket.SOCK_STREAM)
    client.settimeout(1)
    try:
        client.connect((address, port))
    except OSError:
        return None
    listener.settimeout(5)
    connection, source = listener.accept()
    connection.close()
    return source


def check_tcp(p, n):
    source = connects(p, n.a, RELAY[0], 8080)
    expect(source and source[0] == n.outside["a"], f"TCP is seen as {source}")
    listener = p.at(n.a, kind=socket.SOCK_STREAM)
    listener.listen()
    stranger = p.at(n.relay, kind=socket.SOCK_STREAM)
    stranger.settimeout(0.3)
    try:
        stranger.connect((n.outside["a"], listener.getsockname()[1]))
    except OSError:
        return
    raise Failed("TCP from outside gets in")


def meets(p, n):
    """Punching as it is done: each learns how the relay sees the other and writes to that, or to where it was heard from, in
    turn.  Whether both are heard."""
    one, other = p.at(n.a), p.at(n.b)
    to_other, to_one = p.seen(other, (RELAY[0], PORTS[0])), p.seen(one, (RELAY[0], PORTS[0]))
    heard_one = heard_other = None
    for _ in range(2):
        heard_one = p.hears(other, one, to_other) or heard_one
        to_one = heard_one or to_one
        heard_other = p.hears(one, other, to_one) or heard_other
        to_other = heard_other or to_other
    return bool(heard_one and heard_other)


def one_kind(kind):
    with Nats(kind, "port-restricted") as n, Probe(n) as p:
        check_kind(p, n, kind)


def case_full_cone():
    one_kind("full-cone")


def case_address_restricted():
    one_kind("address-restricted")


def case_port_restricted():
    one_kind("port-restricted")


def case_symmetric():
    one_kind("symmetric")


def case_who_can_meet():
    """A symmetric NAT and one that filters by port do not let each other's devices meet; all others do."""
    def check(one, other):
        with Nats(one, other) as n, Probe(n) as p:
            possible = not (other == "symmetric" and one in ("port-restricted", "symmetric"))
            expect(meets(p, n) == possible, f"{one} and {other} {'do not meet' if possible else 'meet'}")
    beside(*(lambda pair=pair: check(*pair) for pair in itertools.combinations_with_replacement(BEHAVIOUR, 2)))


case_who_can_meet.long = True


def case_open():
    with Nats("open", "symmetric") as n, Probe(n) as p:
        s = p.at(n.a, (n.outside["a"], 0))
        expect(p.seen(s, (RELAY[0], PORTS[0])) == s.getsockname(), "an open device is not seen as itself")
        expect(p.hears(s, p.first, s.getsockname(), SURE), "an open device is not reached")
        expect(meets(p, n), "nobody meets an open device")


def case_double_nat():
    """The stricter of two counts, and the outer one's address."""
    for kinds, as_one in ((["full-cone", "full-cone"], "full-cone"), (["full-cone", "port-restricted"], "port-restricted"),
                          (["symmetric", "full-cone"], "symmetric"), (["port-restricted", "symmetric"], "symmetric")):
        with Nats(kinds, "full-cone") as n, Probe(n) as p:
            expect(p.seen(p.at(n.a), (RELAY[0], PORTS[0]))[0] == n.outside["a"], "not the outer NAT's address")
            mapping, filtering = BEHAVIOUR[as_one]
            expect(mapping_of(p, p.at(n.a)) == mapping, f"{kinds}: mapping is {mapping_of(p, p.at(n.a))}")
            expect(filtering_of(p, p.at(n.a)) == filtering, f"{kinds}: filtering is {filtering_of(p, p.at(n.a))}")
            expect(meets(p, n), f"{kinds} and a full cone do not meet")


def case_hairpin():
    """Two devices in one home, which do not reach each other but by the router's outside address."""
    beside(*(lambda kind=kind, hairpin=hairpin: turned_around(kind, hairpin) for kind in CONES for hairpin in (True, False)))


def turned_around(kind, hairpin):
    with Nats(kind, None, hairpin=hairpin) as n, Probe(n) as p:
        one, other = p.at(n.a), p.at(n.b)
        to_one, to_other = p.seen(one, (RELAY[0], PORTS[0])), p.seen(other, (RELAY[0], PORTS[0]))
        expect(not p.hears(other, one, ("192.168.1.20", other.getsockname()[1])), "no isolation")
        expect(p.hears(other, one, to_other) == (to_one if hairpin and kind == "full-cone" else None),
               f"{kind}, hairpin {hairpin}: who wrote first is, or is not, heard as he should")
        source = p.hears(one, other, to_one)
        expect(source == (to_other if hairpin else None), f"{kind}, hairpin {hairpin}: heard from {source}")
        source = p.hears(other, one, to_other)
        expect(source == (to_one if hairpin else None), f"{kind}, hairpin {hairpin}: heard from {source}")
        if hairpin:
            check_kind(p, n, kind)  # as before


case_hairpin.long = True


def case_ipv6_on_one_side():
    with Nats("port-restricted", "symmetric", ipv6="a") as n, Probe(n) as p:
        six = socket.AF_INET6
        inside = p.at(n.a, ("2001:db8:1::10", 0), family=six)
        relay, other = (p.at(n.relay, ("2001:db8::1", 0), family=six) for _ in range(2))
        expect(not p.hears(inside, relay, inside.getsockname()), "what is not asked for gets in")
        expect(p.hears(relay, inside, relay.getsockname(), SURE) == inside.getsockname()[:2], "IPv6 does not get out as it is")
        expect(p.hears(inside, relay, inside.getsockname(), SURE), "the answer does not get in")
        expect(not p.hears(inside, other, inside.getsockname()), "another port's does")
        try:
            p.at(n.b, ("::1", 0), family=six)
        except OSError:
            pass
        else:
            raise Failed("b has IPv6")
        check_kind(p, n, "port-restricted")
    with Nats("full-cone", "full-cone", ipv6="ab") as n, Probe(n) as p:
        one, other = (p.at(d, (f"2001:db8:{i}::{i}0", 0), family=six) for i, d in ((1, n.a), (2, n.b)))
        expect(not p.hears(other, one, other.getsockname()), "IPv6: the first one is heard")
        expect(p.hears(one, other, one.getsockname()), "IPv6: no hole was made")
        expect(p.hears(other, one, other.getsockname()), "IPv6: the hole is one-way")


def case_udp_blocked_and_only_443():
    for kind in BLOCKS:
        with Nats(kind, "full-cone", ipv6="a") as n, Probe(n) as p:
            s, at_443 = p.at(n.a), p.at(n.relay, (RELAY[0], 443))
            expect(not p.hears(p.first, s, (RELAY[0], PORTS[0])), f"{kind}: UDP gets out")
            expect(not p.hears(at_443, s, (RELAY[0], 443)), f"{kind}: UDP to 443 gets out")
            six = p.at(n.relay, ("2001:db8::1", 0), family=socket.AF_INET6)
            by_six = p.at(n.a, ("2001:db8:1::10", 0), family=socket.AF_INET6)
            expect(not p.hears(six, by_six, six.getsockname()), f"{kind}: UDP gets out over IPv6")
            expect(bool(connects(p, n.a, RELAY[0], 8080)) == (kind == "udp-blocked"), f"{kind}: TCP to 8080")
            source = connects(p, n.a, RELAY[1], 443)
            expect(source and source[0] == n.outside["a"], f"{kind}: TCP to 443 is seen as {source}")
    with Nats("full-cone", "full-cone") as n, Probe(n) as p:  # that the same is heard where it may be
        expect(p.hears(p.first, p.at(n.a), (RELAY[0], PORTS[0])), "UDP does not get out")
