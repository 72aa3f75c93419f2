"""`kith up` and the commands that are requests to it: they behave as without, share the node, and outlive nothing."""
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

import cases_files
import cases_pairing
import cases_stop
import netns
from cases_pairing import expect
from netns import KITH, PASSWORD, QUESTION, Failed, Net, Skipped, copy, eventually, join, know, pair, random_file, same

NOBODY = 65534
PROTOCOL = 1


def up(device, *options, **more):
    """`kith up`, ready; with a folder of its own."""
    folder = device.folder / "up"
    folder.mkdir(exist_ok=True)
    p = device.kith("up", "--dir", folder, *options, **more)
    p.event("ready")
    return p


def without_password(device):
    """From here on nobody can unlock this device: what works works through its daemon."""
    device.password.write_text("not it\n")


def socket_of(device):
    """Where its daemon listens: there is no runtime folder in these tests."""
    return str(device.home / "daemon.sock")


def case_commands_are_requests():
    """Everything, with daemons on both sides and no password for anybody else."""
    with Net() as n:
        for d in (n.a, n.b):
            d.init()
        daemons = [up(n.a), up(n.b)]
        for d in (n.a, n.b):
            without_password(d)
        p = n.a.kith("pair", "--yes")
        j = join(n.b, p.event("code")["words"], "--yes")
        j.ends(0)
        p.ends(0)
        pong = n.a.kith("ping", "-c", "1", n.b.id).ends(0).event("pong")
        expect(pong["path"] == "udp" and pong["scope"] == "lan", f"{pong}")
        file = random_file(n.folder / "file", 3_000_000)
        done = n.a.send(n.b, file).ends(0).event("done")
        expect(done["bytes"] == 3_000_000, f"{done}")
        got = daemons[1].event("file")
        expect(same(file, n.b.folder / "up" / "file") and got["file"] == str(n.b.folder / "up" / "file"), f"{got}")
        seen = n.a.devices()[n.b.id]
        expect(seen["online"] and seen["rtt_ms"] and seen["path"] in ("udp", "tcp"), f"{seen}")
        status = n.a.kith("status").ends(0).event("status")
        expect(status["up"] and status["pid"] == daemons[0].pid and len(status["addresses"]) >= 1, f"{status}")
        n.a.kith("doctor").event("finding", where=lambda e: e["check"] == "multicast")
        n.a.kith("rename", n.b.id, "other").ends(0)
        n.a.kith("ping", "-c", "1", "other").ends(0)
        n.a.kith("forget", "other").ends(1, "kith revoke")
        right = n.folder / "right"
        right.write_text(PASSWORD + "\n")
        right.chmod(0o600)
        n.a.kith("revoke", "other", "--yes", "--password-file", right).ends(0)
        n.b.kith("ping", "-c", "1", n.a.id).ends(4, "revoked by")
        for d, daemon in zip((n.a, n.b), daemons):
            d.kith("down").ends(0)
            daemon.ends(0)
            expect(not d.kith("status").ends(0).event("status")["up"], "still up")
            expect(not os.path.exists(socket_of(d)), "the socket stays")
        n.a.kith("ping", "-c", "1", n.b.id).ends(3)  # not known any more
        n.a.kith("pair", "--yes").ends(4, "password")


def case_words_do_not_stay():
    """A code went through both daemons, and is in the memory of neither afterwards."""
    with Net() as n:
        for d in (n.a, n.b):
            d.init()
        daemons = [up(n.a), up(n.b)]
        p = n.a.kith("pair", "--yes")
        words = p.event("code")["words"]
        expect(daemons[0].remembers(words), "it is not looked for where it is")  # now it waits for who knows it
        join(n.b, words, "--yes").ends(0)
        p.ends(0)
        for daemon in daemons:
            expect(not daemon.remembers(words), f"{daemon.name} still has the words")


