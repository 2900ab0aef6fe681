"""The commands about moving: tables, CSV, JSON and scripts of the same plan; bad input; Ctrl-C and progress."""

import csv
import fcntl
import io
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import Any

import pytest
from busy_pools import GIB, add_vm, empty_pool, four_hosts, without_drivers

Answer = Callable[..., str]
Answers = Callable[..., list[str]]
Command = Callable[..., "subprocess.CompletedProcess[str]"]
XENMEM = [sys.executable, "-m", "xenmem"]


@pytest.fixture
def busy(tmp_path: Path) -> str:
    """The four busy hosts."""
    path = tmp_path / "busy.json"
    path.write_text(json.dumps(four_hosts()))
    return str(path)


IN_ONE_PROCESS = """
import io, json, sys
from xenmem.cli import main
results = []
stdout = sys.stdout
for arguments in json.load(sys.stdin):
    sys.stdout, sys.stderr = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    status = main(arguments)
    results.append((status, sys.stdout.buffer.getvalue().decode(), sys.stderr.getvalue()))
json.dump(results, stdout)
"""


def outcomes(commands: Sequence[Sequence[str]], environment: dict[str, str]) -> list[tuple[int, str, str]]:
    """Status, standard output and standard error of commands that run in one process: starting takes longest."""
    done = subprocess.run(
        [sys.executable, "-c", IN_ONE_PROCESS],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=True,
    )
    return [(status, out, err) for status, out, err in json.loads(done.stdout)]


@pytest.fixture
def answers(environment: dict[str, str], warm: None) -> Callable[..., list[str]]:
    """Runs commands, which must all answer, some no, without a word on standard error; gives what they printed."""

    def run(*commands: Sequence[str], no: Container[int] = ()) -> list[str]:
        found = outcomes(commands, environment)
        assert [(status, err) for status, _, err in found] == [(int(at in no), "") for at in range(len(commands))]
        return [out for _, out, _ in found]

    return run


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_one_plan_in_every_format(answers: Answers, busy: str) -> None:
    ask = ["evacuate", busy, "delta"]
    as_json, as_csv, as_hosts, table, as_messages, script = answers(
        [*ask, "--bandwidth", "2GiB/s", "--format", "json"],
        [*ask, "--format", "csv"],
        [*ask, "--format", "csv", "--hosts"],
        ask,
        [*ask, "--emit", "messages"],
        [*ask, "--emit", "xe"],
    )
    plan = json.loads(as_json)
    (pool,) = plan["pools"]
    assert (plan["status"], plan["copied"], plan["seconds"]) == ("optimal", 42 * GIB, 21.0)
    moves = rows(as_csv)
    assert [row["vm_uuid"] for row in moves] == [move["vm"]["uuid"] for move in pool["moves"]]
    assert [int(row["copied"]) for row in moves] == [move["copied"] for move in pool["moves"]]
    assert {row["target_name_label"] for row in moves} == {"alpha", "bravo", "charlie"}
    assert [int(row["after_free"]) for row in rows(as_hosts)] == [host["after"]["free"] for host in pool["hosts"]]
    assert table.splitlines()[0] == "delta can be emptied: 4 migrations, 42GiB to copy."
    lines = [line for line in table.splitlines() if line.startswith("delta  ")]
    assert [line.split() for line in lines] == [["delta", "3", "0", "22.16", "60.48", "40.34", "2.02"]]
    assert "Optimal: 4 VMs move; no plan does better.\n42GiB are copied, in 42 s at 1GiB a second.\n" in table
    sent = [json.loads(line) for line in as_messages.splitlines()]
    assert [message["params"][0]["uuid"] for message in sent[1:]] == [row["vm_uuid"] for row in moves]
    assert re.findall(r"^step .* (xe vm-migrate .*)$", script, re.MULTILINE) == [
        f"xe vm-migrate uuid={row['vm_uuid']} host-uuid={row['target_uuid']} live=true" for row in moves
    ]


