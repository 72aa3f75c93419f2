#!/usr/bin/env python3
"""The command's own tests: option parsing, exit statuses, JSON lines, plain mode, questions (on a pseudo-terminal), Ctrl-C.
tests/cli/run.py KITH_FAKE [NAME...]   where KITH_FAKE is the command linked with fake_kith.c"""
import fcntl
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

signal.signal(signal.SIGINT, signal.default_int_handler)  # for what is started here, too: a background job of a shell ignores it
KITH = os.path.abspath(sys.argv[1])
ROOT = pathlib.Path(__file__).resolve().parents[2]
PRINTED = {}  # by command and event: the members of what any test saw
PATIENCE = 60  # seconds until a hanging test is a failed one
CODE = " ".join(["acid acorn apple april banana cherry grape lemon melon orange peach tender"] * 2)  # the fake's recovery code
WORDS = "acid acorn apple april banana cherry"
TEMPORARY = tempfile.TemporaryDirectory(prefix="kith-cli-")
LAPTOP = "laptop 01890000-0000-7000-8000-0000000000aa " + "a1b2c3d4e5f60718" * 4 + " own\n"
PHONE = "phone 01890000-0000-7000-8000-0000000000bb " + "a1b2ffffe5f60718" * 4 + " contact\n"


class Place:
    """A home, a script and a trace of one test."""

    def __init__(self, identity=True, devices=LAPTOP + PHONE, script=""):
        self.dir = pathlib.Path(tempfile.mkdtemp(dir=TEMPORARY.name))
        self.home = self.dir / "home"
        self.home.mkdir()
        if identity:
            (self.home / "identity").write_text("desk\nsecret\n")
        (self.home / "devices").write_text(devices)
        (self.dir / "script").write_text(script)
        self.password = self.dir / "password"
        self.password.write_text("secret\n")
        self.password.chmod(0o600)
        self.env = {"PATH": os.environ["PATH"], "HOME": str(self.dir), "KITH_HOME": str(self.home), "LANG": "C.UTF-8", "TERM": "xterm",
                    "KITH_FAKE_SCRIPT": str(self.dir / "script"), "KITH_FAKE_TRACE": str(self.dir / "trace")}
        self.env.update({k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")})

    def trace(self):
        path = self.dir / "trace"
        return path.read_text() if path.exists() else ""

    def run(self, *words, input="", env=(), **kwargs):
        """Without a terminal."""
        done = subprocess.run([KITH, *words], input=input, capture_output=True, text=True, cwd=self.dir, timeout=PATIENCE,
                              env={**self.env, **dict(env)}, start_new_session=True, **kwargs)
        if "--json" in words and not {"-V", "--version"} & set(words):
            note_printed(words, done.stdout)
        return done

    def locked(self, *words, **kwargs):
        """With the password from its file."""
        return self.run("--password-file", str(self.password), *words, **kwargs)

    def terminal(self, *words, env=(), columns=80):
        return Terminal([KITH, *words], self.dir, {**self.env, **dict(env)}, columns)


class Terminal:
    """The command on a pseudo-terminal; standard output goes to a pipe, as a script would have it."""

    def __init__(self, words, cwd, env, columns):
        out_read, out_write = os.pipe()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.dup2(out_write, 1)
            os.close(out_read)
            os.close(out_write)
            os.chdir(cwd)
            fcntl.ioctl(2, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
            os.execve(words[0], words, env)
        os.close(out_write)
        self.out_fd, self.seen, self.out, self.status = out_read, "", "", None
        self.before = termios.tcgetattr(self.fd)

    def pump(self, seconds):
        """Read what is there; False when there will be no more."""
        ready, _, _ = select.select([fd for fd in (self.fd, self.out_fd) if fd >= 0], [], [], seconds)
        for fd in ready:
            try:
                data = os.read(fd, 65536)
            except OSError:
                data = b""
            if fd == self.out_fd:
                self.out += data.decode()
                if not data:
                    os.close(fd)
                    self.out_fd = -1
            else:
                self.seen += data.decode(errors="replace")
                if not data:
                    return False
        return True

    def expect(self, text, where="seen"):
        """Wait for the text; what came up to it is not looked at again."""
        end = time.monotonic() + PATIENCE
        while text not in getattr(self, where):
            if time.monotonic() > end or not self.pump(0.1):
                raise AssertionError(f"no {text!r} in {getattr(self, where)!r}")
        if where == "seen":
            at = self.seen.index(text)
            before, self.seen = self.seen[:at], self.seen[at + len(text):]
            return before
        return None

    def type(self, text):
        os.write(self.fd, text.encode())

    def type_blind(self, text):
        """When echo is off: what is typed must not show."""
        end = time.monotonic() + PATIENCE
        while termios.tcgetattr(self.fd)[3] & termios.ECHO and time.monotonic() < end:
            time.sleep(0.01)
        self.type(text)

    def echoes(self):
        return bool(termios.tcgetattr(self.fd)[3] & termios.ECHO)

    def wait(self):
        end = time.monotonic() + PATIENCE
        status = 0
        while self.status is None and time.monotonic() < end:
            self.pump(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        while self.status is not None and self.pump(0.05) and time.monotonic() < end:
            pass  # what it said last may still be in the terminal
        while self.out_fd >= 0 and select.select([self.out_fd], [], [], PATIENCE)[0]:
            data = os.read(self.out_fd, 65536)
            self.out += data.decode()
            if not data:
                os.close(self.out_fd)
                self.out_fd = -1
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            raise AssertionError(f"it does not end; it said {self.seen!r}")
        return self.status


def note_printed(words, text):
    """For test_json_is_documented."""
    command = next((w for w in words if page(w).exists()), None)
    for line in text.splitlines() if command else []:
        if line.startswith("{"):
            e = json.loads(line)
            PRINTED.setdefault((command, e["event"]), set()).update(e)


def page(command):
    return ROOT / f"docs/man/kith-{command}.1.scd"


def events(text):
    return [json.loads(line) for line in text.splitlines()]


def equal(a, b, more=""):
    assert a == b, f"{a!r} is not {b!r} {more}"


def has(text, part):
    assert part in text, f"no {part!r} in {text!r}"


# ---- usage ----

def test_usage():
    p = Place(script="look looked\n")
    for words, status, part in [
        ([], 2, "which command"),
        (["pnig"], 2, 'did you mean "kith ping"'),
        (["zzzzzz"], 2, '"kith help" lists them'),
        (["dev"], 2, "no command"),                    # never abbreviated
        (["devices", "--jso"], 2, "did you mean --json"),
        (["devices", "--yes"], 2, "kith devices has no option --yes"),
        (["--yes", "devices"], 2, "kith devices has no option --yes"),
        (["--yes"], 2, "no option --yes"),
        (["ping"], 2, "kith ping DEVICE"),
        (["ping", "laptop", "b"], 2, '"b" is too much'),
        (["ping", "-c"], 2, "-c needs a value: -c N"),
        (["ping", "laptop", "-c", "x"], 2, "give a number"),
        (["ping", "laptop", "-c", "-1"], 2, "give a number"),
        (["ping", "laptop", "-c", "0"], 2, "give a number"),
        (["--home"], 2, "--home needs a value: --home DIR"),
        (["--json=yes", "devices"], 2, "takes no value"),
        (["--timeout", "soon", "devices"], 2, "--timeout"),
        (["--relay", "relay.example", "devices"], 2, "wss://HOST"),
        (["pair", "--expires", "2h"], 2, "--expires"),
        (["pair", "--expires", "0"], 2, "--expires"),
        (["pair", "--expires", "5x"], 2, "--expires"),
        (["send", "a"], 2, "--to DEVICE"),
        (["send", "--to", "laptop", "a", "b"], 2, "one file at a time"),
        (["send", "--to", "laptop", "--to", "phone", "a"], 2, "one device at a time"),
        (["send", "--to", "laptop", "-"], 2, "standard input"),
        (["send", "--to", "laptop", "."], 2, "folder"),
        (["send", "--to", "laptop", "/dev/null"], 2, "not a regular file"),
        (["send", "--to", "laptop", "nothing"], 7, "no such file"),
        (["send", "--to", "laptop", "--name", "a/b", "film.mkv"], 2, "--name"),
        (["send", "--to", "laptop", "--name", "", "film.mkv"], 2, "--name"),
        (["send", "--to", "laptop", "--name", "..", "film.mkv"], 2, "--name"),
        (["send", "--copies", "3", "a"], 2, "--copies"),
        (["send", "--path", "pigeon", "--to", "laptop", "film.mkv"], 2, "udp, tcp or relay"),
        (["send", "--exclude=*.o", "a"], 2, "--exclude"),
        (["receive", "acid", "acorn"], 2, "one-time code"),
        (["receive", "-o", "x"], 2, "-o"),
        (["receive", "--conflict", "merge"], 2, "keep, skip or overwrite"),
        (["receive", "--dir", "nowhere"], 7, "mkdir"),
        (["ping", "nobody"], 3, "no such device"),
        (["ping", "a1b2"], 2, "several"),
        (["completion", "tcsh"], 2, "bash, zsh or fish"),
        (["permit", "laptop", "file"], 2, "allow|ask|deny|default"),
        (["permit", "laptop", "file", "perhaps"], 2, "allow, ask, deny or default"),
        (["permit", "laptop", "mail", "deny"], 2, "no such service"),
        (["verify", "nobody"], 3, "no such device"),
        (["ping", "desk"], 3, "this device itself"),
        (["trust", "a1b2c3", "--no-lan", "--yes"], 2, "--no-lan"),
        (["trust", "a1b"], 2, "4 digits or more"),  # before a password is asked for
        (["trust", "bob's laptop"], 2, "4 digits or more"),
        (["trust", "a1b2c3", "--name", ""], 2, "--name"),
    ]:
        r = p.run(*words)
        equal(r.returncode, status, f"{words} {r.stderr}")
        has(r.stderr, part)
        assert r.stderr.startswith("kith: ") and r.stderr.count("\n") == 1, r.stderr
        equal(r.stdout, "")
    for word in "get log sync".split():
        r = p.run(word, "whatever", "more")
        equal(r.returncode, 2)
        has(r.stderr, "cannot do that yet")
    for line in ("get H -o F", "get H -oF -x", "log show --limit 3",
                 "log append --model=m", "--git sync", "get --bogus"):
        r = p.run(*line.split())
        equal(r.returncode, 2)
        has(r.stderr, "cannot do that yet")
    equal(p.run("get", "--dir", "x", "--help").returncode, 0)
    has(p.run("devices", env={"KITH_RELAY": "x"}).stderr, "wss://HOST")
    has(p.run("devices", env={"KITH_RELAY": " ".join(["ws://x"] * 9)}).stderr, "at most 8")
    has(p.run("--relay", "ws://x", "--relay-token-file", "nothing-here", "devices").stderr, "nothing-here")
    r = p.run("--json", "status", env={"KITH_RELAY": "ws://x, wss://y"})
    if r.returncode == 0:
        equal([e.get("relays") for e in events(r.stdout)], [["ws://x", "wss://y"]])
    equal(p.run("--relay", "none", "--relay-token-file", "t", "devices", env={"KITH_RELAY": "ws://x"}).returncode, 0)
    has(p.run("devices", env={"KITH_LOG": "loud"}).stderr, "error, warn, info or debug")


def setting(p, key):
    """What is in the file."""
    return json.loads((p.home / "config.json").read_text()).get(key)


def test_config():
    p = Place(identity=False)
    keys = "relay relay-token-file lan listen dir accept conflict".split()
    r = p.run("config")
    equal((r.returncode, r.stderr), (0, ""))
    equal([line.split() for line in r.stdout.splitlines()],
          [[k, "default", v] for k, v in zip(keys, "none - yes - - own keep".split())])
    equal(len({line.index("default") for line in r.stdout.splitlines()}), 1)
    assert not (p.home / "config.json").exists()
    (p.dir / "in").mkdir()
    (p.dir / "token").write_text("secret\n")
    for words, key, value, text in [
        (["relay", "ws://a", "ws://b"], "relay", ["ws://a", "ws://b"], "ws://a ws://b"),
        (["relay", "ws://a,ws://c"], "relay", ["ws://a", "ws://c"], "ws://a ws://c"),
        (["relay", "none"], "relay", [], "none"),
        (["lan", "no"], "lan", False, "no"),
        (["listen", "0.0.0.0:7777"], "listen", "0.0.0.0:7777", "0.0.0.0:7777"),
        (["dir", "in"], "dir", f"{p.dir}/in", f"{p.dir}/in"),
        (["relay-token-file", "token"], "relay-token-file", f"{p.dir}/token", f"{p.dir}/token"),
        (["accept", "contacts"], "accept", "contacts", "contacts"),
        (["conflict", "overwrite"], "conflict", "overwrite", "overwrite"),
    ]:
        r = p.run("config", *words)
        equal((r.returncode, r.stdout), (0, ""), r.stderr)
        has(r.stderr, f"{key} is set to {text}.")
        equal(setting(p, key), value)
        equal(p.run("config", key).stdout, text + "\n")
    for words, status, part in [
        (["relay", "http://x"], 2, "wss://relay.example"), (["relay", "none", "ws://x"], 2, "or none"), (["relay", ""], 2, "wss://"),
        (["relay", *["ws://x"] * 9], 2, "too much"), (["lan", "perhaps"], 2, "yes or no"), (["lan", "yes", "no"], 2, "yes or no"),
        (["listen", "7777"], 2, "0.0.0.0:7777"), (["listen", "0.0.0.0:x"], 2, "0.0.0.0:7777"), (["dir", "nowhere"], 7, "mkdir"),
        (["dir", "token"], 2, "no folder"), (["relay-token-file", "nothing"], 7, "nothing"), (["accept", "all"], 2, "own or contacts"),
        (["conflict", "merge"], 2, "keep, skip or overwrite"), (["colour"], 2, "no setting"), (["colour", "red"], 2, "no setting"),
        (["--unset", "colour"], 2, "no setting"), (["--unset", "lan", "dir"], 2, "--unset KEY"), (["--unset", "lan", "--unset", "dir"], 2, "--unset KEY"),
    ]:
        before = (p.home / "config.json").read_text()
        r = p.run("config", *words)
        equal((r.returncode, r.stdout), (status, ""), words)
        has(r.stderr, part)
        equal((p.home / "config.json").read_text(), before)
    (e,) = events(p.run("--json", "config", "--unset", "lan").stdout)
    equal(e, {"event": "setting", "key": "lan", "value": "yes", "source": "default", "pending": False})
    e = {x["key"]: x for x in events(p.run("--json", "config", env={"KITH_RELAY": "ws://e"}).stdout)}
    equal(list(e), keys)
    equal(e["relay"], {"event": "setting", "key": "relay", "value": "ws://e", "source": "environment", "pending": False})
    equal((e["accept"]["source"], e["lan"]["source"], e["dir"]["value"]), ("config", "default", f"{p.dir}/in"))
    has(p.run("config", "relay", "ws://q", env={"KITH_RELAY": "ws://e"}).stderr, "KITH_RELAY is set in the environment")
    (p.home / "config.json").write_text('{"version": 1, "accept": "all", "mine": 7}')
    for words in ([], ["lan"], ["lan", "no"]):
        r = p.run("config", *words)
        equal((r.returncode, r.stdout), (7, ""))
        has(r.stderr, "accept")
    equal(p.run("config", "--unset", "accept").returncode, 0)
    equal(setting(p, "mine"), 7)


def test_config_beside_kith_up():
    """Who runs has what was so when it began: neither what is set nor what is read says otherwise."""
    now = int(time.time() * 1000)
    for daemon, since_ms, pending in [("", now - 60000, True), ("", now + 60000, False), ("old", 0, True), ("hangs", 0, True)]:
        p = Place()
        config(p, lan=False)
        env = {"KITH_FAKE_DAEMON": daemon, "KITH_FAKE_SINCE": str(since_ms)}
        for words, out in [(["lan", "no"], ""), ([], None), (["lan"], "no\n"), (["--unset", "dir"], "")]:
            r = p.run("config", *words, env=env)
            equal(r.returncode, 0)
            assert out is None or r.stdout == out
            equal('"kith up" runs, and takes changes of config.json up at its next start' in r.stderr, pending, f"{daemon} {words} {r.stderr}")
        equal({e["pending"] for e in events(p.run("--json", "config", env=env).stdout)}, {pending})
        equal([e["pending"] for e in events(p.run("--json", "config", "lan", "yes", env=env).stdout)], [pending])
    p = Place()  # nothing was ever set
    equal(p.run("config", "lan", env={"KITH_FAKE_DAEMON": ""}).stderr, "")


def test_config_paths():
    """Of the folder where they are set, in whatever folder they are read."""
    p = Place(identity=False)
    real = os.path.realpath(p.dir)
    for folder in ("in", "out", "in/deep", "..x", "in/.hidden"):
        (p.dir / folder).mkdir()
    (p.dir / "link").symlink_to("in/deep")
    (p.dir / "token").write_text("secret\n")
    for where, text, want in [("in", "../out", f"{real}/out"), ("in", "..", real), ("in", "../", real), ("in/deep", "../..//out", f"{real}/out"),
                              ("in", ".", f"{real}/in"), ("in", "./deep", f"{real}/in/deep"), ("in", "deep", f"{real}/in/deep"), (".", "..x", f"{real}/..x"),
                              ("in", ".hidden", f"{real}/in/.hidden"), (".", "link/../.hidden", f"{real}/link/../.hidden"), ("link", "..", f"{real}/in"),
                              ("in", "../" * 40 + "tmp", "/tmp"), ("in", "../" * 40, "/"), ("/", "tmp", "/tmp"), ("/", ".", "/")]:
        r = subprocess.run([KITH, "config", "dir", text], cwd=p.dir / where, env=p.env, capture_output=True, text=True, timeout=PATIENCE)
        equal(r.returncode, 0 if os.access(want, os.W_OK) else 7, f"{where} {text} {r.stderr}")
        if r.returncode == 0:
            equal(setting(p, "dir"), want)
    r = subprocess.run([KITH, "config", "relay-token-file", "../token"], cwd=p.dir / "in", env=p.env, capture_output=True, text=True, timeout=PATIENCE)
    equal((r.returncode, setting(p, "relay-token-file")), (0, f"{real}/token"))
    os.mkfifo(p.dir / "pipe")
    for gone in ("pipe", "/dev/stdin", "in"):  # the next command would find nothing in it
        r = p.run("config", "relay-token-file", gone, input="secret\n")
        equal((r.returncode, setting(p, "relay-token-file")), (2, f"{real}/token"), gone)
        has(r.stderr, gone)


def test_a_token_goes_to_no_other_relay():
    p = Place(identity=False)
    (p.dir / "token").write_text("secret\n")
    token = f"{p.dir}/token"
    equal(p.run("config", "relay-token-file", "token").returncode, 0)
    r = p.run("config", "relay", "ws://a", "ws://b")  # whichever of them is set first
    equal(setting(p, "relay-token-file"), token)
    has(r.stderr, f"the token in {token}")
    has(p.run("config", "relay", "ws://b").stderr, f"the token in {token}")
    equal(setting(p, "relay-token-file"), token)
    r = p.run("config", "relay", "ws://c")
    equal((r.returncode, r.stdout, setting(p, "relay-token-file")), (0, "", None))
    has(r.stderr, f"relay-token-file is not set any more: {token} is for the relays from before")
    assert "token" not in p.run("config", "relay", "ws://d").stderr
    for words in (["relay", "none"], ["--unset", "relay"], ["relay", "ws://a", "ws://b"]):
        config(p, relay=["ws://a"], relay_token_file=token)
        e, gone = events(p.run("--json", "config", *words).stdout)
        equal((e["key"], gone["key"], gone["value"]), ("relay", "relay-token-file", None))
        equal(setting(p, "relay-token-file"), None)


def config(p, **values):
    (p.home / "config.json").write_text(json.dumps({"version": 1, **{k.replace("_", "-"): v for k, v in values.items()}}))


def test_settings_count():
    """Option, environment, config.json, default: the first that says something."""
    p = Place(script="ping end\nreceive end\n")
    (p.dir / "in").mkdir()
    (p.dir / "token").write_text("secret\n")
    real = os.path.realpath(p.dir)
    relay = "--relay"

    def traced(*words, **more):
        (p.dir / "trace").unlink(missing_ok=True)
        equal(p.locked(*words, **more).returncode, 0)
        return p.trace()
    config(p, relay=["ws://c"], relay_token_file=f"{p.dir}/token", lan=False, listen="0.0.0.0:7", dir=f"{p.dir}/in", conflict="skip", accept="contacts")
    text = traced("ping", "laptop")  # the node asks config.json itself
    assert "relay" not in text and "open listen=- no_lan=0" in text, text
    has(traced("ping", "laptop", relay, "ws://o", env={"KITH_RELAY": "ws://e"}), "relay ws://o token=-")
    has(traced("ping", "laptop", env={"KITH_RELAY": "ws://e"}), "relay ws://e token=-")
    has(traced("ping", "laptop", relay, "none"), "no relays")
    has(traced("ping", "laptop", env={"KITH_RELAY": "none"}), "no relays")
    assert "relay" not in traced("ping", "laptop", env={"KITH_RELAY": ""})
    has(traced("ping", "laptop", "--lan"), "lan\n")
    equal(p.run("ping", "laptop", "--lan", "--no-lan").returncode, 2)
    has(p.run("trust", "a1b2c3", "--yes").stderr, "--lan")
    has(traced("receive"), f"receive {real}/in from=- yes=0 once=0 conflict=1")
    has(traced("receive", "--dir", ".", "--conflict", "overwrite"), f"receive {real} from=- yes=0 once=0 conflict=2")
    config(p)
    has(traced("receive"), f"receive {real} from=- yes=0 once=0 conflict=0")
    config(p, relay=["ws://c", "ws://d"])
    equal(events(p.run("--json", "status").stdout)[0]["relays"], ["ws://c", "ws://d"])
    equal(events(p.run("--json", "status", env={"KITH_RELAY": "ws://e"}).stdout)[0]["relays"], ["ws://e"])
    equal(events(p.run("--json", "status", relay, "none").stdout)[0]["relays"], [])
    p = Place(script="daemon start\ndaemon end\n")
    (p.dir / "in").mkdir()
    config(p, dir=f"{p.dir}/in", accept="contacts", conflict="overwrite", listen="127.0.0.1:7")
    equal(p.locked("up").returncode, 0)
    has(p.trace(), f"receive {os.path.realpath(p.dir)}/in from=- yes=1 once=0 conflict=2")
    has(p.trace(), "open listen=127.0.0.1:7 ")
    (p.dir / "trace").unlink()
    equal(p.locked("up", "--accept", "own", "--conflict", "keep", "--dir", ".", "--listen", "127.0.0.1:8").returncode, 0)
    has(p.trace(), f"receive {os.path.realpath(p.dir)} from=- yes=0 once=0 conflict=0")
    has(p.trace(), "open listen=127.0.0.1:8 ")
    # Only relays want to know who asks: where config.json has one, the doctor needs the password.
    p = Place(script="doctor end\n")
    config(p, relay=["ws://c"])
    equal(p.locked("doctor").returncode, 0)
    has(p.trace(), "doctor keys=1")
    config(p, lan=1)
    r = p.run("ping", "laptop", "--no-input")  # said before a password is asked for
    equal(r.returncode, 7)
    has(r.stderr, "lan: not true or false")
    r = p.run("doctor")
    equal(r.returncode, 1)
    has(r.stdout, "lan: not true or false")


def test_options_anywhere():
    p = Place(script="ping pong rtt_ns=1500000\nping end\n")
    for words in [["-c3", "ping", "laptop"], ["ping", "-c", "3", "laptop"], ["ping", "laptop", "-c", "3"], ["ping", "-c3", "--", "laptop"]]:
        r = p.locked(*words)
        equal(r.returncode, 0, r.stderr)
        equal(r.stdout, "laptop: 1.50 ms over udp (lan), 192.0.2.9:4433\n")
    equal(p.trace().count("ping 01890000-0000-7000-8000-0000000000aa count=3"), 4)
    equal(p.locked("ping", "--", "-c3").returncode, 3)  # a device of that name


def test_help_and_version():
    p = Place()
    for words in (["help"], ["--help"], ["-h"]):
        r = p.run(*words)
        equal((r.returncode, r.stderr), (0, ""))
        has(r.stdout, "send --to DEVICE FILE")
        assert max(map(len, r.stdout.splitlines())) <= 80, "help is wider than 80"
        assert not re.search(r" $", r.stdout, re.M)
    for words in (["help", "send"], ["send", "--help"], ["--help", "send"], ["send", "-h", "--git"]):
        r = p.run(*words)
        equal(r.returncode, 0, r.stderr)
        has(r.stdout, "Usage: kith send [OPTION]... --to DEVICE FILE")
        assert "--exclude" not in r.stdout
    for words in (["version"], ["--version"], ["-V"], ["ping", "-V"]):
        equal(p.run(*words).stdout, "kith 0.1.0\n")
    has(p.run("--json", "--help").stdout, "Usage: kith")  # text all the same, as kith(1) says
    equal(events(p.run("--json", "version").stdout), [{"event": "version", "version": "0.1.0"}])


def test_json_errors():
    p = Place()
    for words, code in [(["--json", "nonsense"], 2), (["nonsense", "--json"], 2), (["--json", "ping", "nobody"], 3),
                        (["ping", "laptop", "--json", "--no-input"], 2)]:
        r = p.run(*words)
        (e,) = events(r.stdout)
        equal((e["event"], e["code"], r.returncode, r.stderr), ("error", code, code, ""))
        assert e["message"]
    r = p.run("--json", "ping", "\x1b[31m\xff")
    events(r.stdout)
    assert "\x1b" not in r.stdout
    assert "\x1b" not in p.run("\x1b[31mx").stderr
    p = Place(script="pair paired device=a%c2%9b31mb\npair end\n")
    r = p.locked("--json", "pair", "--yes")
    assert "\x9b" not in r.stdout and events(r.stdout)[0]["device"]["name"] == "a\x9b31mb"


def test_closed_output():
    p = Place()
    with open("/dev/full", "w") as full:
        r = subprocess.run([KITH, "help"], stdout=full, stderr=subprocess.PIPE, text=True, env=p.env, timeout=PATIENCE)
    equal(r.returncode, 1)
    has(r.stderr, "standard output")
    r = subprocess.run(["sh", "-c", f"'{KITH}' status >&-"], capture_output=True, text=True, env=p.env, timeout=PATIENCE)
    equal(r.returncode, 1, r.stderr)
    p = Place(script="ping pong rtt_ns=1\nping wait ms=50\n" * 20)
    child = subprocess.Popen([KITH, "--password-file", str(p.password), "ping", "laptop"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True, env=p.env, start_new_session=True)
    child.stdout.readline()
    child.stdout.close()
    equal(child.wait(PATIENCE), 1)
    has(p.trace(), "cancel")
    p = Place(script="pair code words=a expires_ms=1\n")  # and then nothing more comes
    for words in (["pair", "--yes"], ["--json", "receive"]):
        with open("/dev/full", "w") as full:
            r = subprocess.run([KITH, "--timeout", "20", "--password-file", str(p.password), *words], stdout=full, stderr=subprocess.PIPE,
                               text=True, env=p.env, cwd=p.dir, timeout=PATIENCE, start_new_session=True)
        equal(r.returncode, 1, r.stderr)
        has(r.stderr, "standard output cannot be written")


def test_home():
    p = Place()
    del p.env["KITH_HOME"]
    r = p.run("status")
    equal(r.returncode, 7)
    has(r.stderr, "kith init")
    for path, env in [(".local/share/kith", {}), ("data/kith", {"XDG_DATA_HOME": str(p.dir / "data")}),
                      ("other", {"KITH_HOME": str(p.dir / "other"), "XDG_DATA_HOME": str(p.dir / "data")})]:
        (p.dir / path).mkdir(parents=True)
        (p.dir / path / "identity").write_text(f"{path.replace('/', '-')}\nsecret\n")
        has(p.run("status", env=env).stdout, f"name         {path.replace('/', '-')}\n")
    has(p.run("--home", str(p.home), "status", env={"KITH_HOME": "other"}).stdout, "name         desk\n")
    has(p.run("status", env={"XDG_DATA_HOME": "data"}).stdout, "local-share")  # relative: ignored


# ---- passwords ----

def test_password_sources():
    p = Place(script="ping pong rtt_ns=1\nping end\n")
    equal(p.locked("ping", "laptop").returncode, 0)
    equal(p.run("ping", "laptop", env={"KITH_PASSWORD_FILE": str(p.password)}).returncode, 0)
    equal(p.run("--password-file=-", "ping", "laptop", input="secret\r\nmore").returncode, 0)
    r = p.run("--password-file", "-", "ping", "laptop", input="secrets\n")
    equal(r.returncode, 4)
    has(r.stderr, "wrong password")
    for text in ("", "\nsecret\n"):
        equal(p.run("--password-file", "-", "ping", "laptop", input=text).returncode, 2)
    r = p.run("ping", "laptop")
    equal(r.returncode, 2)
    has(r.stderr, "no terminal: say --password-file FILE")
    has(p.run("--no-input", "ping", "laptop").stderr, "--no-input forbids it: say --password-file FILE")
    equal(p.run("--password-file", "nothing", "ping", "laptop").returncode, 7)
    p.password.chmod(0o644)
    r = p.locked("ping", "laptop")
    equal(r.returncode, 0)
    has(r.stderr, "others can read")
    p.password.write_text("x" * 2000)
    equal(p.locked("ping", "laptop").returncode, 2)


def test_pipe_that_nobody_writes_into():
    """As a password manager's may be for a while: it is waited for, but not past Ctrl-C or --timeout."""
    p = Place(script="ping pong rtt_ns=1\nping end\n")
    os.mkfifo(p.dir / "pipe")
    for words in (["--password-file", "pipe", "ping", "laptop"], ["--password-file", str(p.password), "join", "--yes", "--code-file", "pipe"],
                  ["--relay", "ws://x", "--relay-token-file", "pipe", "--password-file", str(p.password), "ping", "laptop"]):
        r = p.run("--timeout", "1", *words)
        equal(r.returncode, 6, words)
        has(r.stderr, "gave up")
        child = subprocess.Popen([KITH, *words], cwd=p.dir, env=p.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while str(p.dir / "pipe") not in [os.path.realpath(f) for f in pathlib.Path(f"/proc/{child.pid}/fd").iterdir()]:
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=PATIENCE)
        equal(child.returncode, 130, err)
        has(err, "interrupted")
    child = subprocess.Popen([KITH, "--password-file", "pipe", "ping", "laptop"], cwd=p.dir, env=p.env, stdout=subprocess.PIPE)
    with open(p.dir / "pipe", "w") as pipe:
        for part in ("sec", "ret\n"):
            pipe.write(part)
            pipe.flush()
    child.communicate(timeout=PATIENCE)
    equal(child.returncode, 0)


def test_password_asked():
    p = Place(script="ping pong rtt_ns=1\nping end\n")
    t = p.terminal("ping", "laptop")
    t.expect("This device's password: ")
    t.type_blind("wrong\n")
    t.expect("try again")
    t.expect("password: ")
    t.type_blind("secret\n")
    equal(t.wait(), 0)
    assert "secret" not in t.seen
    equal(t.out, "laptop: 0.00 ms over udp (lan), 192.0.2.9:4433\n")
    assert t.echoes()
    t = p.terminal("ping", "laptop")
    for _ in range(3):
        t.expect("password: ")
        t.type_blind("wrong\n")
    equal(t.wait(), 4)


def test_password_interrupted():
    p = Place()
    for how in ("key", "signal"):
        t = p.terminal("ping", "laptop")
        t.expect("password: ")
        t.type_blind("sec")
        if how == "key":
            t.type("\x03")
        else:
            os.kill(t.pid, signal.SIGTERM)
        equal(t.wait(), 130)
        assert t.echoes(), "the terminal was left without echo"
    t = p.terminal("ping", "laptop")
    t.expect("password: ")
    t.type_blind("sec")
    for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):  # two at once: it ends in the handler
        os.kill(t.pid, number)
    equal(t.wait(), 130)
    assert t.echoes(), "the second signal left the terminal without echo"
    t = p.terminal("ping", "laptop")
    t.expect("password: ")
    t.type_blind("\x04")
    equal(t.wait(), 2)
    assert t.echoes()


# ---- init and status ----

def test_init():
    p = Place(identity=False)
    t = p.terminal("init", "--name", "desk")
    t.expect("new password for this device: ")
    t.type_blind("\n")
    t.expect("must not be empty")
    t.expect("new password for this device: ")
    t.type_blind("one\n")
    t.expect("once more: ")
    t.type_blind("two\n")
    t.expect("two different passwords")
    t.expect("new password for this device: ")
    t.type_blind("one\n")
    t.expect("once more: ")
    t.type_blind("one\n")
    equal(t.wait(), 0)
    equal(t.out.splitlines()[1], "name         desk")
    equal((p.home / "identity").read_text(), "desk\none\n")
    r = p.run("init", "--no-input", "--name", "else")  # again: nothing is asked, nothing changes
    equal(r.returncode, 0)
    equal(r.stdout, t.out)
    has(r.stderr, "nothing was changed")
    (e,) = events(p.run("init", "--json").stdout)
    equal((e["event"], e["created"], e["name"]), ("identity", False, "desk"))
    p = Place(identity=False)
    (e,) = events(p.locked("init", "--json").stdout)
    equal((e["event"], e["created"]), ("identity", True))
    equal(p.run("init").returncode, 0)
    p = Place(identity=False)
    equal(p.run("init").returncode, 2)
    r = p.locked("ping", "laptop")
    equal(r.returncode, 7)
    has(r.stderr, "kith init")


def test_init_shows_the_recovery_code():
    """On the terminal, where it is a person who sees it; never into a pipe."""
    p = Place(identity=False)
    t = p.terminal("--password-file", str(p.password), "init")
    seen = t.expect("The recovery code, shown only now")
    equal(t.wait(), 0)
    assert "tender" not in t.out and "tender" not in seen, t.out
    has(t.seen, " 1 acid       2 acorn      3 apple      4 april      5 banana     6 cherry")
    has(t.seen, "19 grape")
    p = Place(identity=False)
    t = p.terminal("--plain", "--password-file", str(p.password), "init")
    equal(t.wait(), 0)
    has(t.seen.replace("\r", ""), " 1 acid\n 2 acorn\n")
    has(t.seen.replace("\r", ""), "\n24 tender\n")
    p = Place(identity=False)
    (e,) = events(p.locked("--json", "init").stdout)
    equal(e["recovery_code"], CODE)
    (e,) = events(p.locked("--json", "init").stdout)  # only once
    equal(e["recovery_code"], None)
    p = Place(identity=False)
    r = p.locked("init")  # nobody is there
    equal(r.returncode, 0)
    has(r.stderr, "no recovery code")
    assert "acorn" not in r.stdout + r.stderr
    equal(p.trace(), "init recovery=0\n")


def into_nothing(p, *words):
    with open("/dev/full", "w") as full:
        r = subprocess.run([KITH, "--password-file", str(p.password), *words], stdout=full, stderr=subprocess.PIPE, text=True, env=p.env,
                           cwd=p.dir, timeout=PATIENCE, start_new_session=True)
    equal(r.returncode, 1, r.stderr)
    has(r.stderr, "standard output cannot be written")
    return p.trace()


def test_a_recovery_code_that_nobody_saw_is_not_in_force():
    p = Place(identity=False)
    equal(into_nothing(p, "--json", "init"), "init recovery=1\n")  # and nobody knows of the identity
    p = Place()
    (p.home / "recovery").write_text("")
    (p.dir / "code").write_text(CODE + "\n")
    for words, said in ((["recovery", "new", "--code-file", "code"], "recovery old=1 lost=0 check\n"),
                        (["recovery", "new", "--lost"], "recovery old=0 lost=1 check\n"),
                        (["revoke", "--yes", "--recovery", "--code-file", "code", "laptop"], "")):
        before = p.trace()
        equal(into_nothing(p, "--json", *words), before + said)
    (p.home / "full").write_text("")  # what was shown cannot be put in force
    shown, e = events(p.locked("--json", "recovery", "new", "--lost").stdout)
    equal((shown["event"], e["code"]), ("recovery_code", 7))
    has(e["message"], "the recovery code that was shown is good for nothing")


def test_a_code_file_has_words_over_lines():
    """As --plain shows them, numbered or not; what follows is somebody else's."""
    p = Place()
    (p.home / "recovery").write_text("")
    (p.dir / "new").write_text("better\n")
    numbered = "".join(f"{i + 1:2} {word}\n" for i, word in enumerate(CODE.split()))
    for text in (numbered, CODE.replace(" ", "\r\n"), "\n\n" + CODE.replace(" ", "\n\n")):
        (p.dir / "code").write_text(text)
        r = p.run("passwd", "--code-file", "code", "--new-password-file", "new")
        equal((r.returncode, (p.home / "identity").read_text()), (0, "desk\nbetter\n"), r.stderr)
    r = p.run("passwd", "--code-file", "-", "--new-password-file", "-", input=numbered + "best\n")
    equal((r.returncode, (p.home / "identity").read_text()), (0, "desk\nbest\n"), r.stderr)
    for text in ("", "\n" * 1000, "12 34\n", "\0" * 5000, "\n".join(["acid"] * 23), "acid " * 200):
        (p.dir / "code").write_text(text)
        r = p.run("passwd", "--code-file", "code", "--new-password-file", "new")
        assert r.returncode in (2, 4), (text[:20], r.returncode, r.stderr)
    p = Place(script="join paired device=laptop\njoin end\n")
    (p.dir / "code").write_text("".join(f"{i + 1} {word}\n" for i, word in enumerate(WORDS.split())))
    equal(p.locked("join", "--yes", "--code-file", "code").returncode, 0)


def test_passwd():
    p = Place()
    (p.dir / "new").write_text("better\n")
    (p.dir / "code").write_text(CODE + "\n")
    has(p.locked("passwd").stderr, "--new-password-file FILE")
    r = p.locked("passwd", "--new-password-file", "new")
    equal((r.returncode, r.stdout), (0, ""))
    equal((p.home / "identity").read_text(), "desk\nbetter\n")
    r = p.locked("passwd", "--new-password-file", "new")
    equal(r.returncode, 4)
    has(r.stderr, "wrong password")
    equal(p.run("passwd", "--new-password-file", "new").returncode, 2)
    r = p.run("passwd", "--password-file", "-", "--new-password-file", "-", input="better\nbest\n")  # a line each
    equal((r.returncode, (p.home / "identity").read_text()), (0, "desk\nbest\n"))
    r = p.run("passwd", "--recovery", "--code-file", "code", "--new-password-file", "new")
    equal(r.returncode, 1)  # there is no code
    (p.home / "recovery").write_text("")
    (e,) = events(p.run("--json", "passwd", "--code-file", "code", "--new-password-file", "new").stdout)
    equal(e, {"event": "password_changed"})
    equal((p.home / "identity").read_text(), "desk\nbetter\n")
    (p.dir / "code").write_text(CODE.replace("tender", "tendre") + "\n")
    r = p.run("passwd", "--code-file", "code", "--new-password-file", "new")
    equal(r.returncode, 4)
    has(r.stderr, '"tendre" is no word')
    (p.dir / "code").write_text(CODE.replace("tender", "acid") + "\n")
    equal(p.run("passwd", "--code-file", "code", "--new-password-file", "new").returncode, 4)
    has(p.run("passwd", "--recovery").stderr, "--code-file FILE")
    equal(Place(identity=False).run("passwd").returncode, 7)


def test_passwd_asks():
    p = Place()
    (p.home / "recovery").write_text("")
    t = p.terminal("passwd", "--recovery")
    t.expect("recovery code's 24 words: ")
    t.type("aci\t" + "acorn apple april banana cherry grape lemon melon orange peach tend\t" + "\n")
    t.expect("Word 13 of 24")
    t.type("acid acorn aple\n")
    t.expect('"aple" is no word')
    t.expect("Word 13 of 24")  # what was right before stays
    t.type("acid acorn apple april banana cherry\n")
    t.expect("Word 19 of 24")
    t.type("grape lemon melon orange peach tender\n")
    t.expect("new password for this device: ")
    t.type_blind("one\n")
    t.expect("once more: ")
    t.type_blind("one\n")
    equal(t.wait(), 0)
    equal((p.home / "identity").read_text(), "desk\none\n")
    assert t.echoes()
    t = p.terminal("passwd")
    t.expect("This device's password: ")
    t.type_blind("wrong\n")
    t.expect("try again")  # before a new one is asked for
    t.expect("This device's password: ")
    t.type_blind("one\n")
    for _ in range(2):
        t.expect(": ")
        t.type_blind("one\n")
    equal(t.wait(), 0)
    (p.dir / "other").write_text(CODE.replace("cherry", "peach", 1) + "\n")
    r = p.run("passwd", "--code-file", "other")  # the code, too, before there is nobody to ask for a new password
    equal(r.returncode, 4, r.stderr)
    t = p.terminal("passwd")
    t.expect("This device's password: ")
    t.type_blind("one\n")
    t.expect("new password for this device: ")
    t.type("\x03")
    equal(t.wait(), 130)
    equal((p.home / "identity").read_text(), "desk\none\n")
    t = p.terminal("passwd", "--recovery")
    t.expect("24 words: ")
    t.type("\x03")
    equal(t.wait(), 130)
    assert t.echoes()


def test_recovery():
    p = Place(script="ping end\n")
    (p.dir / "code").write_text(CODE + "\n")
    has(p.run("recovery").stdout, "no recovery code")
    equal(p.run("recovery", "old").returncode, 2)
    has(p.locked("recovery", "new").stderr, "nobody would see")
    e, told = events(p.locked("--json", "recovery", "new").stdout)  # there was none: nothing to give
    equal((e["event"], e["recovery_code"], e["in_force"]), ("recovery_code", CODE, True))
    equal(told, {"event": "told", "devices": 1, "of": 1})  # its one own device hears at once
    has(p.trace(), "recovery old=0 lost=0 check\nrecovery old=0 lost=0 shown\n")
    (p.home / "recovery").write_text("")
    has(p.run("recovery").stdout, "opens the keys of 1 device.")
    has(p.locked("--json", "recovery", "new").stdout, "--code-file FILE")
    e = events(p.locked("--json", "recovery", "new", "--code-file", "code").stdout)[0]
    equal(e["in_force"], True)
    e = events(p.locked("--json", "recovery", "new", "--lost").stdout)[0]
    equal(e["in_force"], False)
    equal(re.findall("old=. lost=. \w+", p.trace()), ["old=0 lost=0 check", "old=0 lost=0 shown", "old=1 lost=0 check", "old=1 lost=0 shown",
                                                       "old=0 lost=1 check", "old=0 lost=1 shown"])
    t = p.terminal("--password-file", str(p.password), "recovery", "new", "--lost")
    t.expect("shown only now")
    has(t.expect("once each of your other devices has agreed"), " 1 acid")
    equal(t.wait(), 0)
    equal(p.locked("recovery", "accept", "--yes").returncode, 3)
    (p.home / "waiting").write_text("")
    has(p.run("recovery").stdout, "laptop made a new one")
    has(p.locked("recovery", "accept").stderr, "--yes")
    t = p.terminal("--password-file", str(p.password), "recovery", "accept")
    t.expect("[y/N] ")
    t.type("\n")
    equal(t.wait(), 4)
    t = p.terminal("--password-file", str(p.password), "recovery", "accept")
    t.expect("[y/N] ")
    t.type("y\n")
    equal(t.wait(), 0)
    equal(p.trace().count("accept\n"), 1)
    e, told = events(p.locked("--json", "recovery", "accept", "--yes").stdout)
    equal(e, {"event": "recovery_accepted", "in_force": True})
    equal(told["event"], "told")
    (p.home / "several").write_text("")
    has(p.locked("recovery", "accept", "--yes").stderr, "several of your devices")
    equal(p.trace().count("accept\n"), 2)
    equal(events(p.run("--json", "recovery").stdout)[0]["ended"], None)
    (p.home / "ended").write_text("")
    for words in (["recovery"], ["status", "--no-lan"], ["devices", "--no-lan"]):
        r = p.run(*words)
        has(r.stdout + r.stderr, "the recovery code that laptop made on 2026-11-24")
    e = events(p.run("--json", "status", "--no-lan").stdout)[0]["recovery"]["ended"]
    equal((e["by"], e["waits"]), ("laptop", False))


def test_backup_and_restore():
    p = Place()
    (p.home / "recovery").write_text("")
    (p.dir / "code").write_text(CODE + "\n")
    (p.dir / "new").write_text("better\n")
    r = p.locked("backup", "b")
    equal((r.returncode, r.stdout), (0, ""))
    equal(p.locked("backup", "b").returncode, 7)
    equal(p.run("backup", "c").returncode, 2)
    r = p.locked("restore", "b")  # there is an identity
    equal(r.returncode, 7)
    has(r.stderr, "--home DIR")
    r = p.locked("--home", "other", "restore", "b")
    equal(r.returncode, 0, r.stderr)
    equal(r.stdout.splitlines()[1], "name         desk")
    for words in (["restore", "nothing"], ["restore", "nothing", "--recovery"], ["restore", "b/c"]):
        r = p.run("--home", "third", *words)  # where nobody can be asked: that comes after
        equal(r.returncode, 7, r.stderr)
        has(r.stderr, "the backup " + words[1])
    has(p.run("backup", "b").stderr, "overwrites nothing")
    t = p.terminal("--home", "typed", "restore", "b")
    for word in ("wrong", "secret"):
        t.expect("password that the device had when the backup was made: ")
        t.type_blind(word + "\n")
    equal(t.wait(), 0)
    t = p.terminal("--home", "never", "restore", "b")
    for _ in range(3):
        t.expect("was made: ")
        t.type_blind("wrong\n")
    equal(t.wait(), 4)
    t = p.terminal("--home", "never", "restore", "b")
    t.expect("was made: ")
    t.type_blind("wrong\n")
    t.expect("was made: ")
    t.type("\x03")
    equal(t.wait(), 130)
    equal(p.run("--home", "third", "restore", "b", "--password-file", "new").returncode, 4)
    (e,) = events(p.run("--json", "--home", "third", "restore", "b", "--code-file", "code", "--new-password-file", "new").stdout)
    equal((e["event"], e["name"]), ("restored", "desk"))
    equal((p.dir / "third" / "identity").read_text(), "desk\nbetter\n")
    r = p.run("--home", "fourth", "restore", "b", "--device", "laptop", "--code-file", "code", "--new-password-file", "new")
    equal(r.stdout.splitlines()[1], "name         laptop")
    has(p.trace(), "restore device=laptop recovery=1")
    has(p.run("--home", "fifth", "restore", "b", "--device", "laptop").stderr, "--code-file FILE")
    (p.dir / "wrong").write_text(CODE.replace("cherry", "peach", 1) + "\n")
    r = p.run("--home", "fifth", "restore", "b", "--code-file", "wrong")  # before there is nobody to ask for a new password
    equal(r.returncode, 4, r.stderr)
    r = p.run("--home", "fifth", "restore", "nothing", "--code-file", "code")
    equal(r.returncode, 7, r.stderr)
    equal(Place(identity=False).run("backup", "b").returncode, 7)


def test_status():
    p = Place()
    has(p.run("status").stdout, 'recovery     none: "kith recovery new" makes a code\n')
    (p.home / "recovery").write_text("")
    has(p.run("status").stdout, "recovery     code of 2026-11-24T03:29:23Z, opens the keys of 1 device\n")
    (e,) = events(p.run("--json", "status").stdout)
    equal(e["recovery"], {"exists": True, "deposited": True, "created_at": "2026-11-24T03:29:23Z", "devices": 1, "ended": None})
    has(p.run("status").stdout, "up           no\n")
    (e,) = events(p.run("--json", "status").stdout)
    equal({k: e[k] for k in ("event", "name", "up", "relays", "addresses")},
          {"event": "status", "name": "desk", "up": False, "relays": [], "addresses": []})


# ---- with `kith up` ----

DAEMON = {"KITH_FAKE_DAEMON": ""}


def test_requests_to_the_daemon():
    """No password is asked for; options that are a node's own make one."""
    p = Place(script="ping pong rtt_ns=1500000\nping end\n")
    r = p.run("ping", "laptop", env=DAEMON)
    equal(r.returncode, 0)
    equal(p.trace().splitlines()[0], "attach")
    assert "open" not in p.trace(), p.trace()
    for option in (("--no-lan",), ("--listen", "[::]:7"), ("--relay", "ws://x")):
        q = Place(script="ping end\n")
        equal(q.run("ping", "laptop", *option, env=DAEMON).returncode, 2)
        equal(q.locked("ping", "laptop", *option, env=DAEMON).returncode, 0)
        assert "attach" not in q.trace() and "open" in q.trace(), q.trace()
    for words in (["ping", "laptop"], ["status"], ["down"], ["inbox"], ["up", "--dir", "."], ["devices"]):
        r = p.run(*words, env={"KITH_FAKE_DAEMON": "old"})
        equal(r.returncode, 1, words)
        has(r.stderr, "another version")
    for words in (["ping", "laptop"], ["status"], ["up", "--dir", "."], ["down"]):
        q = Place()
        r = q.run("--timeout", "1", *words, env={"KITH_FAKE_DAEMON": "hangs"})
        equal(r.returncode, 6, words)
        has(r.stderr, "kill -9")
        (patience,) = re.findall("patience=([0-9]+)", q.trace())
        assert 0 < int(patience) <= 1002, patience
    for as_json in (False, True):  # nothing answers, and Ctrl-C is one
        q = Place()
        child = subprocess.Popen([KITH, *(["--json"] if as_json else []), "ping", "laptop"], cwd=q.dir, text=True, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, env={**q.env, "KITH_FAKE_DAEMON": "hangs", "KITH_FAKE_PATIENCE": "endless"})
        while "patience" not in q.trace():
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=PATIENCE)
        equal(child.returncode, 130)
        has(out if as_json else err, "interrupted: nothing was changed")
        equal(err if as_json else out, "")
    q = Place(script="ping pong rtt_ns=1\nping end err=-43 message=it_has_ended\n")
    r = q.run("ping", "laptop", env=DAEMON)
    equal(r.returncode, 3)
    has(r.stderr, "it has ended")


def test_status_of_the_daemon():
    p = Place()
    r = p.run("status", env=DAEMON)
    has(r.stdout, "up           yes, process 4711")
    has(r.stdout, "addresses    192.0.2.7:53211\n")
    has(r.stdout, "relays       ws://x (connected)\n             ws://y (not connected)\n")
    (e,) = events(p.run("--json", "status", env={**DAEMON, "KITH_RELAY": "ws://other"}).stdout)
    equal({k: e[k] for k in ("up", "pid", "folder", "relays", "relays_connected", "addresses")},
          {"up": True, "pid": 4711, "folder": "/in", "relays": ["ws://x", "ws://y"], "relays_connected": ["ws://x"],
           "addresses": ["192.0.2.7:53211"]})
    equal(e["twin"], None)
    assert "warning" not in r.stdout, r.stdout
    twin = {**DAEMON, "KITH_FAKE_TWIN": "192.0.2.9:1"}
    has(p.run("status", env=twin).stdout, "warning      another machine, at 192.0.2.9:1, announces this device's identity")
    equal(events(p.run("--json", "status", env=twin).stdout)[0]["twin"], "192.0.2.9:1")


def test_devices_that_are_connected():
    p = Place(script="look live rtt_ns=1500000\nlook looked\n")
    lines = p.run("devices", env=DAEMON).stdout.splitlines()
    has(lines[1], "connected, udp, lan, 1.5 ms")
    assert re.search(r"yes +now +connected|no +now +connected", lines[1]), lines[1]  # whatever was written down of it
    e = events(p.run("devices", "--json", env=DAEMON).stdout)[0]
    equal((e["online"], e["rtt_ms"], e["path"]), (True, 1.5, "udp"))


def test_up():
    p = Place()
    equal(p.run("up", "--dir", ".").returncode, 2)  # no password
    r = p.run("up", "--dir", ".", env=DAEMON)
    equal(r.returncode, 1)
    has(r.stderr, "runs already (process 4711)")
    equal(p.locked("up", "--dir", "nowhere").returncode, 7)
    equal(p.locked("up", "--accept", "everybody").returncode, 2)
    # The default folder is the desktop's.
    (p.dir / ".config").mkdir()
    (p.dir / ".config" / "user-dirs.dirs").write_text('XDG_DESKTOP_DIR="$HOME/x"\nXDG_DOWNLOAD_DIR="$HOME/Got it"\n')
    (p.dir / "credentials").mkdir()
    (p.dir / "credentials" / "kith-password").write_text("secret\n")
    q = Place(script="daemon end err=-72\n")
    q.env["HOME"] = str(p.dir)
    r = q.run("up", "--no-input", env={"CREDENTIALS_DIRECTORY": str(p.dir / "credentials")})
    equal(r.returncode, 7, r.stderr)
    has(q.trace(), f"receive {p.dir}/Got it from=- yes=0")
    q = Place(script="daemon start\ndaemon end\n")
    r = q.locked("up", "--dir", ".", "--accept", "contacts", "--json")
    equal(r.returncode, 0)
    equal(events(r.stdout)[0]["event"], "ready")
    has(q.trace(), "yes=1")


def test_another_of_us():
    p = Place(script="receive twin\nreceive end\n")
    r = p.locked("receive", "-q")  # a warning is said, however quiet
    has(r.stderr, "announces this device's identity")
    (e,) = [e for e in events(p.locked("receive", "--json").stdout) if e["event"] == "twin"]
    has(e["address"], "192.0.2.9")
    p = Place(script="receive revoked message=this_device_was_revoked_by_pad\nreceive end\n")
    has(p.locked("receive", "-q").stderr, "warning: this device was revoked by pad; your other devices do not let it in")
    equal([e["message"] for e in events(p.locked("receive", "--json").stdout) if e["event"] == "revoked"], ["this device was revoked by pad"])


def test_a_revoked_device_says_so():
    """Each command, from the home's own files; it goes on, and scripts have an event."""
    said = "warning: this device was revoked by pad: sold; your other devices do not let it in"
    commands = {"devices": [], "pair": ["--yes"], "join": ["--yes", *WORDS.split()], "ping": ["laptop"], "send": ["--to", "laptop", "file"]}
    for command, more in commands.items():
        for revoked in (False, True):
            p = Place(script=f"{command} end\nlook looked\n")
            (p.dir / "file").write_text("x")
            if revoked:
                (p.home / "revoked").write_text("")
            r = p.locked(command, *more)
            equal((r.returncode, said in r.stderr), (0, revoked), f"{command}: {r.stderr}")
            heard = [e["message"] for e in events(p.locked("--json", command, *more).stdout) if e["event"] == "revoked"]
            equal(heard, ["this device was revoked by pad: sold"] if revoked else [], command)
    p = Place()
    equal(events(p.run("--json", "status").stdout)[0]["revoked"], None)
    (p.home / "revoked").write_text("")
    has(p.run("status").stdout, "revoked      this device was revoked by pad: sold; your other devices")
    has(p.run("status").stdout, "kith revoke --recovery")
    equal(events(p.run("--json", "status").stdout)[0]["revoked"], "this device was revoked by pad: sold")


def test_up_tells_systemd():
    import socket
    p = Place(script="daemon start\ndaemon wait ms=300\ndaemon end\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.settimeout(PATIENCE)
        s.bind(str(p.dir / "notify"))
        r = p.locked("up", "--dir", ".", env={"NOTIFY_SOCKET": str(p.dir / "notify")})
        equal(r.returncode, 0)
        equal(s.recv(1000), b"READY=1")
        has(s.recv(1000).decode(), "STATUS=Receiving into")
        equal(s.recv(1000), b"STOPPING=1")


def test_down():
    p = Place(script="down end\n")
    r = p.run("down")
    equal((r.returncode, r.stdout), (0, ""))
    has(r.stderr, "does not run")
    r = p.run("down", env=DAEMON)
    equal(r.returncode, 0)
    has(r.stderr, "(process 4711) has ended")
    equal(events(p.run("--json", "down").stdout), [{"event": "down", "ran": False, "pid": None}])


def test_inbox():
    script = "inbox offer transfer=4294967299 name=a%1bb total=2048 device=phone trust=contact open=1\ninbox end\nanswer end\n"
    p = Place(script=script)
    r = p.run("inbox")
    equal(r.returncode, 3)
    has(r.stderr, "does not run")
    r = p.run("inbox", env=DAEMON)
    equal((r.returncode, r.stdout), (0, "3  phone  2.0 KiB  a\\x1bb\n"))
    (e,) = events(p.run("--json", "inbox", env=DAEMON).stdout)
    equal((e["event"], e["id"], e["bytes"], e["name"]), ("offer", 3, 2048, "a\x1bb"))
    equal(p.run("inbox", "accept", "7", env=DAEMON).returncode, 0)
    has(p.trace(), "inbox answer 7 yes")
    equal(Place().run("inbox", "take", env=DAEMON).returncode, 2)
    equal(Place().run("inbox", "accept", "none", env=DAEMON).returncode, 2)
    p = Place(script=script)
    equal(p.run("inbox", "decline", env=DAEMON).returncode, 0)
    has(p.trace(), "inbox answer 3 no")
    r = Place(script="inbox end\n").run("inbox", "accept", env=DAEMON)
    equal(r.returncode, 3)
    has(r.stderr, "no offer waits")
    two = "".join(f"inbox offer transfer={i} name=x total=1 device=phone open=1\n" for i in (1, 2)) + "inbox end\n"
    r = Place(script=two).run("inbox", "accept", env=DAEMON)
    equal(r.returncode, 2)
    has(r.stderr, "2 offers wait")


# ---- devices ----

def test_devices():
    p = Place(script="look sighted\nlook sighted\nlook looked\n")
    lines = p.run("devices").stdout.splitlines()
    equal(lines[0].split(), ["NAME", "ID", "WHOSE", "VERIFIED", "LAST", "SEEN", "NOW"])
    equal(re.split(r"  +", lines[1]), ["laptop", "01890000", "own", "no", "never", "on this network, udp, 192.0.2.9:4433"])
    equal(re.split(r"  +", lines[2]), ["phone", "01890000", "contact", "no", "never", "not on this network"])
    has(p.trace(), "open listen=- no_lan=0")
    (a, b) = events(p.run("devices", "--json").stdout)
    equal((a["event"], a["name"], a["trust"], a["online"], a["path"], a["scope"]), ("device", "laptop", "own", True, "udp", "lan"))
    equal((b["name"], b["trust"], b["online"], b["path"], b["scope"]), ("phone", "contact", False, None, None))
    (a, b) = events(p.run("devices", "--json", "--no-lan").stdout)
    equal((a["online"], b["online"]), (None, None))
    q = Place(script="look sighted\nlook wait ms=600000\nlook looked\n")
    r = q.run("devices", "--timeout", "1")  # it looks as long as it may, and says what it knows
    equal((r.returncode, r.stdout.splitlines()), (0, lines), r.stderr)
    t = q.terminal("devices")  # on a terminal it says for whom it waits
    t.expect("Looking for laptop, phone")
    t.expect("Looking for phone")
    t.type("\x03")
    equal((t.wait(), t.out), (130, ""))
    q = Place(devices=LAPTOP, script="look sighted\nlook looked\n")
    for words, strangers in ((["devices"], 0), (["devices", "--nearby"], 1)):  # who did not ask for strangers hears of none
        t = q.terminal(*words)
        equal(t.wait(), 0)
        has(t.seen, "Looking for laptop...")
        equal(t.seen.count("Looking for strangers..."), strangers)
    p = Place(devices="")
    r = p.run("devices")
    equal((r.returncode, r.stdout), (0, ""))
    has(r.stderr, "kith pair")


def test_rename_and_forget():
    p = Place()
    has(p.run("rename", "laptop", "book").stderr, "laptop is called book now")
    has(p.run("rename", "book", "phone").stderr, "phone-2 now")
    (e,) = events(p.run("--json", "rename", "phone-2", "laptop").stdout)
    equal((e["event"], e["device"]["name"]), ("renamed", "laptop"))
    r = p.run("forget", "laptop")  # an own device, by the name it has here now
    equal(r.returncode, 1)
    has(r.stderr, 'laptop is one of your own devices: "kith revoke"')
    (e,) = events(p.run("--json", "forget", "phone").stdout)
    equal((e["event"], e["device"]["name"]), ("forgotten", "phone"))
    equal(p.run("forget", "phone").returncode, 3)
    equal(p.run("completion", "devices").stdout, "laptop\n")
    # This device itself: a node that runs says it on.
    r = p.run("rename", "desk", "new")
    has(r.stderr, "hear of it when")
    q = Place(script="ping end\n")
    equal([e["event"] for e in events(q.run("--json", "rename", "desk", "new", env=DAEMON).stdout)], ["renamed", "told"])
    has(q.trace(), "ping 01890000-0000-7000-8000-0000000000aa")
    assert "00bb" not in q.trace(), "a contact is told"
    q = Place(devices=LAPTOP.replace("laptop", "desk"))
    r = q.run("rename", "desk", "new")
    equal(r.returncode, 2)
    has(r.stderr, "both called desk")


def test_revoke():
    p = Place()
    r = p.run("revoke", "phone", "--yes")  # a contact
    equal(r.returncode, 1)
    has(r.stderr, "kith forget")
    r = p.run("revoke", "laptop")
    equal(r.returncode, 2)
    has(r.stderr, "--yes")
    (e,) = [e for e in events(p.locked("--json", "revoke", "--yes", "--why", "sold", "laptop").stdout) if e["event"] == "revoked"]
    equal(e["device"]["name"], "laptop")
    has(p.trace(), "revoke why=sold code=0")
    equal(p.locked("revoke", "--yes", "laptop").returncode, 3)
    p = Place()
    has(p.locked("revoke", "--yes", "laptop").stderr, 'ask those that know it to run "kith forget"')
    p = Place()
    (p.dir / "code").write_text(CODE + "\n")
    (e,) = [e for e in events(p.locked("--json", "revoke", "--yes", "--recovery", "--code-file", "code", "laptop").stdout) if e["event"] == "revoked"]
    equal(e["recovery_code"], CODE)
    has(p.trace(), "code=1")


def test_audit():
    p = Place()
    lines = p.run("devices", "--audit").stdout.splitlines()
    equal(len(lines), 2)
    has(lines[0], "aaaaaaaa  1970-01-01T00:00:00")
    has(lines[1], "revoked pad")
    has(lines[1], ": sold  (void: revoked by cccccccc)")
    assert "\x1b" not in lines[1], lines[1]
    (a, b) = events(p.run("devices", "--audit", "--json").stdout)
    equal((a["kind"], a["state"], b["kind"], b["state"], b["why"]), ("founded", "good", "revoked", "void_revoked", "sold"))


# ---- pair and join ----

PAIR = f"pair code words={WORDS.replace(' ', '_')} expires_ms=1700000000000\npair ask\npair paired\npair end\n"

OWN = "0011 2233 4455 6677 8899 aabb ccdd eeff"
BOTH = f"This device:\r\n  name         desk\r\n  fingerprint  {OWN[:19]}\r\n  in full      {OWN} {OWN}\r\n"


def test_pair():
    p = Place(script=PAIR)
    t = p.terminal("--password-file", str(p.password), "pair")
    t.expect(WORDS + "\n", "out")
    picture = t.expect('run "kith join" and type')
    has(picture, "█")
    has(picture, "\x1b[97;40m")
    has(t.expect("The other device:"), BOTH)
    t.expect("a1b2 c3d4 e5f6 0718\r\n")
    t.expect("a1b2 c3d4 e5f6 0718 a1b2 c3d4 e5f6 0718")
    t.expect("[y/N] ")
    t.type("maybe\n")
    t.expect("answer y or n")
    t.type("y\n")
    equal(t.wait(), 0)
    has(t.seen, "Paired with laptop, an own device.")
    equal(t.out, WORDS + "\n")
    has(p.trace(), "pair contact=0 yes=0 expires=300\nanswer yes")
    for answer in ("n\n", "\n", "\x04"):
        t = p.terminal("--password-file", str(p.password), "pair", "--no-qr")
        assert "█" not in t.expect("[y/N] ")
        t.type(answer)
        equal(t.wait(), 4)
        has(t.seen, "kith: the other side declined")
    t = p.terminal("--password-file", str(p.password), "pair", "--yes", env={"NO_COLOR": "1"})
    t.expect("█")
    assert "\x1b[97" not in t.seen
    os.kill(t.pid, signal.SIGINT)
    equal(t.wait(), 130)


def test_pair_new_code():
    p = Place(script="pair code words=a_b expires_ms=1\npair expiring\npair wait ms=600000\n")
    t = p.terminal("--password-file", str(p.password), "pair")
    t.expect("ends in a minute: press Enter for a new one")
    (p.dir / "script").write_text("")
    t.type("\n")
    end = time.monotonic() + PATIENCE
    while p.trace().count("pair contact") < 2 and time.monotonic() < end:
        t.pump(0.05)
    equal(p.trace().count("pair contact"), 2)
    has(p.trace(), "cancel\npair contact")
    t.type("\x03")
    equal(t.wait(), 130)
    has(t.seen, '"kith pair" makes a new code')


DIGITS = " ".join(str(i % 10) * 5 for i in range(12))
LAPTOP_ID = LAPTOP.split()[1]


def test_verify():
    p = Place()
    r = p.run("verify", "laptop")  # nobody to ask: shows, and changes nothing
    equal((r.returncode, r.stdout.split()), (0, DIGITS.split()), r.stderr)
    equal([len(line.split()) for line in r.stdout.splitlines()], [4, 4, 4])
    equal(p.trace(), "")
    equal(p.run("verify", "laptop", "--plain").stdout.splitlines(), DIGITS.split())
    r = p.run("verify", "laptop", "--ok")
    equal(r.returncode, 0)
    has(p.trace(), f"verified {LAPTOP_ID} 1")
    (a, b) = events(p.run("--json", "verify", "--ok", "phone").stdout)
    equal((a["event"], a["digits"], a["device"]["name"]), ("digits", DIGITS, "phone"))
    equal((b["event"], b["device"]["verified"]), ("verified", True))


def test_verify_asks():
    for answer, status, told in (("y\n", 0, "1"), ("n\n", 4, "0"), ("\n", 0, None), ("what\nYes\n", 0, "1")):
        p = Place()
        t = p.terminal("verify", "laptop")
        t.expect("[y: yes, n: no, Enter: not compared] ")
        equal(t.out.split(), DIGITS.split())
        t.type(answer)
        equal(t.wait(), status, t.seen)
        equal(p.trace(), f"verified {LAPTOP_ID} {told}\n" if told else "")
        if status:
            has(t.seen, "kith forget")
    p = Place()
    t = p.terminal("verify", "laptop", "--no-input")
    equal((t.wait(), p.trace()), (0, ""))


def test_trust():
    script = "pin ask device=device-a1b2c3d4 trust=contact\npin paired device=device-a1b2c3d4 trust=contact\npin end err=0\n"
    p = Place(script=script)
    r = p.locked("trust", "a1b2c3")
    equal(r.returncode, 2)
    has(r.stderr, "--yes")
    t = p.terminal("--password-file", str(p.password), "trust", "a1b2c3", "--name", "bob")
    shown = t.expect("[y/N] ")
    has(shown, "a1b2 c3d4")
    has(shown, "01890000-0000-7000-8000-0000000000aa")
    t.type("y\n")
    equal(t.wait(), 0)
    has(t.seen, "Not verified")
    has(p.trace(), "pin a1b2c3 name=bob yes=0")
    t = p.terminal("--password-file", str(p.password), "trust", "a1b2c3")
    t.expect("[y/N] ")
    t.type("n\n")
    equal(t.wait(), 4)
    p = Place(script=script.replace("pin ask device=device-a1b2c3d4 trust=contact\n", ""))
    (e,) = events(p.locked("--json", "trust", "a1b2c3", "--yes").stdout)
    equal((e["event"], e["already"], e["device"]["trust"]), ("trusted", False, "contact"))
    for name in ("phone", "laptop"):  # who has a name is known: nobody is looked for, or asked about
        p = Place()
        r = p.run("trust", name)
        equal(r.returncode, 0, r.stderr)
        has(r.stderr, f"{name} was known already; nothing changes.")
        (e,) = events(p.run("--json", "trust", name).stdout)
        equal((e["event"], e["already"], e["device"]["name"]), ("trusted", True, name))
        assert "pin" not in p.trace(), p.trace()
    p = Place(script="pin end err=-82 message=known_with_another_key:_run_kith_forget\n")
    r = p.locked("trust", "a1b2c3", "--yes")
    assert r.returncode != 0
    has(r.stderr, "kith forget")


def test_permit():
    p = Place()
    r = p.run("permit", "laptop")
    equal([line.split(None, 2) for line in r.stdout.splitlines()],
          [["ping", "allow", "default"], ["file", "deny", "said for this device"]])
    r = p.run("permit", "laptop", "file", "deny")
    equal((r.returncode, r.stdout.split()[:2]), (0, ["file", "deny"]))
    equal(p.trace(), f"permit {LAPTOP_ID} file 1\n")
    (e,) = events(p.run("--json", "permit", "laptop", "file", "default").stdout)
    equal((e["event"], e["service"], e["said"], e["effective"]), ("permit", "file", "deny", "deny"))
    has(p.trace(), f"permit {LAPTOP_ID} file 0\n")
    (a, _) = events(p.run("devices", "--json", "--no-lan").stdout)
    equal((a["permits"], a["first_use"]), ({"file": "deny"}, False))


def test_nearby():
    p = Place(script="look sighted trust=stranger id=01890000-0000-7000-8000-0000000000cc\nlook sighted\nlook looked\n")
    r = p.run("devices", "--nearby", "--timeout", "1")
    equal([line.split()[0] for line in r.stdout.splitlines()], ["NAME", "laptop", "phone", "-"])
    has(r.stdout.splitlines()[3], "stranger")
    has(p.trace(), "nearby")
    p = Place(devices="", script="look sighted trust=stranger\nlook looked\n")
    (e,) = events(p.run("--json", "devices", "--nearby", "--timeout", "1").stdout)
    equal((e["trust"], e["online"], e["permits"]), ("stranger", True, {}))


def test_pair_without_terminal():
    p = Place(script=PAIR)
    for words in (["pair"], ["--json", "pair"], ["pair", "--no-input"]):
        r = p.locked(*words)
        equal(r.returncode, 2, r.stderr)
        has(r.stdout + r.stderr, "--yes")
    p = Place(script=PAIR.replace("pair ask\n", ""))
    r = p.locked("pair", "--yes", "--contact", "--expires", "10m")
    equal((r.returncode, r.stdout), (0, WORDS + "\n"))
    has(r.stderr, "kith join --contact")
    assert "█" not in r.stderr
    has(p.trace(), "pair contact=1 yes=1 expires=600")
    (a, b) = events(p.locked("--json", "pair", "--yes").stdout)
    equal(a, {"event": "code", "words": WORDS, "expires_at": "2023-11-14T22:13:20Z"})
    equal((b["event"], b["device"]["name"], b["device"]["trust"], b["already"]), ("paired", "laptop", "own", False))


def test_pair_plain():
    p = Place(script=PAIR)
    for words, env in ((["--plain"], {}), ([], {"KITH_PLAIN": "1"}), ([], {"TERM": "dumb"})):
        t = p.terminal("--password-file", str(p.password), *words, "pair", env=env)
        t.expect("1 acid\r\n2 acorn\r\n")
        seen = t.expect("[y/N] ")
        assert "█" not in seen and "\x1b" not in seen and "6 cherry\r\n" in seen
        t.type("y\n")
        equal(t.wait(), 0)
        equal(t.out, WORDS + "\n")


def test_pair_json_question():
    p = Place(script=PAIR)
    t = p.terminal("--password-file", str(p.password), "--json", "pair")
    t.expect("[y/N] ")
    t.type("y\n")
    equal(t.wait(), 0)
    equal([e["event"] for e in events(t.out)], ["code", "ask", "paired"])


def test_pair_failures():
    for err, status in ((-25, 4), (-41, 3), (-45, 6), (-48, 1), (-71, 7)):
        p = Place(script=f"pair code words=a expires_ms=1\npair attempt err=-23\npair end err={err} message=because_so\n")
        r = p.locked("pair", "--yes")
        equal(r.returncode, status)
        has(r.stderr, "wrong code")
        has(r.stderr, "kith: because so\n")
        e = events(p.locked("--json", "pair", "--yes").stdout)[-1]
        equal(e, {"event": "error", "code": status, "message": "because so"})
    p = Place(script="pair code words=a expires_ms=1\npair end err=-24 message=ask_for_a_new_one\n")
    r = p.locked("pair", "--yes")  # who shows the code cannot ask for one
    equal(r.returncode, 4)
    has(r.stderr, "kith: the code has expired: make a new one with \"kith pair\"\n")
    equal(events(p.locked("--json", "pair", "--yes").stdout)[-1],
          {"event": "error", "code": 4, "message": "the code has expired: make a new one with \"kith pair\""})


def test_join():
    p = Place(script="join ask trust=contact\njoin paired trust=contact\njoin end\n")
    t = p.terminal("--password-file", str(p.password), "join", "--contact")
    t.expect("other device shows: ")
    t.type("tend\t" + "aci\t" + "a\t")
    t.expect("acid acorn apple april")  # what fits is listed
    t.type("corn appel lemon lemon lemon\n")
    t.expect('"appel" is no word')
    t.expect("other device shows: ")
    t.type("tend\tacid gra\tlemon lemon lemon\n")
    has(t.expect("The other device:"), BOTH)
    t.expect("[y/N] ")
    t.type("yes\n")
    equal(t.wait(), 0)
    has(t.seen, "Paired with laptop, a contact.")
    has(p.trace(), "join tender acid grape lemon lemon lemon contact=1 yes=0\nanswer yes")
    assert t.echoes()


def test_join_interrupted():
    p = Place()
    for env in ({}, {"TERM": "dumb"}):
        t = p.terminal("--password-file", str(p.password), "join", env=env)
        t.expect("other device shows: ")
        t.type("aci")
        t.expect("aci")
        t.type("\x03")
        equal(t.wait(), 130)
        assert t.echoes()
        t = p.terminal("--password-file", str(p.password), "join", env=env)
        t.expect("other device shows: ")
        t.type("\x04")
        equal(t.wait(), 2)
        has(t.seen, "--code-file")


def test_typed_before_the_question():
    p = Place(script="join wait ms=500\njoin ask\njoin paired\njoin end\n")
    t = p.terminal("--password-file", str(p.password), "join", *WORDS.split())
    t.expect("Looking for")
    t.type("y\n")
    t.expect("[y/N] ")
    t.type("n\n")
    equal(t.wait(), 4)


def test_join_given_words():
    p = Place(script="join paired\njoin end\n")
    equal(p.locked("join", "--yes", *WORDS.split()).returncode, 0)
    equal(p.locked("join", "--yes", WORDS).returncode, 0)
    (p.dir / "code").write_text(WORDS + "\n")
    equal(p.locked("join", "--yes", "--code-file", "code").returncode, 0)
    equal(p.locked("join", "--yes", "--code-file", "-", input=WORDS + "\nmore").returncode, 0)
    r = p.run("join", "--yes", "--code-file", "-", "--password-file", "-", input=WORDS + "\r\nsecret\n")  # a line each
    equal(r.returncode, 0, r.stderr)
    equal(p.trace().count(f"join {WORDS} contact=0 yes=1"), 5)
    for text in ("", "\n\n", "acid " * 200):
        equal(p.locked("join", "--yes", "--code-file", "-", input=text).returncode, 2)
    r = p.locked("join", "--yes", "acid", "acron")
    equal(r.returncode, 4)
    has(r.stderr, '"acron" is no word of a code: did you mean')
    equal(p.locked("join", "--yes").returncode, 2)
    has(p.locked("join", "--yes").stderr, "--code-file FILE")
    has(p.locked("join", *WORDS.split()).stderr, "--yes")
    equal(p.locked("join", "--yes", "--code-file", "code", "acid").returncode, 2)
    equal(p.locked("join", "--yes", "--code-file", "nothing").returncode, 7)


def test_a_bad_name_is_refused_before_a_password_is_asked_for():
    for command in (["init"], ["join"]):
        for name in ("", "  ", "a\nb", "\x1b[31mx", "x" * 64, "\u200bx", b"\xff"):
            p = Place(identity=False)
            r = p.run(*command, "--name", name)
            equal((r.returncode, r.stdout), (2, ""), f"{command} {name!r}")
            has(r.stderr, "no good for --name")
        for name in ("x" * 63, "caf\xe9 au lait"):
            p = Place(identity=False, script="join paired\njoin end\n")
            equal(p.locked(*command, "--name", name, *(["--yes", *WORDS.split()] if command == ["join"] else [])).returncode, 0)


def test_a_password_may_be_mistyped():
    """Whatever else was typed before it."""
    for words in (["backup", "b"], ["revoke", "--yes", "laptop"], ["recovery", "new", "--lost"], ["recovery", "accept", "--yes"],
                  ["revoke", "--yes", "--recovery", "--code-file", "code", "laptop"], ["recovery", "new", "--code-file", "code"]):
        for tries, status in ((["wrong", "secret"], 0), (["wrong"] * 3, 4)):
            p = Place(script="look looked\nping end\n")
            (p.dir / "code").write_text(CODE + "\n")
            for there in ("recovery", "waiting"):
                (p.home / there).write_text("")
            t = p.terminal(*words)
            for i, word in enumerate(tries):
                t.expect("This device's password: ")
                t.type_blind(word + "\n")
                if word == "wrong" and i < 2:
                    t.expect("try again")
            equal(t.wait(), status, f"{words} {t.seen}")


def test_join_makes_identity():
    p = Place(identity=False, script="join paired\njoin end\n")
    (a, looking, b) = events(p.locked("--json", "join", "--yes", *WORDS.split()).stdout)
    equal((a["event"], a["created"], looking, b["event"]), ("identity", True, {"event": "looking", "seconds": 30}, "paired"))
    equal((p.home / "identity").read_text(), "host\nsecret\n")
    p = Place(identity=False, script="join paired\njoin end\n")
    t = p.terminal("join", "--yes", *WORDS.split())
    t.expect("new password for this device: ")
    t.type_blind("secret\n")
    t.expect("once more: ")
    t.type_blind("secret\n")
    equal(t.wait(), 0)


def test_join_names_the_identity():
    p = Place(identity=False, script="join paired\njoin end\n")
    r = p.locked("join", "--yes", "--name", "tab", *WORDS.split())
    equal(r.returncode, 0, r.stderr)
    equal((p.home / "identity").read_text(), "tab\nsecret\n")
    has(r.stderr, 'This device is "tab"')
    r = p.locked("join", "--yes", "--name", "tab", *WORDS.split())  # the same again, after a code that had expired
    equal((r.returncode, "rename" in r.stderr), (0, False), r.stderr)
    r = p.locked("join", "--yes", "--name", "other", *WORDS.split())
    equal(r.returncode, 0, r.stderr)
    has(r.stderr, 'stays "tab"; to change that: "kith rename"')
    equal((p.home / "identity").read_text(), "tab\nsecret\n")


def test_join_says_that_it_looks():
    p = Place(script="join wait ms=600000\n")
    join = ["--password-file", str(p.password), "join", "--yes", *WORDS.split()]
    for more, seconds in (([], "30 seconds"), (["--timeout", "9"], "9 seconds"), (["--timeout", "100"], "30 seconds")):
        t = p.terminal(*more, *join)
        t.expect(f"Looking for the device that shows this code, for up to {seconds}...")
        t.expect("Looking for another ")
        t.type("\x03")
        equal(t.wait(), 130)
    r = p.run("--timeout", "1", *join)
    equal(r.returncode, 6)
    has(r.stderr, "for up to 1 second...\n")
    assert "another" not in r.stderr, "drawn where there is no terminal"
    equal(p.run("-q", "--timeout", "1", *join).stderr.count("\n"), 1)
    equal(events(p.run("--json", "--timeout", "1", *join).stdout)[0], {"event": "looking", "seconds": 1})
    p = Place(script="join wait ms=1500\njoin ask open=1\njoin wait ms=1500\njoin end err=-24\n")
    t = p.terminal("--password-file", str(p.password), "join", *WORDS.split())
    t.expect("[y/N] ")
    equal(t.wait(), 4)
    assert "another" not in t.seen, "it is found, and still said to be looked for"


def test_working_out_a_key_is_said():
    """It takes a second; nothing of it stays on the screen, and nothing gets into a pipe or a quiet command's output."""
    says = "Working out the key from the password..."
    gone = says + "\x1b[K\r\x1b[K"
    for words, identity in [(["init"], False), (["ping", "laptop"], True), (["backup", "b"], True), (["passwd", "--new-password-file", "password"], True),
                            (["join", "--yes", *WORDS.split()], True), (["join", "--yes", *WORDS.split()], False), (["revoke", "--yes", "laptop"], True)]:
        p = Place(identity=identity, script="ping end\njoin end\nlook looked\n")
        t = p.terminal("--password-file", "password", *words)
        equal(t.wait(), 0, words)
        has(t.seen, gone)
        p = Place(identity=identity, script="ping end\njoin end\nlook looked\n")
        t = p.terminal("--password-file", "password", "--quiet", *words)
        equal((t.wait(), says in t.seen), (0, False), words)
        p = Place(identity=identity, script="ping end\njoin end\nlook looked\n")
        assert says not in p.locked(*words).stderr
    p = Place()
    t = p.terminal("ping", "laptop")
    t.expect("password: ")
    t.type_blind("wrong\n")
    t.expect(says)
    t.expect("\r\x1b[K")
    t.expect("try again")
    t.type("\x03")
    equal(t.wait(), 130)
    p.run("--password-file", "password", "backup", "b")
    t = p.terminal("--home", "new", "--password-file", "password", "restore", "b")
    equal(t.wait(), 0)
    has(t.seen, gone)


def test_interrupted_while_a_key_is_worked_out():
    """Before anything is done: no new code is shown, and none is in force."""
    for words in (["recovery", "new", "--lost"], ["revoke", "--yes", "--recovery", "--code-file", "code", "laptop"]):
        p = Place()
        (p.dir / "code").write_text(CODE + "\n")
        (p.home / "recovery").write_text("")
        t = p.terminal("--password-file", str(p.password), *words, env={"KITH_FAKE_DERIVING": str(p.dir / "derived")})
        t.expect("Working out the key")
        t.type("\x03")
        t.expect("^C")
        (p.dir / "derived").write_text("")
        t.expect("kith: interrupted: nothing was changed")
        equal(t.wait(), 130)
        assert "shown" not in p.trace() and "revoke" not in p.trace() and "tender" not in t.seen, p.trace() + t.seen


def test_pairing_says_what_it_waits_for():
    for command in (["pair", "--no-qr"], ["join", *WORDS.split()]):
        p = Place(script=f"{command[0]} ask\n")  # the other person has not answered
        t = p.terminal("--password-file", str(p.password), *command)
        t.expect("[y/N] ")
        t.type("y\n")
        t.expect("Waiting for the answer at the other device.\r\n")
        t.type("\x03")
        equal(t.wait(), 130)


def test_pairing_says_which_recovery_code_counts():
    """Who made an identity here before it joined has a paper with words that open nothing any more."""
    for trust, before, after, said in (("own", "1", "2", True), ("own", "1", "1", False), ("own", None, "2", False), ("contact", "1", "2", False)):
        p = Place(script=f"join ask\njoin paired trust={trust}\njoin end\n")
        if before:
            (p.home / "recovery").write_text(before)
        t = p.terminal("--password-file", str(p.password), "join", *WORDS.split())
        t.expect("[y/N] ")
        (p.home / "recovery").write_text(after)
        t.type("y\n")
        equal(t.wait(), 0)
        has(t.seen, "Paired with")
        equal("from before is good for nothing now" in t.seen, said, t.seen)


# ---- ping ----

def test_ping_says_that_it_looks():
    p = Place(script="ping wait ms=600000\n")
    t = p.terminal("--password-file", str(p.password), "ping", "laptop")
    t.expect("Looking for laptop...")
    t.type("\x03")
    equal(t.wait(), 130)
    p = Place(script="ping pong rtt_ns=1000000\nping end\n")
    t = p.terminal("--password-file", str(p.password), "ping", "laptop")
    equal(t.wait(), 0)
    has(t.seen, "Looking for laptop...\x1b[K\r\x1b[K1 answer")  # it goes; answers are on standard output
    equal(p.locked("ping", "laptop").stderr.count("Looking"), 0)


def test_ping():
    p = Place(script="ping pong rtt_ns=1000000\nping pong rtt_ns=3000000\nping end\n")
    r = p.locked("ping", "laptop")
    has(r.stderr, "2 answers; fastest 1.00 ms, mean 2.00 ms, slowest 3.00 ms")
    e = events(p.locked("--json", "ping", "laptop").stdout)
    equal([x["event"] for x in e], ["pong", "pong", "done"])
    equal((e[1]["rtt_ms"], e[1]["path"], e[1]["scope"], e[2]["mean_ms"]), (3.0, "udp", "lan", 2.0))
    equal(p.locked("-q", "ping", "laptop").stderr, "")
    has(p.locked("-v", "ping", "laptop").stderr, "info: the fake listens")
    has(p.locked("ping", "laptop", env={"KITH_LOG": "info"}).stderr, "info: the fake listens")
    p.locked("-vv", "--listen", "127.0.0.1:7", "--no-lan", "ping", "laptop")
    has(p.trace(), "open listen=127.0.0.1:7 no_lan=1 log=1 level=3")


def test_timeout():
    p = Place()
    r = p.locked("--timeout", "1", "ping", "laptop")
    equal(r.returncode, 6)
    has(r.stderr, "gave up after 1 second")
    has(p.trace(), "cancel\nclose")
    (e,) = events(p.locked("--json", "--timeout", "1", "receive").stdout[0:] and p.locked("--json", "--timeout", "1", "ping", "laptop").stdout)
    equal((e["event"], e["code"]), ("error", 6))


def test_timeout_of_questions():
    p = Place()
    start = time.monotonic()
    t = p.terminal("--timeout", "1", "ping", "laptop")
    t.expect("password: ")
    t.type_blind("sec")
    equal(t.wait(), 6)
    has(t.seen, "gave up after 1 second")
    assert t.echoes()
    for env in ({}, {"TERM": "dumb"}):
        t = p.terminal("--password-file", str(p.password), "--timeout", "1", "join", env=env)
        t.expect("other device shows: ")
        t.type("aci")
        equal(t.wait(), 6)
        has(t.seen, "gave up after 1 second")
        assert t.echoes()
    child = subprocess.Popen([KITH, "--timeout", "1", "--password-file", "-", "ping", "laptop"], stdin=subprocess.PIPE,
                             stderr=subprocess.PIPE, env=p.env, start_new_session=True)
    equal(child.wait(PATIENCE), 6)
    child.stdin.close()
    assert time.monotonic() - start < 20, "it waited longer than it was told to"


def test_interrupts():
    p = Place()
    for number in (signal.SIGINT, signal.SIGTERM):
        child = subprocess.Popen([KITH, "--password-file", str(p.password), "receive"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 text=True, env=p.env, cwd=p.dir, start_new_session=True)
        has(child.stderr.readline(), "Receiving into")
        child.send_signal(number)
        _, said = child.communicate(timeout=PATIENCE)
        equal(child.returncode, 130)
        has(said, "kith: interrupted: what arrived is kept; run the same command again")
    has(p.trace(), "cancel\nclose")
    deaf = {**p.env, "KITH_FAKE_DEAF": "1"}
    child = subprocess.Popen([KITH, "--password-file", str(p.password), "receive"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True, env=deaf, cwd=p.dir, start_new_session=True)
    child.stderr.readline()
    child.send_signal(signal.SIGINT)
    start = time.monotonic()
    while p.trace().count("cancel") < 3 and time.monotonic() - start < PATIENCE:
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)  # the second: at once
    child.communicate(timeout=PATIENCE)
    equal(child.returncode, 130)
    assert time.monotonic() - start < 4, "the second Ctrl-C waited"


def test_interrupted_sentences():
    for script, sentence in (("", "nothing was sent; run"), ("send start name=x total=9\n", "what arrived is kept; run")):
        p = Place(script=script + "send wait ms=100\nsend waiting message=now\n")
        (p.dir / "x").write_text("x")
        child = subprocess.Popen([KITH, "--password-file", str(p.password), "send", "--to", "laptop", "x"], stderr=subprocess.PIPE, text=True,
                                 env=p.env, cwd=p.dir, start_new_session=True)
        has(child.stderr.readline() + child.stderr.readline(), "now")
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=PATIENCE)
        equal(child.returncode, 130)
        has(said, f"kith: interrupted: {sentence}")
    for script, status, sentence in (("pair ask\n", 130, "interrupted"), ("pair ask open=1\npair wait ms=300\npair end err=-28\n", 4, "the other side")):
        p = Place(script=script)
        t = p.terminal("--password-file", str(p.password), "pair")
        t.expect("[y/N] ")
        if status == 130:
            os.kill(t.pid, signal.SIGINT)
        equal(t.wait(), status)
        assert t.seen.startswith(f"\r\nkith: {sentence}"), t.seen  # on a line of its own


# ---- send and receive ----

SEND = """send connected
send start name=film.mkv total=1000000
send progress bytes=300000 total=1000000
send waiting err=-43 message=laptop_went_away:_waiting_for_it
send start name=film.mkv bytes=300000 total=1000000
send progress bytes=999999 total=1000000
send sent name=film.mkv total=1000000 bytes=1000000 seconds=2 hash=abcd
send end
"""


def test_send():
    p = Place(script=SEND)
    (p.dir / "film.mkv").write_text("x")
    r = p.locked("send", "--to", "laptop", "film.mkv")
    equal((r.returncode, r.stdout), (0, ""))
    has(r.stderr, "laptop went away: waiting for it\n")
    has(r.stderr, "laptop has film.mkv whole: 976.6 KiB in 2.0 s, 341.8 KiB/s.\n")
    assert "%" not in r.stderr and "\x1b" not in r.stderr
    e = events(p.locked("--json", "send", "film.mkv", "--to", "laptop").stdout)
    equal([x["event"] for x in e], "connected start progress waiting start progress done".split())
    equal((e[1]["files"], e[1]["bytes"], e[4]["resumed"]), (1, 1000000, 300000))
    equal({k: e[2][k] for k in ("bytes", "total", "path", "scope")}, {"bytes": 300000, "total": 1000000, "path": "udp", "scope": "lan"})
    equal({k: e[6][k] for k in ("files", "bytes", "seconds", "path")}, {"files": 1, "bytes": 1000000, "seconds": 2.0, "path": "udp"})
    q = Place(script="send start name=film.mkv bytes=1000 total=1000\nsend sent name=film.mkv total=1000\nsend end\n")
    (q.dir / "film.mkv").write_text("x")
    has(q.locked("send", "--to", "laptop", "film.mkv").stderr, "laptop had film.mkv already, the same: nothing was sent.\n")
    r = p.locked("--plain", "send", "--to", "laptop", "film.mkv")
    has(r.stderr, "film.mkv 30 %\n")
    has(r.stderr, "film.mkv 90 %\nfilm.mkv 100 %\nlaptop has")
    equal(r.stderr.count("%"), 3)
    equal(p.locked("--quiet", "send", "--to", "laptop", "film.mkv").stderr, "")
    for path in ("udp", "tcp"):
        equal(p.locked("send", "--to", "laptop", "film.mkv", "--path", path).returncode, 0)
        has(p.trace(), f"film.mkv path={path} name=-\n")
    equal(p.locked("send", "--to", "laptop", "film.mkv", "--name", "clip.mkv").returncode, 0)
    has(p.trace(), "film.mkv path=any name=clip.mkv\n")
    for err, status in ((-28, 4), (-41, 3), (-79, 1), (-61, 1)):
        (p.dir / "script").write_text(f"send end err={err}\n")
        r = p.locked("send", "--to", "laptop", "film.mkv")
        equal(r.returncode, status)


def test_send_says_what_it_waits_for():
    there = "send connected path=udp address=10.0.0.1:7\n"
    for to, script, said in (("laptop", "", 'laptop is not there yet: it has to be on and run "kith receive" or "kith up".'),
                             ("laptop", there, "laptop is there: waiting for its answer."),
                             ("phone", there, "phone is asked: waiting until somebody there takes it.")):
        p = Place(script=script + "send wait ms=600000\n")
        (p.dir / "x").write_text("x")
        t = p.terminal("--password-file", str(p.password), "send", "--to", to, "x")
        t.expect(f"Looking for {to}...\r\n")
        t.expect(said + "\r\n")
        t.type("\x03")
        equal(t.wait(), 130)
        assert "waiting" not in t.seen and "there" not in t.seen, t.seen  # said once


def test_progress_that_stands_still():
    p = Place(script="send start name=x total=1000\nsend progress bytes=300 total=1000\nsend wait ms=600000\n")
    (p.dir / "x").write_text("x")
    t = p.terminal("--password-file", str(p.password), "send", "--to", "laptop", "x")
    assert "nothing gets through" not in t.expect("x   30 %")
    t.expect("x   30 %  nothing gets through, for ")
    t.type("\x03")
    equal(t.wait(), 130)


def test_progress_drawn():
    p = Place(script="send start name=fi%1blm.mkv total=1000\nsend wait ms=120\nsend progress bytes=300 total=1000\n"
                     "send wait ms=700\nsend progress bytes=600 total=1000\nsend wait ms=120\nsend end err=-28\n")
    (p.dir / "x").write_text("x")
    t = p.terminal("--password-file", str(p.password), "send", "--to", "laptop", "x")
    equal(t.wait(), 4)
    assert re.search(r"\rfi\\x1blm.mkv   30 %.*\x1b\[K", t.seen), t.seen
    assert re.search(r"\r\S+   60 %  \d+ B/s  0:0\d left\x1b\[K", t.seen), t.seen
    has(t.seen, "\r\x1b[Kkith: the other side declined")
    t = p.terminal("--password-file", str(p.password), "send", "--to", "laptop", "x", columns=40)
    t.wait()
    for line in re.findall(r"\r([^\x1b\r\n]+)\x1b\[K", t.seen):
        assert len(line) < 40, line


RECEIVE = """receive start transfer=9 name=a%1bb.txt total=2048
receive progress transfer=9 bytes=1024 total=2048
receive file transfer=9 name=a%1bb.txt path_name=/x/a%1bb_(2).txt total=2048 hash=abcd
receive failed transfer=10 name=c err=-43
"""


def test_receive():
    p = Place(script=RECEIVE + "receive end err=-46\n")
    r = p.locked("receive", "--conflict", "skip", "--from", "laptop")
    equal((r.returncode, r.stdout), (130, "a\\x1bb (2).txt (2.0 KiB) from laptop\n"))
    has(r.stderr, f"Receiving into {os.path.realpath(p.dir)} until Ctrl-C.")
    has(r.stderr, "c: the connection was lost\n")
    has(p.trace(), f"receive {os.path.realpath(p.dir)} from=01890000-0000-7000-8000-0000000000aa yes=0 once=0 conflict=1")
    equal(re.findall(r"\d+ %", p.locked("--plain", "receive").stderr), ["50 %", "100 %"])
    e = events(p.locked("--json", "receive").stdout)
    equal([x["event"] for x in e], "ready start progress file done failed error".split())
    equal({k: e[3][k] for k in ("name", "size", "hash")}, {"name": "a\x1bb.txt", "size": 2048, "hash": "abcd"})
    equal((e[5]["code"], e[6]["code"]), (3, 130))
    equal([x["device"]["name"] for x in e if "device" in x], ["laptop"] * 3)  # start, file, failed: who sends it


def test_receive_once():
    p = Place(script="receive failed transfer=3 name=c err=-60\nreceive end\n")
    r = p.locked("receive", "--once")
    equal(r.returncode, 5)
    has(r.stderr, "kith: c: data failed verification")
    equal(events(p.locked("--json", "receive", "--once").stdout)[-1]["code"], 5)
    p = Place(script="receive start transfer=3 name=c total=1\nreceive file transfer=3 name=c total=1 already=1\nreceive end\n")
    r = p.locked("receive", "--once")
    equal((r.returncode, r.stdout), (0, "c (1 B) from laptop\n"))
    has(r.stderr, "was here already")
    # What began over one way and goes on over a better one is one file, and no failure, whichever is told first.
    anew = "receive failed transfer=3 name=c err=-3\n"
    there = "receive start transfer=4 name=c total=9 bytes=5\nreceive file transfer=4 name=c total=9\n"
    for rest in (anew + there, there + anew):
        p = Place(script="receive start transfer=3 name=c total=9\n" + rest + "receive end\n")
        r = p.locked("receive", "--once")
        equal((r.returncode, r.stdout, r.stderr.count("anew")), (0, "c (9 B) from laptop\n", 0), r.stderr)
        equal(p.locked("receive").stderr.count("anew"), 0)


def test_receive_asks():
    offer = "receive offer transfer=7 device=phone trust=contact name=pic%0a.jpg total=4096\n"
    p = Place(script=offer + "receive start transfer=7 name=pic total=4096\n"
              "receive file transfer=7 name=pic total=4096 device=phone\nreceive end\n")
    t = p.terminal("--password-file", str(p.password), "receive", "--once")
    t.expect("phone wants to send 1 file, 4.0 KiB: pic\\x0a.jpg\r\n")
    t.expect("[y/N] ")
    t.type("y\n")
    equal(t.wait(), 0)
    equal(t.out, "pic (4.0 KiB) from phone\n")
    has(p.trace(), "answer yes")
    p = Place(script=offer + "receive failed transfer=7 name=pic err=-28 message=x\nreceive end\n")
    t = p.terminal("--password-file", str(p.password), "receive", "--once")
    t.expect("[y/N] ")
    t.type("\n")
    equal(t.wait(), 4)
    has(t.seen, "kith: pic: it was declined here")
    r = p.locked("receive")  # nobody to ask: declined, and it goes on
    equal(r.returncode, 0)
    has(r.stderr, "say --yes")
    has(p.trace(), "answer no")
    r = p.locked("receive", "--once", "--no-input")
    equal(r.returncode, 2)
    has(r.stderr, "--yes")

    for err, sentence in ((-46, "the sender took the offer back before it was answered"), (-42, "the sender went away before the offer was answered")):
        p = Place(script=offer.replace("total", "open=1 total") + "receive wait ms=300\n"
                         f"receive failed transfer=7 name=pic err={err} message=what_arrived_is_kept\nreceive end err=-46\n")
        t = p.terminal("--password-file", str(p.password), "receive")
        t.expect("[y/N] ")
        equal(t.wait(), 130)
        assert t.seen.startswith(f"\r\npic: {sentence}\r\n"), t.seen  # on a line of its own


# ---- doctor ----

DOCTOR = """doctor finding check=udp state=1 message=datagrams_get_out rtt_ns=2500000 address=198.51.100.7:5000
doctor finding check=mapping state=2 result=address-dependent message=another_port cure=keep_ports
doctor finding check=multicast state=4 message=nobody_else cure=run_another
"""
DOCTOR_BAD = DOCTOR + "doctor finding check=clock state=3 result=skewed message=ahead%0aof cure=set_it skew_ms=600000 name=wss://r.example bytes=1280\n"


def test_doctor():
    p = Place(script=DOCTOR + "doctor end\n")
    r = p.run("doctor")
    equal(r.returncode, 0, r.stderr)
    equal(r.stdout.splitlines(), [
        "good    udp       datagrams get out",
        "warning mapping   another port", "                  to do: keep ports",
        "unknown multicast nobody else", "                  to do: run another"])
    has(r.stderr, "1 good, 1 could be better, 0 bad, 1 cannot be told")
    has(p.trace(), "doctor keys=0")  # without a relay nobody has to know who asks
    p = Place(script=DOCTOR_BAD + "doctor end\n")
    equal(p.run("doctor").returncode, 1)
    r = p.run("--json", "doctor", "--stun", "a.example", "--stun=[2001:db8::1]:5")
    equal(r.returncode, 1)
    has(p.trace(), "stun a.example\nstun [2001:db8::1]:5\n")
    got = events(r.stdout)
    equal(got[0], {"event": "finding", "check": "udp", "state": "good", "says": "datagrams get out", "cure": None, "rtt_ms": 2.5,
                   "address": "198.51.100.7:5000"})
    equal(got[3], {"event": "finding", "check": "clock", "state": "bad", "says": "ahead\nof", "cure": "set it", "result": "skewed",
                   "address": "192.0.2.9:4433", "name": "wss://r.example", "bytes": 1280, "skew_ms": 600000})
    equal(got[4:], [{"event": "done", "good": 1, "warning": 1, "bad": 1, "unknown": 1}])


def test_doctor_and_the_password():
    p = Place(script=DOCTOR + "doctor end\n")
    relay = ["--relay", "wss://r.example"]
    equal(p.locked("doctor", *relay).returncode, 0)
    has(p.trace(), "doctor keys=1")
    p = Place(script=DOCTOR + "doctor end\n")
    equal(p.run("doctor", *relay).returncode, 0)  # no terminal, no file: what can be seen without
    has(p.trace(), "doctor keys=0")
    p.password.write_text("wrong\n")
    equal(p.locked("doctor", *relay).returncode, 4)
    t = p.terminal("doctor", *relay)
    t.expect("This device's password: ")
    t.type_blind("secret\n")
    equal(t.wait(), 0)
    equal(p.trace().count("doctor keys=1"), 1)
    r = p.locked("doctor")  # nobody wants to know, but it was named
    equal(r.returncode, 4)
    has(r.stderr, "wrong password")


def test_doctor_and_a_home_that_cannot_be_written():
    """(A full disk and a read-only one: tests/netns.)"""
    if os.geteuid() == 0:
        return  # may write anywhere
    p = Place(script=DOCTOR + "doctor end\n")
    p.home.chmod(0o500)
    r = p.locked("--json", "doctor")
    p.home.chmod(0o700)
    equal(r.returncode, 1)
    found = events(r.stdout)
    equal((found[0]["check"], found[0]["state"], found[0]["result"], found[-1]["bad"]), ("home", "bad", "read-only", 1))


def test_doctor_and_a_damaged_home():
    p = Place(script=DOCTOR + "doctor end\n")
    (p.home / "damaged").write_text("")
    r = p.locked("--json", "doctor")
    equal(r.returncode, 1)
    found, done = events(r.stdout)
    equal((found["check"], found["state"], found["result"], done["bad"]), ("home", "bad", "DAMAGED", 1))
    has(found["says"], "master_key.json")


def test_doctor_without_a_home():
    p = Place(identity=False)
    r = p.run("--json", "doctor")
    equal(r.returncode, 1)
    got = events(r.stdout)
    equal([(e["event"], e.get("check"), e.get("state")) for e in got], [("finding", "home", "bad"), ("done", None, None)])
    has(got[0]["says"], "kith init")
    has(got[0]["cure"], "kith doctor")
    equal(got[1]["bad"], 1)
    equal(p.trace(), "")
    equal(Place().run("doctor", *["--stun=x"] * 5).returncode, 2)
    equal(Place(script="doctor end err=-2 message=no_server\n").run("doctor", "--stun", "?").returncode, 2)


# ---- completion ----

def complete(p, *words):
    """What bash offers for the last word."""
    program = f'source <("$KITH" completion bash); kith() {{ "$KITH" "$@"; }}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _kith; ' \
              'printf "%s\\n" "${COMPREPLY[@]}"'
    r = subprocess.run(["bash", "-c", program, "bash", *words], capture_output=True, text=True, cwd=p.dir, timeout=PATIENCE,
                       env={**p.env, "KITH": KITH})
    return r.stdout.split("\n")[:-1], r.stderr


def test_relay():
    p = Place()
    r = p.run("relay", "--listen", "127.0.0.1:7", "--admin-listen", "8")
    equal((r.returncode, r.stdout, r.stderr), (0, "listening on 127.0.0.1:7\nmetrics on http://8/metrics\n", "a line\n"))
    r = p.run("--json", "relay", "--listen", "127.0.0.1:7")
    equal((json.loads(r.stdout), r.stderr), ({"event": "listening", "address": "127.0.0.1:7", "admin": None}, ""))
    equal(p.run("relay", "--check", "--listen", "127.0.0.1:7").stdout, "all good\n")
    for words, part in ((["relay"], "--listen"), (["relay", "--listen", "x", "--cert", "c"], "go together"), (["relay", "up"], "up")):
        r = p.run(*words)
        equal(r.returncode, 2)
        has(r.stderr, part)
    r = p.run("relay", "--listen", "127.0.0.1:7", "--limits", "bad")
    equal(r.returncode, 5)
    has(r.stderr, "there is no setting x")


def test_completion():
    p = Place(devices=LAPTOP + PHONE.replace("phone", "$(touch${IFS}owned)"))
    equal(complete(p, KITH, "pa")[0], ["pair", "passwd"])
    equal(complete(p, KITH, "co")[0], ["config", "completion"])
    equal(complete(p, KITH, "--password-file", "x", "re")[0], ["receive", "rename", "revoke", "recovery", "restore", "relay"])
    equal(complete(p, KITH, "ping", "la")[0], ["laptop"])
    equal(complete(p, KITH, "send", "--to", "")[0], ["laptop", r"\$\(touch\$\{IFS\}owned\)"])
    assert not (p.dir / "owned").exists(), "a device's name was run as a command"
    equal(complete(p, KITH, "send", "--t")[0], ["--to", "--timeout"])
    equal(complete(p, KITH, "receive", "--conflict", "o")[0], ["overwrite"])
    equal(complete(p, KITH, "inbox", "")[0], ["accept", "decline"])
    equal(complete(p, KITH, "recovery", "a")[0], ["accept"])
    equal(complete(p, KITH, "config", "l")[0], ["lan", "listen"])
    equal(complete(p, KITH, "config", "--unset", "rel")[0], ["relay", "relay-token-file"])
    equal(complete(p, KITH, "config", "lan", "")[0], ["yes", "no"])
    equal(complete(p, KITH, "config", "conflict", "o")[0], ["overwrite"])
    equal(complete(p, KITH, "config", "relay", "n")[0], ["none"])
    equal(complete(p, KITH, "config", "dir", "ho")[0], ["home"])
    has(complete(p, KITH, "send", "--to", "laptop", "pass")[0], "password")
    for shell in ("bash", "zsh", "fish"):
        text = p.run("completion", shell).stdout
        assert "--exclude" not in text and "receive" in text
        if shutil.which(shell):
            r = subprocess.run([shell, "-n"], input=text, capture_output=True, text=True)
            equal((r.returncode, r.stderr), (0, ""), shell)


# ---- what holds for every command ----

DONE = "pair end\njoin end\nping end\nlook looked\nsend end\nreceive end\npin end\ndaemon start\ndaemon end\ndown end\ninbox end\nanswer end\ndoctor end\n"
COMMANDS = {  # what follows the name so that it ends well where nobody can be asked; its script before the end
    "init": ("", ""),
    "status": ("", ""),
    "pair": ("--yes", f"pair code words={WORDS.replace(' ', '_')} expires_ms=1700000000000\npair expiring\npair attempt err=-23\npair ask open=1\npair paired\n"),
    "join": (f"--yes {WORDS}", "join ask open=1\njoin paired\n"),
    "devices": ("", "look sighted\n"),
    "ping": ("laptop", "ping pong rtt_ns=1\n"),
    "send": ("--to laptop film.mkv", SEND.rpartition("send end")[0]),
    "receive": ("--once", RECEIVE.rpartition("receive failed")[0]),
    "up": ("--dir .", ""),
    "down": ("", ""),
    "inbox": ("accept 7", ""),
    "verify": ("laptop --ok", ""),
    "trust": ("a1b2c3 --yes", "pin ask open=1\npin paired\n"),
    "permit": ("laptop file deny", ""),
    "rename": ("laptop other", ""),
    "forget": ("phone", ""),
    "revoke": ("laptop --yes", ""),
    "passwd": ("--new-password-file new", ""),
    "recovery": ("", ""),
    "backup": ("b", ""),
    "restore": ("b --home other", ""),
    "doctor": ("", "doctor finding check=udp state=1 message=datagrams_get_out\n"),
    "relay": ("--listen 127.0.0.1:1", ""),
    "config": ("", ""),
    "completion": ("bash", ""),
    "version": ("", ""),
    "help": ("", ""),
}
WAIT = ("pair", "join", "ping", "send", "receive", "trust", "doctor")  # --timeout ends them as a failure


def place_of(command, script=None):
    """A place in which COMMANDS' line ends well."""
    p = Place(script=COMMANDS[command][1] + DONE if script is None else script)
    if command == "inbox":
        p.env["KITH_FAKE_DAEMON"] = ""
    (p.dir / "film.mkv").write_text("x")
    (p.dir / "new").write_text("better\n")
    (p.dir / "new").chmod(0o600)
    if command == "restore":
        (p.dir / "b").write_text("desk\nsecret\n")
    return p


def line_of(command, *options):
    return [*options, command, *COMMANDS[command][0].split()]


def everywhere():
    """Each command that `kith help` lists."""
    listed = re.findall(r"^  ([a-z]+)", Place().run("help").stdout.partition("Commands:")[2].partition("\nOptions")[0], re.M)
    equal(sorted(listed), sorted(COMMANDS), "COMMANDS has not what kith help lists")
    return listed


def on_terminal(command, *options, env=(), password=True):
    p = place_of(command)
    t = p.terminal(*(["--password-file", str(p.password)] if password else []), *line_of(command, *options), env=env)
    t.wait()
    return t


def test_everywhere_options():
    """Every option of every command, before it and after it."""
    options = [["--quiet"], ["-q"], ["--verbose"], ["-v"], ["-vv"], ["--home", "h"], ["--json"], ["--plain"], ["--no-qr"], ["--password-file", "f"],
               ["--no-input"], ["--timeout", "5"], ["--relay", "ws://x", "--relay", "none"], ["--relay-token-file", "f"], ["--no-lan"],
               ["--listen", "127.0.0.1:7"]]
    every = [word for option in options for word in option]
    for c in everywhere():
        for words in (["--help", *every, c], [c, *every, "--help"], [*every, c, "-h"]):
            r = Place().run(*words)
            equal((r.returncode, r.stderr), (0, ""), words)
            has(r.stdout, f"Usage: kith {c}")
        for words in (["-V", *every, c], [c, *every, "--version"]):
            r = Place().run(*words)
            equal((r.returncode, r.stderr), (0, ""), words)
        r = Place().run(c, "--bogus", "--", "x")
        equal(r.returncode, 2)
        has(r.stderr, f"kith {c} has no option --bogus")
        r = Place().run("--json", c, "--bogus")
        equal([(e["event"], e["code"]) for e in events(r.stdout)] + [r.stderr, r.returncode], [("error", 2), "", 2])


def test_everywhere_ends_well():
    """As the table says, with --json each line an event, with --quiet not a word but what was asked for; no password from nowhere."""
    for c in everywhere():
        p = place_of(c)
        plain = p.locked(*line_of(c))
        equal(plain.returncode, 0, f"{c}: {plain.stderr}")
        assert "\x1b" not in plain.stdout + plain.stderr and "\r" not in plain.stdout + plain.stderr, c
        q = place_of(c)
        quiet = q.locked(*line_of(c, "--quiet"))
        equal((quiet.returncode, quiet.stdout.replace(str(q.dir), ""), quiet.stderr), (0, plain.stdout.replace(str(p.dir), ""), ""), c)
        r = place_of(c).locked(*line_of(c, "--json"))
        equal((r.returncode, r.stderr), (2 if c == "completion" else 0, ""), c)  # a script for a shell is no JSON
        if c != "help":
            assert all("event" in e for e in events(r.stdout)), r.stdout
        verbose = place_of(c).locked(*line_of(c, "-vv"))
        equal((verbose.returncode, verbose.stdout.count("\n")), (0, plain.stdout.count("\n")), c)


def test_everywhere_nobody_is_asked():
    """With --no-input nothing is asked, however much there is to ask and though there is a terminal: exit 2 naming the option."""
    for c in everywhere():
        t = on_terminal(c, "--no-input", password=False)
        assert t.status in (0, 2), f"{c}: {t.status}: {t.seen}"
        if t.status:
            assert re.search(r"--no-input forbids it: say --[a-z]", t.seen), f"{c}: {t.seen}"
        r = place_of(c).run(*line_of(c))  # no terminal: the same
        equal(r.returncode, t.status, f"{c}: {r.stderr}")


def test_everywhere_plain():
    """Whole lines: nothing drawn, whichever way it is asked for; and with NO_COLOR no colour."""
    for c in everywhere():
        first = on_terminal(c, "--plain")
        equal(first.status, 0, f"{c}: {first.seen}")
        assert "\x1b" not in first.seen + first.out and "█" not in first.seen, f"{c}: {first.seen}"
        assert not re.search(r"\r(?!\n)", first.seen + first.out), f"{c}: {first.seen}"
        for env in ({"KITH_PLAIN": "1"}, {"TERM": "dumb"}):
            t = on_terminal(c, env=env)
            assert "\x1b" not in t.seen + t.out and "█" not in t.seen, f"{c} {env}: {t.seen}"
            equal(t.seen.count("\n"), first.seen.count("\n"), f"{c} {env}: {t.seen}")
        t = on_terminal(c, env={"NO_COLOR": "1"})
        assert not re.search(r"\x1b\[[0-9;]*m", t.seen + t.out), f"{c}: {t.seen}"
        assert "█" not in on_terminal(c, "--no-qr").seen, c


def test_everywhere_gives_up():
    """--timeout ends what waits with 6, and with --json that is an event."""
    for c in WAIT:
        r = place_of(c, "").locked(*line_of(c, "--timeout", "1"))
        equal(r.returncode, 6, f"{c}: {r.stderr}")
        has(r.stderr, "gave up after 1 second")
        r = place_of(c, "").locked(*line_of(c, "--timeout", "1", "--json"))
        equal((events(r.stdout)[-1]["event"], events(r.stdout)[-1]["code"], r.returncode, r.stderr), ("error", 6, 6, ""), c)


# ---- after all of them: what the others saw ----

def json_section(command, seen=()):
    """What the manual page says of JSON, and what the pages say that it refers to."""
    text = page(command).read_text().partition("\n# JSON\n")[2].partition("\n# ")[0]
    further = {w for w in re.findall(r"\*kith[ -]([a-z]+)\*", text) if page(w).exists()} - {command, *seen}
    return text + "".join(json_section(w, (command, *seen, *further)) for w in sorted(further))


def test_json_is_documented():
    """Each event that a command prints, and each member of it, is in its manual page."""
    general = (ROOT / "docs/man/kith.1.scd").read_text()  # of every command: such as {"event":"error","code":N,"message":...}
    has(general, '{"event":"error","code":N,"message":...}')
    missing = set()
    for (command, event), members in PRINTED.items():
        text = json_section(command)
        if members <= {"event", "code", "message"} and f'"event":"{event}"' in general:
            continue
        if f'"event":"{event}"' not in text:
            missing.add(f"kith-{command}(1): event {event}")
        missing |= {f"kith-{command}(1): {event}: {m}" for m in members - {"event"} if f'"{m}"' not in text}
    for source in sorted((ROOT / "cli").glob("cmd_*.c")):  # those that no test has seen
        command = source.stem[4:]
        for event in re.findall(r'"event", "([a-z_]+)"', source.read_text()):
            if f'"event":"{event}"' not in json_section(command):
                missing.add(f"kith-{command}(1): event {event}")
    assert not missing, "\n" + "\n".join(sorted(missing))


def main():
    wanted = sys.argv[2:]
    passed = failed = 0
    for name, test in list(globals().items()):
        if not name.startswith("test_") or (wanted and name[5:] not in wanted):
            continue
        try:
            test()
            passed += 1
            print(f"ok {name[5:]}", flush=True)
        except (AssertionError, subprocess.TimeoutExpired) as e:
            failed += 1
            print(f"not ok {name[5:]}: line {e.__traceback__.tb_next.tb_lineno}: {e}", flush=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
