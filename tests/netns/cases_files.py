"""Files: every size and name, conflicts, disks that are full, who may send what."""
import os
import shutil
import socket
import subprocess
import time

from cases_pairing import expect
from netns import Failed, KITH, Net, QUESTION, Skipped, copy, eventually, know, pair, random_file, same


def check_hash(file, said):
    if shutil.which("b3sum"):
        done = subprocess.run(["b3sum", "--no-names", "--", file], capture_output=True, text=True, check=True)
        expect(done.stdout.strip() == said, f"BLAKE3 is {done.stdout.strip()}, `kith` said {said}")


def transfer(n, file, *options, name=None):
    """Send one file to a receiver that runs; what both sides say must agree."""
    after = len(n.receiver.events)
    sender = n.a.send(n.b, *options, file).ends(0)
    got = n.receiver.event("file", after=after)
    placed = n.b.inbox / (name or got["name"])
    expect(same(file, placed), f"{placed} differs from {file}")
    expect(got["size"] == os.path.getsize(file), f"size {got}")
    check_hash(placed, got["hash"])
    return sender, got, placed


def case_sizes_modes_times():
    with Net() as n:
        know(n.a, n.b)
        n.receiver = n.b.receive()
        for size in (0, 1, 65_537, 1 << 20, (1 << 20) + 1, 300_000_000):
            file = random_file(n.folder / f"f{size}", size)
            os.utime(file, (1_000_000_000, 1_234_567_890.5))
            file.chmod(0o755 if size == 1 else 0o640)
            sender, _, placed = transfer(n, file)
            start, done = sender.event("start"), sender.event("done")
            expect(start["files"] == done["files"] == 1 and start["bytes"] == done["bytes"] == size, f"{start} {done}")
            expect(done["path"] in (("udp", "tcp") if size > 1 << 20 else ("udp",)) and done["seconds"] >= 0, f"{done}")
            expect(placed.stat().st_mtime == 1_234_567_890.5, f"time {placed.stat().st_mtime}")
            mode = placed.stat().st_mode & 0o777
            expect(bool(mode & 0o100) == (size == 1) and not mode & 0o022, f"mode {mode:o} of {placed.name}")
        progress = [e for e in sender.events if e["event"] == "progress"]
        expect(progress, "300 MB without any progress")
        for e in progress:
            expect(e["total"] == 300_000_000 and e["bytes"] <= e["total"], f"{e}")
            expect(e["path"] in ("udp", done["path"]) and e["scope"] == "lan", f"{e}")  # what is slow to begin goes over to TCP
        expect([e["bytes"] for e in progress] == sorted(e["bytes"] for e in progress), "progress goes back")
        for kind in ("start", "file", "done"):
            expect(n.receiver.count(kind) == 6, f"{n.receiver.count(kind)} events {kind}, not 6\n{n.receiver.said()}")
        expect(not n.b.partial_files(), f"{n.b.partial_files()}")


def case_names():
    names = ["new\nline", "-n", "--help", "\u00fcn\u00efc\u00f6de \u2014 \u65e5\u672c", "x" * 255, "esc\x1b[31mred", " lead and trail ",
             "a\\b", "%s%n"]
    with Net() as n:
        know(n.a, n.b)
        n.receiver = n.b.receive()
        source = n.folder / "source"
        source.mkdir()
        for i, name in enumerate(names):
            file = random_file(source / name, 100 + i)
            _, got, placed = transfer(n, file)
            expect(placed.parent == n.b.inbox, f"{placed}")
            expect(got["name"] == name or "\n" in name or "\x1b" in name, f"{name!r} became {got['name']!r}")
        # Typed as a person would, from inside the folder: a name that looks like an option needs --.
        n.a.kith("send", "--to", n.b.id, "--", "-n", cwd=source).ends(0)
        expect(not n.b.partial_files(), f"{n.b.partial_files()}")