def test_emitted_messages_are_a_script_of_what_if(answer: Answer, xenmem: Command, busy: str) -> None:
    done = xenmem("what-if", busy, "-", "--format", "json", stdin=answer("consolidate", busy, "--emit", "messages"))
    assert done.returncode == 0
    result = json.loads(done.stdout)
    assert result["messages"] > 0
    assert result["failures"] == []


def test_options_reach_the_plan(answers: Answers, busy: str) -> None:
    pack = ["pack", busy, "--running", "--objective=fewest-migrations", "--policy=dynamic_min", "--format=json"]
    pack += ["--pin=dns=alpha", "--together=web-1,web-2", "--apart=files,wiki", "--headroom=1GiB"]
    pack += [f"--host={host}" for host in ("alpha", "bravo", "charlie", "delta")]
    rebalance = ["rebalance", busy, "--format", "json", "--vm-groups", "ignored", "--time-limit", "0.3", "--seed", "5"]
    packed, two, none, started, infeasible = answers(
        pack,
        [*rebalance, "--migrations", "2"],
        [*rebalance, "--migrations", "0"],
        ["pack", busy, "--vm", "test-1", "--vm", "test-2"],
        ["evacuate", busy, "alpha", "--host", "bravo"],
        no=[4],
    )
    (pool,) = json.loads(packed)["pools"]
    targets = {move["vm"]["name_label"]: move["target"]["name_label"] for move in pool["moves"]}
    assert targets["dns"] == "alpha"
    assert set(targets) & {"files", "wiki"}
    assert min(host["after"]["free"] for host in pool["hosts"]) >= GIB
    assert json.loads(two)["migrations"] <= 2
    assert json.loads(none)["migrations"] == 0
    assert [line.split()[-1] for line in started.splitlines() if "  test-" in line] == ["start", "start"]
    assert started.startswith("2 VMs have a place: 0 migrations, 0B to copy, 2 starts.\n")
    assert "\nOptimal: 2 of 2 VMs have a place; no plan does better." in started
    assert "\nInfeasible: 4 VMs cannot all be placed: " in infeasible
    assert "\nWithout a place\n" in infeasible


def test_place_shows_every_host(answers: Answers, busy: str) -> None:
    ask = ["place", busy, "test-1"]
    table, as_csv, as_json, script = answers(
        ask, [*ask, "--format", "csv"], [*ask, "--format", "json"], [*ask, "--host", "bravo", "--emit", "xe"]
    )
    (delta,) = [line for line in table.splitlines() if line.startswith("delta")]
    assert delta.split() == ["delta", "12.10", "22.16", "10.06", "1", "50.0%", "yes"]
    assert "Most is free afterwards on delta, under dynamic_min." in table
    assert [row["rank"] for row in rows(as_csv)] == ["4", "2", "3", "1"]
    assert json.loads(as_json)["most_room"]["name_label"] == "delta"
    assert " xe vm-start uuid=p-vm-test-1-uuid on=p-bravo-uuid\n" in script


def test_rolling_update_in_every_format(answers: Answers, busy: str) -> None:
    order = ["delta", "charlie", "bravo", "alpha"]
    ask = ["rolling-update", busy, "--order", ",".join(order), "--to", "26.4.0"]
    as_json, as_csv, restarts, table, script = answers(
        [*ask, "--format", "json"],
        [*ask, "--format", "csv"],
        [*ask, "--format", "csv", "--hosts"],
        ["rolling-update", busy, "--order", "delta,charlie", "--order", "bravo,alpha"],
        ["rolling-update", busy, "--emit", "xe"],
    )
    plan = json.loads(as_json)
    assert [host["name_label"] for host in plan["hosts"]] == order
    assert plan["to_model"] == "26.3"
    assert [row["action"] for row in rows(as_csv)] == [step["action"] for step in plan["steps"]]
    assert [row["name_label"] for row in rows(restarts)] == order
    assert [line.split()[2] for line in table.splitlines() if " restart  " in line] == order
    subprocess.run(["sh", "-n"], input=script.encode(), check=True)
    assert script.count(" restart_host p-") == 4