def case_several_at_once_and_paths():
    """Two commands at a time, from wherever they are called."""
    with Net() as n:
        pair(n.a, n.b)
        up(n.a)
        n.slow(200)
        files = [random_file(n.folder / f"file{i}", 10_000_000) for i in range(2)]
        there = n.b.folder / "there"
        there.mkdir()
        daemon = up(n.b)
        receiver = n.b.kith("receive", "--dir", "there", cwd=n.b.folder)
        receiver.event("ready")
        senders = [n.a.send(n.b, os.path.join("..", n.folder.name, f.name), cwd=n.folder) for f in files]
        ping = n.a.kith("ping", "-c", "2", n.b.id)
        for s in senders:
            s.ends(0)
        ping.ends(0)
        for f in files:
            expect(same(f, there / f.name), f"{f.name} differs")
            receiver.event("file", where=lambda e, f=f: e["name"] == f.name and e["file"] == str(there / f.name))
        expect(daemon.count("file") == 0, daemon.said())
        n.a.send(n.b, n.folder / "nothing").ends(7, "nothing")
        # When it ends the daemon receives again.
        receiver.interrupt()
        receiver.ends(130)
        n.a.send(n.b, copy(files[0], "again")).ends(0)
        daemon.event("file", where=lambda e: e["name"] == "again")
        expect((n.b.folder / "up" / "again").exists(), daemon.said())


def case_killed_under_a_command():
    with Net() as n:
        pair(n.a, n.b)
        n.slow(100)
        file = random_file(n.folder / "file", 40_000_000)
        n.b.receive()
        daemon = up(n.a)
        sender = n.a.send(n.b, file)
        sender.event("progress", where=lambda e: e["bytes"] > 4_000_000)
        daemon.kill()
        sender.ends(3, "kith up")
        expect(os.path.exists(socket_of(n.a)), "it was not killed")
        expect(not n.a.kith("status").ends(0).event("status")["up"], "a dead daemon is up")
        up(n.a)  # in the place of the stale socket
        start = n.a.send(n.b, file).ends(0).event("start")
        expect(start["resumed"] > 2_000_000, f"{start}")


def case_ended_under_a_command():
    with Net() as n:
        pair(n.a, n.b)
        daemon = up(n.a)
        n.b.receive()
        ping = n.a.kith("ping", "-c", "1000", n.b.id)
        ping.event("pong")  # it is the daemon's by now
        n.a.kith("down").ends(0)
        daemon.ends(0)
        ping.ends(3, "kith up")
        daemon = up(n.a)
        daemon.kill(signal.SIGTERM)
        daemon.ends(0)


def case_restart_in_the_middle():
    """The receiving daemon ends and begins again: the file goes on."""
    with Net() as n:
        pair(n.a, n.b)
        n.slow(100)
        file = random_file(n.folder / "file", 40_000_000)
        first = up(n.b)
        sender = n.a.send(n.b, file)
        first.event("progress", where=lambda e: e["bytes"] > 8_000_000)
        n.b.kith("down").ends(0)
        first.ends(0)
        expect(sender.running(), sender.said())
        second = up(n.b)
        sender.ends(0, timeout=90)
        expect(second.event("start")["resumed"] > 4_000_000, second.said())
        expect(same(file, n.b.folder / "up" / "file"), "the file differs")


case_restart_in_the_middle.long = True


def case_who_was_seen_is_known_at_once():
    """Not when `kith up` ends: it stays for weeks, and may be killed."""
    with Net() as n:
        know(n.a, n.b)
        (n.a.home / "seen.cbor").unlink()
        daemon = up(n.a)
        n.b.kith("ping", "-c", "3", n.a.id).ends(0)
        seen = lambda: n.a.devices()[n.b.id]["last_seen"]
        eventually(lambda: seen() is not None, "the device that has pinged was seen")
        daemon.kill()
        expect(seen() is not None, "it is forgotten that it was seen")


def case_second_daemon():
    with Net("a") as n:
        n.a.init()
        first = up(n.a)
        n.a.kith("up", "--dir", n.a.folder, json=False).ends(1, str(first.pid))
        expect(first.running(), first.said())
        n.a.kith("down").ends(0)
        first.ends(0)
        n.a.kith("down", json=False).ends(0, "does not run")


