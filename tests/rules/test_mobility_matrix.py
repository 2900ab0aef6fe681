"""Where VMs can run, as matrices: pair by pair as the naive twin has it, on pools of every kind."""

import io
from random import Random
from typing import Any

import dumps
import numpy as np
import pytest
from mobility_examples import EXAMPLES, Example, tables_of
from mobility_pools import Tables, drawn
from twins.mobility import first_failure

import xenmem
from xenmem import Fleet
from xenmem.rules.mobility.matrix import ERRORS, Step, is_allowed


def read(tables: Tables) -> Fleet:
    return xenmem.read(io.BytesIO(dumps.dump(tables)))


def steps(fleet: Fleet, *, with_cpu: bool = True) -> dict[tuple[str, str], str]:
    """The Step of each VM on each host, by reference."""
    part = fleet.mobility.pool(0)
    first = part.first_step(with_cpu=with_cpu)[part.kind_of]
    return {
        (vm, host): Step(int(first[row, place])).name.replace("NONE", "")
        for row, vm in enumerate(fleet.vms.ref)
        for place, host in enumerate(fleet.hosts.ref)
    }


@pytest.mark.parametrize("with_cpu", [True, False])
@pytest.mark.parametrize("seed", range(60))
def test_every_pair_is_as_the_rules_say(seed: int, with_cpu: bool) -> None:
    tables = drawn(Random(seed), 4, 12)
    fleet = read(tables)
    expected = {
        (vm, host): first_failure(tables, vm, host, with_cpu=with_cpu) for vm in tables["VM"] for host in tables["host"]
    }
    assert steps(fleet, with_cpu=with_cpu) == expected
    part = fleet.mobility.pool(0)
    for row, vm in enumerate(fleet.vms.ref):
        for host in range(len(fleet.hosts)):
            why = part.reason(row, host, with_cpu=with_cpu)
            assert bool(why) == bool(expected[vm, fleet.hosts.ref[host]]), why


def test_every_check_fails_somewhere() -> None:
    """What the pools above are drawn from is wide enough."""
    found = {name for seed in range(60) for name in steps(read(drawn(Random(seed), 4, 12))).values()}
    untouched = {"IOMMU", "VGPU", "NOT_TOLD", "NONE"}
    assert found == {step.name for step in Step} - untouched | {""}


@pytest.mark.parametrize("seed", range(10))
def test_the_order_of_rows_does_not_count(seed: int) -> None:
    tables = drawn(Random(seed), 5, 15)
    shuffled = {
        name: dict(sorted(rows.items(), key=lambda row: Random(row[0]).random())) for name, rows in tables.items()
    }
    assert steps(read(shuffled)) == steps(read(tables))


def test_kinds_among_some_hosts_are_those_of_single_pairs() -> None:
    """Of two pools at once, and without the vCPUs."""
    fleet = Fleet.concatenate(
        [Fleet.from_records(named(drawn(Random(seed), 3, 10), f"pool{seed}-")) for seed in (1, 2)]
    )
    vms, hosts = np.flatnonzero(fleet.vms.is_guest).astype(np.int32)[::-1], np.array([4, 0, 3, 1], np.int32)
    for pcpus in (True, False):
        kind_of, masks = fleet.mobility.kinds(vms, hosts, pcpus=pcpus)
        for vm, kind in zip(vms.tolist(), kind_of.tolist(), strict=True):
            for place, host in enumerate(hosts.tolist()):
                if fleet.hosts.pool[host] != fleet.vms.pool[vm]:
                    continue
                step = fleet.mobility.of(vm).step(vm, host)
                may = bool(is_allowed(np.array([step]))[0]) or (step == Step.PCPUS and not pcpus)
                assert masks[kind][place] == may


def named(tables: Tables, prefix: str) -> Tables:
    """The same pool under other references."""
    refs = {ref for rows in tables.values() for ref in rows}

    def other(value: Any) -> Any:
        if isinstance(value, list):
            return [other(item) for item in value]
        return prefix + value if isinstance(value, str) and value in refs else value

    return {
        name: {prefix + ref: {field: other(value) for field, value in row.items()} for ref, row in rows.items()}
        for name, rows in tables.items()
    }


# ---------------------------------------------------------------------------------------------------- worked examples

FAILURES = {error: step for step, error in ERRORS.items()} | {
    "VM_REQUIRES_GPU": Step.VGPU,
    "HANDLE_INVALID": Step.UNDECIDED,
}
LEFT_TO_THE_SERVER = {"25"}
"""Where the pool's rule lets a VM pass, and Xen's own library may not."""
ASKED = [
    example
    for example in EXAMPLES
    if (example.question[0] == "boot" or (example.question[0] == "mig" and not example.question[3]))
    and (example.answer is None or example.answer[0] in FAILURES)
]


@pytest.mark.parametrize("example", ASKED, ids=lambda example: example.name)
def test_worked_examples(example: Example) -> None:
    """The check that fails, and what it names."""
    fleet = read(tables_of(example.changes))
    vm, host = (table.find(ref)[0] for table, ref in zip((fleet.vms, fleet.hosts), example.question[1:3], strict=True))
    part = fleet.mobility.pool(0)
    step = part.step(int(vm), int(host))
    if example.answer is None:
        expected = Step.UNDECIDED if example.name in LEFT_TO_THE_SERVER else Step.NONE
        assert step == expected
        return
    assert step == FAILURES[example.answer[0]]
    why = part.reason(int(vm), int(host))
    if step in (Step.STORAGE, Step.NETWORK, Step.BOND):
        assert f" {example.answer[-1]}, " in why


def test_the_examples_are_asked() -> None:
    assert len(ASKED) > 50
    assert {FAILURES[example.answer[0]] for example in ASKED if example.answer} == {*FAILURES.values()}