def test_vms_that_cannot_migrate_are_known_from_the_inventory(answer: Answer, tmp_path: Path) -> None:
    """F1: one of them refused the whole plan, and the answer said neither what to do nor who else could move."""
    records = four_hosts()
    without_drivers(records, "p-vm-wiki")
    path = tmp_path / "busy.json"
    path.write_text(json.dumps(records))
    text = answer("evacuate", str(path), "delta", status=1)
    assert text.startswith("delta cannot be emptied: 2 of 3 VMs can move; shut down first: wiki.\n")
    assert "\nCannot move\n  wiki: no guest tools, VM_LACKS_FEATURE\n" in text
    assert "\n    xe vm-shutdown uuid=p-vm-wiki-uuid  # wiki\n" in text
    for option, name in (("--may-stop", "immobile"), ("--may-stop", "wiki"), ("--ignore", "immobile")):
        assert "delta can" in answer("evacuate", str(path), "delta", option, name)
    assert "wiki (no guest tools, VM_LACKS_FEATURE)" in answer("consolidate", str(path))


def test_a_tag_stands_for_its_vms(answer: Answer, tmp_path: Path) -> None:
    records = four_hosts()
    without_drivers(records, "p-vm-wiki")
    records["VM"]["p-vm-wiki"]["tags"] = ["soft"]
    path = tmp_path / "busy.json"
    path.write_text(json.dumps(records))
    assert "1 VM is stopped first" in answer("evacuate", str(path), "delta", "--may-stop", "soft")


def test_tags_keep_vms_apart_together_and_where_they_are(answers: Answers, tmp_path: Path) -> None:
    records = four_hosts()
    for vm in ("web-1", "web-2", "web-3"):
        records["VM"][f"p-vm-{vm}"]["tags"] = ["web"]
    records["VM"]["p-vm-db-1"]["tags"] = ["xo:load:balancer:ignore"]
    path, tags = tmp_path / "busy.json", tmp_path / "tags.json"
    path.write_text(json.dumps(records))
    tags.write_text(json.dumps({"plans": [{"antiAffinityTags": ["web"]}]}))
    given = ["--format", "json", "--objective", "fewest-migrations"]
    apart, told, emptied = answers(
        ["pack", str(path), "--anti-affinity-tag", "web", *given],
        ["pack", str(path), "--tags-from", str(tags), *given],
        ["evacuate", str(path), "alpha"],
    )
    moves = [
        {(move["vm"]["name_label"], move["target"]["name_label"]) for move in json.loads(answer)["pools"][0]["moves"]}
        for answer in (apart, told)
    ]
    assert moves[0] == moves[1] != set()
    assert {vm for vm, _ in moves[0]} & {"web-1", "web-2"}
    assert "db-1" not in {vm for vm, _ in moves[0]}
    assert "tags say not to move db-1, but their host is to be emptied" in emptied


