"""The exporter: what a scrape is given while pools change and fail, and the whole of it against a served pool."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pools
import pytest
import servers
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed

import xenmem
from xenmem.exporter import worker
from xenmem.exporter.metrics import STAGES, Asked, Collection, Size
from xenmem.exporter.run import Paths
from xenmem.exporter.worker import Worker
from xenmem.mirror import PoolState
from xenmem.server.http import Answer, Request

ASKED = Asked(sizes=(Size(1 << 30, 1),), failures=(0,))


class Shown:
    """A mirror of nothing: it shows the Fleet that a test puts there."""

    def __init__(self) -> None:
        self.shown: xenmem.Fleet | Exception = pools.pool([4096, 4096], [(1024, 0)])
        self.age, self.error, self.asked = 2.0, "", 0
        self._callbacks: list[Callable[[object], None]] = []

    @property
    def fleet(self) -> xenmem.Fleet:
        self.asked += 1
        if isinstance(self.shown, Exception):
            raise self.shown
        return self.shown

    @property
    def pools(self) -> list[PoolState]:
        return [PoolState("https://p", "p-pool", self.age, 0.0, 1, self.error)]

    def on_change(self, callback: Callable[[object], None]) -> None:
        self._callbacks.append(callback)

    def change(self, fleet: xenmem.Fleet | Exception) -> None:
        self.shown = fleet
        for callback in self._callbacks:
            callback(None)


@pytest.fixture(autouse=True)
def accounting_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "STAGES", {"accounting": STAGES["accounting"]})


@contextmanager
def working(mirror: Shown, interval: float = 0.01) -> Iterator[tuple[Worker, list[str]]]:
    told: list[str] = []
    made = Worker(mirror, ASKED, interval, lambda stage, error: told.append(f"{stage}: {error}"))
    try:
        eventually(lambda: made.computed is not None or bool(told))
        yield made, told
    finally:
        made.close()


def eventually(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def values(made: Worker, name: str) -> list[float]:
    text = made.text(openmetrics=True).decode()
    return [one.value for family in parsed(text) for one in family.samples if one.name == f"xenmem_{name}"]


def test_a_change_is_computed_and_nothing_else() -> None:
    mirror = Shown()
    with working(mirror) as (made, _):
        assert values(made, "pool_empty_hosts") == [1]
        asked = mirror.asked
        for _ in range(20):
            made.text(openmetrics=False)
        time.sleep(0.1)
        assert mirror.asked == asked
        mirror.change(pools.pool([4096, 4096], []))
        eventually(lambda: values(made, "pool_empty_hosts") == [2])


def test_changes_in_a_row_are_computed_together() -> None:
    mirror, empty = Shown(), pools.pool([4096, 4096], [])
    with working(mirror, interval=2.0) as (made, _):
        asked = mirror.asked
        for _ in range(100):
            mirror.change(empty)
        eventually(lambda: values(made, "pool_empty_hosts") == [2])
        assert mirror.asked <= asked + 2


def test_the_age_goes_on_while_nothing_changes() -> None:
    mirror = Shown()
    with working(mirror) as (made, _):
        mirror.age = 1.0
        assert values(made, "inventory_timestamp_seconds") == [pytest.approx(time.time() - 1, abs=0.5)]
        mirror.age = 500.0
        assert values(made, "inventory_timestamp_seconds") == [pytest.approx(time.time() - 500, abs=0.5)]


def test_what_was_computed_keeps_its_time_while_changes_wait() -> None:
    mirror = Shown()
    with working(mirror, interval=60) as (made, _):
        (before,) = values(made, "inventory_timestamp_seconds")
        mirror.change(pools.pool([4096], []))
        mirror.age = 0.0
        assert values(made, "inventory_timestamp_seconds") == [pytest.approx(before, abs=0.5)]
        assert values(made, "pool_empty_hosts") == [1]


def test_a_pool_that_cannot_be_read_leaves_what_there_was() -> None:
    mirror = Shown()
    with working(mirror) as (made, told):
        good = mirror.shown
        mirror.change(ValueError("no more"))
        eventually(lambda: len(told) > 1)
        assert told[0] == "read: no more"
        assert values(made, "pool_empty_hosts") == [1]
        assert values(made, "errors_total")[0] >= 2
        mirror.shown = good
        count = len(told)
        eventually(lambda: made.text(openmetrics=True) != b"" and len(told) <= count + 1)


def test_a_stage_that_fails_is_counted_and_the_others_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(into: Collection) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(worker, "STAGES", {"failover": broken, "accounting": STAGES["accounting"]})
    with working(Shown()) as (made, told):
        eventually(lambda: made.computed is not None)
        assert told == ["failover: broken"]
        text = made.text(openmetrics=False).decode()
        assert 'xenmem_errors_total{stage="failover"} 1' in text
        assert 'xenmem_errors_total{stage="accounting"} 0' in text
        assert 'xenmem_scrape_duration_seconds{stage="accounting"}' in text
        assert values(made, "pool_empty_hosts") == [1]


def answer_of(paths: Paths, path: str, *, method: str = "GET", accept: str = "") -> Answer:
    answer = paths.handle(Request(method, path, "", "1.1", {"accept": accept}, "", "", False))
    assert isinstance(answer, Answer)
    return answer


def test_what_the_paths_answer() -> None:
    mirror = Shown()
    with working(mirror) as (made, _):
        paths = Paths(mirror, made)
        assert answer_of(paths, "/metrics").content_type == "text/plain; version=0.0.4; charset=utf-8"
        openmetrics = answer_of(paths, "/metrics", accept="application/openmetrics-text")
        assert openmetrics.content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        assert openmetrics.body.endswith(b"\n# EOF\n")
        assert answer_of(paths, "/health").status == 200
        mirror.error = "is out of reach"
        health = answer_of(paths, "/health")
        assert health.status == 503
        assert json.loads(health.body)["pools"][0]["error"] == "is out of reach"
        assert answer_of(paths, "/other").status == 404
        assert answer_of(paths, "/metrics", method="POST").status == 501


def test_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(into: Collection) -> None:
        begun.set()
        go_on.wait(30)

    monkeypatch.setattr(worker, "STAGES", {"accounting": slow})
    mirror = Shown()
    made = Worker(mirror, ASKED, 1, lambda stage, error: None)
    try:
        assert begun.wait(30)
        paths = Paths(mirror, made)
        assert answer_of(paths, "/metrics").status == 503
        assert answer_of(paths, "/health").status == 503
    finally:
        go_on.set()
        made.close()


# -------------------------------------------------------------------------------------------------- the whole of it


@contextmanager
def exporting(folder: Path, url: str, *options: str) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """`xenmem exporter` of a served pool, and where it answers."""
    password = folder / "password"
    password.write_text(servers.PASSWORD)
    password.chmod(0o600)
    command = [sys.executable, "-m", "xenmem", "exporter", url, "--listen", "127.0.0.1:0", "--interval", "0.1"]
    process = subprocess.Popen(
        [*command, "--insecure", "--password-file", str(password), *options], stdout=subprocess.PIPE, cwd=folder
    )
    try:
        assert process.stdout is not None
        told = [process.stdout.readline().decode() for _ in range(2)]
        (found,) = re.findall(r"metrics at (http://127\.0\.0\.1:\d+)/metrics", told[0])
        yield process, found
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def scraped(url: str, **headers: str) -> tuple[int, str]:
    try:
        answer: HTTPResponse = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60)
        with answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def count_of(text: str, name: str) -> dict[str, float]:
    found: dict[str, Any] = {}
    for family in parsed(text):
        found |= {
            one.labels.get("state", "") + one.labels.get("host_name", ""): one.value
            for one in family.samples
            if one.name == name
        }
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_a_served_pool_is_scraped_while_it_changes(tmp_path: Path) -> None:
    four = Path(__file__).parents[2] / "examples" / "four-hosts.json"
    accept = {"Accept": "application/openmetrics-text"}
    with (
        servers.served(tmp_path, "--pace", "jump", inventories=(four,)) as server,
        exporting(tmp_path, server.url.replace("://", "://root@")) as (process, url),
    ):
        eventually(lambda: scraped(f"{url}/metrics")[0] == 200)
        before = count_of(scraped(f"{url}/metrics", **accept)[1], "xenmem_host_vms")
        assert before["runningalpha"] == 4
        session = server.log_in()
        (vm, *_) = (
            ref
            for ref, one in server.call("VM.get_all_records", session).items()
            if one["power_state"] == "Running" and not one["is_control_domain"]
        )
        server.call("VM.hard_shutdown", session, vm)
        eventually(lambda: count_of(scraped(f"{url}/metrics", **accept)[1], "xenmem_host_vms") != before)
        assert json.loads(scraped(f"{url}/health")[1])["status"] == "ok"
        status, page = scraped(f"{url}/")
        assert status == 200
        assert "alpha" in page
        asked = urllib.request.Request(f"{url}/what-if", b'{"empty":["delta"]}', {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked, timeout=120) as answer:
            assert "delta can be emptied" in json.load(answer)["html"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize(
    ("arguments", "status", "problem"),
    [
        (("pool.xml",), 2, "neither the address of a pool"),
        (("http://127.0.0.1:9", "--listen", "here"), 2, "'here' is not ADDRESS:PORT"),
        (("http://127.0.0.1:9", "--insecure", "--password-file", "password"), 3, "127.0.0.1:9"),
    ],
)
def test_what_cannot_be_exported_is_refused(
    arguments: tuple[str, ...], status: int, problem: str, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("x")
    (tmp_path / "password").chmod(0o600)
    done = subprocess.run(
        [sys.executable, "-m", "xenmem", "exporter", *arguments],
        cwd=tmp_path,
        env=os.environ | {"XENMEM_CONFIG": os.devnull},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == status
    assert done.stderr.startswith("xenmem: error: ")
    assert problem in done.stderr
    assert done.stderr.count("\n") == 1
