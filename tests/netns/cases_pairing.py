"""Pairing: the right code, wrong ones, people who say no, strangers beside."""
import time

from netns import QUESTION, Failed, Net, change_words, join, pair


def expect(condition, what):
    if not condition:
        raise Failed(what)


def case_own_devices_and_again():
    with Net() as n:
        host, joiner = pair(n.a, n.b)
        for p, other in ((host, n.b), (joiner, n.a)):
            device = p.event("paired")["device"]
            expect(device["id"] == other.id and device["fingerprint"] == other.fingerprint, f"paired with {device}")
        for mine, other in ((n.a, n.b), (n.b, n.a)):
            found = mine.devices()
            expect(list(found) == [other.id], f"{mine.name} lists {found}")
            expect(found[other.id]["trust"] == "own" and found[other.id]["name"] == other.name, f"{found}")
        before = n.a.devices(), n.b.devices()
        pair(n.a, n.b)
        for old, new in zip(before, (n.a.devices(), n.b.devices())):
            expect(old.keys() == new.keys(), f"{old} became {new}")
            expect(all(old[i]["added"] == new[i]["added"] for i in old), f"{old} became {new}")


case_own_devices_and_again.waits = True


def case_join_makes_the_identity():
    with Net() as n:
        n.a.init()
        host = n.a.kith("pair", "--yes")
        join(n.b, host.event("code")["words"], "--yes").ends(0)
        host.ends(0)
        expect(len(n.b.devices()) == 1 and len(n.a.devices()) == 1, "not both list one device")


def case_contacts():
    with Net() as n:
        pair(n.a, n.b, "--contact")
        for mine in (n.a, n.b):
            expect([d["trust"] for d in mine.devices().values()] == ["contact"], f"{mine.devices()}")


def case_kinds_that_differ():
    with Net() as n:
        n.a.init(), n.b.init()
        host = n.a.kith("pair", "--yes", "--contact")
        joiner = join(n.b, host.event("code")["words"], "--yes")
        status = joiner.end()
        expect(status in (2, 4), f"joiner's exit status {status}\n{joiner.said()}")
        joiner.ends(status, "--contact")
        host.kill()
        expect(not n.a.devices() and not n.b.devices(), "somebody was paired")


def case_host_says_no():
    with Net() as n:
        n.a.init(), n.b.init()
        host = n.a.kith("pair", terminal=True)
        joiner = join(n.b, host.event("code")["words"], "--yes")
        host.shows(n.b.name)
        host.shows(QUESTION)
        host.types("n\n")
        joiner.ends(4, "the other side declined")
        host.ends(4, "declined here")
        expect(not n.a.devices() and not n.b.devices(), "somebody was paired")


def case_joiner_says_no():
    with Net() as n:
        n.a.init(), n.b.init()
        host = n.a.kith("pair", "--yes")
        joiner = join(n.b, host.event("code")["words"], terminal=True)
        joiner.shows(n.a.name)
        joiner.shows(QUESTION)
        joiner.types("n\n")
        joiner.ends(4, "declined here")
        host.ends(4, "the other side declined")
        expect(not n.a.devices() and not n.b.devices(), "somebody was paired")


def case_both_say_yes_on_terminals():
    with Net() as n:
        n.a.init(), n.b.init()
        host = n.a.kith("pair", terminal=True)
        joiner = join(n.b, host.event("code")["words"], terminal=True)
        for p, other in ((host, n.b), (joiner, n.a)):
            p.shows(other.name)
            p.shows(QUESTION)
            p.types("y\n")
        host.ends(0)
        joiner.ends(0)


def case_interrupted_at_the_question():
    """Who did not press Ctrl-C was not interrupted: the other side stopped."""
    for host_stops in (True, False):
        with Net() as n:
            n.a.init(), n.b.init()
            host = n.a.kith("pair", terminal=True)
            joiner = join(n.b, host.event("code")["words"], terminal=True)
            for p in (host, joiner):
                p.shows(QUESTION)
            stops, other = (host, joiner) if host_stops else (joiner, host)
            stops.interrupt()
            stops.ends(130)
            other.ends(4, "declined")
            expect(not n.a.devices() and not n.b.devices(), "somebody was paired")


def case_wrong_code_then_right():
    with Net() as n:
        n.a.init(), n.b.init()
        host = n.a.kith("pair", "--yes")
        words = host.event("code")["words"]
        join(n.b, change_words(words), "--yes").ends(4, "code")
        expect(host.running(), "the host ended after one wrong code")
        join(n.b, words, "--yes").ends(0)
        host.ends(0)


def case_three_wrong_codes_burn_it():
    with Net() as n:
        n.a.init(), n.b.init()
        host = n.a.kith("pair", "--yes")
        words = host.event("code")["words"]
        for _ in range(3):
            join(n.b, change_words(words, 1), "--yes").ends(4)
        host.ends(4, "wrong|too many")
        expect(not n.a.devices() and not n.b.devices(), "somebody was paired")


def case_mistyped_words_are_named():
    with Net() as n:
        n.b.init()
        join(n.b, "abandn ability able about above absent", "--yes").ends(4, "abandn.*abandon")
        join(n.b, "abandon ability able about above", "--yes").ends(4, "six|6|five|5")


def case_code_expires():
    with Net() as n:
        n.a.init(), n.b.init()
        began = time.monotonic()
        host = n.a.kith("pair", "--yes", "--expires", "2s")
        words = host.event("code")["words"]
        host.ends(4, "expired")
        expect(time.monotonic() - began >= 2, "expired too early")
        status = join(n.b, words, "--yes", "--timeout", "3").end()
        expect(status in (3, 6), f"a code that nobody shows: exit status {status}")


def case_two_pairs_of_people_at_once():
    with Net("abcd") as n:
        for d in (n.a, n.b, n.c, n.d):
            d.init()
        hosts = [d.kith("pair", "--yes") for d in (n.a, n.c)]
        words = [h.event("code")["words"] for h in hosts]
        joiners = [join(n.b, words[0], "--yes"), join(n.d, words[1], "--yes")]
        for p in joiners + hosts:
            p.ends(0)
        for one, other in ((n.a, n.b), (n.b, n.a), (n.c, n.d), (n.d, n.c)):
            expect(list(one.devices()) == [other.id], f"{one.name} lists {one.devices()}")


case_two_pairs_of_people_at_once.waits = True