BAD_ARGUMENTS: list[tuple[list[str], str]] = [
    (["place", "BUSY"], "Missing argument 'VM'"),
    (["place", "BUSY", "test"], "VM 'test' is ambiguous: test-1, test-2"),
    (["place", "BUSY", "db-1"], "VM db-1 is Running: it is on a host already"),
    (["place", "BUSY", "test-1", "--host", "x"], "there is no host 'x' in the inventory"),
    (["place", "BUSY", "test-1", "--emit", "sh"], "'sh' is not one of"),
    (["place", "BUSY", "test-1", "--emit", "xe", "--format", "json"], "--emit and --format exclude each other"),
    (["consolidate", "BUSY", "--format", "csv", "--emit", "messages"], "--emit and --format exclude each other"),
    (["pack", "BUSY", "--vm", "nobody"], "there is no VM 'nobody' in the inventory"),
    (["pack", "BUSY", "--vm", "dom0 alpha"], "VM dom0 alpha takes no part: it is a control domain"),
    (["pack", "BUSY", "--vm", "dns", "--running"], "--vm and --running exclude each other"),
    (["pack", "BUSY", "--objective", "best"], "'best' is not one of"),
    (["pack", "BUSY", "--policy", "average"], "'average' is not one of"),
    (["pack", "BUSY", "--pin", "dns"], "'dns' is not VM=HOST"),
    (["pack", "BUSY", "--pin", "dns=nowhere"], "there is no host 'nowhere' in the inventory"),
    (["pack", "BUSY", "--pin", "dns=alpha", "--pin", "dns=bravo"], "--pin dns=bravo: the VM is pinned twice"),
    (["pack", "BUSY", "--pin", "dns=alpha", "--host", "bravo"], "VM dns cannot be pinned to host alpha"),
    (["pack", "BUSY", "--together", "dns"], "'dns' is not several VMs"),
    (["pack", "BUSY", "--apart", "dns,dns"], "'dns,dns' is not several VMs"),
    (["pack", "BUSY", "--together", "dns,git", "--apart", "git,dns"], "VMs dns, git are to be together and apart"),
    (["pack", "BUSY", "--headroom", "-1GiB"], "'-1GiB' is not a size"),
    (["pack", "BUSY", "--headroom", "2PiB"], "'2PiB' is more than 1PiB"),
    (["pack", "BUSY", "--time-limit", "0"], "0 is not above 0 seconds"),
    (["pack", "BUSY", "--time-limit", "nan"], "nan is not above 0 seconds"),
    (["pack", "BUSY", "--time-limit", "1e400"], "inf is not a number of seconds"),
    (["pack", "BUSY", "--seed", "-1"], "-1 is not in the range"),
    (["pack", "BUSY", "--bandwidth", "0"], "'0' is nothing"),
    (["pack", "BUSY", "--bandwidth", "fast"], "'fast' is not a size"),
    (["pack", "BUSY", "--tags-from", "nowhere.json"], "nowhere.json: No such file or directory"),
    (["pack", "BUSY", "--tags-from", "BUSY"], "holds neither plans nor ignoredVmTags"),
    (["pack", "BUSY", "BUSY"], "was already read from"),
    (["evacuate", "BUSY"], "Missing argument 'HOST'"),
    (["evacuate", "BUSY", "echo"], "there is no host 'echo' in the inventory"),
    (["evacuate", "BUSY", "alpha", "--host", "alpha"], "host alpha is to be emptied, and takes no VMs"),
    (["consolidate", "nowhere.json"], "nowhere.json: No such file or directory"),
    (["rebalance", "BUSY"], "Missing option '--migrations'"),
    (["rebalance", "BUSY", "--migrations", "-1"], "-1 is not in the range"),
    (["rolling-update", "BUSY", "--order", "alpha,bravo,charlie"], "host delta is missing from the order"),
    (["rolling-update", "BUSY", "--order", "alpha,alpha,bravo"], "host alpha comes twice in the order"),
    (["rolling-update", "BUSY", "--order", "alpha,,bravo"], "there is no host '' in the inventory"),
    (["rolling-update", "BUSY", "--to", "next"], "'next' is no version of xapi"),
    (["rolling-update", "BUSY", "--to", ""], "'' is no version of xapi"),
    (["rolling-update", "BUSY", "--bandwidth", "0"], "'0' is nothing"),
    (["evacuate", "BUSY", "alpha", "--host", "bravo", "--emit", "xe"], "there is no whole plan to write: 4 VMs"),
]


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, str, str]]:
    """The outcomes of all bad arguments."""
    path = tmp_path_factory.mktemp("bad") / "busy.json"
    path.write_text(json.dumps(four_hosts()))
    commands = [[str(path) if argument == "BUSY" else argument for argument in given] for given, _ in BAD_ARGUMENTS]
    return outcomes(commands, dict(os.environ))


