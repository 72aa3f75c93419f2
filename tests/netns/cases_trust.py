"""Trust at first use, digits to compare, and what a device may do: whole programs."""
from cases_pairing import expect
from netns import QUESTION, Net, eventually, random_file


def digits(device, of, *options):
    return device.kith("verify", of.id, *options).ends(0).event("digits")["digits"]


def nearby(device):
    """The stranger that is announced; it takes a moment."""
    found = []

    def look():
        found.extend(e for e in device.kith("devices", "--nearby").ends(0).events if e.get("event") == "device")
        return found
    eventually(look, "nobody nearby")
    return found[0]


def case_trust_at_first_use_and_digits():
    with Net() as n:
        n.a.init(), n.b.init()
        receivers = [d.receive() for d in (n.a, n.b)]
        seen = nearby(n.a)
        expect(seen["trust"] == "stranger" and seen["id"] == n.b.id and seen["name"] == "", f"nearby: {seen}")
        # The person sees the fingerprint, and says yes; the name is this side's choice.
        asked = n.a.kith("trust", n.b.id, "--name", "bob", terminal=True)
        asked.shows(seen["fingerprint"][:4])
        asked.shows(QUESTION)
        asked.types("y\n")
        trusted = asked.event("trusted")["device"]
        asked.ends(0)
        expect(trusted["name"] == "bob" and trusted["trust"] == "contact" and not trusted["verified"], f"{trusted}")
        expect(trusted["fingerprint"] == n.b.kith("status").ends(0).event("status")["fingerprint"], f"{trusted}")
        # The other side has not decided yet.
        expect(not n.b.devices(), f"{n.b.devices()}")
        n.a.kith("ping", "bob", "-c", "1").ends(4, "does not trust this one")
        n.b.kith("trust", n.a.id, "--yes").ends(0).event("trusted")
        n.a.kith("ping", "bob", "-c", "1").ends(0)
        for d, other in ((n.a, n.b), (n.b, n.a)):
            known = d.devices()[other.id]
            expect(known["first_use"] and not known["verified"], f"{known}")
        # Both screens show the same.
        mine, theirs = digits(n.a, n.b), digits(n.b, n.a)
        expect(mine == theirs and len(mine.replace(" ", "")) == 60, f"{mine} / {theirs}")
        digits(n.a, n.b, "--ok")
        expect(n.a.devices()[n.b.id]["verified"] and not n.b.devices()[n.a.id]["verified"], "the mark is each one's own")
        for r in receivers:
            r.interrupt()


case_trust_at_first_use_and_digits.waits = True


def case_trust_and_a_key_that_changed():
    with Net() as n:
        n.a.init(), n.b.init()
        receiver = n.b.receive()
        n.a.kith("trust", n.b.id, "--yes", "--name", "bob").ends(0)
        receiver.interrupt()
        receiver.end()
        # The same id with another key: the device's keys were made anew.
        for name in ("network_keys.json", "graph.cbor", "master_key.json", "trust.cbor"):
            (n.b.home / name).unlink(missing_ok=True)
        n.b.init()
        n.b.receive()
        n.a.kith("ping", "bob", "-c", "1").ends(4, "another device answered")
        n.a.kith("trust", n.b.id, "--yes").ends(4, "kith forget")
        n.a.kith("forget", "bob").ends(0)
        n.a.kith("trust", n.b.id, "--yes").ends(0)


def case_permits_count_at_once():
    with Net() as n:
        n.a.init(), n.b.init()
        n.a.receive()
        receiver = n.b.receive("--yes")
        n.a.kith("trust", n.b.id, "--yes", "--name", "bob").ends(0)
        n.b.kith("trust", n.a.id, "--yes", "--name", "alice").ends(0)
        file = random_file(n.folder / "film", 15_000_000)
        n.slow(40)
        sender = n.a.send(n.b, file)
        sender.event("progress")
        n.b.kith("permit", "alice", "file", "deny").ends(0)
        sender.ends(4)
        expect(not (n.b.inbox / "film").exists(), "it was received")
        expect(receiver.running(), "the receiver went with it")
        n.a.kith("ping", "bob", "-c", "1").ends(0)
        n.b.kith("permit", "alice", "ping", "deny").ends(0)
        n.a.kith("ping", "bob", "-c", "1").ends(4, "bob does not let this device ping it")
        expect(n.b.devices()[n.a.id]["permits"] == {"ping": "deny", "file": "deny"}, f"{n.b.devices()}")
        n.b.kith("permit", "alice", "file", "default").ends(0)
        n.a.send(n.b, file).ends(0)


case_permits_count_at_once.waits = True
