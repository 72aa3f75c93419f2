"""Datagrams and TCP: each goes on without the other, whichever is blocked, refused, or dies in the middle; and those who hold
connections open without saying anything."""
import resource
import shutil

from cases_pairing import expect
from netns import Net, Skipped, beside, copy, eventually, know, pair, random_file, same

SIZE = 60_000_000
MDNS = "udp dport 5353 accept; udp sport 5353 accept"


def block(device, rule):
    """A packet filter at the device, both ways, in place of the one before."""
    if not shutil.which("nft"):
        raise Skipped("nft is not installed")
    text = "".join(f"chain {way} {{ type filter hook {way} priority 0; {MDNS}; {rule}; }}; " for way in ("input", "output"))
    p = device.run("nft", f"table inet kith; delete table inet kith; table inet kith {{ {text}}};", name="nft")
    if p.end() != 0:
        raise Skipped("packet filters are not allowed here: " + " ".join(p.errors)[:200])


def paths(process):
    """What the transfer went over, in order."""
    seen = []
    for e in process.events:
        if e["event"] in ("start", "progress", "done") and "path" in e and (not seen or seen[-1] != e["path"]):
            seen.append(e["path"])
    return seen


def case_udp_blocked():
    """Pairing, pings and files over TCP alone."""
    with Net() as n:
        block(n.b, "meta l4proto udp drop")
        pair(n.a, n.b)
        file = random_file(n.folder / "file", 5_000_000)
        receiver = n.b.receive()
        receiver.event("ready")
        sender = n.a.send(n.b, file).ends(0)
        expect(paths(sender) == ["tcp"], f"{paths(sender)}\n{sender.said()}")
        expect(same(file, n.b.inbox / "file"), "the file differs")
        small = n.a.send(n.b, random_file(n.folder / "small", 10)).ends(0)
        expect(paths(small) == ["tcp"], f"{paths(small)}")
        pong = n.a.kith("ping", "-c", "1", n.b.id).ends(0).event("pong")
        expect(pong["path"] == "tcp", f"{pong}")


def tcp_blocked(rule):
    with Net() as n:
        block(n.b, rule)
        pair(n.a, n.b)
        file = random_file(n.folder / "file", 5_000_000)
        n.b.receive().event("ready")
        sender = n.a.send(n.b, file).ends(0)
        expect(paths(sender) == ["udp"], f"{rule}: {paths(sender)}\n{sender.said()}")
        expect(same(file, n.b.inbox / "file"), "the file differs")


def case_tcp_blocked():
    beside(lambda: tcp_blocked("meta l4proto tcp drop"), lambda: tcp_blocked("meta l4proto tcp reject with tcp reset"))


def case_forced_path():
    with Net() as n:
        know(n.a, n.b)
        n.b.receive().event("ready")
        for path in ("udp", "tcp"):
            file = random_file(n.folder / path, 3_000_000)
            sender = n.a.send(n.b, file, "--path", path).ends(0)
            expect(paths(sender) == [path], f"{paths(sender)}")
            expect(same(file, n.b.inbox / path), "the file differs")
        block(n.b, "meta l4proto tcp drop")
        n.a.send(n.b, file, "--path", "tcp", "--timeout", "3").ends(6)


