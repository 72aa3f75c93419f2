"""`kith doctor` behind NATs made by nat.py, with a real `kith relay` outside: what it says of each is so."""
import re
import shutil
import sys

from nat import Nats, RELAY
from netns import Failed, beside, certificate, sh

PORT = 7000
URL = f"ws://{RELAY[0]}:{PORT}"
OTHER = f"{RELAY[1]}:{PORT}"  # the relay's other address: as a second server


def expect(condition, what):
    if not condition:
        raise Failed(what)


def start_relay(n, *options, port=PORT):
    p = n.relay.kith("relay", "--listen", f"[::]:{port}", "--user", "root", *options)
    p.event("listening")
    return p


def begin(n, *options, relay=URL, env=None, lan=False):
    """Without the local network it need not wait for what others there announce."""
    if not n.a.id:
        n.a.init()
    return n.a.kith("--relay", relay, "doctor", *(() if lan else ("--no-lan",)), *options, env=env or {})


def examine(n, *options, status=0, **more):
    return findings(begin(n, *options, **more), status)


def findings(p, status=0):
    """By check (of several of one kind the first), as a script reads them."""
    p.ends(status)
    found, done = {}, p.event("done")
    for e in p.events:
        if e["event"] == "finding":
            found.setdefault(e["check"], e)
            expect(e["says"] and (e["state"] == "good" or e["cure"]), f"no cause or no cure: {e}")
    for state in ("good", "warning", "bad", "unknown"):
        expect(done[state] == sum(e.get("state") == state for e in p.events), f"{done} does not count {state}")
    return found


def says(found, check, state, result=None):
    e = found.get(check)
    expect(e and e["state"] == state and e.get("result") == result, f"{check}: {e}, not {state} {result}")
    return e


def case_port_restricted():
    with Nats("port-restricted", "open") as n:
        start_relay(n)
        f = examine(n, "--stun", OTHER, lan=True)
        for check in ("home", "clock", "udp", "mtu", "firewall", "portal"):
            says(f, check, "good")
        address = says(f, "nat", "good", "nat")["address"]
        expect(re.fullmatch(re.escape(n.outside["a"]) + r":\d+", address), f"seen as {address}")
        says(f, "mapping", "good", "endpoint-independent")
        says(f, "filtering", "good", "address-and-port-dependent")
        says(f, "hairpin", "warning", "no")
        says(f, "ports", "good", "kept")
        says(f, "ipv6", "warning", "none")
        says(f, "identity", "good", "once")
        says(f, "multicast", "unknown", "own")
        expect(f["mtu"]["bytes"] == 1472, f"{f['mtu']}")
        relay = f["relay"]
        expect(relay["state"] == "good" and relay["name"] == URL and 0 < relay["rtt_ms"] < 1000, f"{relay}")
        expect(re.match(r"kith.*\d", relay["result"]) and "over UDP" in relay["says"], f"{relay}")
        f = examine(n)  # with the relay alone
        says(f, "mapping", "unknown")
        says(f, "filtering", "good", "address-and-port-dependent")
        p = n.a.kith("--relay", URL, "doctor", json=False)
        p.ends(0)
        expect(any(re.match(r"good    nat +there is a NAT", line) for line in p.lines), f"{p.lines}")
        widths = {re.match(r"(\w+ +\w+ +|  +)", line).end() for line in p.lines}
        expect(len(widths) == 1, f"not aligned: {p.lines}")


def case_kinds():
    """With two addresses that answer from another port, and with one; with a hairpin, which shows what one cannot, and without."""
    def cone(kind, hairpin, filtering, with_one):
        with Nats(kind, None, hairpin=hairpin) as n:
            start_relay(n)
            f = examine(n, "--stun", OTHER)
            says(f, "mapping", "good", "endpoint-independent")
            says(f, "hairpin", *(("good", "yes") if hairpin else ("warning", "no")))
            says(f, "filtering", "good", filtering)
            says(examine(n), "filtering", "good", with_one)

    def symmetric():
        with Nats("symmetric", "open") as n:
            start_relay(n)
            start_relay(n, "--admin-listen", "127.0.0.1:9476", port=PORT + 1)
            says(examine(n, "--stun", OTHER), "mapping", "warning", "dependent")
            f = examine(n, "--stun", f"{RELAY[0]}:{PORT + 1}")
            says(f, "mapping", "warning", "address-and-port-dependent")
            says(f, "ports", "good", "changed")
            says(f, "filtering", "good", "address-and-port-dependent")
    beside(lambda: cone("full-cone", True, "endpoint-independent", "endpoint-independent"),
           lambda: cone("full-cone", False, "endpoint-independent", "port-independent"),
           lambda: cone("address-restricted", True, "address-dependent", "address-dependent"),
           lambda: cone("address-restricted", False, "address-dependent", "port-independent"), symmetric)