def case_control_characters_never_reach_the_terminal():
    with Net() as n:
        know(n.a, n.b)
        receiver = n.b.receive("--once", json=False)
        file = random_file(n.folder / "evil\x1b]0;owned\x07\nname", 10)
        n.a.send(n.b, file, json=False).ends(0)
        receiver.ends(0)
        expect("\x1b" not in receiver.said() and "\x07" not in receiver.said(), receiver.said())


def case_symbolic_link():
    with Net() as n:
        know(n.a, n.b)
        target = random_file(n.folder / "target", 5000)
        link = n.folder / "link"
        link.symlink_to(target)
        # One that was there under the name, to a place outside, is not written through.
        outside = n.folder / "outside"
        outside.write_text("mine")
        (n.b.inbox / "file").symlink_to(outside)
        receiver = n.b.receive("--conflict", "overwrite")
        n.a.send(n.b, copy(target, "file")).ends(0)
        receiver.event("file")
        expect(outside.read_text() == "mine", "written through a link")
        expect(not (n.b.inbox / "file").is_symlink() and same(target, n.b.inbox / "file"), "not replaced")
        sender = n.a.send(n.b, link)
        status = sender.end()
        if status == 0:
            expect(same(target, n.b.inbox / "link"), "another file than the link's")
        else:
            expect(status in (1, 2, 7), f"exit status {status}\n{sender.said()}")


def case_conflicts():
    with Net() as n:
        know(n.a, n.b)
        one, two = random_file(n.folder / "one", 1000), random_file(n.folder / "two", 2000)

        def send(file, *options):
            receiver = n.b.receive("--once", *options)
            n.a.send(n.b, copy(file, "name.txt")).ends(0)
            receiver.ends(0)
            return receiver.event("file")

        def there():
            return sorted(p.name for p in n.b.inbox.iterdir())

        send(one)
        send(one)  # the same once more
        expect(there() == ["name.txt"], f"identical: {there()}")
        got = send(two, "--conflict", "keep")
        expect(got["name"] == "name (2).txt" and same(two, n.b.inbox / got["name"]), f"keep: {got}")
        send(two, "--conflict", "skip")
        expect(same(one, n.b.inbox / "name.txt") and len(there()) == 2, f"skip: {there()}")
        send(two, "--conflict", "overwrite")
        expect(same(two, n.b.inbox / "name.txt") and len(there()) == 2, f"overwrite: {there()}")


def case_file_that_changes_meanwhile():
    with Net() as n:
        know(n.a, n.b)
        n.slow(200)
        file = random_file(n.folder / "file", 40_000_000)
        receiver = n.b.receive()
        sender = n.a.send(n.b, file)
        sender.event("progress", where=lambda e: e["bytes"] > 0)
        with open(file, "r+b") as f:
            f.write(b"changed")
        sender.ends(1, "changed")
        expect("changed" in receiver.event("failed")["message"], receiver.said())
        eventually(lambda: not n.b.partial_files(), "partial files of no use any more are removed")
        expect(not (n.b.inbox / "file").exists(), "half of one and half of another arrived")


def case_no_file():
    with Net() as n:
        know(n.a, n.b)
        n.a.send(n.b, n.folder / "nothing").ends(7, "nothing")
        n.a.send(n.b, n.folder).ends(2, "folder")
        n.a.kith("send", "--to", "nobody", random_file(n.folder / "file", 1)).ends(3)
        n.b.kith("receive", "--dir", n.folder / "nowhere", "--once").ends(7, "nowhere")


def case_what_is_no_file():
    """Nothing is opened that would hang, nothing arrives that is not the whole of it."""
    with Net() as n:
        know(n.a, n.b)
        receiver = n.b.receive()
        receiver.begins()
        pipe, local, nowhere, loop = (n.folder / name for name in ("pipe", "socket", "nowhere", "loop"))
        os.mkfifo(pipe)
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(str(local))
        nowhere.symlink_to("nothing")
        loop.symlink_to("loop")
        for what, status, says in ((pipe, 2, "not a regular file"), (local, 2, "not a regular file"), ("/dev/zero", 2, "not a regular file"),
                                   (nowhere, 7, "no such file"), (loop, 7, "no such file"), (n.folder / ("x" * 300), 7, "no such file"),
                                   ("/proc/self/status", 1, "changed")):  # of size 0, but not empty
            n.a.send(n.b, what).ends(status, says)
        expect(receiver.count("file") == 0 and not list(n.b.inbox.iterdir()), receiver.said())