def in_the_middle(rule, first, then):
    """A file that goes over `first` (at once, or after a moment over the other), until the rule ends that."""
    with Net() as n:
        know(n.a, n.b)
        n.slow(100)
        file = random_file(n.folder / "file", SIZE)
        receiver = n.b.receive()
        receiver.event("ready")
        sender = n.a.send(n.b, file)
        sender.event("progress", where=lambda e: e["bytes"] > SIZE // 6 and e["path"] == first)
        before = len(paths(sender)) - 1
        block(n.b, rule)
        sender.ends(0, timeout=120)
        expect(paths(sender)[before:] == then, f"{paths(sender)}\n{sender.said()}")
        starts = [e for e in sender.events if e["event"] == "start"][before:]
        expect(all(e["resumed"] >= SIZE // 10 for e in starts[1:]), f"begun anew: {starts}")
        expect(not sender.count("waiting"), f"the device was looked for although it was there\n{sender.said()}")
        expect(same(file, n.b.inbox / "file"), "the file differs")
        expect(not n.b.partial_files(), f"{n.b.partial_files()}")


def case_tcp_reset_in_the_middle():
    in_the_middle("meta l4proto tcp reject with tcp reset", "tcp", ["tcp", "udp"])


def case_tcp_silent_in_the_middle():
    in_the_middle("meta l4proto tcp drop", "tcp", ["tcp", "udp"])


def case_udp_silent_in_the_middle():
    in_the_middle("meta l4proto udp drop", "tcp", ["tcp"])


def case_tcp_instead_of_udp_in_the_middle():
    """TCP comes in the moment in which UDP goes: the session beneath the file is lost, and TCP carries the rest."""
    with Net() as n:
        know(n.a, n.b)
        n.slow(100)
        block(n.b, "meta l4proto tcp reject with tcp reset")
        file = random_file(n.folder / "file", SIZE)
        n.b.receive().event("ready")
        sender = n.a.send(n.b, file)
        sender.event("progress", where=lambda e: e["bytes"] > SIZE // 6)
        block(n.b, "meta l4proto udp drop")
        sender.ends(0, timeout=120)
        expect(paths(sender) == ["udp", "tcp"], f"{paths(sender)}\n{sender.said()}")
        starts = [e for e in sender.events if e["event"] == "start"]
        expect(len(starts) > 1 and all(e["resumed"] >= SIZE // 10 for e in starts[1:]), f"begun anew: {starts}")
        expect(same(file, n.b.inbox / "file"), "the file differs")


def case_tcp_socket_killed_in_the_middle():
    """By somebody with the right to do so, at one end, again and again; nothing is blocked."""
    with Net() as n:
        know(n.a, n.b)
        n.slow(100)
        file = random_file(n.folder / "file", SIZE)
        n.b.receive().event("ready")
        sender = n.a.send(n.b, file)
        for part in (6, 3, 2):
            sender.event("progress", where=lambda e, part=part: e["bytes"] > SIZE // part and e["path"] == "tcp")
            before = len(paths(sender))
            killed = n.a.run("ss", "-KtH", "state", "established", name="ss")
            killed.ends(0)
            if not killed.lines:
                raise Skipped("this kernel destroys no sockets")
            eventually(lambda: len(paths(sender)) > before, "it goes on over datagrams")
            expect(paths(sender)[before] == "udp", f"{paths(sender)}\n{sender.said()}")
        sender.ends(0, timeout=120)
        starts = [e["resumed"] for e in sender.events if e["event"] == "start"]
        expect(starts == sorted(starts) and starts[-1] > SIZE // 3, f"begun anew: {starts}")
        expect(not sender.count("waiting"), f"the device was looked for although it was there\n{sender.said()}")
        expect(same(file, n.b.inbox / "file"), "the file differs")


def out_of_descriptors(start):
    """None is left, and connections wait: pings go on as before (over UDP), nothing ends; when there are some again, so do files."""
    with Net("abc") as n:
        know(n.a, n.b)
        node = start(n.b)
        port = listening_port(n.b)
        n.a.kith("ping", "-c", "1", n.b.id).ends(0)
        limit = lambda files: n.b.run("prlimit", "--pid", node.pid, f"--nofile={files}:", name="prlimit").ends(0)
        normal = resource.prlimit(node.pid, resource.RLIMIT_NOFILE)[0]
        limit(3)  # fewer than there are
        script = ("import socket,time\n"
                  f"all=[socket.create_connection(('10.77.0.2',{port}),5) for i in range(4)]\n"
                  "print(len(all),flush=True)\ntime.sleep(1000)\n")
        holder = n.c.run("python3", "-c", script, name="holder")
        eventually(lambda: holder.lines, "the system takes the connections")
        pong = n.a.kith("ping", "-c", "3", n.b.id).ends(0).event("pong")
        expect(pong["path"] == "udp", f"{pong}")
        expect(node.running(), node.said())
        limit(normal)
        eventually(lambda: connections(n.b, port) == 0, "those who say nothing are gone")
        file = random_file(n.folder / "file", 3_000_000)
        sender = n.a.send(n.b, file, "--path", "tcp").ends(0)
        expect(paths(sender) == ["tcp"] and same(file, n.b.inbox / "file"), sender.said())
        holder.kill()


def case_out_of_descriptors():
    def receiver(device):
        p = device.receive()
        p.event("ready")
        return p
    def daemon(device):
        p = device.kith("up", "--dir", device.inbox)
        p.event("ready")
        return p
    beside(lambda: out_of_descriptors(receiver), lambda: out_of_descriptors(daemon))


case_out_of_descriptors.waits = True


def case_connections_that_say_nothing():
    """Hundreds of them from one address, some with half a packet: others are served as before, memory is bounded,
    and in the end they are gone."""
    with Net("abc") as n:
        know(n.a, n.b)
        file = random_file(n.folder / "file", 20_000_000)
        receiver = n.b.receive(env={"KITH_LOG": "debug"})
        receiver.event("ready")
        port = listening_port(n.b)
        before = receiver.memory("VmRSS")
        script = ("import socket,sys,time\nall=[]\n"
                  "for i in range(400):\n"
                  " try:\n  s=socket.create_connection(('10.77.0.2',%d),5); s.sendall([b'',b'\\x04',b'\\x04\\xb0'+bytes(700),bytes(3)][i%%4]); all.append(s)\n"
                  " except OSError: pass\n"
                  "print(len(all),flush=True)\ntime.sleep(1000)\n" % port)
        holder = n.c.run("python3", "-c", script, name="holder")
        eventually(lambda: holder.lines, "the connections are made")
        n.a.send(n.b, file, "--path", "tcp").ends(0)
        expect(same(file, n.b.inbox / "file"), "the file differs")
        grown = receiver.memory("VmRSS") - before
        expect(grown < 32 * 1024, f"{grown} KiB more memory")
        eventually(lambda: connections(n.b, port) == 0, "connections that said nothing are gone")
        n.a.send(n.b, copy(file, "second"), "--path", "tcp").ends(0)
        holder.kill()


case_connections_that_say_nothing.waits = True


def listening_port(device):
    p = device.run("ss", "-tlnH", name="ss").ends(0)
    return int(p.lines[0].split()[3].rpartition(":")[2])


def connections(device, port):
    p = device.run("ss", "-tnH", "state", "established", f"( sport = :{port} )", name="ss").ends(0)
    return len(p.lines)
