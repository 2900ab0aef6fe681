"""VMs that start with their static_max whatever they then take: planners ask for what the pool's messages ask for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pools import MIB, in_memory, records, with_drivers

import xenmem
from xenmem import planning
from xenmem.planning.xapi import placement

Records = dict[str, dict[str, dict[str, Any]]]


def ballooning(inventory: Records, vm: str, kind: str) -> Records:
    """The same records with a VM of this type, of 1000 to 4000 MiB and at its minimum."""
    amounts = {"static_max": 4000, "dynamic_max": 4000, "dynamic_min": 1000, "target": 1000, "static_min": 500}
    inventory["VM"][vm] |= {
        **{f"memory_{field}": str(mib * MIB) for field, mib in amounts.items()},
        "memory_overhead": str(200 * MIB),
        "domain_type": kind,
    }
    return inventory


TWO_HOSTS = [9000, 3000]
"""The second has room for the minimum of the VM on the first, not for its maximum."""


def is_refused(inventory: Records, folder: Path) -> bool:
    """Whether the pool in memory refuses to migrate the VM to the second host for lack of memory."""
    try:
        in_memory(with_drivers(inventory), folder).xenapi.VM.pool_migrate("p-v0", "p-h1", {})
    except xenmem.Failure as failure:
        if failure.details[0] != "HOST_NOT_ENOUGH_FREE_MEMORY":
            raise
        return True
    return False


@pytest.mark.parametrize(("kind", "fits"), [("hvm", True), ("pvh", True), ("pv", True), ("pv_in_pvh", False)])
def test_planners_and_messages_ask_for_the_same(kind: str, fits: bool, tmp_path: Path) -> None:
    inventory = ballooning(records(TWO_HOSTS, [(2000, 0)]), "p-v0", kind)
    fleet = xenmem.Fleet.from_records(inventory)
    assert is_refused(inventory, tmp_path) != fits
    assert (planning.evacuate(fleet, 0).status != "infeasible") == fits
    assert (planning.rolling_update(fleet).status != "infeasible") == fits
    assert (placement.memory_error(fleet, 0, 1) is None) == fits
    needed = planning.RestartPool.from_fleet(fleet, policy="dynamic_min", protected=np.array([True])).size[0]
    assert (needed <= TWO_HOSTS[1] * MIB) == fits


def test_a_rolling_update_sends_it_where_its_maximum_fits(tmp_path: Path) -> None:
    """On the way back it is asked for again; the two VMs beside it fit anywhere."""
    inventory = ballooning(records([9000, 3000, 9000], [(2000, 0), (1000, 1), (1000, 2)]), "p-v0", "pv_in_pvh")
    plan = planning.rolling_update(xenmem.Fleet.from_records(inventory))
    assert plan.status == "optimal"
    session = in_memory(with_drivers(inventory), tmp_path)
    assert {step.host for step in plan.steps if step.vm == 0} == {0, 2}
    for step in plan.steps:
        if step.action == "migrate":
            session.xenapi.VM.pool_migrate(f"p-v{step.vm}", f"p-h{step.host}", {})


def test_while_it_runs_it_takes_what_it_uses() -> None:
    """Two such VMs of 1200 MiB in use are no reason why their host of 5400 MiB cannot be updated."""
    inventory = records([5400, 9000], [(2000, 0), (2000, 0)])
    for vm in ("p-v0", "p-v1"):
        ballooning(inventory, vm, "pv_in_pvh")
    plan = planning.rolling_update(xenmem.Fleet.from_records(inventory))
    assert plan.status == "optimal"
    assert len([step for step in plan.steps if step.action == "migrate"]) == 4


def test_any_policy_leaves_room_for_its_start() -> None:
    """Halted, counted with a dynamic_max of 1000 MiB, it still starts with 4000."""
    inventory = ballooning(records([3000], [(2000, None)]), "p-v0", "pv_in_pvh")
    inventory["VM"]["p-v0"]["memory_dynamic_max"] = str(1000 * MIB)
    plan = planning.pack(xenmem.Fleet.from_records(inventory), policy="dynamic_max")
    assert plan.status == "infeasible"
