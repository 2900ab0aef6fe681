"""failover, capacity and balloon: what they print, against the answers; scripts that run; and what bad input gets."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pools
import pytest
from terminals import drained, terminal

import xenmem as library
from xenmem import answers
from xenmem.units import format_size

Answer = Callable[..., str]
GIB = 1 << 30


def plain(result: msgspec.Struct) -> Any:
    return json.loads(msgspec.json.encode(result))


def told(text: str) -> Any:
    """What JSON says beside the version of its format and the command."""
    found = json.loads(text)
    assert found.pop("format_version") == 1
    assert found.pop("command") in ("balloon", "capacity", "failover")
    return found


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


# ------------------------------------------------------------------------------------------------------------ failover


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], {}),
        (["--failures", "2", "--restart", "running", "--one-by-one"], {"num_failures": 2, "one_by_one": True}),
        (
            ["--failures", "1", "--remedy", "--policy", "dynamic_min"],
            {"num_failures": 1, "remedies": True, "policy": "dynamic_min"},
        ),
    ],
)
def test_failover_json_equals_the_answer(
    answer: Answer, small: str, arguments: list[str], options: dict[str, Any]
) -> None:
    counted = "running" if "running" in arguments else "protected"
    expected = answers.failover(library.read(small), restart=counted, **options)
    status = {"yes": 0, "no": 1}[expected.outcome]
    assert told(answer("failover", small, *arguments, "--format", "json", status=status)) == plain(expected)


def test_failover_csv_is_a_row_for_each_pool(answer: Answer, small: str) -> None:
    (row,) = rows(answer("failover", small, "--failures", "1", "--restart", "running", "--format", "csv", status=1))
    (pool,) = answers.failover(library.read(small), 1, restart="running").pools
    assert (row["pool_uuid"], row["answer"], row["num_failures"]) == (pool.pool.uuid, "loses", "1")
    assert row["failed_hosts"] == "; ".join(host.uuid for host in pool.verdict.failed_hosts)
    assert row["stays_down"] == "; ".join(vm.uuid for vm in pool.verdict.stays_down)
    assert (row["own_outcome"], row["at_least"]) == ("no_plan_exists", "")


def test_failover_table(answer: Answer, small: str) -> None:
    text = answer("failover", small, "--failures", "1", "--restart", "running", "--remedy", status=1)
    (pool,) = answers.failover(library.read(small), 1, restart="running", remedies=True).pools
    assert f"\n{pool.verdict.reason}.\n" in text
    assert "The pool's own planner has no plan for 1 failure, and computes 0 as the largest number to tolerate." in text
    assert "VMs that then stay down" in text
    assert all(f"  {vm.name_label}: " in text for vm in pool.verdict.stays_down)
    assert pool.remedies is not None
    assert "What would make it survive 1 host failure\n  no protection for 2 VMs (the fewest):" in text
    assert text.startswith("Not any host may fail: ")
    assert answer("failover", small).startswith("1 host may fail, and no more.\n")


def test_failover_of_a_pool_without_protected_vms_asks_of_those_that_run(
    answer: Answer, small: str, tmp_path: Path
) -> None:
    """F3: where HA protects nobody, it said `survives`, of nobody."""
    records = json.loads(Path(small).read_text())
    for vm in records["VM"].values():
        vm["ha_restart_priority"] = ""
    (tmp_path / "unprotected.json").write_text(json.dumps(records))
    text = answer("failover", "unprotected.json", "--failures", "1", status=1)
    running = answer("failover", "unprotected.json", "--failures", "1", "--restart", "running", status=1)
    first, _, rest = text.partition("\n")
    assert first.startswith("HA protects no VM, so the ")
    assert rest == running.partition("\n")[2]
    (pool,) = json.loads(answer("failover", "unprotected.json", "--format", "json"))["pools"]
    assert pool["verdict"]["counted"] == "running"
    assert pool["verdict"]["vms"] > 0


def protected(small: str, path: Path) -> str:
    """The pool with all running VMs protected."""
    records = json.loads(Path(small).read_text())
    for vm in records["VM"].values():
        if vm["power_state"] == "Running" and not vm["is_control_domain"]:
            vm.update(ha_always_run=True, ha_restart_priority="restart")
    path.write_text(json.dumps(records))
    return str(path)


def test_failover_emits_messages_that_run(answer: Answer, small: str, tmp_path: Path) -> None:
    inventory = protected(small, tmp_path / "pool.json")
    (tmp_path / "script.jsonl").write_text(
        answer("failover", inventory, "--failures", "1", "--remedy", "--emit", "messages")
    )
    trial = json.loads(answer("what-if", inventory, "script.jsonl", "--format", "json"))
    assert trial["failures"] == []
    changed = {field["ref"] for field in trial["fields"] if field["field"] == "ha_restart_priority"}
    (pool,) = answers.failover(library.read(inventory), 1, remedies=True).pools
    assert pool.remedies is not None
    assert changed == {vm.ref for vm in pool.remedies.unprotect}


def sent_by(script: str, folder: Path) -> list[str]:
    """What a script gives to `xe` to change, one line for each call; the script must be good shell and end well."""
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)
    (folder / "bin").mkdir()
    fake = folder / "bin" / "xe"
    fake.write_text(
        '#!/bin/sh\ncase "$*" in *power-state) echo halted;; vm-param-get*) ;; *) echo "$@" >>"$XE_CALLS";; esac\n'
    )
    fake.chmod(0o755)
    calls = folder / "calls"
    path = f"{fake.parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "XE_CALLS": str(calls), "HOME": str(folder)}
    subprocess.run(["sh"], input=script, text=True, check=True, env=environment)
    return calls.read_text().splitlines()


def test_failover_emits_a_shell_script(answer: Answer, small: str, tmp_path: Path) -> None:
    inventory = protected(small, tmp_path / "pool.json")
    script = answer("failover", inventory, "--failures", "1", "--remedy", "--emit", "xe")
    (pool,) = answers.failover(library.read(inventory), 1, remedies=True).pools
    assert pool.remedies is not None
    assert sent_by(script, tmp_path) == [
        f"vm-param-set uuid={vm.uuid} ha-restart-priority=" for vm in pool.remedies.unprotect
    ]
    assert "# HA protects these VMs no more, so that the pool survives 1 host failure.\n" in script


def contested(path: Path) -> str:
    """A pool for which the best restarts, one failure after another, are not found within a minute."""
    draw = np.random.default_rng(1)
    sizes = draw.integers(1000, 17000, 96)
    homes = np.arange(96) % 16
    load = np.bincount(homes, weights=sizes).astype(int)
    hosts = np.maximum(load, int(load.sum() / 16 / 0.785))
    vms = list(zip(sizes.tolist(), homes.tolist(), strict=True))
    path.write_text(json.dumps(pools.records(hosts.tolist(), vms)))
    return str(path)


@pytest.mark.usefixtures("warm")
def test_interrupted_failover_says_how_far_it_came(environment: dict[str, str], tmp_path: Path) -> None:
    ours, theirs = terminal(100)
    arguments = [
        "failover",
        contested(tmp_path / "pool.json"),
        "--failures",
        "3",
        "--restart",
        "running",
        "--one-by-one",
    ]
    with subprocess.Popen(
        [sys.executable, "-m", "xenmem", *arguments], stdout=subprocess.PIPE, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        shown = b""
        while b" of 16 " not in shown:
            shown += os.read(ours, 65536)
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        text = process.stdout.read().decode()
    assert process.returncode == 130
    assert re.search(rb"\rsearching: \d+ of 16 decided", shown)
    assert (shown.decode() + drained(ours)).endswith(" \r")
    assert re.search(
        r"3 host failures, one by one: the search was interrupted with \d+ of 16 first failures decided", text
    )


def test_a_time_limit_is_no_error(answer: Answer, tmp_path: Path) -> None:
    path = contested(tmp_path / "pool.json")
    limited = ["--failures", "3", "--restart", "running", "--one-by-one", "--time-limit", "0.2", "--format", "json"]
    (pool,) = json.loads(answer("failover", path, *limited, status=3))["pools"]
    assert (pool["verdict"]["answer"], pool["verdict"]["failed_hosts"]) == ("unknown", [])
    assert "the time limit ended the search" in pool["verdict"]["reason"]


# ------------------------------------------------------------------------------------------------------------ capacity


def test_capacity_json_equals_the_answer(answer: Answer, small: str) -> None:
    fleet = library.read(small)
    one = answers.capacity(fleet, [answers.Wanted(4 * GIB, 2)], 1)
    arguments = ["capacity", small, "--memory", "4GiB", "--vcpus", "2", "--failures", "1", "--format", "json"]
    assert told(answer(*arguments)) == plain(one)
    mix = answers.capacity(fleet, [answers.Wanted(16 * GIB, 4, 2), answers.Wanted(GIB, 1)])
    arguments = ["capacity", small, "--shape", "16GiB:4:2", "--shape", "1GiB:1", "--format", "json"]
    assert told(answer(*arguments)) == plain(mix)


def test_capacity_table_and_csv(answer: Answer, small: str) -> None:
    arguments = ["capacity", small, "--shape", "16GiB:4:2", "--shape", "1GiB:1", "--failures", "1"]
    result = answers.capacity(library.read(small), [answers.Wanted(16 * GIB, 4, 2), answers.Wanted(GIB, 1)], 1)
    text = answer(*arguments)
    assert text.startswith(f"{result.count} more VMs fit such that any 1 host may fail")
    required = format_size(result.pools[0].shapes[0].required)
    assert f"\n16GiB, 4 vCPUs: each needs {required}, model 26.3; 2 of 3 VMs.\n" in text
    counts = [row["count"] for row in rows(answer(*arguments, "--format", "csv"))]
    assert counts == [str(host.count) for host in result.pools[0].hosts]


# ------------------------------------------------------------------------------------------------------------- balloon


def halted_vm(inventory: str) -> tuple[library.Fleet, int]:
    fleet = library.read(inventory)
    for vm in range(len(fleet.vms)):
        if fleet.vms.is_guest[vm] and fleet.vms.power_state[vm] == library.fleet.PowerState.HALTED:
            try:
                answers.balloon(fleet, vm)
            except answers.QuestionError:
                continue
            return fleet, vm
    raise AssertionError("no VM starts")


def test_balloon_formats_equal_the_answer(answer: Answer, small: str) -> None:
    fleet, vm = halted_vm(small)
    expected = answers.balloon(fleet, vm)
    uuid = fleet.vms.uuid[vm]
    assert told(answer("balloon", small, uuid, "--format", "json")) == plain(expected)
    found = rows(answer("balloon", small, uuid, "--host", expected.host.uuid, "--format", "csv"))
    shown = [*expected.vms, expected.newcomer]
    assert [(row["ref"], int(row["balanced"]), int(row["fair"])) for row in found] == [
        (one.ref, one.balanced, one.fair) for one in shown
    ]
    assert (found[-1]["target"], found[-1]["squeezed"]) == ("", "")
    text = answer("balloon", small, uuid)
    assert f" starts on {expected.host.name_label}: {expected.reason}.\n" in text


def test_balloon_emits_scripts_that_run(answer: Answer, small: str, tmp_path: Path) -> None:
    fleet, vm = halted_vm(small)
    uuid = fleet.vms.uuid[vm]
    (tmp_path / "script.jsonl").write_text(answer("balloon", small, uuid, "--emit", "messages"))
    trial = json.loads(answer("what-if", small, "script.jsonl", "--format", "json"))
    assert trial["failures"] == []
    after = {(field["ref"], field["field"]): field["after"] for field in trial["fields"]}
    assert after[fleet.vms.ref[vm], "power_state"] == "Running"
    calls = sent_by(answer("balloon", small, uuid, "--emit", "xe"), tmp_path)
    assert calls[-1] == f"vm-start uuid={uuid} on={answers.balloon(fleet, vm).host.uuid}"


# ----------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["failover", "SMALL", "--failures", "-1"], "-1 is not in the range"),
        (["failover", "SMALL", "--failures", "4"], "4 hosts cannot fail in pool"),
        (["failover", "SMALL", "--failures", "1", "--time-limit", "0"], "0 is not above 0 seconds"),
        (["failover", "SMALL", "--remedy"], "--remedy is for a number of --failures"),
        (["failover", "SMALL", "--failures", "1", "--remedy", "--one-by-one"], "--remedy and --one-by-one exclude"),
        (["failover", "SMALL", "--failures", "1", "--emit", "xe"], "--emit writes what --remedy finds"),
        (
            ["failover", "SMALL", "--failures", "1", "--remedy", "--emit", "xe", "--format", "json"],
            "--emit and --format exclude each other",
        ),
        (
            ["failover", "SMALL", "--failures", "1", "--remedy", "--emit", "xe", "--restart", "running"],
            "only VMs that HA protects can be unprotected",
        ),
        (["capacity", "SMALL"], "Missing option '--memory'"),
        (["capacity", "SMALL", "--memory", "1GiB"], "Missing option '--vcpus'"),
        (["capacity", "SMALL", "--memory", "1GiB", "--vcpus", "1", "--failures", "9"], "9 hosts cannot fail"),
        (["capacity", "SMALL", "--memory", "1GiB", "--vcpus", "70000"], "vcpus_max: 70000 is outside"),
        (["capacity", "SMALL", "--shape", "16GiB"], "'16GiB' is not MEMORY:VCPUS or MEMORY:VCPUS:PROPORTION"),
        (["capacity", "SMALL", "--shape", "16GiB:-4"], "'16GiB:-4' is not MEMORY:VCPUS"),
        (["capacity", "SMALL", "--shape", "16GiB:²"], "'16GiB:²' is not MEMORY:VCPUS"),
        (["capacity", "SMALL", "--shape", "big:4"], "'big' is not a size"),
        (["capacity", "SMALL", "--shape", "0:4"], "'0:4' makes no VM"),
        (["capacity", "SMALL", "--shape", "1GiB:1:0"], "'1GiB:1:0' makes no VM"),
        (["capacity", "SMALL", "--shape", "1GiB:1", "--memory", "1GiB"], "exclude each other"),
        (["capacity", "SMALL", "--shape", f"1GiB:1:{1 << 70}", "--shape", "2GiB:1"], "is outside"),
        (["balloon", "SMALL", "nobody"], "there is no VM 'nobody' in the inventory"),
        (["balloon", "SMALL", "lab-git-011", "--host", "nowhere"], "there is no host 'nowhere' in the inventory"),
        (["balloon", "SMALL", "lab-git-011", "--emit", "xe", "--format", "csv"], "--emit and --format exclude"),
    ],
)
def test_bad_arguments(complaint: Answer, small: str, arguments: list[str], expected: str) -> None:
    assert expected in complaint(*(small if argument == "SMALL" else argument for argument in arguments))
