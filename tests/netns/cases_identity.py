"""An identity that survives: forgotten passwords, lost devices, backups that cannot be used."""
import json
import shutil

from cases_pairing import expect
from netns import Net, eventually, pair, random_file, same, snapshot

LINE_MBIT = 40
FILE_SIZE = 24 << 20


def write(device, name, text):
    path = device.folder / name
    path.write_text(text + "\n")
    path.chmod(0o600)
    return path


def backup(device, name="backup"):
    path = device.folder / name
    device.kith("backup", path).ends(0)
    expect(path.stat().st_mode & 0o777 == 0o600, "others can read the backup")
    return path


def lose(device):
    shutil.rmtree(device.home)


def case_a_lost_device_comes_back():
    """In the middle of a file its home is gone; restored, it takes the rest, and the sender never learnt."""
    with Net() as n:
        pair(n.a, n.b)
        saved = backup(n.a)
        known = n.b.devices()
        n.slow(LINE_MBIT)
        path = random_file(n.b.folder / "film", FILE_SIZE)
        receiver = n.a.receive("--once")
        receiver.begins()
        sender = n.b.send(n.a, path)
        receiver.event("progress", where=lambda e: e["bytes"] > FILE_SIZE // 4)
        receiver.kill()
        lose(n.a)
        restored = n.a.kith("restore", saved)
        restored.ends(0)
        expect(restored.event("restored")["fingerprint"] == n.a.fingerprint, "another identity")
        again = n.a.receive("--once")
        again.begins()
        sender.ends(0)
        again.ends(0)
        expect(same(n.a.inbox / "film", path), "another file")
        now = n.b.devices()
        expect({i: d["fingerprint"] for i, d in now.items()} == {i: d["fingerprint"] for i, d in known.items()}, "b knows others")
        expect(n.a.devices().keys() == {n.b.id}, "a has forgotten b")


case_a_lost_device_comes_back.waits = True


def case_a_forgotten_password():
    with Net() as n:
        pair(n.a, n.b)
        expect(len(n.a.code.split()) == 24, "no code")
        code, fresh = write(n.a, "recovery", n.a.code), write(n.a, "new", "a new password")
        receiver = n.a.receive("--once")
        receiver.begins()
        before = snapshot(n.a.home)
        wrong = write(n.a, "wrong", "not this one")
        n.a.kith("passwd", "--new-password-file", fresh, env={"KITH_PASSWORD_FILE": str(wrong)}).ends(4, "password")
        other = write(n.a, "other", n.b.code)
        n.a.kith("passwd", "--code-file", other, "--new-password-file", fresh).ends(4, "recovery code")
        typo = write(n.a, "typo", "abandom" + n.a.code[n.a.code.index(" "):])
        n.a.kith("passwd", "--code-file", typo, "--new-password-file", fresh).ends(4, "did you mean")
        expect(snapshot(n.a.home) == before, "a refused change changed the home")
        n.a.kith("passwd", "--recovery", "--code-file", code, "--new-password-file", fresh).ends(0)
        changed = {name for name, what in snapshot(n.a.home).items() if before.get(name) != what}
        expect(changed == {"network_keys.json"}, f"{changed} changed")
        path = random_file(n.b.folder / "note", 100000)
        n.b.send(n.a, path).ends(0)  # what ran goes on
        receiver.ends(0)
        n.a.kith("ping", "-c", "1", n.b.id).ends(4, "password")
        n.a.password.write_text("a new password\n")
        listener = n.b.receive("--once")
        listener.begins()
        n.a.kith("ping", "-c", "1", n.b.id).ends(0)


def case_a_backup_that_cannot_be_used():
    """Nothing that is wrong with it leaves anything behind, and each says what it is."""
    with Net() as n:
        pair(n.a, n.b)
        saved = backup(n.a)
        whole = saved.read_bytes()
        before = snapshot(n.a.home)
        n.a.kith("restore", saved).ends(7, "identity")
        n.a.kith("backup", saved).ends(7, "overwrites nothing")
        expect(saved.read_bytes() == whole and snapshot(n.a.home) == before, "something was changed")
        lose(n.a)
        middle = len(whole) // 2
        spoiled = {"cut": (whole[:middle], 7), "empty": (b"", 7), "damaged": (whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1:], 7),
                   "newer": (whole[:11] + b"\x02" + whole[12:], 7), "other": (b"%PDF-1.4" * 100, 7)}
        for name, (data, status) in spoiled.items():
            path = n.a.folder / name
            path.write_bytes(data)
            n.a.kith("restore", path).ends(status, "newer version" if name == "newer" else "cannot be restored")
            expect(not n.a.home.exists(), f"{name}: something is there")
        wrong, fresh = write(n.a, "wrong", "not this one"), write(n.a, "new", "a new password")
        n.a.kith("restore", saved, env={"KITH_PASSWORD_FILE": str(wrong)}).ends(4, "wrong password")
        n.a.kith("restore", saved, "--code-file", write(n.a, "code", n.b.code), "--new-password-file", fresh).ends(4, "recovery code")
        n.a.kith("restore", n.a.folder / "nothing").ends(7)
        expect(not n.a.home.exists(), "something is there")
        n.a.kith("restore", saved, "--code-file", write(n.a, "code", n.a.code), "--new-password-file", fresh).ends(0)
        n.a.password.write_text("a new password\n")
        status = n.a.kith("status")
        status.ends(0)
        expect(status.event("status")["fingerprint"] == n.a.fingerprint, "another identity")
        listener = n.b.receive("--once")
        listener.begins()
        n.a.kith("ping", "-c", "1", n.b.id).ends(0)