def case_full_disk_then_room():
    with Net() as n:
        know(n.a, n.b)
        disk = n.b.folder / "disk"
        n.small_disk(disk, "20m")
        file = random_file(n.folder / "file", 40_000_000)
        receiver = n.b.kith("receive", "--dir", disk)
        n.a.send(n.b, file).ends(1, "store|space")
        receiver.event("failed", where=lambda e: e["code"] == 7 and "space" in e["message"])
        expect(receiver.running(), receiver.said())
        once = n.b.kith("receive", "--dir", disk, "--once")
        receiver.kill()
        n.a.send(n.b, file).ends(1, "store|space")
        once.ends(7, "space")
        if subprocess.run(["mount", "-o", "remount,size=100m", disk], check=False).returncode:
            raise Skipped("the small disk cannot be made larger here")
        once = n.b.kith("receive", "--dir", disk, "--once")
        n.a.send(n.b, file).ends(0)
        once.ends(0)
        expect(same(file, disk / "file"), "the file differs")
        expect([p.name for p in disk.iterdir()] == ["file"], f"{list(disk.iterdir())}")


def case_disk_filled_by_others():

    with Net() as n:
        know(n.a, n.b)
        disk = n.b.folder / "disk"
        n.small_disk(disk, "60m")
        random_file(disk / "other", 40_000_000)
        file = random_file(n.folder / "file", 40_000_000)
        n.b.kith("receive", "--dir", disk)
        n.a.send(n.b, file).ends(1, "store|space")
        (disk / "other").unlink()
        n.a.send(n.b, file).ends(0)
        expect(same(file, disk / "file"), "the file differs")


def case_no_permission():
    nobody = 65534
    with Net() as n:
        if not shutil.which("setpriv"):
            raise Skipped("there is no `setpriv` here")
        know(n.a, n.b)
        n.folder.chmod(0o755)
        for p in [n.b.folder, *n.b.folder.rglob("*")]:
            os.chown(p, nobody, nobody)
        n.b.inbox.chmod(0o555)
        as_nobody = ["setpriv", f"--reuid={nobody}", f"--regid={nobody}", "--clear-groups"]
        env = {"KITH_HOME": str(n.b.home), "KITH_PASSWORD_FILE": str(n.b.password)}
        if n.b.run(*as_nobody, KITH, "--version").end():
            raise Skipped("another user cannot run the program where it is")
        receiver = n.b.run(*as_nobody, KITH, "--json", "receive", "--dir", n.b.inbox, env=env)
        file = random_file(n.folder / "file", 1000)
        if receiver.begins():  # either it says so at the beginning, or when a file comes
            n.a.send(n.b, file).ends(1, "store|permission")
            receiver.event("failed", where=lambda e: e["code"] == 7)
            n.b.inbox.chmod(0o755)  # its owner relents
            n.a.send(n.b, file).ends(0)
        else:
            receiver.ends(7, "written|permission")


def case_read_only_disk():
    with Net() as n:
        know(n.a, n.b)
        disk = n.b.folder / "disk"
        n.small_disk(disk, "20m")
        if subprocess.run(["mount", "-o", "remount,ro", disk], check=False).returncode:
            raise Skipped("a read-only disk cannot be made here")
        receiver = n.b.kith("receive", "--dir", disk, "--once")
        if receiver.begins():
            n.a.send(n.b, random_file(n.folder / "file", 1000)).ends(1, "store")
        receiver.ends(7)