def case_systemd_is_told():
    """That it is ready, that its loop lives (again and again), and that it stops."""
    with Net("a") as n, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        n.a.init()
        s.bind(str(n.folder / "notify"))
        s.settimeout(netns.WAIT_S)
        daemon = up(n.a, env={"NOTIFY_SOCKET": str(n.folder / "notify"), "WATCHDOG_USEC": "300000"})
        told = [s.recv(1000).decode() for _ in range(5)]
        expect(told[0] == "READY=1" and told[1].startswith("STATUS=") and told[2:] == ["WATCHDOG=1"] * 3, f"{told}")
        daemon.kill(signal.SIGSTOP)
        n.a.kith("status", json=False).ends(6, "kill -CONT")
        daemon.kill(signal.SIGCONT)
        daemon.kill(signal.SIGTERM)
        daemon.ends(0)
        s.settimeout(1)
        try:
            while True:
                told.append(s.recv(1000).decode())
        except socket.timeout:
            pass
        expect(told[-1] == "STOPPING=1", f"{told}")


def case_inbox():
    with Net() as n:
        pair(n.a, n.b, "--contact")
        daemon = up(n.b)
        file = random_file(n.folder / "file", 1000)
        sender = n.a.send(n.b, file)
        daemon.event("offer")
        offer = n.b.kith("inbox").ends(0).event("offer")
        expect(offer["name"] == "file" and offer["bytes"] == 1000 and offer["device"]["id"] == n.a.id, f"{offer}")
        expect(sender.running() and not (n.b.folder / "up" / "file").exists(), "not waited for the answer")
        n.b.kith("inbox", "accept", "99").ends(3)
        time.sleep(1)
        accepted = time.monotonic()
        n.b.kith("inbox", "accept", offer["id"]).ends(0)
        sender.ends(0)
        took, since = sender.event("done")["seconds"], time.monotonic() - accepted
        expect(took < since, f"{took} s for the file, {since} s after it was accepted: the wait for a person counted")
        expect(same(file, n.b.folder / "up" / "file"), "the file differs")
        expect(not n.b.kith("inbox").ends(0).count("offer"), "an answered offer waits")
        sender = n.a.send(n.b, copy(file, "second"))
        daemon.event("offer", where=lambda e: e["name"] == "second")
        n.b.kith("inbox", "decline").ends(0)
        sender.ends(4, "declined")
        sender = n.a.send(n.b, copy(file, "third"))
        daemon.event("offer", where=lambda e: e["name"] == "third")
        expect(n.b.kith("inbox").ends(0).count("offer") == 1, "it does not wait")
        sender.interrupt()
        sender.ends(130)
        eventually(lambda: not n.b.kith("inbox").ends(0).count("offer"), "an offer goes with its sender")
        n.b.kith("inbox", "accept").ends(3)
        # Who may be asked is asked instead; and contacts can be accepted altogether.
        receiver = n.b.receive(terminal=True)
        receiver.event("ready")
        sender = n.a.send(n.b, copy(file, "fourth"))
        receiver.shows(QUESTION)
        receiver.types("y\n")
        sender.ends(0)
        expect((n.b.inbox / "fourth").exists(), "not in the receiver's folder")
        receiver.interrupt()
        receiver.end()
        n.b.kith("down").ends(0)
        n.b.kith("inbox").ends(3, "does not run")
        up(n.b, "--accept", "contacts")
        n.a.send(n.b, copy(file, "fifth")).ends(0)


def as_user(*groups):
    listed = [f"--groups={','.join(map(str, groups))}"] if groups else ["--clear-groups"]
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", *listed]


def case_files_that_only_the_command_may_read():
    with Net() as n:
        if not shutil.which("setpriv"):
            raise Skipped("there is no `setpriv` here")
        pair(n.a, n.b)
        n.b.receive()
        n.folder.chmod(0o755)
        for p in [n.a.folder, *n.a.folder.rglob("*")]:
            os.chown(p, NOBODY, NOBODY)
        if n.a.run(*as_user(), KITH, "--version").end():
            raise Skipped("another user cannot run the program where it is")
        file = random_file(n.folder / "file", 1000)
        os.chown(file, 0, 12345)
        file.chmod(0o640)
        env = {"KITH_HOME": str(n.a.home), "KITH_PASSWORD_FILE": str(n.a.password)}
        daemon = n.a.run(*as_user(), KITH, "--json", "up", "--dir", n.a.inbox, env=env)
        daemon.event("ready")
        n.a.run(*as_user(), KITH, "--json", "send", "--to", n.b.id, file, env=env).ends(7, "permission")
        n.a.run(*as_user(12345), KITH, "--json", "send", "--to", n.b.id, file, env=env).ends(0)
        expect(same(file, n.b.inbox / "file"), "the file differs")