@pytest.mark.parametrize("case", range(len(BAD_ARGUMENTS)), ids=lambda case: " ".join(BAD_ARGUMENTS[case][0]))
def test_bad_arguments(complaints: list[tuple[int, str, str]], case: int) -> None:
    status, out, err = complaints[case]
    assert (status, out) == (2, "")
    assert err.startswith("xenmem: error: ")
    assert err.removesuffix("\n").isprintable()
    assert BAD_ARGUMENTS[case][1] in err


def edited(tmp_path: Path, **fields: Any) -> str:
    """Two hosts with a VM each, `a` and `b`; fields of VM `a`, of host `x`, or of its metrics."""
    records = empty_pool(("x", "y"))
    vm = add_vm(records, "a", 8, "x")
    add_vm(records, "b", 8, "y")
    for name, value in fields.items():
        for record in (records["VM"][vm], records["host"]["p-x"], records["host_metrics"]["p-x-metrics"]):
            if name in record:
                record[name] = value
    path = tmp_path / "edited.json"
    path.write_text(json.dumps(records))
    return str(path)


def test_ambiguous_names_are_listed(complaint: Answer, tmp_path: Path) -> None:
    assert (
        complaint("pack", edited(tmp_path, name_label="b"), "--vm", "b")
        == "VM 'b' is ambiguous: p-vm-a-uuid, p-vm-b-uuid"
    )
    assert complaint("evacuate", edited(tmp_path, name_label="y"), "y") == "host 'y' is ambiguous: p-x-uuid, p-y-uuid"


def test_a_host_without_memory_is_named(complaint: Answer, tmp_path: Path) -> None:
    path = edited(tmp_path, memory_total="0")
    assert "host x: its memory_total is unknown" in complaint("pack", path)
    assert "host x: its memory_total is unknown" in complaint("evacuate", path, "y")


def test_a_vm_without_memory_is_named(complaint: Answer, tmp_path: Path) -> None:
    nothing = dict.fromkeys(("memory_static_max", "memory_dynamic_max", "memory_dynamic_min", "memory_static_min"), "0")
    assert "VM a has no memory: memory_static_max is 0" in complaint("evacuate", edited(tmp_path, **nothing), "x")


def test_an_overcommitted_host_gets_an_answer_that_says_so(answer: Answer, tmp_path: Path) -> None:
    table = answer("pack", edited(tmp_path, memory_total=str(6 * GIB)), "--running")
    assert "\nOptimal: 2 of 2 VMs have a place" in table
    assert "\nWarnings\n  x is overcommitted now, by " in table


def test_a_vm_without_uuid_is_not_written(complaint: Answer, answer: Answer, tmp_path: Path) -> None:
    path = edited(tmp_path, uuid="$(reboot)")
    assert "Optimal" in answer("evacuate", path, "x")
    problem = complaint("evacuate", path, "x", "--emit", "xe")
    assert problem == "host x: its uuid '$(reboot)' is none, and scripts name objects by their uuid"


