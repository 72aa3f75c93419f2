"""A unit of packaging/ without systemd: its program started by its lines, under its restrictions, as far as they can be had: user,
capabilities, limits, the filters of system calls, notifications and credentials; and what a test program of units needs besides.

It runs itself again in a network and a tree of mounts of its own, with KITH at /usr/bin/kith, so that ExecStart is just what stands there."""
import ctypes
import ctypes.util
import itertools
import os
import pathlib
import re
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parents[2]
USER = 61184  # systemd's DynamicUser= takes one of 61184 to 65519
PATIENCE = 20
CAP_NET_BIND_SERVICE = 10
AF = {"AF_INET": 2, "AF_INET6": 10, "AF_UNIX": 1, "AF_NETLINK": 16}
PROC, RUN = pathlib.Path("/proc"), pathlib.Path(f"/run/kith-unit-test-{os.environ.get('KITH_UNIT_TEST', os.getpid())}")
libc = ctypes.CDLL(None, use_errno=True)


class Skip(Exception):
    pass


def parse(text, of="[Service]"):
    """Of a section: each key's values, in order; an empty one forgets those before."""
    values, section = {}, None
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("["):
            section = line
        elif section == of and "=" in line and line[0] not in "#;":
            key, value = line.split("=", 1)
            values[key] = [*values.get(key, []), value] if value else []
    return values


def example(text):
    """The drop-in that a unit's head shows."""
    lines = [line[1:].strip() for line in text.splitlines() if line.startswith("#")]
    return "\n".join(itertools.takewhile(lambda line: line, lines[lines.index("[Service]"):]))


