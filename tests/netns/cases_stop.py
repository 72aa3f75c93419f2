"""Transfers that stop: killed, interrupted, cut off, given up; and go on where they stopped."""
import signal
import time

from cases_pairing import expect
from netns import Net, know, random_file, same, sh

SIZE = 60_000_000
MEGABITS = 200  # 60 MB take two and a half seconds


class Transfer:
    """A file on its way, with a part of it there."""

    def __init__(self, n, *options):
        self.n = n
        know(n.a, n.b)
        n.slow(MEGABITS)
        self.file = random_file(n.folder / "file", SIZE)
        self.receiver, self.sender = n.b.receive(*options), n.a.send(n.b, self.file)
        self.middle()

    def middle(self, part=4):
        self.receiver.event("progress", where=lambda e: e["bytes"] > SIZE // part)
        expect(self.sender.running(), "it was through before anything could be done to it\n" + self.sender.said())

    def went_on(self, start):
        """The attempt that begins with this event did not begin at zero."""
        expect(start["bytes"] == SIZE and 0 < start["resumed"] < SIZE, f"not continued: {start}")
        expect(start["resumed"] >= SIZE // 8, f"most of what was there is gone: {start}")

    def check(self):
        expect(same(self.file, self.n.b.inbox / "file"), "the file differs")
        expect(not self.n.b.partial_files(), f"left behind: {self.n.b.partial_files()}")


def case_receiver_killed():
    with Net() as n:
        t = Transfer(n)
        t.receiver.kill()
        expect(n.b.partial_files(), "nothing was kept")
        time.sleep(1)
        receiver = n.b.receive()
        t.sender.ends(0, timeout=90)
        t.went_on([e for e in t.sender.events if e["event"] == "start"][-1])
        t.went_on(receiver.event("start"))
        t.check()


case_receiver_killed.long = True


def case_sender_killed():
    with Net() as n:
        t = Transfer(n)
        t.sender.kill()
        sender = n.a.send(n.b, t.file).ends(0)
        t.went_on(sender.event("start"))
        expect(t.receiver.running(), t.receiver.said())
        t.check()


def case_both_killed_twice():
    with Net() as n:
        t = Transfer(n)
        for part in (2, 1.4):
            t.sender.kill()
            t.receiver.kill()
            t.receiver, t.sender = n.b.receive(), n.a.send(n.b, t.file)
            t.went_on(t.sender.event("start"))
            t.middle(part)
        t.sender.ends(0)
        t.check()


def sent_bytes(n, letter):
    """What has left its interface."""
    lines = sh("nsenter", f"--net=/run/netns/kn{n.number}{letter}", "cat", "/proc/net/dev").stdout.splitlines()
    return int(next(line for line in lines if "eth0:" in line).split(":")[1].split()[8])


def case_killed_again_and_again():
    """Nothing that was checked is sent a second time, nor read again by who has it: each kill costs at most what was under way."""
    under_way = 16 << 20  # the receiver's buffers (12 MiB) and the sender's (4)
    with Net() as n:
        t = Transfer(n)
        before, kills, continued = sent_bytes(n, "a"), 0, [0]
        for kills, who in enumerate("srbsrsbr", 1):
            time.sleep(0.15)
            if who in "rb":
                t.receiver.kill()
                t.receiver = n.b.receive()
            if who in "sb":
                t.sender.kill()
                t.sender = n.a.send(n.b, t.file)
                continued.append(t.sender.event("start")["resumed"])
        t.sender.ends(0, timeout=90)
        reader = t.receiver.counts("rchar")
        expect(continued == sorted(continued) and continued[-1] > 0, f"began at {continued}")
        sent = sent_bytes(n, "a") - before
        expect(sent < SIZE * 1.1 + kills * under_way / 4, f"{sent} bytes for a file of {SIZE}, killed {kills} times")
        expect(reader < 4 << 20, f"the last receiver read {reader} bytes")
        t.check()


case_killed_again_and_again.long = True


def case_sender_interrupted():
    with Net() as n:
        t = Transfer(n)
        t.sender.interrupt()
        t.sender.ends(130, "again", timeout=10)
        sender = n.a.send(n.b, t.file).ends(0)
        t.went_on(sender.event("start"))
        expect(t.receiver.running(), t.receiver.said())
        t.check()


def case_sender_interrupted_while_one_file_is_awaited():
    with Net() as n:
        t = Transfer(n, "--once")
        t.sender.interrupt()
        t.sender.ends(130, "again", timeout=10)
        t.receiver.ends(3, "sender")


def stopped_at_the_receiver(sig, statuses):
    """Who stops receiving may start again: the sender is told, waits, and goes on by itself."""
    with Net() as n:
        t = Transfer(n)
        t.receiver.kill(sig)
        status = t.receiver.end(10)
        expect(status in statuses, f"exit status {status}\n{t.receiver.said()}")
        expect("again" in t.receiver.said(), t.receiver.said())
        t.sender.event("waiting")
        receiver = n.b.receive()
        t.sender.ends(0)
        t.went_on(receiver.event("start"))
        t.check()


def case_receiver_interrupted():
    stopped_at_the_receiver(signal.SIGINT, (130,))


def case_receiver_terminated():
    stopped_at_the_receiver(signal.SIGTERM, (130, 143))


def case_waiting_commands_interrupted():
    with Net() as n:
        know(n.a, n.b)
        file = random_file(n.folder / "file", 10)
        waiting = [n.a.kith("pair", "--yes"), n.a.receive(), n.a.kith("ping", n.b.id), n.a.send(n.b, file)]
        waiting[0].event("code")
        waiting[1].begins()
        time.sleep(1)
        for p in waiting:
            p.interrupt()
        for p in waiting:
            p.ends(130, timeout=10)


def case_cable_pulled_for_ten_seconds():
    with Net() as n:
        t = Transfer(n)
        n.link("b", False)
        time.sleep(10)
        n.link("b", True)
        t.sender.ends(0, timeout=90)
        t.check()


case_cable_pulled_for_ten_seconds.waits = True


def case_cable_pulled_for_good_with_timeout():
    with Net() as n:
        know(n.a, n.b)
        n.slow(MEGABITS)
        file = random_file(n.folder / "file", SIZE)
        receiver = n.b.receive("--timeout", "24")
        receiver.begins()
        sender = n.a.send(n.b, file, "--timeout", "20")
        receiver.event("progress", where=lambda e: e["bytes"] > 2 << 20)  # so that something is kept
        n.link("b", False)
        sender.ends(6, "again")
        receiver.ends(6)
        n.link("b", True)
        n.b.receive()
        again = n.a.send(n.b, file).ends(0)
        expect(again.event("start")["resumed"] > 0, "began at zero")
        expect(same(file, n.b.inbox / "file"), "the file differs")


case_cable_pulled_for_good_with_timeout.waits = True


def case_cable_pulled_for_good():
    """Nobody says how long to wait: the connection is given up after 30 s of silence, the device after 30 s more."""
    with Net() as n:
        t = Transfer(n, "--once")
        n.link("b", False)
        t.sender.ends(3, "went away.*again", timeout=200)
        t.receiver.ends(3, "went away")


case_cable_pulled_for_good.waits = True


def case_device_that_is_off():
    with Net() as n:
        know(n.a, n.b)
        sender = n.a.send(n.b, random_file(n.folder / "file", 10))
        hurried = n.a.send(n.b, n.folder / "file", "--timeout", "2"), n.a.kith("ping", "-c", "1", n.b.id, "--timeout", "2")
        for p in hurried:
            p.ends(6)
        sender.ends(3, "receive")


case_device_that_is_off.waits = True


def case_device_that_comes_later():
    with Net() as n:
        know(n.a, n.b)
        sender = n.a.send(n.b, random_file(n.folder / "file", 10))
        time.sleep(3)
        expect(sender.running(), sender.said())
        receiver = n.b.receive("--once")
        sender.ends(0)
        receiver.ends(0)
