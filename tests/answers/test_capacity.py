"""Room for more VMs: what is promised can be done, in an inventory that holds the new VMs; and errors."""

import json
from pathlib import Path
from typing import Any

import pytest
from pools import pool

import xenmem
from xenmem import kernel, planning
from xenmem.answers import QuestionError, Wanted, capacity, fit
from xenmem.answers.capacity import PoolCapacity
from xenmem.units import GIB

pytestmark = pytest.mark.compiled

Records = dict[str, dict[str, dict[str, Any]]]


def with_new_vms(records: Records, answered: PoolCapacity) -> xenmem.Fleet:
    """The inventory once the new VMs run where they are said to."""
    later = json.loads(json.dumps(records))
    running = next(
        vm for vm in records["VM"].values() if vm["power_state"] == "Running" and not vm["is_control_domain"]
    )
    number = 0
    for host in answered.hosts:
        for shape, count in zip(answered.shapes, host.counts, strict=True):
            limits = ("static_min", "dynamic_min", "dynamic_max", "static_max", "target")
            overhead = kernel.overhead(kernel.DomainType.HVM, shape.memory, shape.VCPUs_max, 1.0, model=answered.model)
            for _ in range(count):
                number += 1
                later["VM"][f"new-{number}"] = running | {
                    "uuid": f"new-{number}",
                    "resident_on": host.ref,
                    "scheduled_to_be_resident_on": "OpaqueRef:NULL",
                    "domain_type": "hvm",
                    "VCPUs_max": str(shape.VCPUs_max),
                    "HVM_shadow_multiplier": 1.0,
                    **{f"memory_{limit}": str(shape.memory) for limit in limits},
                    "memory_overhead": str(int(overhead)),
                    "ha_always_run": True,
                    "ha_restart_priority": "restart",
                }
    return xenmem.Fleet.from_records(later)


@pytest.mark.parametrize("num_failures", [0, 1])
@pytest.mark.parametrize(
    "shapes",
    [[Wanted(4 * GIB, 2)], [Wanted(16 * GIB, 4, 1), Wanted(2 * GIB, 1, 3)], [Wanted(600 * GIB, 8)]],
)
def test_the_new_vms_fit_where_they_are_put(records: Records, num_failures: int, shapes: list[Wanted]) -> None:
    fleet = xenmem.Fleet.from_records(records)
    result = capacity(fleet, shapes, num_failures, policy="static_max")
    (answered,) = result.pools
    assert (result.count, result.bound) == (answered.count, answered.bound)
    assert answered.count == sum(shape.count for shape in answered.shapes) == sum(host.count for host in answered.hosts)
    assert answered.status == ("optimal" if answered.count == answered.bound else "feasible")
    later = planning.RestartPool.from_fleet(with_new_vms(records, answered))
    assert later.free.tolist() == [host.free_after for host in answered.hosts]
    assert (later.free[[host.count > 0 for host in answered.hosts]] >= 0).all()
    assert planning.failover(later, num_failures).survives == (answered.now == "survives")


@pytest.mark.parametrize("policy", ["static_max", "dynamic_min"])
def test_without_failures_it_is_what_fits(small: xenmem.Fleet, policy: str) -> None:
    result = capacity(small, [Wanted(3 * GIB, 1)], policy=policy)
    same = fit(small, 3 * GIB, 1, policy=policy)
    assert (result.count, result.policy) == (same.count, same.policy)
    assert [host.count for host in result.pools[0].hosts] == [host.count for host in same.pools[0].hosts]


def test_fit_and_capacity_agree_by_default(pool_with_disabled_host: xenmem.Fleet, small: xenmem.Fleet) -> None:
    """One question, one answer, on hosts with too few CPUs and disabled ones too."""
    for fleet in (small, pool_with_disabled_host, pool([9000, 9000], [], cpus=4)):
        for memory, vcpus in ((16 * GIB, 4), (GIB, 8), (3 * GIB, 1)):
            fits, room = fit(fleet, memory, vcpus), capacity(fleet, [Wanted(memory, vcpus)])
            assert (room.count, room.bound, room.policy) == (fits.count, fits.count, fits.policy)


@pytest.fixture
def pool_with_disabled_host(records: Records) -> xenmem.Fleet:
    next(iter(records["host"].values()))["enabled"] = False
    return xenmem.Fleet.from_records(records)


def test_hosts_with_too_few_cpus_are_told_of() -> None:
    (answered,) = capacity(pool([9000, 9000], [], cpus=4), [Wanted(GIB, 8), Wanted(GIB, 2)]).pools
    assert [host.reasons for host in answered.hosts] == [["has 4 CPUs for 8 vCPUs"]] * 2
    assert answered.count > 0


def test_a_pool_that_does_not_survive_takes_none(records: Records) -> None:
    for metrics in records["host_metrics"].values():
        metrics["memory_total"] = str(GIB)
    (answered,) = capacity(xenmem.Fleet.from_records(records), [Wanted(GIB, 1)], 1, restart="running").pools
    assert (answered.count, answered.bound, answered.now) == (0, 0, "loses")


def test_pools_are_added_up(small: xenmem.Fleet, data: Path) -> None:
    other = xenmem.read(data / "inventories" / "pool-65.statedb.xml")
    both = capacity(xenmem.Fleet.concatenate([small, other]), [Wanted(2 * GIB, 1)], 1)
    alone = [capacity(fleet, [Wanted(2 * GIB, 1)], 1) for fleet in (small, other)]
    assert both.count == sum(result.count for result in alone)
    assert [answered.count for answered in both.pools] == [result.count for result in alone]


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        ([], {}, "there is no shape of VMs to ask about"),
        ([Wanted(0, 1)], {}, "memory: 0 makes no VM"),
        ([Wanted(-1, 1)], {}, "memory: -1 makes no VM"),
        ([Wanted(1, 1, 0)], {}, "proportion: 0 makes no VM"),
        ([Wanted(1, 1)], {"shadow_multiplier": 0.5}, "HVM_shadow_multiplier: 0.5 is below 1"),
        ([Wanted(1, 1)], {"num_failures": -1}, "-1 hosts cannot fail"),
        ([Wanted(1, 1)], {"num_failures": 4}, "4 hosts cannot fail"),
        ([Wanted(1, 1)], {"restart": "all"}, "'all' is none of"),
        ([Wanted(1, -1)], {}, "vcpus_max: -1 is outside"),
    ],
)
def test_bad_questions(small: xenmem.Fleet, shapes: list[Wanted], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        capacity(small, shapes, **options)
    assert isinstance(error.value, QuestionError) or "vcpus_max" in message
