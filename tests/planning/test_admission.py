"""What the pool asks for before a VM moves: memory that nobody has reserved, and CPUs; a VM that stays needs none."""

import json

import pytest
from busy_pools import add_vm, empty_pool

import xenmem
from xenmem import planning

STAYS, COMES = 2, 3  # after the control domains
X, Y = 0, 1


def fleet_with(reserved: bool) -> xenmem.Fleet:
    """VM 2 of 14 GiB on host x, maybe migrating to y, and VM 3 of 30 GiB on x; y has about 40 GiB free."""
    records = empty_pool(("x", "y"))
    stays = add_vm(records, "stays", 14, "x")
    add_vm(records, "comes", 30, "x")
    add_vm(records, "there", 20, "y")
    if reserved:
        records["VM"][stays]["scheduled_to_be_resident_on"] = "p-y"
    fleet = xenmem.Fleet.from_records(json.loads(json.dumps(records)))
    assert fleet.vms.name_label[[STAYS, COMES]].tolist() == ["stays", "comes"]
    return fleet


def test_no_vm_goes_where_memory_is_reserved() -> None:
    for reserved, status in ((False, "optimal"), (True, "infeasible")):
        plan = planning.pack(fleet_with(reserved), [STAYS, COMES], pinned={STAYS: X, COMES: Y})
        assert plan.status == status


def test_a_plan_into_reserved_memory_is_a_violation() -> None:
    pins = {STAYS: X, COMES: Y}
    plan = planning.pack(fleet_with(False), [STAYS, COMES], pinned=pins)
    planning.verify(plan, fleet_with(False), pinned=pins)
    with pytest.raises(planning.Violation, match="memory"):
        planning.verify(plan, fleet_with(True), pinned=pins)


def test_a_reservation_of_a_vm_on_no_host_moves_with_it() -> None:
    records = empty_pool(("x", "y"))
    add_vm(records, "a", 40, scheduled_to_be_resident_on="p-x")
    add_vm(records, "b", 40)
    fleet = xenmem.Fleet.from_records(records)
    plan = planning.pack(fleet, [2, 3], pinned={3: X})
    assert (plan.status, plan.host.tolist()) == ("optimal", [Y, X])


def wide(**fields: object) -> xenmem.Fleet:
    """VM 2 of 16 vCPUs on host x, which has 8 CPUs, as has y."""
    records = empty_pool(("x", "y"), cpus=8)
    add_vm(records, "wide", 8, "x", VCPUs_max="16", **fields)
    return xenmem.Fleet.from_records(records)


def test_a_vm_that_is_pinned_to_its_host_needs_no_cpus() -> None:
    fleet = wide()
    for constraints in ({}, {"pinned": {2: X}}, {"affinity": {2: [X, Y]}}):
        plan = planning.pack(fleet, [2], **constraints)
        assert (plan.status, plan.vms.tolist(), plan.stays) == ("optimal", [], {2: "16 vCPUs on 8 CPUs"})
        planning.verify(plan, fleet, **constraints)
    with pytest.raises(ValueError, match="pinned: VM wide takes no part: it stays where it is, 16 vCPUs on 8 CPUs"):
        planning.pack(fleet, [2], pinned={2: Y})
    moved = planning.pack(fleet, [2], pinned={2: Y}, vcpus=False)
    assert moved.host.tolist() == [Y]
    with pytest.raises(planning.Violation, match="vcpus"):
        planning.verify(moved, fleet)


def test_a_vm_of_unrestricted_vcpus_goes_anywhere() -> None:
    fleet = wide(platform={"vcpu-unrestricted": "true"})
    plan = planning.pack(fleet, [2], pinned={2: Y})
    assert (plan.status, plan.host.tolist()) == ("optimal", [Y])
    planning.verify(plan, fleet, pinned={2: Y})
