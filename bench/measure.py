"""What the programs of this folder share: what a program used, and on which machine."""
import datetime
import os
import pathlib
import statistics
import subprocess
import time

from netns import KITH, ROOT, Failed

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_of(pid, children_too=True):
    """User and system seconds of a process and of its children that ended; a zombie still has them."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15] if children_too else fields[11:13])) / TICKS


def wait_and_cpu(process):
    """Wait for its end; CPU seconds of all its life."""
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    used = cpu_of(process.pid)
    process.ends(0)
    return used


def wait_for_port(device, address, port):
    for _ in range(200):
        if device.run("bash", "-c", f"exec 3<>/dev/tcp/{address}/{port}", name="port").end() == 0:
            return
        time.sleep(0.05)
    raise Failed(f"nothing listens at {address}:{port}")


def machine(folder, packages):
    """Where and what, with the versions of these packages."""
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    kind = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=False).stdout.strip()
    versions = [subprocess.run([KITH, "--version"], capture_output=True, text=True, check=False).stdout.strip()]
    for name in packages:
        v = subprocess.run(["dpkg-query", "-W", "-f=${Version}", name], capture_output=True, text=True, check=False).stdout
        versions += [f"{name} {v}"] if v else []
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    what = "a program named by KITH" if "KITH" in os.environ else f"commit {commit.strip() or '?'}"
    return (f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC, {what}; {model}, "
            f"{os.cpu_count()} cores, Linux {os.uname().release}; files on {kind}; load before: {os.getloadavg()[0]:.2f}.  "
            + ", ".join(versions) + ".")


def warm_memory(size):
    """A virtual machine gives free memory back to its host; who touches it first then pays, up to a second a GB.  So all touch what was
    in use a moment ago."""
    block = bytearray(size)
    for at in range(0, size, 4096):
        block[at] = 1


def median(turns, key):
    values = [t[key] for t in turns if key in t]
    return statistics.median(values) if values else None


def cell(value, digits):
    return "" if value is None else f"{value:.{digits}f}"