def case_several_senders_at_once():
    with Net("abc") as n:
        know(n.a, n.b)
        pair(n.b, n.c)
        files = [random_file(n.folder / f"file{i}", 20_000_000) for i in range(6)]
        receiver = n.b.receive()
        senders = [(n.a if i % 2 else n.c).send(n.b, f) for i, f in enumerate(files)]
        for s in senders:
            s.ends(0)
        for f in files:
            expect(same(f, n.b.inbox / f.name), f"{f.name} differs")
        expect(receiver.count("file") == 6, receiver.said())


def case_one_file_twice_at_once():
    with Net() as n:
        know(n.a, n.b)
        n.slow(200)
        file = random_file(n.folder / "file", 20_000_000)
        n.b.receive()
        senders = [n.a.send(n.b, file) for _ in range(2)]
        statuses = sorted(s.end() for s in senders)
        expect(statuses[0] == 0, f"exit statuses {statuses}\n" + senders[0].said() + senders[1].said())
        expect(same(file, n.b.inbox / "file"), "the file differs")
        expect(not n.b.partial_files(), f"{n.b.partial_files()}")


def case_contacts_offer_is_asked():
    with Net() as n:
        know(n.a, n.b, "--contact")
        file = random_file(n.folder / "file", 1000)
        receiver = n.b.receive(terminal=True)
        sender = n.a.send(n.b, file)
        at = receiver.shows(n.a.name)
        receiver.shows("file")
        at = receiver.shows(QUESTION)
        expect(not (n.b.inbox / "file").exists() and sender.running(), "not waited for the answer")
        receiver.types("n\n")
        sender.ends(4, "declined")
        sender = n.a.send(n.b, file)
        at = receiver.shows(QUESTION, after=at)
        receiver.types("y\n")
        sender.ends(0)
        expect(same(file, n.b.inbox / "file"), "the file differs")


def case_contacts_are_accepted_with_yes():
    with Net() as n:
        know(n.a, n.b, "--contact")
        receiver = n.b.receive("--yes", "--once")
        n.a.send(n.b, random_file(n.folder / "file", 1000)).ends(0)
        receiver.ends(0)


def case_only_from_one_device():
    with Net("abc") as n:
        know(n.a, n.b)
        pair(n.b, n.c)
        file = random_file(n.folder / "file", 1000)
        receiver = n.b.receive("--from", n.c.id, "--once")
        n.a.send(n.b, file).ends(4)
        expect(receiver.running(), "ended without a transfer")
        n.c.send(n.b, copy(file, "other")).ends(0)
        receiver.ends(0)
        expect([p.name for p in n.b.inbox.iterdir()] == ["other"], f"{list(n.b.inbox.iterdir())}")


def case_memory():
    """At most 12 MiB at either end of a gigabyte, and 5 of bytes that are under way: four chunks, and what the heap holds of packets where
    the machine is busy; what unlocking took before does not count."""
    limit_kib = (12 + 5) * 1024
    with Net() as n:
        know(n.a, n.b)
        file = n.folder / "file"
        random_file(file, 50_000_000)
        with open(file, "ab") as f:
            data = file.read_bytes()
            while f.tell() < 1_000_000_000:
                f.write(data)
        receiver = n.b.receive("--once")
        sender = n.a.send(n.b, file)
        peaks = {}
        try:
            for p in (sender, receiver):
                p.event("progress")
                p.reset_peak()
        except PermissionError:
            raise Skipped("/proc/PID/clear_refs cannot be written here") from None
        while sender.running():
            for p in (sender, receiver):
                try:
                    peaks[p.name] = p.memory("VmHWM") or peaks[p.name]
                except (OSError, KeyError):
                    pass  # it has just ended
            time.sleep(0.02)
        sender.ends(0)
        receiver.ends(0)
        expect(same(file, n.b.inbox / "file"), "the file differs")
        expect(len(peaks) == 2 and max(peaks.values()) <= limit_kib, f"peak RSS, KiB: {peaks}")


case_memory.alone = True
