"""A stolen device: revoked elsewhere, it is refused by every device that has heard, and told why, whatever it tries."""
import shutil

from netns import Device, Failed, Net, eventually, join, pair, random_file


def expect(condition, what):
    if not condition:
        raise Failed(what)


def history(device):
    p = device.kith("devices", "--audit")
    p.ends(0)
    return [e for e in p.events if e.get("event") == "record"]


def case_stolen_device():
    """The thief has a copy of b's home and its password."""
    with Net() as n:
        pair(n.a, n.b)
        c = Device(n, "a", n.a.namespace, "c").init()  # a third, beside a
        pair(n.a, c)
        listening = c.receive()
        n.a.kith("ping", "-c", "1", c.id).ends(0)
        at_a = n.a.receive()
        n.b.kith("ping", "-c", "2", n.a.id).ends(0)  # b hears of c when it meets a
        thief = Device(n, "b", n.b.namespace, "thief")
        deaf = Device(n, "b", n.b.namespace, "deaf")  # who hears nothing, since he does not ask
        for d in (thief, deaf):
            shutil.copytree(n.b.home, d.home)
        ping = thief.kith("ping", n.a.id)  # a connection that is alive
        ping.event("pong")
        n.a.kith("revoke", "--yes", "--why", "stolen on the train", n.b.id).ends(0)
        ping.ends(4, "this device was revoked by device-a on 20")
        eventually(lambda: n.b.id not in c.devices(), "c has not heard")
        file = random_file(n.folder / "file", 1000)
        for command in (("ping", "-c", "1", n.a.id), ("send", "--to", n.a.id, file), ("send", "--to", c.id, file)):
            thief.kith(*command).ends(4, "stolen on the train")
        code = n.a.kith("pair", "--yes")
        join(thief, code.event("code")["words"], "--yes", "--replace-master").ends(4, "revoked")
        code.kill()
        # Told so, it revokes nobody any more.  Before, it may as it likes: it is later than a.
        thief.kith("revoke", "--yes", n.a.id).ends(4)
        deaf.kith("revoke", "--yes", n.a.id).ends(0)
        deaf.kith("ping", "-c", "1", c.id).ends(4, "stolen on the train")
        c.kith("ping", "-c", "1", n.a.id).ends(0)
        expect(at_a.running() and listening.running(), "a receiver ended")
        expect(not list(n.a.inbox.iterdir()), "something was received")
        said = [(r["kind"], r["device_id"], r["state"]) for r in history(c)]
        expect(said.count(("revoked", n.b.id, "good")) == 1 and len(said) >= 4, f"{said}")


case_stolen_device.waits = True


def case_told_at_once():
    """Those that are there know it when the command ends, however many before them in the list are not."""
    with Net("abc") as n:
        for name in ("off", "off2"):
            pair(n.a, Device(n, "b", n.b.namespace, name))
        lost = Device(n, "b", n.b.namespace, "lost")
        pair(n.a, lost)
        pair(n.a, n.c)
        n.c.receive().begins()
        told = n.a.kith("revoke", "--yes", lost.id).ends(0).event("told")
        expect((told["devices"], told["of"]) == (1, 3), f"{told}")
        expect(lost.id not in n.c.devices(), "c does not know")


def case_it_says_so_itself():
    """Who has the revoked device sees it there, too."""
    with Net() as n:
        pair(n.a, n.b)
        up = n.b.kith("up", "--dir", n.b.inbox)
        up.event("ready")
        expect(n.b.kith("status").ends(0).event("status")["revoked"] is None, "revoked before it was")
        n.a.receive().begins()
        n.b.kith("ping", "-c", "1", n.a.id).ends(0)
        n.a.kith("revoke", "--yes", "--why", "sold", n.b.id).ends(0)
        n.b.kith("ping", "-c", "1", n.a.id).ends(4, "sold")
        n.b.kith("ping", "-c", "1", n.a.id).ends(4, "sold")
        expect("sold" in up.event("revoked")["message"] and up.count("revoked") == 1, up.said())
        expect("sold" in n.b.kith("status").ends(0).event("status")["revoked"], "not in the status")


def case_it_remembers():
    """No daemon: what one command was told the next ones know, from the home's own files."""
    with Net() as n:
        pair(n.a, n.b)
        c = Device(n, "a", n.a.namespace, "c").init()
        pair(c, n.b, "--contact")
        n.a.kith("revoke", "--yes", "--why", "sold", n.b.id).ends(0)
        at_a = n.a.receive()
        expect(n.b.kith("status").ends(0).event("status")["revoked"] is None, "it knows before it was told")
        n.b.kith("ping", "-c", "1", n.a.id).ends(4, "sold")
        at_a.kill()  # from here on there is nobody to ask
        said = n.b.kith("status").ends(0).event("status")["revoked"]
        expect(said.startswith("this device was revoked by device-a on 20") and said.endswith(": sold"), said)
        expect(n.b.kith("devices").ends(0).event("revoked")["message"] == said, "devices does not say it")
        alone = n.b.kith("pair", "--yes")
        alone.ends(4, "cannot let another in")
        expect(alone.event("revoked")["message"] == said, "pair does not say it")
        up = n.b.kith("up", "--dir", n.b.inbox)
        expect(up.event("revoked")["message"] == said, "up does not say it")
        up.kill()
        # Who is no own device knows nothing of it, and is served.
        c.receive("--yes").begins()
        sent = n.b.kith("send", "--to", c.id, random_file(n.folder / "file", 1000))
        sent.ends(0)
        expect(sent.event("revoked")["message"] == said, "send does not say it")
        expect([r["state"] for r in history(n.b) if r["kind"] == "revoked"] == ["good"], f"{history(n.b)}")


case_it_remembers.waits = True


def case_stolen_first_device():
    """The thief has the earliest device, and revokes the others: the recovery code takes it out, and them in again."""
    with Net() as n:
        pair(n.a, n.b)
        c = Device(n, "a", n.a.namespace, "c").init()
        pair(n.a, c)
        code = n.folder / "recovery"
        code.write_text(n.a.code + "\n")
        n.a.kith("revoke", "--yes", c.id).ends(0)  # by its owner, rightly
        at_a = n.a.receive()
        n.b.kith("ping", "-c", "2", n.a.id).ends(0)
        eventually(lambda: ("revoked", c.id) in [(r["kind"], r.get("device_id")) for r in history(n.b)], "b has not heard")
        at_a.kill()
        n.a.kith("revoke", "--yes", n.b.id).ends(0)  # by the thief
        made = n.b.kith("revoke", "--yes", "--recovery", "--code-file", code, n.a.id)
        made.ends(0)
        expect(len(made.event("revoked")["recovery_code"].split()) == 24, "no new code")
        expect([d["id"] for d in made.event("revoked")["back"]] == [c.id], "it does not say that c is back")
        expect(n.a.id not in n.b.devices(), "the stolen device is still in")
        host = n.b.kith("pair", "--yes")
        join(n.a, host.event("code")["words"], "--yes", "--replace-master").ends(4, "recovery code")
        host.kill()
        expect([r["state"] for r in history(n.b) if r["kind"] == "reset"] == ["good"], f"{history(n.b)}")


case_stolen_first_device.waits = True