@pytest.fixture
def searching(environment: dict[str, str], small: str) -> "subprocess.Popen[bytes]":
    """A search that would take a minute, its stderr a terminal, as soon as it shows how far it is."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 100, 0, 0))
    arguments = ["pack", small, "--running", "--objective", "even", "--time-limit", "60"]
    process = subprocess.Popen([*XENMEM, *arguments], stdout=subprocess.PIPE, stderr=theirs, env=environment)
    os.close(theirs)
    process.shown = b""  # type: ignore[attr-defined]
    while b"not excluded" not in process.shown:  # type: ignore[attr-defined]
        process.shown += os.read(ours, 65536)  # type: ignore[attr-defined]
    process.terminal = ours  # type: ignore[attr-defined]
    return process


@pytest.mark.usefixtures("warm")
def test_interrupt_prints_the_best_so_far(searching: Any) -> None:
    searching.send_signal(signal.SIGINT)
    out = searching.stdout.read()
    searching.stdout.close()
    assert searching.wait(60) == 130
    shown = searching.shown
    while True:
        try:
            part = os.read(searching.terminal, 65536)
        except OSError:  # Linux: the other side is closed
            part = b""
        if not part:
            break
        shown += part
    os.close(searching.terminal)
    assert b"\rsearching: " in shown
    assert b"GiB found, " in shown
    assert shown.endswith(b" \r")
    assert b"Feasible: " in out
    assert b"The search ended early: this is the best so far." in out


def test_every_plan_says_what_it_does_not_know(answers: Answers, tmp_path: Path) -> None:
    """A disk on local storage, for one, keeps a VM where it is; these inventories do not tell of disks."""
    records = four_hosts()
    for name in ("SR", "PBD", "VDI", "VBD", "network", "PIF", "VIF"):
        del records[name]
    (tmp_path / "untold.json").write_text(json.dumps(records))
    busy = str(tmp_path / "untold.json")
    commands = [["evacuate", busy, "delta"], ["rolling-update", busy], ["pack", busy], ["consolidate", busy]]
    commands += [
        ["rebalance", busy, "--migrations", "1"],
        ["failover", busy, "--failures", "1", "--restart", "running"],
    ]
    commands += [["capacity", busy, "--memory", "1GiB", "--vcpus", "1"]]
    tables = answers(*commands, no=[5])
    results = map(json.loads, answers(*([*command, "--format", "json"] for command in commands), no=[5]))
    for table, result in zip(tables, results, strict=True):
        assert "Not checked: storage, networks, " in table
        assert result["not_checked"][:2] == ["storage", "networks"]


def test_standard_input_and_a_file_give_one_plan(xenmem: Command, tmp_path: Path) -> None:
    """F1: by standard input nothing was known of what keeps a VM where it is."""
    records = four_hosts()
    without_drivers(records, "p-vm-wiki")
    path = tmp_path / "without.json"
    path.write_text(json.dumps(records))
    for arguments in (["evacuate", "INVENTORY", "delta"], ["rolling-update", "INVENTORY"], ["pack", "INVENTORY"]):
        from_file, from_input = (
            xenmem(*(name if one == "INVENTORY" else one for one in arguments), stdin=path.read_bytes()).stdout
            for name in (str(path), "-")
        )
        assert from_file == from_input.replace("<stdin>", str(path)).replace(
            f" {arguments[0]} -", f" {arguments[0]} {path}"
        )
        assert "wiki" in from_file
        assert "VM_LACKS_FEATURE" in from_file


def test_a_file_of_several_pools_is_planned(answers: Answers, busy: str, tmp_path: Path) -> None:
    others = json.loads(json.dumps(four_hosts()).replace('"p-', '"q-'))
    for table in others.values():
        for record in table.values():
            if record.get("uuid"):
                record["uuid"] = f"q{record['uuid']}"
    path = tmp_path / "two.json"
    path.write_text(json.dumps([four_hosts(), others]))
    commands = [["consolidate"], ["rebalance", "--migrations", "1"], ["pack"]]
    both = answers(*([command, str(path), *more, "--format", "json"] for command, *more in commands))
    alone = answers(*([command, busy, *more, "--format", "json"] for command, *more in commands))
    for two, one in zip(map(json.loads, both), map(json.loads, alone), strict=True):
        assert len(two["pools"]) == 2
        (pool,) = one["pools"]
        moves = [
            [(move["vm"]["name_label"], move["target"]["name_label"]) for move in part["moves"]]
            for part in two["pools"]
        ]
        assert moves == [[(move["vm"]["name_label"], move["target"]["name_label"]) for move in pool["moves"]]] * 2
