"""The home: wrong passwords, damaged files, several processes at once, devices that are forgotten."""
import contextlib
import json
import os
import re
import shutil
import subprocess
import time

from cases_pairing import expect
from netns import KITH, Failed, Net, Skipped, copy, eventually, know, pair, random_file, same, snapshot


def case_wrong_password():
    with Net() as n:
        know(n.a, n.b)
        before = snapshot(n.a.home)
        n.a.password.write_text("something else\n")
        n.a.receive("--once").ends(4, "password")
        n.a.kith("ping", "-c", "1", n.b.id).ends(4, "password")
        expect(snapshot(n.a.home) == before, "the home changed")


def spoil(device, name, how):
    path = device.home / name
    data = path.read_bytes()
    if how == "empty":
        path.write_bytes(b"")
    elif how == "truncated":
        path.write_bytes(data[:len(data) // 2])
    elif how == "damaged":
        path.write_bytes(data[:len(data) // 2] + bytes([data[len(data) // 2] ^ 0xff]) + data[len(data) // 2 + 1:])
    elif how == "newer":
        path.write_text(json.dumps({**json.loads(data), "version": 99}))
    elif how == "gone":
        path.unlink()
    elif how == "readable by others":
        path.chmod(0o644)
    elif how == "writable by others":
        path.chmod(0o666)
    return data


def case_spoiled_files():
    names = ("device.json", "network_keys.json", "trust.cbor", "graph.cbor", "master_key.json")
    spoiled = [(name, how) for name in names for how in ("truncated", "damaged", "readable by others")]
    spoiled += [(name, "newer") for name in names if name.endswith(".json")]
    spoiled += [("network_keys.json", "empty"), ("trust.cbor", "empty"), ("device.json", "gone"), ("trust.cbor", "writable by others")]
    with Net() as n:
        know(n.a, n.b)
        whole = snapshot(n.a.home)
        wrong = []
        for name, how in spoiled:
            path = n.a.home / name
            data, mode = path.read_bytes(), path.stat().st_mode & 0o777
            spoil(n.a, name, how)
            before = snapshot(n.a.home)
            # Of those that ask for the password, one with a node of its own and one that only reads the files.
            for p in (n.a.receive("--once", "--timeout", "1"), n.a.kith("backup", n.folder / "backup")):
                status, said = p.end(), p.said()
                if status != 7 or name not in said:
                    wrong.append(f"{name} {how}: exit status {status}\n{said}")
            if snapshot(n.a.home) != before or (n.folder / "backup").exists():
                wrong.append(f"{name} {how}: the home changed")
            path.write_bytes(data)
            path.chmod(mode)
        expect(snapshot(n.a.home) == whole, "the test itself left something behind")
        if wrong:
            raise Failed("\n".join(wrong))


def case_what_the_message_says_helps():
    """Each file of the home damaged or gone, and then done as the message says."""
    with Net() as n:
        pair(n.a, n.b)
        n.b.receive().begins()
        backup = n.folder / "backup"
        n.a.kith("backup", backup).ends(0)
        history = lambda: sorted(e["id"] for e in n.a.kith("devices", "--audit").ends(0).events if e.get("event") == "record")
        n.a.kith("ping", "-c", "2", n.b.id).ends(0)
        eventually(lambda: len(history()) == 3, "b has not left its key")
        before, away = history(), n.folder / "away"
        for gone, says, moved in ((("device.json",), "move network_keys.json away, too.*restore", True),
                                  (("network_keys.json",), "bring it back with `kith restore`", False),
                                  (("graph.cbor", "device.json"), "network_keys.json is there.*restore", True)):
            for file in gone:
                (n.a.home / file).unlink()
            n.a.kith("status").ends(7, f"missing although.*{says}")
            if moved:
                n.a.kith("restore", backup).ends(7, "network_keys.json is there already")
                (n.a.home / "network_keys.json").rename(away)
            n.a.kith("restore", backup).ends(0)
            n.a.kith("ping", "-c", "2", n.b.id).ends(0)
            expect(history() == before, f"after {gone}: {history()}")
        for file, says, moved in (("device.json", "restore", ("device.json", "network_keys.json")),
                                  ("network_keys.json", "restore", ("network_keys.json",)),
                                  ("graph.cbor", "comes back", ("graph.cbor",)),
                                  ("trust.cbor", "at once", ("trust.cbor",)),
                                  ("master_key.json", "makes it again", ("master_key.json",))):
            path = n.a.home / file
            path.write_bytes(path.read_bytes()[:20])
            n.a.kith("devices" if file == "trust.cbor" else "status").ends(7, f"{file} is damaged.*move it.*{says}")
            for name in moved:
                (n.a.home / name).rename(away)
            if says == "restore":
                n.a.kith("restore", backup).ends(0)
            n.a.kith("ping", "-c", "2", n.b.id).ends(0)
            status = n.a.kith("status").ends(0).event("status")
            if status["id"] != n.a.id or history() != before or not status["recovery"]["exists"]:
                raise Failed(f"after {file}: {status}, {history()}")


def case_spoiled_cache_harms_nothing():
    with Net() as n:
        know(n.a, n.b)
        for d in (n.a, n.b):
            (d.home / "seen.cbor").write_bytes(b"nonsense")
        receiver = n.b.receive("--once")
        n.a.send(n.b, random_file(n.folder / "file", 1000)).ends(0)
        receiver.ends(0)


def case_homes_that_cannot_be_used():
    """Exit status 7, a sentence, and nothing changed: a full disk, a read-only one, another user's home, what is no folder."""
    with Net() as n:
        know(n.a, n.b)
        disk = n.folder / "disk"
        n.small_disk(disk, "256k")
        home, new = disk / "home", disk / "new"
        shutil.copytree(n.a.home, home)

        def refused(says, *commands):
            before = snapshot(home)
            for words in commands:
                n.a.kith("--home", *words, "--timeout", "60", env={"XDG_RUNTIME_DIR": ""}).ends(7, says)
                expect(snapshot(home) == before, f"{words} changed the home")

        def stuck(result):
            """Nor does the doctor call such a home good."""
            doctor = n.a.kith("--home", home, "doctor", "--no-lan").ends(1)
            doctor.event("finding", where=lambda e: (e["check"], e["state"], e.get("result")) == ("home", "bad", result))
            doctor.event("finding", where=lambda e: e["check"] != "home")  # and looks at the network

        with open(disk / "filler", "wb", buffering=0) as filler:
            with contextlib.suppress(OSError):
                while filler.write(bytes(4096)):
                    pass
        refused("no space", (home, "rename", n.b.id, "other"), (home, "passwd", "--new-password-file", n.a.password),
                (home, "permit", n.b.id, "file", "deny"), (home, "revoke", "--yes", n.b.id), (new, "init"))
        if not os.path.isdir(f"/run/user/{os.geteuid()}"):  # else its socket is there
            refused("no space", (home, "up", "--dir", n.a.inbox))
        stuck("full")
        (disk / "filler").unlink()
        n.a.kith("--home", new, "init").ends(0)
        if subprocess.run(["mount", "-o", "remount,ro", disk], check=False).returncode == 0:
            refused("read-only", (home, "rename", n.b.id, "other"), (home, "ping", n.b.id), (home, "pair", "--yes"),
                    (home, "receive", "--once"), (disk / "third", "init"))
            n.a.kith("--home", home, "devices").ends(0)
            stuck("read-only")
            n.a.kith("backup", disk / "backup").ends(7, "read-only: choose another place")
        link, file = n.folder / "link", n.folder / "file"
        link.symlink_to(n.folder / "nowhere")
        file.write_text("mine")
        for place in (link, link / "below", file, file / "below"):
            n.a.kith("--home", place, "init").ends(7, "is not a folder")
        expect(link.is_symlink() and file.read_text() == "mine", "changed what is no folder")
        real = n.folder / "real"
        real.symlink_to(n.a.home)
        n.a.kith("--home", real, "rename", n.b.id, "other").ends(0)
        expect(n.a.devices()[n.b.id]["name"] == "other", "another home")


def case_another_user_and_an_odd_umask():
    if not shutil.which("setpriv"):
        raise Skipped("there is no `setpriv` here")
    nobody = 65534
    with Net() as n:
        know(n.a, n.b)
        n.folder.chmod(0o755)
        theirs = n.folder / "theirs"
        theirs.mkdir()
        os.chown(theirs, nobody, nobody)
        n.a.password.chmod(0o644)

        def as_nobody(*words, umask="022"):
            return n.a.run("setpriv", f"--reuid={nobody}", f"--regid={nobody}", "--clear-groups", "sh", "-c",
                           f'umask {umask}; exec "$@"', "sh", KITH, "--json", *words, cwd=theirs,
                           env={"KITH_PASSWORD_FILE": str(n.a.password), "XDG_RUNTIME_DIR": "", "HOME": str(theirs)})
        if as_nobody("--version").end():
            raise Skipped("another user cannot run the program where it is")
        before = snapshot(n.a.home)
        for words in (["status"], ["devices"], ["init"], ["rename", n.b.id, "x"], ["ping", n.b.id], ["receive"], ["up", "--dir", theirs],
                      ["down"], ["inbox"]):
            as_nobody("--home", n.a.home, *words).ends(7, "no permission.*chown")
        expect(snapshot(n.a.home) == before, "another user changed the home")
        home = theirs / "home"
        as_nobody("--home", home, "init", umask="777").ends(0)
        expect(home.stat().st_mode & 0o777 == 0o700, f"{home.stat().st_mode:o}")
        expect({p.stat().st_mode & 0o777 for p in home.iterdir()} == {0o600}, "modes of the files")
        as_nobody("--home", home, "passwd", "--new-password-file", n.a.password, umask="777").ends(0)
        as_nobody("--home", home, "status", umask="0").ends(0)


def case_log_lines_say_who():
    with Net() as n:
        know(n.a, n.b)
        receiver = n.b.receive("--once", env={"KITH_LOG": "debug"})
        sender = n.a.send(n.b, random_file(n.folder / "file", 1000), env={"KITH_LOG": "debug"}).ends(0)
        receiver.ends(0)
        for p, other in ((sender, n.b), (receiver, n.a)):
            lines = [e for e in p.errors if e.startswith(("debug: ", "info: "))]
            expect(lines and all(re.match(r"\w+: trace=[0-9a-f]{16} device=(-|[0-9a-f]{16}) conn=(-|\d+) ", e) for e in lines), p.said())
            expect(any(f"device={other.fingerprint[:16]} conn=" in e for e in lines), p.said())
            expect(len({e.split()[1] for e in lines}) == 1, "one trace for one node\n" + p.said())


def case_several_processes_with_one_home():
    with Net() as n:
        know(n.a, n.b)
        file = random_file(n.folder / "file", 30_000_000)
        receivers = n.a.receive(), n.b.receive()
        ping = n.b.kith("ping", "-c", "3", n.a.id)
        renames = [n.b.kith("rename", n.a.id, f"new-{i}") for i in range(5)]
        for r in renames:
            r.ends(0)
        n.a.send(n.b, file).ends(0)
        n.b.send(n.a, file).ends(0)
        ping.ends(0)
        expect(ping.count("pong") == 3 or ping.count("ping") == 3, ping.said())
        expect(same(file, n.b.inbox / "file") and same(file, n.a.inbox / "file"), "the file differs")
        names = {d["name"] for d in n.b.devices().values()}
        expect(len(names) == 1 and names.pop().startswith("new-"), f"called {names}")
        expect(all(r.running() for r in receivers), "a receiver ended")


def case_revoked_device_is_refused():
    with Net() as n:
        know(n.a, n.b)
        file = random_file(n.folder / "file", 1000)
        receiver = n.b.receive()  # runs all the time
        n.a.send(n.b, file).ends(0)
        n.b.kith("forget", n.a.id).ends(1, "kith revoke")
        n.b.kith("revoke", "--yes", "--why", "sold", n.a.id).ends(0)
        expect(not n.b.devices(), "still listed")
        n.a.send(n.b, copy(file, "second")).ends(4, "this device was revoked by device-b on 20")
        n.a.kith("ping", "-c", "1", n.b.id).ends(4, ": sold")
        expect(receiver.running(), receiver.said())
        receiver.kill()
        n.b.receive()
        n.a.send(n.b, copy(file, "third")).ends(4, "this device was revoked")
        expect([p.name for p in n.b.inbox.iterdir()] == ["file"], f"received {list(n.b.inbox.iterdir())}")


def case_revoked_in_the_middle():
    """A connection that stands when its device is revoked ends at once."""
    with Net() as n:
        know(n.a, n.b)
        n.slow(40)
        big = random_file(n.folder / "big", 50_000_000)
        receiver = n.b.receive()
        sender = n.a.send(n.b, big)
        sender.event("progress", where=lambda e: e["bytes"] > 0)
        n.b.kith("revoke", "--yes", n.a.id).ends(0)
        sender.ends(4, "revoked")
        said = receiver.event("failed")["message"]
        expect(said == "the sender is revoked", f"who revoked it is told {said!r}")  # and not that it is itself
        n.a.send(n.b, copy(big, "second")).ends(4)
        expect(not (n.b.inbox / "second").exists(), "it was received")
