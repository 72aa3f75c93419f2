"""Devices behind NATs, and a relay: `kith relay` between two homes of nat.py.  They pair over it, reach each other through it, and go
over to a direct way just where their NATs allow one; what breaks in the middle does not stop a file.

docs/nat.md explains the kinds; its table is what tests/netns/nat_table prints."""
import itertools
import re
import socket
import time

from nat import RELAY, Nats, socket_in
from netns import KITH, WAIT_S, Failed, beside, join, know, random_file, same

MATRIX = ("full-cone", "address-restricted", "port-restricted", "symmetric")
PORT = 8080
SIZE, SLOW = 40_000_000, 100  # a file of so many bytes, at so many Mbit/s, has a middle


def expect(condition, what):
    if not condition:
        raise Failed(what)


def may_meet(one, other):
    """RFC 5128, 3.3 and 3.4: where one side's port is another for each remote, the other has to let unknown ports in."""
    strict = ("port-restricted", "symmetric")
    return not ("symmetric" in (one, other) and one in strict and other in strict)


def pair_over(n):
    for d in (n.a, n.b):
        d.init()
    host = n.a.kith("pair", "--yes")
    joiner = join(n.b, host.event("code")["words"], "--yes")
    joiner.ends(0)
    host.ends(0)
    for mine, other in ((n.a, n.b), (n.b, n.a)):
        expect(list(mine.devices()) == [other.id], f"{mine.name} lists {mine.devices()}")