# ---- strangers, and worse ----

def frame(data):
    return struct.pack(">I", len(data)) + data


def head(major, n):
    if n < 24:
        return bytes([major << 5 | n])
    return bytes([major << 5 | 24, n]) if n < 256 else bytes([major << 5 | 25]) + struct.pack(">H", n)


def encode(message):
    """Of unsigned keys: numbers, booleans and byte strings."""
    out = head(5, len(message))
    for key, value in sorted(message.items()):
        out += head(0, key)
        if value is True:
            out += b"\xf5"
        elif isinstance(value, bytes):
            out += head(2, len(value)) + value
        else:
            out += head(0, value)
    return out


def hello(protocol=PROTOCOL):
    return frame(encode({0: 1, 3: b"0.0.0", 10: protocol}))


def knock(path, data=b""):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    while True:
        try:
            s.connect(path)
            break
        except BlockingIOError:  # so many wait to be let in
            time.sleep(0.01)
    if data:
        s.sendall(data)
    return s


def take(s, size):
    got = b""
    while len(got) < size:
        try:
            more = s.recv(size - len(got))
        except ConnectionResetError:
            more = b""
        if not more:
            return b""
        got += more
    return got


def take_frame(s):
    """b"": it was closed."""
    size = take(s, 4)
    return take(s, struct.unpack(">I", size)[0]) if size else b""


def closed(s):
    try:
        while s.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


def case_other_user_refused():
    with Net("a") as n:
        if not shutil.which("setpriv"):
            raise Skipped("there is no `setpriv` here")
        n.a.init()
        daemon = up(n.a)
        path = socket_of(n.a)
        say = ("import socket; s = socket.socket(socket.AF_UNIX); s.connect(%r); s.settimeout(20); "
               "s.sendall(%r); print(len(s.recv(10)))" % (path, hello()))
        me = subprocess.run(["python3", "-c", say], capture_output=True, text=True)
        expect(me.stdout.strip() == "10", me.stderr)
        other = subprocess.run([*as_user(), "python3", "-c", say], capture_output=True, text=True)
        expect("PermissionError" in other.stderr, f"another user can connect: {other.stdout} {other.stderr}")
        # The kernel says who it is, even where folders let him in.
        for p in [*reversed(n.a.home.parents), n.a.home]:
            if str(p).startswith(str(n.folder)):
                p.chmod(0o755)
        os.chmod(path, 0o666)
        other = subprocess.run([*as_user(), "python3", "-c", say], capture_output=True, text=True)
        expect(other.stdout.strip() in ("0", "") and "PermissionError" not in other.stderr,
               f"{other.stdout} {other.stderr}")
        expect(daemon.running(), daemon.said())


def case_socket_of_another_user():
    """Who answers is asked of the kernel, too: nobody else gets what a command says."""
    with Net("a") as n:
        n.a.init()
        listen = ("import os, socket; s = socket.socket(socket.AF_UNIX); s.bind(%r); os.seteuid(%d); s.listen(5); "
                  "print('{\"event\": \"ready\"}', flush=True); c, _ = s.accept(); print(len(c.recv(10)), flush=True)"
                  % (socket_of(n.a), NOBODY))
        false = n.a.run("python3", "-c", listen)
        false.event("ready")
        n.a.kith("ping", "-c", "1", n.a.id, json=False).ends(3)  # no such device: the home is looked at first
        n.a.kith("status", json=False).ends(7, "another user")
        false.ends(0)
        expect(false.lines[-1] == "0", f"it was told something: {false.lines}")


