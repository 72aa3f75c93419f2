"""Networks: one family of addresses only, devices that move, impostors."""
import pathlib
import sys
import time

from cases_pairing import expect
from netns import Failed, Net, copy, eventually, join, know, pair, random_file, same

FORGER = pathlib.Path(__file__).resolve().parent / "mdns_forger.py"
PORT = 40777


def whole_round(n):
    """Pair, ping, send a file, each way."""
    pair(n.a, n.b)
    file = random_file(n.folder / "file", 3_000_000)
    for one, other in ((n.a, n.b), (n.b, n.a)):
        receiver = other.receive("--once")
        ping = one.kith("ping", "-c", "1", other.id).ends(0)
        one.send(other, file).ends(0)
        receiver.ends(0)
        expect(same(file, other.inbox / "file"), "the file differs")
        yield ping.event("pong")


def case_ipv4_only():
    with Net(family="4") as n:
        for pong in whole_round(n):
            expect(pong["address"].startswith("10.77.0."), f"{pong}")


def case_ipv6_only():
    with Net(family="6") as n:
        for pong in whole_round(n):
            expect(pong["address"].startswith(("[fd77", "[fe80")), f"{pong}")


def case_ipv6_link_local_only():
    with Net(family="link") as n:
        for pong in whole_round(n):
            expect(pong["address"].startswith("[fe80"), f"{pong}")


def case_devices_shows_who_is_there():
    with Net() as n:
        know(n.a, n.b)
        expect(n.a.devices()[n.b.id]["online"] is False, "online without running")
        receiver = n.b.receive()
        eventually(lambda: n.a.devices()[n.b.id]["online"] is True, "online")
        found = n.a.devices()[n.b.id]
        expect(found["path"] == "udp" and found["scope"] == "lan", f"{found}")
        receiver.interrupt()
        receiver.ends(130)
        eventually(lambda: n.a.devices()[n.b.id]["online"] is False, "offline after its goodbye")


def case_same_device_at_a_new_address():
    with Net() as n:
        know(n.a, n.b)
        file = random_file(n.folder / "file", 1000)
        receiver = n.b.receive()
        n.a.send(n.b, file).ends(0)
        n.address("b", 20)  # while it runs
        time.sleep(1)
        n.a.send(n.b, copy(file, "second")).ends(0)
        receiver.kill()
        n.address("b", 30)
        n.b.receive()
        pong = n.a.kith("ping", "-c", "1", n.b.id).ends(0).event("pong")
        expect(pong["address"].startswith(("10.77.0.30", "[fd77::1e]", "[fe80")), f"{pong}")
        n.a.send(n.b, copy(file, "third")).ends(0)
        expect(len(n.a.devices()) == 1, f"{n.a.devices()}")


def case_address_changes_in_the_middle():
    with Net() as n:
        know(n.a, n.b)
        n.slow(200)
        file = random_file(n.folder / "file", 40_000_000)
        n.b.receive()
        sender = n.a.send(n.b, file)
        sender.event("progress", where=lambda e: e["bytes"] > 5_000_000)
        n.address("a", 20)
        sender.ends(0, timeout=100)
        expect(same(file, n.b.inbox / "file"), "the file differs")


case_address_changes_in_the_middle.long = True


def got_nothing(device, receiver):
    expect({e["event"] for e in receiver.events} <= {"ready"}, receiver.said())
    expect(not list(device.inbox.iterdir()), f"received {list(device.inbox.iterdir())}")


def case_another_device_at_the_old_address():
    """It is dialled, since the address worked before, and refused; nothing is sent to it."""
    with Net("abc", family="4") as n:
        know(n.a, n.b)
        n.c.init()
        file = random_file(n.folder / "file", 1000)
        receiver = n.b.receive("--listen", f"0.0.0.0:{PORT}")
        n.a.send(n.b, file).ends(0)
        receiver.kill()
        n.address("b", 20)
        n.address("c", 2)
        impostor = n.c.receive("--yes", "--listen", f"0.0.0.0:{PORT}")
        impostor.begins()
        n.a.send(n.b, copy(file, "second"), "--timeout", "4").ends(6)
        n.b.receive()
        n.a.send(n.b, copy(file, "third")).ends(0)
        got_nothing(n.c, impostor)