def case_a_full_disk():
    with Net() as n:
        pair(n.a, n.b)
        saved = backup(n.a)
        small = n.a.folder / "small"
        n.small_disk(small, "64k")
        filler = small / "filler"
        filler.write_bytes(bytes(64 << 10))
        n.a.kith("backup", small / "backup").ends(7, "no space")
        n.a.kith("--home", small / "home", "restore", saved).ends(7, "no space")
        left = [p.name for p in small.rglob("*") if p.is_file()]
        expect(set(left) <= {"filler", "kith.lock"}, f"{left} are left")
        filler.unlink()
        n.a.kith("backup", small / "backup").ends(0)
        n.a.kith("--home", small / "home", "restore", saved).ends(0)
        n.a.kith("--home", small / "home", "status").ends(0)


def case_a_lost_device_from_anothers_backup():
    """The laptop is gone, and it never made a backup: the desktop's has its key, for whoever has the recovery code."""
    with Net() as n:
        pair(n.a, n.b)  # b enters a's network, and deposits its key for a's code
        host = n.a.receive()
        host.begins()
        n.b.kith("ping", "-c", "1", n.a.id).ends(0)
        eventually(lambda: json.loads((n.a.home / "master_key.json").read_text())["device_private_keys"].keys() == {n.a.id, n.b.id},
                   "b's key is deposited at a")
        saved = backup(n.a)
        lose(n.b)
        fresh, code = write(n.b, "new", "a new password"), write(n.b, "code", n.a.code)
        n.b.kith("restore", saved, "--device", n.b.name, "--code-file", write(n.b, "wrong", n.b.code), "--new-password-file", fresh).ends(4)
        restored = n.b.kith("restore", saved, "--device", n.b.name, "--code-file", code, "--new-password-file", fresh)
        restored.ends(0)
        expect(restored.event("restored")["fingerprint"] == n.b.fingerprint, "another identity")
        n.b.password.write_text("a new password\n")
        n.b.kith("ping", "-c", "1", n.a.id).ends(0)
        path = random_file(n.b.folder / "note", 100000)
        n.b.send(n.a, path).ends(0)
        eventually(lambda: same(n.a.inbox / "note", path), "the file arrives")


def case_another_recovery_code():
    with Net() as n:
        pair(n.a, n.b)
        old = write(n.a, "old", n.a.code)
        p = n.a.kith("recovery", "new", "--code-file", old)
        p.ends(0)
        made = p.event("recovery_code")
        expect(made["in_force"], "the old code was given")
        fresh = write(n.a, "fresh", "a new password")
        n.a.kith("passwd", "--code-file", old, "--new-password-file", fresh).ends(4, "in force")
        host = n.a.receive()
        host.begins()
        n.b.kith("ping", "-c", "4", n.a.id).ends(0)  # long enough to tell each other
        keys = lambda d: json.loads((d.home / "master_key.json").read_text())
        eventually(lambda: keys(n.b)["recovery"] == keys(n.a)["recovery"] and len(keys(n.a)["device_private_keys"]) == 2,
                   "b hears of it, and deposits its key anew")
        n.b.kith("passwd", "--code-file", write(n.b, "code", made["recovery_code"]), "--new-password-file",
                 write(n.b, "fresh", "b's new password")).ends(0)
        # Lost: the other has to agree.
        p = n.b.kith("recovery", "new", "--lost", env={"KITH_PASSWORD_FILE": str(n.b.folder / "fresh")})
        p.ends(0)
        expect(not p.event("recovery_code")["in_force"], "nobody was asked")


def case_one_identity_on_two_machines():
    """A copied home: the one that runs is told."""
    with Net("abc") as n:
        pair(n.a, n.b)
        host = n.a.kith("up", "--dir", n.a.inbox)
        host.event("ready")
        expect(n.a.kith("status").ends(0).event("status")["twin"] is None, "a twin before there is one")
        shutil.copytree(n.a.home, n.c.home, ignore=shutil.ignore_patterns("daemon.sock*"))
        copy = n.c.receive()
        copy.event("twin", where=lambda e: "77" in e["address"])
        host.event("twin")
        expect(n.a.kith("status").ends(0).event("status")["twin"], "not in the status")
        expect((host.count("twin"), copy.count("twin")) == (1, 1), "told more than once")
        copy.interrupt()
        copy.ends(130)
        eventually(lambda: n.a.kith("status").ends(0).event("status")["twin"] is None, "a twin after it has gone")


def case_new_recovery_code_is_told_at_once():
    """Who makes a new code destroys the old one: devices that are there are opened by the new one when the command ends."""
    with Net() as n:
        pair(n.a, n.b)
        n.b.receive().begins()
        old = n.folder / "old"
        old.write_text(n.a.code + "\n")
        told = n.a.kith("recovery", "new", "--code-file", old).ends(0).event("told")
        expect((told["devices"], told["of"]) == (1, 1), f"{told}")
        opens = lambda: n.a.kith("recovery").ends(0).event("recovery")["devices"]
        eventually(lambda: opens() == 2, "the new code opens the key of the device that was told")