def case_other_version():
    with Net("a") as n:
        n.a.init()
        daemon = up(n.a)
        s = knock(socket_of(n.a), hello(99))
        answer = take_frame(s)
        expect(answer[1:3] == b"\x00\x01" and b"\x0a\x01" in answer, f"no hello: {answer!r}")
        expect(closed(s), "it goes on")
        n.a.kith("down").ends(0)
        daemon.ends(0)
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(socket_of(n.a))
            other.listen(5)

            def answer_once():
                c, _ = other.accept()
                take_frame(c)
                c.sendall(frame(encode({0: 1, 3: b"9.9.9", 10: 99, 40: b"what is not known yet"})))
                closed(c)

            t = threading.Thread(target=answer_once, daemon=True)
            t.start()
            n.a.kith("status", json=False).ends(1, r"9\.9\.9.*restart|9\.9\.9.*anew")
            t.join(20)


def case_hostile_programs():
    with Net("a") as n:
        n.a.init()
        daemon = up(n.a)
        path = socket_of(n.a)
        bad = [b"\xff" * 100_000, frame(b""), struct.pack(">I", 1 << 31), frame(b"\xa0"), hello() + frame(os.urandom(500)),
               hello() + hello(), hello() + frame(encode({0: 64, 1: 1})), hello() + frame(encode({0: 3, 1: 1})),
               hello() + frame(encode({0: 7, 1: 1, 2: n.a.id.encode(), 4: b"x"})),  # send, without a descriptor
               hello() + 2 * frame(encode({0: 6, 1: 1})),  # one number twice
               frame(encode({0: 6, 1: 1})), hello() + frame(encode({0: 6, 1: 1 << 8, 99: 1}))]
        for data in bad:
            s = knock(path)
            try:
                s.sendall(data)
            except (BrokenPipeError, ConnectionResetError):
                pass
            expect(closed(s), f"{data[:40]!r} is answered with patience")
        # Half a message, and many who say nothing: the others are served.
        quiet = [knock(path, hello()[:7] if i % 2 else b"") for i in range(40)]
        expect(n.a.kith("status").ends(0).event("status")["up"], "not served")
        begin = time.monotonic()
        for s in quiet:
            expect(closed(s), "who says no hello may stay")
        expect(time.monotonic() - begin < 60, "for long")
        # More than may be there: the last are sent away, the first stay.
        many = []
        for _ in range(70):
            try:
                many.append(knock(path, hello()))
            except (BrokenPipeError, ConnectionResetError):
                many.append(None)
        welcome = [bool(s and take_frame(s)) for s in many]
        expect(60 <= sum(welcome) <= 64 and all(welcome[:60]), f"{sum(welcome)} of 70 are in")
        for s in many:
            if s:
                s.close()
        # One that asks without end and never reads is sent away in the end; too many operations are refused.
        eventually(lambda: n.a.kith("status").ends(0).event("status")["up"], "they have left")
        s = knock(path, hello())
        take_frame(s)
        for i in range(1, 200):
            s.sendall(frame(encode({0: 6, 1: i})))  # look
        ends = 0
        while ends < 199 - 128:
            answer = take_frame(s)
            expect(answer, "sent away for asking much")
            ends += 1
        flood = knock(path, hello())
        flood.settimeout(0.5)
        try:
            for i in range(1, 400_000):
                flood.sendall(frame(encode({0: 12, 1: 1 + i % 60_000})))  # inbox: an END for each
        except (socket.timeout, BrokenPipeError, ConnectionResetError):
            pass
        expect(n.a.kith("status").ends(0).event("status")["up"], "not served")
        expect(daemon.memory("VmRSS") < 200_000, f"{daemon.memory('VmRSS')} KiB")
        flood.close()
        s.close()
        n.a.kith("down").ends(0)
        daemon.ends(0)


# ---- cases of others, with daemons up ----

def through_daemons(case):
    """The same, but after pairing both devices have one, and nobody knows the password."""
    def run():
        netns.after_pairing.hook = lambda device: (up(device), without_password(device))
        try:
            case()
        finally:
            netns.after_pairing.hook = None
    run.long = getattr(case, "long", False)
    return run


case_files_names = through_daemons(cases_files.case_names)
case_files_conflicts = through_daemons(cases_files.case_conflicts)
case_files_contacts_offer_is_asked = through_daemons(cases_files.case_contacts_offer_is_asked)
case_files_several_senders_at_once = through_daemons(cases_files.case_several_senders_at_once)
case_stop_sender_killed = through_daemons(cases_stop.case_sender_killed)
