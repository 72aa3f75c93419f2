"""Devices in network namespaces of their own, for tests/netns/run and bench/run.

              bridge (namespace kn<N>br)
             /            |             \
       veth `a`        veth `b`        veth `c`          one namespace for each device: kn<N>a, kn<N>b, kn<N>c
   10.77.0.1/24     10.77.0.2/24     10.77.0.3/24        (family "both" or "4")
    fd77::1/64       fd77::2/64       fd77::3/64         (family "both" or "6"; "link": only what IPv6 makes itself)

N is new for each network, so any number of them stand side by side.  A Net ends with close(): it kills its own
processes by their ids, removes its namespaces, and its folder with everything in it."""
import atexit
import concurrent.futures
import fcntl
import json
import os
import pathlib
import pty
import re
import shutil
import signal
import subprocess
import tempfile
import termios
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
signal.signal(signal.SIGINT, signal.default_int_handler)  # for what is started here, too: a background job of a shell ignores it
KITH = os.environ.get("KITH", str(ROOT / "build/release/kith"))
PASSWORD = "correct horse battery staple"
WAIT_S = 30  # for what should come at once: against a test that hangs, not a measurement
QUESTION = r"\[y/N\] *"
numbers = iter(range(1 << 30))
number_lock = threading.Lock()


class Failed(Exception):
    """What was expected and what came instead."""


class Skipped(Exception):
    """Why it cannot be tried here."""