def tool(*arguments, env=None):
    if not shutil.which("systemd-analyze"):
        raise Skip("there is no systemd-analyze here (Debian: systemd)")
    return subprocess.run(["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, env=env)


def syscalls(words, seen=None):
    """The names in these sets, of sets too."""
    for word in words:
        if word.startswith("@"):
            for line in tool("syscall-filter", word).stdout.splitlines()[1:]:
                if line.strip() and not line.strip().startswith("#"):
                    yield from syscalls([line.strip()])
        else:
            yield word


class Filter:
    """seccomp, as systemd makes it of the unit's lines.  `names` only; another one kills."""

    KILL, ALLOW, EPERM, ENOSYS, EAFNOSUPPORT = 0x80000000, 0x7fff0000, 0x00050001, 0x00050026, 0x00050061
    NE, EQ, MASKED_EQ, GT = 1, 4, 7, 6

    class Compare(ctypes.Structure):
        _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]

    def __init__(self, default):
        path = ctypes.util.find_library("seccomp") or "libseccomp.so.2"
        try:
            self.lib = ctypes.CDLL(path)
        except OSError:
            raise Skip("there is no libseccomp here") from None
        self.lib.seccomp_init.restype = ctypes.c_void_p
        self.context = ctypes.c_void_p(self.lib.seccomp_init(ctypes.c_uint32(default)))

    def add(self, action, name, *compares):
        number = self.lib.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            return  # of another machine
        array = (self.Compare * max(1, len(compares)))(*(self.Compare(*c) for c in compares))
        self.lib.seccomp_rule_add_array(self.context, ctypes.c_uint32(action), number, len(compares), array)

    def load(self):
        status = self.lib.seccomp_load(self.context)
        assert status == 0, f"seccomp_load: {status}"


CLONE_NEW = 0x7e020000, 0x00000080  # cgroup, UTS, IPC, user, PID, network and mounts; time
SETUID_OR_GID = 0o4000, 0o2000
O_CREAT, SCHED_OTHER, SCHED_BATCH, SCHED_IDLE = os.O_CREAT, 0, 3, 5


def restrictions(unit):
    """What other lines forbid; each is answered as systemd does."""
    more = Filter(Filter.ALLOW)
    for key in ("RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality", "MemoryDenyWriteExecute"):
        assert unit[key] == ["yes"], key
    more.add(Filter.ENOSYS, "clone3")  # its flags cannot be looked at
    for bits in CLONE_NEW:
        for bit in (1 << n for n in range(32) if bits >> n & 1):
            more.add(Filter.EPERM, "clone", (0, Filter.MASKED_EQ, bit, bit))
    for name in ("unshare", "setns"):
        more.add(Filter.EPERM, name)
    for policy in set(range(SCHED_IDLE)) - {SCHED_OTHER, SCHED_BATCH}:
        more.add(Filter.EPERM, "sched_setscheduler", (1, Filter.EQ, policy, 0))
    more.add(Filter.EPERM, "sched_setscheduler", (1, Filter.GT, SCHED_IDLE, 0))
    for bit in SETUID_OR_GID:
        for name, mode in (("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("mkdir", 1), ("mkdirat", 2), ("mknod", 1), ("mknodat", 2), ("creat", 1)):
            more.add(Filter.EPERM, name, (mode, Filter.MASKED_EQ, bit, bit))
        for name, flags in (("open", 1), ("openat", 2)):
            more.add(Filter.EPERM, name, (flags, Filter.MASKED_EQ, O_CREAT, O_CREAT), (flags + 1, Filter.MASKED_EQ, bit, bit))
    more.add(Filter.EPERM, "personality", (0, Filter.NE, libc.personality(0xffffffff), 0))
    more.add(Filter.EPERM, "mmap", (2, Filter.MASKED_EQ, 6, 6))
    more.add(Filter.EPERM, "mprotect", (2, Filter.MASKED_EQ, 4, 4))
    more.add(Filter.EPERM, "pkey_mprotect", (2, Filter.MASKED_EQ, 4, 4))
    return more


def filters(unit):
    allowed = set()
    for line in unit["SystemCallFilter"]:
        names = set(syscalls(line.removeprefix("~").split()))
        allowed = allowed - names if line.startswith("~") else allowed | names
    allowed |= set(syscalls(["@default"]))  # of every list that allows
    calls = Filter(Filter.KILL)
    for name in sorted(allowed):
        calls.add(Filter.ALLOW, name)
    families = Filter(Filter.ALLOW)
    wanted = {AF[f] for f in unit["RestrictAddressFamilies"][0].split()}
    for family in set(range(64)) - wanted:
        families.add(Filter.EAFNOSUPPORT, "socket", (0, Filter.EQ, family, 0))
    return [families, restrictions(unit), calls]


def mount(*arguments):
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise Skip(f"mount {' '.join(map(str, arguments))}: {done.stderr.strip()}")


class Service:
    """The unit's process; `drop_in` is text of a file that systemctl edit would make.  What is different for each kind of unit is in
    `expect`, `specifiers` and `take_rights`."""

    numbers = itertools.count()
    text = ""  # the unit's

    def __init__(self, drop_in="", credentials=(), env=None):
        unit = self.unit = parse(self.text + "\n" + drop_in)
        assert unit["Type"] == ["notify"] and unit["NoNewPrivileges"] == ["yes"]
        self.expect(unit)
        self.notes = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notes.settimeout(PATIENCE)
        number = next(Service.numbers)
        path = RUN / f"notify-{number}"
        self.notes.bind(str(path))
        path.chmod(0o777)
        self.env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "NOTIFY_SOCKET": str(path), "LANG": "C.UTF-8", **(env or {})}
        if credentials:
            folder = pathlib.Path(tempfile.mkdtemp(dir=RUN))
            for name, file in credentials:
                shutil.copy(file, folder / name)
                (folder / name).chmod(0o400)
                os.chown(folder / name, USER, USER)
            folder.chmod(0o500)
            os.chown(folder, USER, USER)
            self.env["CREDENTIALS_DIRECTORY"] = str(folder)
        assert len(unit["ExecStart"]) == 1, unit["ExecStart"]
        self.argv = self.words(unit["ExecStart"][0])
        loaded = filters(unit)
        self.log = open(RUN / f"log-{number}", "w+")
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.become(unit, loaded)
            except BaseException as why:  # there is nobody above
                os.write(2, f"{why!r}\n".encode())
                os._exit(125)

    def ready(self):
        """It says so, and before anything else."""
        try:
            assert self.note() == "READY=1", "READY=1 is not the first it says"
        except (TimeoutError, socket.timeout):
            raise AssertionError(f"not ready: {self.said()}; {self.status(False)}") from None
        return self

    def expect(self, unit):
        pass

    def specifiers(self, text):
        return text

    def take_rights(self):
        os.setgroups([])
        os.setresgid(USER, USER, USER)
        os.setresuid(USER, USER, USER)

    def words(self, line):
        """As systemd does: variables of their own word or within one."""
        env = {**self.env, "MAINPID": str(getattr(self, "pid", ""))}
        return [re.sub(r"\$\{(\w+)\}|\$(\w+)", lambda m: env[m[1] or m[2]], w) for w in shlex.split(self.specifiers(line))]

    def become(self, unit, loaded):
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.dup2(self.log.fileno(), 1)
        os.dup2(self.log.fileno(), 2)
        os.closerange(3, 1024)
        os.setsid()
        if "LimitNOFILE" in unit:
            files = min(int(unit["LimitNOFILE"][0]), resource.getrlimit(resource.RLIMIT_NOFILE)[1])  # what a container may have
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        if "WatchdogSec" in unit:
            self.env.update(WATCHDOG_USEC=str(int(unit["WatchdogSec"][-1]) * 1_000_000), WATCHDOG_PID=str(os.getpid()))
        os.umask(int(unit["UMask"][0], 8))
        os.chdir("/")
        self.take_rights()
        assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
        for each in loaded[:-1]:
            each.load()
        loaded[-1].add(Filter.ALLOW, "execve")
        loaded[-1].load()
        os.execve(self.argv[0], self.argv, self.env)

    def note(self):
        return self.notes.recv(1000).decode()

    def said(self):
        self.log.seek(0)
        return self.log.read()

    def status(self, wait=True):
        pid, status = os.waitpid(self.pid, 0 if wait else os.WNOHANG)
        if not pid:
            return "it runs"
        self.pid = None
        return f"signal {os.WTERMSIG(status)} (31 is a forbidden system call)" if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.pid:
            os.kill(self.pid, signal.SIGTERM)
            signal.alarm(int(self.unit["TimeoutStopSec"][0]))
            status = self.status()
            signal.alarm(0)
            assert kind or status == 0, f"{status}: {self.said()}"


# ---- the tests of a program ----

def alone(kith):
    """This program again, in namespaces of its own."""
    if os.geteuid():
        return "not root"
    if not shutil.which("unshare"):
        return "there is no unshare here"
    RUN.mkdir()
    try:
        inside = subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", sys.executable, sys.argv[0], "--inside", kith],
                                env={**os.environ, "KITH_UNIT_TEST": str(os.getpid())})
    finally:
        RUN.rmdir()
    sys.exit(inside.returncode)


def prepare(kith):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", RUN)
    (RUN / "bin").mkdir()
    (RUN / "dev").mkdir()
    shutil.copy(kith, RUN / "bin/kith")
    mount("-t", "overlay", "-o", f"lowerdir={RUN / 'bin'}:/usr/bin", "overlay", "/usr/bin")


def run(tests, before):
    """`before` is called once what systemd says has been asked: before services are started."""
    kith = os.path.abspath(sys.argv[-1])
    counts, why = {"passed": 0, "failed": 0, "skipped": 0}, None
    if sys.argv[1] != "--inside":
        why = alone(kith)
    else:
        try:
            prepare(kith)
        except Skip as reason:
            why = str(reason)
    for name, test in tests.items():
        if not name.startswith("test_"):
            continue
        try:
            if why:
                raise Skip(why)
            if before and name not in ("test_verify", "test_security"):
                list(syscalls(["@default"]))
                before()
                before = None
            test()
            print(f"ok {name[5:]}", flush=True)
            counts["passed"] += 1
        except Skip as reason:
            print(f"skip {name[5:]}: {reason}", flush=True)
            counts["skipped"] += 1
        except Exception as problem:
            print(f"not ok {name[5:]}: line {problem.__traceback__.tb_next.tb_lineno}: {problem!r}", flush=True)
            counts["failed"] += 1
    print(f"{counts['passed']} passed, {counts['failed']} failed" + (f", {counts['skipped']} skipped" if counts["skipped"] else ""))
    sys.exit(1 if counts["failed"] else 0)
