"""A relay with TLS at port 443, and networks that let nothing else out: directly, and through an HTTP proxy (CONNECT)."""
import sys

from cases_nat import Between, Way, expect, pair_over, sends
from nat import RELAY
from netns import Process, certificate, sh

PORT, PROXY_PORT = 443, 3128
PROXY_AT = "192.168.1.1"  # a's router, from inside

PROXY = """
import json, socket, sys, threading
def copy(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
        b.shutdown(socket.SHUT_WR)
    except OSError:
        a.close(), b.close()
def serve(s):
    head = b""
    while b"\\r\\n\\r\\n" not in head:
        head += s.recv(1)
    method, target = head.split()[:2]
    print(json.dumps({"event": "asked", "method": method.decode(), "target": target.decode()}), flush=True)
    if method != b"CONNECT" or not target.endswith(b":443"):
        s.sendall(b"HTTP/1.1 403 Forbidden\\r\\n\\r\\n")
        return s.close()
    to = socket.create_connection((target.rsplit(b":", 1)[0].decode(), 443))
    s.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\n")
    threading.Thread(target=copy, args=(to, s), daemon=True).start()
    copy(s, to)
listener = socket.create_server(("0.0.0.0", int(sys.argv[1])))
print('{"event":"listening"}', flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


class Tls(Between):
    """The devices trust its certificate, as one of the system's authorities."""

    def __init__(self, a, b, **more):
        super().__init__(a, b, relay=False, port=PORT, **more)
        try:
            self.url = f"wss://{RELAY[0]}"
            file, key = certificate(self.folder, RELAY[0])
            self.options = ("--cert", file, "--key", key, "--user", "root")
            for d in (self.a, self.b):
                d.env.update(KITH_RELAY=self.url, SSL_CERT_FILE=str(file))
            self.start_relay()
        except BaseException:
            self.close()
            raise

    def proxy(self):
        """At a's router, and from now on the only way out for a."""
        router = f"kn{self.number}ra"
        sh("nsenter", f"--net=/run/netns/{router}", "nft", 'insert rule inet home forward iifname "in" drop')
        p = Process(self, ["nsenter", f"--net=/run/netns/{router}", sys.executable, "-c", PROXY, str(PROXY_PORT)], "proxy")
        p.event("listening")
        self.a.env["https_proxy"] = f"http://{PROXY_AT}:{PROXY_PORT}"
        return p


def case_only_443():
    """A file, all the way over TLS: the relay binds nobody's UDP address."""
    with Tls("only-443", "only-443") as n:
        Way(n, False)
        sends(n, "relay")
        expect(n.metric("binds_total") == 0, "UDP got to the relay")
        expect(n.metric("websocket_received_bytes_total") > 5_000_000, "the file did not go over the WebSocket")


def case_through_a_proxy():
    with Tls("only-443", "only-443") as n:
        p = n.proxy()
        Way(n, False)
        sends(n, "relay")
        asked = [e for e in p.events if e["event"] == "asked"]
        expect(asked and all(e["method"] == "CONNECT" and e["target"] == f"{RELAY[0]}:{PORT}" for e in asked), f"{p.said()}")
        expect(n.metric("binds_total") == 0, "UDP got to the relay")
        n.a.kith("--timeout", "3", "ping", "-c", "1", n.b.id, env={"https_proxy": ""}).ends(6)  # and without it there is no way


def case_pairing_through_a_proxy():
    with Tls("only-443", "port-restricted", known=False) as n:
        n.proxy()
        pair_over(n)


def case_nobody_vouches_for_the_relay():
    with Tls("only-443", "only-443") as n:
        n.receive()
        n.a.kith("--timeout", "5", "ping", "-c", "1", n.b.id, env={"SSL_CERT_FILE": ""}).ends(6)
        expect(n.metric("registered_total") == 1, "a registered all the same")