def case_impostor_announces_the_victim():
    """A stranger announces b's id with its own address: the dial ends, nothing is sent, and b is still found."""
    with Net("abc", family="4") as n:
        know(n.a, n.b)
        n.c.init()
        impostor = n.c.receive("--yes", "--listen", f"0.0.0.0:{PORT}")
        impostor.begins()
        n.c.run(sys.executable, FORGER, n.b.id, n.b.fingerprint, PORT, "10.77.0.3", name="forger")
        (n.a.home / "seen.cbor").unlink(missing_ok=True)
        file = random_file(n.folder / "file", 1000)
        n.a.send(n.b, file).ends(4, "another device|answered", timeout=60)
        receiver = n.b.receive("--once")
        n.a.send(n.b, copy(file, "second")).ends(0)
        receiver.ends(0)
        got_nothing(n.c, impostor)


case_impostor_announces_the_victim.waits = True


def case_forged_pairing_tag():
    """A stranger shows the tag of somebody's code (its first two words are public): the joiner still finds the right one."""
    with Net("abc", family="4") as n:
        for d in (n.a, n.b, n.c):
            d.init()
        other = n.c.kith("pair", "--yes", "--listen", f"0.0.0.0:{PORT}")
        other.event("code")
        host = n.a.kith("pair", "--yes")
        words = host.event("code")["words"]
        n.c.run(sys.executable, FORGER, n.c.id, n.c.fingerprint, PORT, "10.77.0.3", tag_of(words), name="forger")
        time.sleep(0.5)
        join(n.b, words, "--yes").ends(0)
        host.ends(0)
        expect(list(n.b.devices()) == [n.a.id], f"{n.b.devices()}")


def tag_of(words):
    """22 bits of the first two words, as announced."""
    listed = (pathlib.Path(__file__).resolve().parent.parent / "vectors/bip39_english.txt").read_text().split()
    first, second = (listed.index(w) for w in words.split()[:2])
    return f"{first << 11 | second:06x}"


def case_without_the_local_network():
    """--no-lan neither announces nor looks: only an address that worked before can be used."""
    with Net(family="4") as n:
        know(n.a, n.b)
        file = random_file(n.folder / "file", 1000)
        n.b.receive("--listen", f"192.0.2.1:{PORT}").ends(1, "cannot listen on 192.0.2.1:.*: this machine has no such address")
        receiver = n.b.receive("--no-lan", "--listen", f"0.0.0.0:{PORT}")
        receiver.begins()
        n.a.send(n.b, file, "--timeout", "3").ends(6)
        receiver.kill()
        receiver = n.b.receive("--listen", f"0.0.0.0:{PORT}")
        n.a.send(n.b, file).ends(0)
        receiver.kill()
        n.b.receive("--no-lan", "--listen", f"0.0.0.0:{PORT}")
        n.a.send(n.b, copy(file, "second"), "--no-lan").ends(0)


def case_a_node_is_killed():
    """A ping goes on at another node of the device, and at the only one when that is started anew."""
    with Net() as n:
        know(n.a, n.b)
        first = n.b.receive()
        first.begins()
        ping = n.a.kith("ping", n.b.id)
        ping.event("pong")
        second = n.b.receive()
        second.begins()
        first.kill()
        ping.event("pong", after=len(ping.events))
        second.kill()
        after = len(ping.events)
        third = n.b.receive()
        third.begins()
        ping.event("pong", after=after)
        if not ping.running():
            raise Failed("it ended: " + ping.said())
        third.kill()
        if ping.end() not in (3, 6) or "is it on" not in ping.said():
            raise Failed("it does not say what to look for\n" + ping.said())
