"""A foreign mDNS peer: Python's zeroconf.  Publishes one instance and prints what it sees, until SIGTERM.
usage: mdns_zeroconf.py OWN-ADDRESS INSTANCE PORT KEY=VALUE..."""
import signal
import socket
import sys
import threading

from zeroconf import IPVersion, ServiceBrowser, ServiceInfo, ServiceListener, Zeroconf

TYPE = "_spacedrive._tcp.local."


class Printer(ServiceListener):
    def show(self, zc, name):
        info = zc.get_service_info(TYPE, name, 3000)
        if info is None:
            return
        txt = ";".join(f"{k.decode()}={(v or b'').decode()}" for k, v in info.properties.items())
        addresses = ",".join(info.parsed_addresses())
        print("seen", name.removesuffix("." + TYPE), info.port, txt, addresses, flush=True)

    def add_service(self, zc, type_, name):
        self.show(zc, name)

    def update_service(self, zc, type_, name):
        self.show(zc, name)

    def remove_service(self, zc, type_, name):
        print("gone", name.removesuffix("." + TYPE), flush=True)


def main():
    address, instance, port = sys.argv[1:4]
    zc = Zeroconf(interfaces=[address], ip_version=IPVersion.V4Only)
    info = ServiceInfo(TYPE, f"{instance}.{TYPE}", addresses=[socket.inet_aton(address)], port=int(port),
                       properties=dict(p.split("=", 1) for p in sys.argv[4:]), server="foreign-zeroconf.local.")
    end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: end.set())
    ServiceBrowser(zc, TYPE, Printer())
    zc.register_service(info)
    end.wait()
    zc.unregister_service(info)
    zc.close()


main()