class Between(Nats):
    """Two homes, a relay, and two devices that know each other but not where the other is."""

    def __init__(self, a, b, known=True, relay=True, port=PORT, options=(), **more):
        super().__init__(a, b, **more)
        self.port, self.options, self.url = port, options, f"ws://{RELAY[0]}:{port}"
        try:
            for d in (self.a, self.b):
                d.env = {"KITH_RELAY": self.url, "KITH_LOG": "info"}
            if known:
                self._know()
            if relay:
                self.start_relay()
        except BaseException:
            self.close()
            raise

    def _know(self):
        know(self.a, self.b)
        for d in (self.a, self.b):
            (d.home / "seen.cbor").unlink(missing_ok=True)

    def start_relay(self):
        self.server = self.relay.run(KITH, "--json", "relay", "--listen", f"{RELAY[0]}:{self.port}", "--admin-listen", "127.0.0.1:9475",
                                     *self.options, name="relay")
        self.server.event("listening")

    def metric(self, name, port=9475):
        """Of the relay whose metrics are at this port."""
        with socket_in(self.relay, socket.SOCK_STREAM) as s:
            s.settimeout(WAIT_S)
            s.connect(("127.0.0.1", port))
            s.sendall(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            text = b"".join(iter(lambda: s.recv(65536), b"")).decode()
        found = re.search(rf"^kith_relay_{name} ([0-9]+)$", text, re.M)
        expect(found, f"no metric {name}\n{text}")
        return int(found[1])

    def receive(self):
        """b can be reached at the relay."""
        receiver = self.b.receive()
        receiver.begins()
        receiver.logs("registered at relay")
        return receiver

    def transfer(self, *options, size=SIZE):
        """A file, slowly; the sender, the receiver, the file."""
        self.slow(SLOW)
        file = random_file(self.folder / "file", size)
        receiver = self.receive()
        return self.a.send(self.b, file, *options), receiver, file

    def arrived(self, sender, receiver, file, timeout=100):
        sender.ends(0, timeout=timeout)
        receiver.event("done")
        expect(same(file, self.b.inbox / "file"), "the file differs")
        expect(not self.b.partial_files(), f"left behind: {self.b.partial_files()}")
        return sender.event("done")


def middle(process, after=SIZE // 5, path=None):
    e = process.event("progress", where=lambda e: e["bytes"] > after and path in (None, e["path"]))
    expect(process.running() and e["bytes"] < SIZE * 0.9, "it was through before anything could be done to it\n" + process.said())


class Way:
    """How two devices come together: what the first answer took, where it ended (`direct`: False, True, or "tcp"), and how long
    after the session began."""

    def __init__(self, n, direct, answers=4):
        n.receive()
        began = time.monotonic()
        ping = n.a.kith("ping", "-c", answers, n.b.id).ends(0)
        pongs = [e for e in ping.events if e["event"] == "pong"]
        session = ping.logs("session with")
        self.first, self.path, self.last = pongs[0], pongs[-1]["path"], pongs[-1]
        self.session_s = session - began
        moved = {"udp": "now at", "tcp": "session with .* at [^r]"}.get(self.path)
        self.direct_s = ping.logs(moved) - session if moved else None
        expect(pongs[0]["path"] == "relay", f"the first answer came over {pongs[0]}\n{ping.said()}")
        expect(self.path == {True: "udp", False: "relay"}.get(direct, direct), f"it ends over {pongs[-1]}\n{ping.said()}")
        for pong in pongs:
            expect((pong["scope"] == "relay") == (pong["path"] == "relay"), f"{pong}")


def sends(n, path):
    """A file of some MB, to who receives already; over this path at the end."""
    file = random_file(n.folder / "file", 5_000_000)
    sender = n.a.send(n.b, file).ends(0)
    expect(same(file, n.b.inbox / "file"), "the file differs")
    expect(sender.event("done")["path"] == path, sender.said())


def meet(one, other, direct, **more):
    with Between(one, other, **more) as n:
        way = Way(n, direct)
        sends(n, way.path)
        return way


# ---- the sixteen pairs ----

def of_the_matrix(one, other):
    return lambda: meet(one, other, may_meet(one, other))


for each in itertools.product(MATRIX, MATRIX):
    globals()["case_" + "_and_".join(each).replace("-", "_")] = of_the_matrix(*each)


# ---- other homes ----

def case_pairing():
    """Over the relay, between the two strictest."""
    with Between("symmetric", "port-restricted", known=False) as n:
        pair_over(n)
        n.receive()
        sends(n, "relay")


def case_double_nat():
    beside(lambda: meet(["full-cone", "port-restricted"], "port-restricted", True),
           lambda: meet(["port-restricted", "symmetric"], "address-restricted", True),
           lambda: meet(["port-restricted", "symmetric"], "port-restricted", False))


def case_hairpin():
    """Two devices in one home that do not reach each other there, as on a guest network: at their router's outside address."""
    def turned_around():
        way = meet("port-restricted", None, True, hairpin=True)
        expect(way.last["address"].startswith("198.51.100.11:"), f"{way.last}")
    beside(turned_around, lambda: meet("port-restricted", None, False))


def case_ipv6_on_one_side():
    """It is of no use here, and no hindrance."""
    beside(lambda: meet("port-restricted", "port-restricted", True, ipv6="a"), lambda: meet("symmetric", "symmetric", False, ipv6="b"))


def case_ipv6_on_both_sides():
    """Where IPv4 knows no way: firewalls that let answers in are there for IPv6 as well."""
    way = meet("symmetric", "symmetric", True, ipv6="ab")
    expect(way.last["address"].startswith("[2001:db8:2:"), f"{way.last}")


def case_udp_blocked():
    with Between("udp-blocked", "port-restricted") as n:
        Way(n, False)
        sends(n, "relay")
        expect(n.metric("websocket_received_bytes_total") > 5_000_000, "the file did not go over the WebSocket")


def case_udp_blocked_and_reached_over_tcp():
    """One side is let out over TCP alone, the other one is reached, whichever of them sends: a file that began over the relay ends
    over TCP."""
    for one, other in (("udp-blocked", "open"), ("udp-blocked", "forwarded"), ("open", "udp-blocked")):
        with Between(one, other) as n:
            sender, receiver, file = n.transfer(size=2 * SIZE)
            sender.event("start", where=lambda e: e["path"] == "relay")
            middle(sender, path="tcp")
            expect(n.arrived(sender, receiver, file)["path"] == "tcp", sender.said())
            expect({e["scope"] for e in sender.events if e.get("path") == "tcp" and "scope" in e} == {"internet"}, sender.said())
            expect(not sender.count("waiting"), f"the device was looked for although it was there\n{sender.said()}")
            expect(n.a.send(n.b, random_file(n.folder / "small", 10)).ends(0), "and afterwards")


case_udp_blocked_and_reached_over_tcp.waits = True


def case_only_443():
    with Between("only-443", "only-443", port=443) as n:
        Way(n, False)
        sends(n, "relay")


def case_only_443_and_a_relay_elsewhere():
    """It cannot be helped, and is said."""
    with Between("only-443", "full-cone") as n:
        n.receive()
        n.a.kith("ping", "-c", "1", n.b.id).ends(3, re.escape(f"the relay {n.url} does not help: it does not answer"))


case_only_443_and_a_relay_elsewhere.waits = True


# ---- in the middle of a file ----

def case_relay_killed_in_the_middle():
    with Between("symmetric", "symmetric") as n:
        sender, receiver, file = n.transfer()
        middle(sender)
        n.server.kill()
        time.sleep(1)
        n.start_relay()
        expect(n.arrived(sender, receiver, file)["path"] == "relay", sender.said())
        expect(all(e["resumed"] > 0 for e in [e for e in sender.events if e["event"] == "start"][1:]), sender.said())


def case_relay_killed_and_another_is_there():
    """The same session goes on over that."""
    with Between("symmetric", "symmetric") as n:
        other = n.relay.run(KITH, "--json", "relay", "--listen", f"{RELAY[1]}:{n.port}", "--admin-listen", "127.0.0.1:9476", name="relay2")
        other.event("listening")
        for d in (n.a, n.b):
            d.env["KITH_RELAY"] += f" ws://{RELAY[1]}:{n.port}"
        sender, receiver, file = n.transfer()
        middle(sender)
        used = n.server if n.metric("udp_received_bytes_total") > SIZE // 10 else other
        used.kill()
        expect(n.arrived(sender, receiver, file)["path"] == "relay", sender.said())
        expect(sender.count("start") == 1, f"another session was needed\n{sender.said()}")


def cut(n, letter):
    n.link(letter, False)
    time.sleep(3)
    n.link(letter, True)


def cut_in_the_middle(kind, letter, path):
    with Between(kind, kind) as n:
        sender, receiver, file = n.transfer()
        middle(sender, path=path)
        cut(n, letter)
        n.arrived(sender, receiver, file)
        expect(sender.count("start") == 1, f"another session was needed\n{sender.said()}")


def case_link_cut_in_the_middle():
    beside(*(lambda letter=each: cut_in_the_middle("port-restricted", letter, "udp") for each in "ab"))


def case_link_cut_in_the_middle_over_the_relay():
    beside(*(lambda letter=each: cut_in_the_middle("symmetric", letter, "relay") for each in "ab"))


def moved(letter, number, spare, direct=True):
    """To another home, where it is this number.  The session stays, and its file goes on, soon directly where that is possible."""
    with Between("port-restricted", "port-restricted", spare=spare) as n:
        sender, receiver, file = n.transfer(size=2 * SIZE)
        middle(sender, path="udp")
        n.move(letter, number)
        n.slow(SLOW)
        done = n.arrived(sender, receiver, file)
        expect(sender.count("start") == 1, f"another session was needed\n{sender.said()}")
        expect(done["path"] == ("udp" if direct else "relay"), f"{sender.said()}")


def case_sender_moves():
    moved("a", 33, "port-restricted")


def case_receiver_moves():
    moved("b", 33, "port-restricted")


def case_moves_and_has_the_same_address_there():
    """Homes are all 192.168.1.0/24: the address says nothing of where one is."""
    beside(lambda: moved("a", 10, "full-cone"), lambda: moved("b", 20, "full-cone"))


def case_moves_to_where_only_the_relay_gets():
    beside(lambda: moved("a", 33, "symmetric", direct=False), lambda: moved("b", 33, "symmetric", direct=False))


# ---- one path alone ----

def case_path_relay():
    with Between("port-restricted", "full-cone") as n:
        sender, receiver, file = n.transfer("--path", "relay")
        n.arrived(sender, receiver, file)
        paths = {e["path"] for e in sender.events if "path" in e}
        expect(paths == {"relay"}, f"{paths}\n{sender.said()}")


def case_path_udp_where_only_the_relay_gets():
    with Between("symmetric", "symmetric") as n:
        file = random_file(n.folder / "file", 1000)
        n.receive()
        n.a.send(n.b, file, "--path", "udp").ends(3, "--path forbids the way over the relay")
        n.a.send(n.b, file).ends(0)


case_path_udp_where_only_the_relay_gets.waits = True


# ---- a relay that is set for good ----

def set_relay(n, *token):
    """config.json says it, and nothing else does."""
    for d in (n.a, n.b):
        d.env = {"KITH_LOG": "info"}
        d.kith("config", "relay", n.url).ends(0)
        if token:
            d.kith("config", "relay-token-file", *token).ends(0)


def case_relay_of_config():
    """`kith send` and `kith up`, and the requests to it, use the relay of config.json, and its token; another one gets no token."""
    with Between("symmetric", "symmetric", relay=False) as n:
        tokens, token = n.folder / "tokens", n.folder / "token"
        tokens.write_text("family tWnEbBcTa3jXQZ0BFq5LUmKp\n")
        token.write_text("tWnEbBcTa3jXQZ0BFq5LUmKp\n")
        for each in (tokens, token):
            each.chmod(0o600)
        n.options = ("--token-file", tokens)
        n.start_relay()
        set_relay(n, token)
        daemon = n.b.kith("up", "--dir", n.b.inbox)
        daemon.logs("registered at relay")
        status = n.b.kith("status").ends(0).event("status")
        expect(status["relays"] == [n.url] == status["relays_connected"], f"{status}")
        file = random_file(n.folder / "file", 100_000)
        done = n.a.send(n.b, file).ends(0).event("done")
        expect(done["path"] == "relay" and same(file, n.b.inbox / "file"), f"{done}")
        n.a.send(n.b, file, "--relay", n.url).ends(3, "was shown none")
        n.b.kith("config", "relay", "none", json=False).ends(0, "at its next start")
        expect(n.b.kith("status").ends(0).event("status")["relays"] == [n.url], "the daemon changed while it ran")
        n.b.kith("down").ends(0)
        expect(n.b.kith("status").ends(0).event("status")["relays"] == [], "the relay is still set")


# ---- a relay that wants a token ----

def case_token():
    with Between("port-restricted", "full-cone", relay=False) as n:
        tokens = n.folder / "tokens"
        tokens.write_text("family tWnEbBcTa3jXQZ0BFq5LUmKp\n")
        tokens.chmod(0o600)
        n.options = ("--token-file", tokens)
        n.start_relay()
        file = random_file(n.folder / "file", 1000)
        right, wrong = (n.folder / name for name in ("right", "wrong"))
        right.write_text("tWnEbBcTa3jXQZ0BFq5LUmKp\n")
        wrong.write_text("tWnEbBcTa3jXQZ0BFq5LUmKq\n")
        for each in (right, wrong):
            each.chmod(0o600)
        receiver = n.b.receive("--relay-token-file", right)
        receiver.logs("registered at relay")
        sentence = "wants its operator's token, and was shown none or a wrong one"
        senders = [n.a.send(n.b, file, *options) for options in ((), ("--relay-token-file", wrong))]
        for sender in senders:
            sender.ends(3, f"cannot be found nearby, and the relay .* {sentence}")
            sender.logs(f"warning: .*not at relay {re.escape(n.url)}: it {sentence}")
        expect(n.metric("tokens_wrong_total") == 2, "each is to ask once: the relay counted something else")
        n.a.send(n.b, file, "--relay-token-file", right).ends(0)