def sh(*command, check=True):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if check and done.returncode:
        raise Failed(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done


def why_no_namespaces():
    """None where namespaces can be made, else the reason."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool in ("ip", "nsenter", "setsid"):
        if not shutil.which(tool):
            return f"there is no `{tool}` here"
    name = f"kn{os.getpid()}t"
    made = sh("ip", "netns", "add", name, check=False)
    if made.returncode:
        return "namespaces are not allowed here: " + made.stderr.strip()
    veth = sh("ip", "-n", name, "link", "add", "x", "type", "veth", "peer", "name", "y", check=False)
    bridge = sh("ip", "-n", name, "link", "add", "z", "type", "bridge", check=False)
    sh("ip", "netns", "del", name, check=False)
    for kind in (veth, bridge):
        if kind.returncode:
            return "no virtual links here: " + kind.stderr.strip()
    return None


class Process:
    """A program under way: its lines as they come, its JSON events, its end."""

    def __init__(self, net, command, name, env=None, stdin=None, terminal=False, cwd=None):
        self.net, self.name, self.command = net, name, [str(c) for c in command]
        self.lines, self.events, self.errors, self.screen = [], [], [], ""
        self.times = []  # when each of `errors` came, monotonic seconds
        self.changed = threading.Condition()
        self.master = None
        streams = {"stdin": stdin if stdin is not None else subprocess.DEVNULL, "stderr": subprocess.PIPE}
        if terminal:  # of its own, to which questions go
            self.master, slave = pty.openpty()
            fcntl.ioctl(self.master, termios.TIOCSWINSZ, b"\x28\x00\x78\x00\0\0\0\0")
            command = ["setsid", "--ctty", *self.command]
            streams = {"stdin": slave, "stderr": slave}
        self.popen = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, cwd=cwd,
                                      env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})}, **streams)
        self.pid = self.popen.pid
        self.threads = [threading.Thread(target=self._read_out, daemon=True)]
        if terminal:
            os.close(slave)
            self.threads.append(threading.Thread(target=self._read_screen, daemon=True))
        else:
            self.threads.append(threading.Thread(target=self._read_errors, daemon=True))
        for t in self.threads:
            t.start()
        net.processes.append(self)

    def _add(self, to, item):
        with self.changed:
            to.append(item)
            self.changed.notify_all()

    def _read_out(self):
        for raw in self.popen.stdout:
            line = raw.decode(errors="replace").rstrip("\n")
            try:
                event = json.loads(line)
            except ValueError:
                event = None
            if isinstance(event, dict):
                self._add(self.events, event)
            self._add(self.lines, line)

    def _read_errors(self):
        for raw in self.popen.stderr:
            with self.changed:
                self.times.append(time.monotonic())
                self.errors.append(raw.decode(errors="replace").rstrip("\n"))
                self.changed.notify_all()

    def _read_screen(self):
        while True:
            try:
                data = os.read(self.master, 4096)
            except OSError:
                return  # the last who had it open is gone
            if not data:
                return
            with self.changed:
                self.screen += data.decode(errors="replace")
                self.changed.notify_all()

    def _wait(self, found, what, timeout):
        """What found() gives once it gives something; fails when the program ends, or time does, before."""
        end = time.monotonic() + timeout
        with self.changed:
            while True:
                value = found()
                if value is not None:
                    return value
                over = self.popen.poll() is not None and not any(t.is_alive() for t in self.threads)
                if over or time.monotonic() > end:
                    why = f"ended with {self.popen.returncode}" if over else f"nothing within {timeout} s"
                    raise Failed(f"{self.name}: {what} expected, {why}\n{self.said()}")
                self.changed.wait(0.05)

    def event(self, kind, timeout=WAIT_S, where=lambda e: True, after=0):
        """The first event of this kind, among those from number `after` on, of which `where` holds."""
        return self._wait(lambda: next((e for e in self.events[after:] if e.get("event") == kind and where(e)), None),
                          f"event {kind!r}", timeout)

    def logs(self, pattern, timeout=WAIT_S, after=0):
        """When the first line of standard error, from number `after` on, with this pattern came."""
        found = lambda: next((t for t, line in zip(self.times[after:], self.errors[after:]) if re.search(pattern, line)), None)
        return self._wait(found, f"{pattern!r} on standard error", timeout)

    def shows(self, pattern, timeout=WAIT_S, after=0):
        """Where the terminal, from that place on, has shown this."""
        found = lambda: (m := re.search(pattern, self.screen[after:])) and after + m.end()
        return self._wait(found, f"{pattern!r} on the terminal", timeout)

    def types(self, text):
        os.write(self.master, text.encode())

    def begins(self):
        """It is ready; False when it ended instead."""
        try:
            self.event("ready")
        except Failed:
            if self.running():
                raise
        return self.running()

    def count(self, kind):
        return sum(e.get("event") == kind for e in self.events)

    def end(self, timeout=60):
        """Its exit status."""
        try:
            self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name}: still running after {timeout} s\n{self.said()}") from None
        for t in self.threads:
            t.join(5)
        return self.popen.returncode

    def ends(self, status, says=None, timeout=60):
        """It ends with this exit status and says this (a regular expression, in any case) somewhere."""
        got = self.end(timeout)
        if got != status:
            raise Failed(f"{self.name}: exit status {got}, not {status}\n{self.said()}")
        if says and not re.search(says, self.said(), re.I | re.S):
            raise Failed(f"{self.name}: does not say {says!r}\n{self.said()}")
        return self

    def running(self):
        return self.popen.poll() is None

    def kill(self, sig=signal.SIGKILL):
        """A signal; with SIGKILL also its end."""
        if self.popen.poll() is None:
            self.popen.send_signal(sig)
        if sig == signal.SIGKILL:
            self.end()

    def interrupt(self):
        self.kill(signal.SIGINT)

    def said(self):
        """Everything, short enough to read."""
        lines = [line for line in self.lines if '"event":"progress"' not in line]
        text = "\n".join(f"  {self.name}| {line[:600]}" for line in (lines + self.errors)[-40:])
        if self.screen:
            text += "\n" + "\n".join(f"  {self.name}> {line.rstrip()}" for line in self.screen.splitlines()[-40:])
        return text

    def memory(self, key):
        """KiB, of /proc/PID/status."""
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1])
        return 0

    def remembers(self, text):
        """Whether the text is in its memory, where it can write."""
        wanted = text.encode()
        with open(f"/proc/{self.pid}/mem", "rb", 0) as memory:
            for line in pathlib.Path(f"/proc/{self.pid}/maps").read_text().splitlines():
                area, rights = line.split()[:2]
                start, end = (int(x, 16) for x in area.split("-"))
                if not rights.startswith("rw"):
                    continue
                memory.seek(start)
                try:
                    if wanted in memory.read(end - start):
                        return True
                except OSError:
                    pass  # guarded
        return False

    def counts(self, key):
        """Bytes, of /proc/PID/io."""
        lines = pathlib.Path(f"/proc/{self.pid}/io").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(key + ":"))

    def reset_peak(self):
        pathlib.Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def cpu_s(self):
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Device:
    """A home (or any number of them, one after the other) in one namespace."""

    quick = None  # the program that seals a new home so that opening it takes no time; bench/run has homes as people do

    def __init__(self, net, letter, namespace, home=None):
        self.net, self.letter, self.namespace = net, letter, namespace
        self.folder = net.folder / (home or letter)
        self.home, self.inbox = self.folder / "home", self.folder / "in"
        self.inbox.mkdir(parents=True)
        self.password = self.folder / "password"
        self.password.write_text(PASSWORD + "\n")
        self.password.chmod(0o600)
        self.id = self.name = self.fingerprint = self.code = None
        self.env = {}  # for each `kith`

    def run(self, *command, **more):
        """Any program, in this device's network."""
        name = more.pop("name", self.letter)
        return Process(self.net, ["nsenter", f"--net=/run/netns/{self.namespace}", *command], name, **more)

    def kith(self, *arguments, json=True, **more):
        """`kith` with this home and password."""
        env = {"KITH_HOME": str(self.home), "KITH_PASSWORD_FILE": str(self.password), "TERM": "xterm",
               **self.env, **more.pop("env", {})}
        name = f"{self.folder.name}:{next((a for a in map(str, arguments) if not a.startswith('-')), '')}"
        return self.run(KITH, *(["--json"] if json else []), *arguments, name=name, env=env, **more)

    def init(self, name=None):
        made = self.kith("init", "--name", name or f"device-{self.folder.name}")
        made.ends(0)
        self.code = made.event("identity")["recovery_code"]
        if self.quick:
            sh(self.quick, self.home, self.password.read_text().split("\n")[0])
        status = self.kith("status")
        status.ends(0)
        event = status.event("status")
        self.id, self.name, self.fingerprint = event["id"], event["name"], event["fingerprint"]
        return self

    def devices(self):
        p = self.kith("devices")
        p.ends(0)
        return {e["id"]: e for e in p.events if e.get("event") == "device"}

    def receive(self, *arguments, **more):
        """A receiver; `begins` and a moment more, and others see it."""
        p = self.kith("receive", "--dir", self.inbox, *arguments, **more)
        if getattr(after_pairing, "hook", None):
            p.begins()  # until then its daemon receives
        return p

    def send(self, to, *arguments, **more):
        return self.kith("send", "--to", to.id, *arguments, **more)

    def partial_files(self):
        return sorted(p.name for p in self.inbox.iterdir() if p.name.startswith(".kith-"))


class World:
    """Namespaces, a folder and processes, which end together."""

    def __init__(self, family="both"):
        with number_lock:
            self.number = f"{os.getpid()}n{next(numbers)}"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kith-netns-"))
        self.processes, self.namespaces, self.mounts, self.hooked, self.family = [], [], [], [], family
        atexit.register(self.close)

    def _ip(self, namespace, *arguments):
        sh("ip", "-n", namespace, *arguments)

    def _namespace(self, letter):
        name = f"kn{self.number}{letter}"
        sh("ip", "netns", "add", name)
        self.namespaces.append(name)
        # Addresses are good at once; nobody else is here.
        settings = ["net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0"]
        if self.family == "4":
            settings = ["net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"]
        sh("nsenter", f"--net=/run/netns/{name}", "sysctl", "-qw", *settings, check=False)
        self._ip(name, "link", "set", "lo", "up")
        return name

    def slow(self, megabits):
        """So that a transfer has a middle.  Where the kernel cannot do that it is short, but still has one."""
        for letter in "abc":
            if hasattr(self, letter):
                sh("nsenter", f"--net=/run/netns/kn{self.number}{letter}", "tc", "qdisc", "replace", "dev", "eth0",
                   "root", "tbf", "rate", f"{megabits}mbit", "burst", "256kb", "latency", "40ms", check=False)

    def small_disk(self, folder, size):
        folder.mkdir(exist_ok=True)
        if sh("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder, check=False).returncode:
            raise Skipped("mounting a small disk is not allowed here")
        self.mounts.append(folder)

    def close(self):
        atexit.unregister(self.close)
        for p in self.processes:
            if p.popen.poll() is None:
                p.popen.kill()
                p.popen.wait()
            if p.master is not None:
                os.close(p.master)
                p.master = None
        for folder in self.mounts:
            sh("umount", folder, check=False)
        for name in self.namespaces:
            sh("ip", "netns", "del", name, check=False)
        self.processes, self.mounts, self.namespaces = [], [], []
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Net(World):
    def __init__(self, letters="ab", family="both"):
        super().__init__(family)
        self.bridge = self._namespace("br")
        self._ip(self.bridge, "link", "add", "bridge", "type", "bridge")
        self._ip(self.bridge, "link", "set", "bridge", "up")
        for i, letter in enumerate(letters, 1):
            self._join(letter, i)
            setattr(self, letter, Device(self, letter, f"kn{self.number}{letter}"))

    def _join(self, letter, i):
        name = self._namespace(letter)
        self._ip(self.bridge, "link", "add", f"port-{letter}", "type", "veth", "peer", "name", "eth0", "netns", name)
        self._ip(self.bridge, "link", "set", f"port-{letter}", "master", "bridge", "up")
        self.address(letter, i)
        self._ip(name, "link", "set", "eth0", "up")

    def address(self, letter, i):
        """Number `i` of each family becomes the device's."""
        name = f"kn{self.number}{letter}"
        self._ip(name, "addr", "flush", "dev", "eth0", "scope", "global")
        if self.family in ("both", "4"):
            self._ip(name, "addr", "add", f"10.77.0.{i}/24", "dev", "eth0")
        if self.family in ("both", "6"):
            self._ip(name, "addr", "add", f"fd77::{i:x}/64", "dev", "eth0", "nodad")

    def link(self, letter, up):
        """Pull its cable, or put it back."""
        self._ip(self.bridge, "link", "set", f"port-{letter}", "up" if up else "down")


# ---- what many tests begin with ----

after_pairing = threading.local()  # `hook`: what is done then with each device, once


def pair(host, joiner, *options):
    """Both with identities, paired by a code in a file; the two processes, ended."""
    for d in (host, joiner):
        if not d.id:
            d.init()
    p = host.kith("pair", "--yes", *options)
    j = join(joiner, p.event("code")["words"], "--yes", *options)
    j.ends(0)
    p.ends(0)
    paired(host, joiner)
    return p, j


def paired(*devices):
    for d in devices:
        if getattr(after_pairing, "hook", None) and d not in d.net.hooked:
            d.net.hooked.append(d)
            after_pairing.hook(d)


known = {}  # by family of addresses and options: the folder with two homes that are paired, and who they are
known_lock = threading.Lock()


def paired_homes(family, options):
    with known_lock:
        if (family, options) not in known:
            folder = tempfile.TemporaryDirectory(prefix="kith-netns-pair-")
            with Net(family=family) as n:
                n.hooked += [n.a, n.b]  # they are copied as they lie there
                pair(n.a, n.b, *options)
                for d in (n.a, n.b):
                    shutil.copytree(d.home, pathlib.Path(folder.name) / d.letter, symlinks=True)
                known[family, options] = folder, {d.letter: (d.id, d.name, d.fingerprint) for d in (n.a, n.b)}
        return known[family, options]


def know(a, b, *options):
    """As pair(), of the first two devices, for cases that are about something else: the homes are copies of two that were paired
    once, in a network like this one."""
    folder, who = paired_homes(a.net.family, options)
    for d in (a, b):
        shutil.copytree(pathlib.Path(folder.name) / d.letter, d.home, symlinks=True)
        d.id, d.name, d.fingerprint = who[d.letter]
    paired(a, b)


def beside(*functions):
    """Each in a thread of its own; the first failure, when all have ended."""
    with concurrent.futures.ThreadPoolExecutor(len(functions)) as pool:
        for each in [pool.submit(f) for f in functions]:
            each.result()


def eventually(condition, what):
    """It becomes true: in a moment, where nothing else has the machine."""
    end = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > end:
            raise Failed(f"not within {WAIT_S} s: {what}")
        time.sleep(0.1)


def join(device, words, *options, **more):
    code = device.folder / "code"
    code.write_text(words + "\n")
    return device.kith("join", "--code-file", code, *options, **more)


def change_words(words, how_many=4):
    """A wrong code of the same first two words."""
    w = words.split()
    other = "zebra" if w[-1] != "zebra" else "able"
    return " ".join(w[:6 - how_many] + [other] * how_many)


def certificate(folder, address):
    """Made here, for this address, and vouched for by nobody: its file and its key's."""
    if not shutil.which("openssl"):
        raise Skipped("there is no `openssl` here")
    file, key = folder / "cert.pem", folder / "key.pem"
    sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", file,
       "-days", "2", "-subj", "/CN=relay", "-addext", f"subjectAltName=IP:{address}")
    return file, key


# ---- files ----

def random_file(path, size):
    with open(path, "wb") as f:
        while size:
            n = min(size, 1 << 24)
            f.write(os.urandom(n))
            size -= n
    return pathlib.Path(path)


def copy(path, name):
    """The same file under another name, in a folder of its own."""
    folder = pathlib.Path(tempfile.mkdtemp(dir=path.parent))
    return pathlib.Path(shutil.copy2(path, folder / name))


def same(a, b):
    return subprocess.run(["cmp", "-s", "--", str(a), str(b)], check=False).returncode == 0


def snapshot(folder):
    """Every file below, with its bytes and mode."""
    files = (p for p in sorted(folder.rglob("*")) if p.is_file())
    return {str(p.relative_to(folder)): (p.stat().st_mode, p.read_bytes()) for p in files}
