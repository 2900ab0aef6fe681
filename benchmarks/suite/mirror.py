"""Pools that run: how long a report takes beside a bare client, and how late and how dear a mirror is under load."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles

from xenmem import Access, Mirror

from . import ROOT
from .command import COMMAND

CHANGES_PER_SECOND = 500
SECONDS = 10.0

_BARE = """
import ssl, sys, XenAPI
session = XenAPI.Session(sys.argv[1], ignore_ssl=True)
session.xenapi.login_with_password("root", sys.argv[2])
for name in sys.argv[3].split(","):
    getattr(session.xenapi, name).get_all_records()
session.xenapi.session.logout()
"""

_BARE_JSON = """
import http.client, json, ssl, sys
place = sys.argv[1].rpartition("/")[2]
connection = http.client.HTTPSConnection(place, context=ssl._create_unverified_context())
def call(method, *parameters):
    body = {"id": 1, "jsonrpc": "2.0", "method": method, "params": parameters}
    connection.request("POST", "/jsonrpc", json.dumps(body))
    return json.loads(connection.getresponse().read())["result"]
session = call("session.login_with_password", "root", sys.argv[2])
for name in sys.argv[3].split(","):
    call(f"{name}.get_all_records", session)
call("session.logout", session)
"""

_LOAD = """
import http.client, json, sys, time
host, port, password, rate, seconds = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4]), float(sys.argv[5])
connection = http.client.HTTPSConnection(host, port, context=__import__("ssl")._create_unverified_context())
def call(method, *parameters):
    body = {"id": 1, "jsonrpc": "2.0", "method": method, "params": parameters}
    connection.request("POST", "/jsonrpc", json.dumps(body))
    return json.loads(connection.getresponse().read())["result"]
session = call("session.login_with_password", "root", password)
vms = sorted(call("VM.get_all", session))
began = time.monotonic()
for number in range(int(rate * seconds)):
    time.sleep(max(0.0, began + number / rate - time.monotonic()))
    vm = vms[0] if number % 50 == 0 else vms[1 + number * 7919 % (len(vms) - 1)]
    call("VM.set_name_label", session, vm, repr(time.time()))
"""


@contextmanager
def pool() -> Iterator[tuple[str, str]]:
    """64 hosts and 2,000 VMs over TLS, in a process of their own: the address, and root's password."""
    with tempfile.TemporaryDirectory() as folder:
        dump = Path(folder) / "pool.xml"
        maker = ROOT / "tests" / "data" / "make_pool_dump.py"
        made = ["--hosts", "64", "--vms", "2000", "--version", "26", "--format", "statedb", "--out", str(dump)]
        subprocess.run([sys.executable, maker, *made], check=True)
        options = ["--tls", "--listen", "127.0.0.1:0", "--pace", "jump"]
        with subprocess.Popen(
            [COMMAND, "serve", dump, *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as served:
            try:
                assert served.stdout is not None
                told = []
                for line in served.stdout:
                    told.append(line.strip())
                    if told[-1].endswith("ready"):
                        break
                url = next(line.rpartition(" ")[2] for line in told if " at https://" in line)
                yield url, next(line.split("password ")[1].split()[0] for line in told if "password " in line)
            finally:
                served.kill()


class Report:
    """How long does `xenmem report https://...` take, beside bare clients that only fetch the same records?"""

    params = (["xenmem report", "XenAPI", "json"],)
    param_names = ("process",)
    timeout = 300

    def setup(self, process: str) -> None:
        from xenmem.inventory.schema import TABLES

        self.pool = pool()
        url, password = self.pool.__enter__()
        self.environment = os.environ | {"XENMEM_PASSWORD": password}
        self.arguments = [COMMAND, "report", url, "--insecure"]
        if process != "xenmem report":
            program = _BARE if process == "XenAPI" else _BARE_JSON
            self.arguments = [sys.executable, "-c", program, url, password, ",".join(TABLES)]
        self.time_process(process)

    def teardown(self, process: str) -> None:
        self.pool.__exit__(None, None, None)

    def time_process(self, process: str) -> None:
        subprocess.run(
            self.arguments, check=True, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )


class Load:
    """How late is what a mirror shows, and how much of a core does it take, under 500 changes a second?"""

    timeout = 300

    def setup_cache(self) -> dict[str, float]:
        """Seconds from a change to a Fleet that has it, and the share of a core."""
        with pool() as (url, password), Mirror(url, access=Access(password, insecure=True)) as mirror:
            host, port = url.rpartition("/")[2].split(":")
            marker = min(mirror.fleet.vms.ref)
            given = [sys.executable, "-c", _LOAD, host, port, password, str(CHANGES_PER_SECOND), str(SECONDS)]
            late: list[float] = []
            marked = threading.Event()
            mirror.on_change(lambda change: marked.set() if change.ref == marker else None)
            with subprocess.Popen(given) as load:
                began, cpu = time.monotonic(), time.process_time()
                while load.poll() is None:
                    if marked.wait(0.2):
                        marked.clear()
                        late.append(time.time() - float(mirror.fleet.vms.name_label[0]))
                share = (time.process_time() - cpu) / (time.monotonic() - began)
                assert load.returncode == 0
            assert mirror.fleet.vms.ref[0] == marker
            assert len(late) > SECONDS
        return {"median": median(late), "p95": quantiles(late, n=20)[-1], "cpu": share}

    def track_lag(self, measured: dict[str, float]) -> float:
        return measured["median"]

    def track_late_lag(self, measured: dict[str, float]) -> float:
        return measured["p95"]

    def track_cpu(self, measured: dict[str, float]) -> float:
        return measured["cpu"]

    track_lag.unit = track_late_lag.unit = "s"  # type: ignore[attr-defined]
    track_cpu.unit = "cores"  # type: ignore[attr-defined]
