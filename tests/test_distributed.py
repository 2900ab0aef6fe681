"""Questions on a cluster of Dask: the answers are those of one machine, also when a worker is killed in the middle."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pools
import pytest
from cluster_questions import slowly

import xenmem
from xenmem import DataSet, Fleet, answers, distributed
from xenmem.cli import main
from xenmem.inventory.error import OutOfReachError

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Dask's own, of sockets that it closes late

AT = datetime(2026, 11, 28, 12, tzinfo=UTC)
QUESTIONS: dict[str, dict[str, Any]] = {
    "report": {"vms": True},
    "upgrade-check": {"to": "26.3"},
    "failover": {"num_failures": 1, "restart": "running"},
    "capacity": {"shapes": [answers.Wanted(1 << 30, 1)], "num_failures": 1, "restart": "running"},
    "check": {"only": ("M", "H")},
}


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory, data: Path) -> DataSet:
    """Seven pools, one of which is another one's contrary: it has notes, and no hosts to spare."""
    made = DataSet(tmp_path_factory.mktemp("snapshots"))
    fleets = [pools.pool([6000, 8000, 9000], [(900 + 10 * n, n % 3), (1200, None)], name=f"p{n}") for n in range(6)]
    made.append(Fleet.concatenate([*fleets, xenmem.read(data / "inventories" / "pool-small.xe.txt")]), AT)
    return made


@pytest.fixture(scope="module")
def scheduler() -> Iterator[Any]:
    """A cluster of two worker processes."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster:
        yield cluster


@pytest.mark.parametrize("question", QUESTIONS)
def test_answers_are_those_of_one_machine(data_set: DataSet, scheduler: Any, question: str) -> None:
    keywords = QUESTIONS[question]
    alone = getattr(answers, question.replace("-", "_"))(data_set.fleet(), **keywords)
    assert distributed.ask(data_set, question, scheduler.scheduler_address, **keywords) == alone


def test_a_worker_that_is_killed_is_asked_no_more(
    data_set: DataSet, scheduler: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, joined = distributed.QUESTIONS["report"]
    monkeypatch.setitem(distributed.QUESTIONS, "slow", (slowly, joined))  # type: ignore[misc]
    killed = []

    def kill() -> None:
        while not killed:
            for mark in tmp_path.iterdir():
                os.kill(int(mark.name), signal.SIGKILL)
                killed.append(int(mark.name))
                return
            time.sleep(0.05)

    killer = threading.Thread(target=kill)
    killer.start()
    answer = distributed.ask(data_set, "slow", scheduler.scheduler_address, folder=str(tmp_path))
    killer.join()
    assert killed
    assert answer == answers.report(data_set.fleet())


def test_no_cluster_is_one_line(data_set: DataSet, capsys: pytest.CaptureFixture[str]) -> None:
    for address in ("tcp://127.0.0.1:1", "nonsense"):
        with pytest.raises(OutOfReachError, match=rf"^{address}: the cluster cannot be reached: "):
            distributed.ask(data_set, "report", address)
    assert main(["report", str(data_set.path), "--cluster", "tcp://127.0.0.1:1"]) == 3
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert printed.err.startswith("xenmem: error: tcp://127.0.0.1:1: the cluster cannot be reached: ")


def test_workers_without_xenmem(data_set: DataSet, scheduler: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "_PACKAGE", "xenmem-that-is-not-there")
    with pytest.raises(OutOfReachError, match="its workers have no xenmem: install it there as it is here"):
        distributed.ask(data_set, "report", scheduler.scheduler_address)


def test_the_command_asks_a_cluster(data_set: DataSet, scheduler: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("report",), ("upgrade-check", "--to", "26.3"), ("check", "--without", "A")):
        statuses, printed = [], []
        for cluster in ([], ["--cluster", scheduler.scheduler_address]):
            statuses.append(main([words[0], str(data_set.path), *words[1:], "--format", "json", *cluster]))
            printed.append(capsys.readouterr().out)
        assert statuses[0] == statuses[1]
        assert printed[0] == printed[1]
        assert printed[0]
    for arguments in (("report", "pool.xml"), ("report", str(data_set.path), "--lenient")):
        assert main([*arguments, "--cluster", "local"]) == 2
        assert "--cluster " in capsys.readouterr().err


def test_a_fault_of_the_question_is_that_of_one_machine(data_set: DataSet, scheduler: Any) -> None:
    with pytest.raises(answers.QuestionError, match=r"26\.9x"):
        answers.upgrade_check(data_set.fleet(), "26.9x")
    with pytest.raises(answers.QuestionError, match=r"26\.9x"):
        distributed.ask(data_set, "upgrade-check", scheduler.scheduler_address, to="26.9x")