def case_open_with_ipv6():
    with Nats("open", "open", ipv6="a") as n:
        start_relay(n)
        f = examine(n, "--stun", f"[2001:db8::1]:{PORT}")
        says(f, "nat", "good", "none")
        expect(says(f, "ipv6", "good")["address"].startswith("[2001:db8:1::10]:"), f"{f['ipv6']}")
        expect("mapping" not in f, "no NAT has a mapping")


def case_blocked():
    with Nats("udp-blocked", "open") as n:
        start_relay(n)
        f = examine(n, status=1)
        says(f, "udp", "bad", "blocked")
        says(f, "firewall", "bad", "udp")
        expect(f["relay"]["state"] == "good" and "over the WebSocket" in f["relay"]["says"], f"{f['relay']}")


def case_small_mtu():
    def small(mtu, state, result, largest, status):
        with Nats("port-restricted", "open") as n:
            start_relay(n)
            sh("ip", "-n", f"kn{n.number}ra", "link", "set", "out", "mtu", mtu)
            expect(says(examine(n, status=status), "mtu", state, result)["bytes"] == largest, "another size")
    beside(lambda: small(1492, "good", None, 1464, 0), lambda: small(1260, "warning", "small", 1232, 0),
           lambda: small(1100, "bad", "too-small", 1072, 1))


def case_jumbo_frames():
    """Found where they get through, also where the router's own answer (ICMP) does not say how large: it is found by trying."""
    with Nats("port-restricted", "open") as n:
        start_relay(n)
        router = f"kn{n.number}ra"
        for namespace, links in ((n.relay.namespace, ("eth0",)), (n.segment, ("port-relay", "port-ra")), (router, ("out", "port-a")),
                                 (n.a.namespace, ("eth0",))):
            for link in links:
                sh("ip", "-n", namespace, "link", "set", link, "mtu", 9000)
        expect(says(examine(n), "mtu", "good")["bytes"] == 8972, "not found")
        sh(*n._in(router), "nft", "add table inet quiet; add chain inet quiet out { type filter hook output priority 0; }; "
           "add rule inet quiet out icmp type destination-unreachable drop")
        sh("ip", "-n", router, "link", "set", "out", "mtu", 4000)
        expect(says(examine(n), "mtu", "good")["bytes"] == 3972, "not found between")


SERVER = """
import http.server, sys
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(302)
        self.send_header("Location", "http://portal.invalid/")
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("0.0.0.0", 80), Page)
print('{"event":"listening"}', flush=True)
server.serve_forever()
"""


def case_what_is_no_relay():
    with Nats("port-restricted", "open") as n:
        n.relay.run(sys.executable, "-c", SERVER, name="portal").event("listening")
        start_relay(n)
        page = begin(n, relay=f"ws://{RELAY[0]}/")
        closed, nameless = begin(n, relay=f"ws://{RELAY[0]}:{PORT + 5}"), begin(n, relay="ws://nowhere.invalid")
        proxied = begin(n, env={"http_proxy": f"http://{RELAY[0]}:{PORT + 5}"})
        f = findings(page, 1)
        says(f, "relay", "bad", "not-a-relay")
        says(f, "portal", "bad", "web-page")
        says(findings(closed, 1), "relay", "bad", "unreachable")
        says(findings(nameless, 1), "relay", "bad", "no-name")
        f = findings(proxied, 1)
        says(f, "proxy", "bad", f"{RELAY[0]}:{PORT + 5}")
        says(f, "relay", "bad", "proxy")


case_what_is_no_relay.waits = True


def case_certificate():
    with Nats("port-restricted", "open") as n:
        file, key = certificate(n.folder, RELAY[0])
        start_relay(n, "--cert", file, "--key", key)
        says(examine(n, status=1, relay=f"wss://{RELAY[0]}:{PORT}"), "relay", "bad", "certificate-untrusted")


def case_one_identity_at_a_relay():
    """A copy in another home is told of by the relay; two processes of one machine, which share its boot, are none.  (Here all
    namespaces share it, so only that is seen; of two machines tells sim/test_doctor_faults.)"""
    with Nats("port-restricted", "port-restricted") as n:
        start_relay(n)
        n.a.init()
        shutil.copytree(n.a.home, n.b.home)
        p = n.b.kith("--relay", URL, "receive", "--dir", n.b.inbox)
        p.event("ready")
        says(examine(n), "identity", "good", "once")
        expect(p.running(), "the receiver was disturbed")


def case_one_identity_on_two_machines():
    with Nats("port-restricted", None) as n:
        sh("bridge", "-n", f"kn{n.number}ra", "link", "set", "dev", "port-a", "isolated", "off")
        start_relay(n)
        n.a.init()
        shutil.copytree(n.a.home, n.b.home)
        n.b.receive()
        e = says(examine(n, status=1, lan=True), "identity", "bad", "twice")
        expect(e["address"].startswith("192.168.1.20:"), f"{e}")
