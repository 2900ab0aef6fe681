"""Advice on sizes: what it frees and whether failures are then survived, each found by asking the changed fleet."""

import math
from collections.abc import Sequence

import numpy as np
import pools
import pytest

import xenmem
from xenmem import planning
from xenmem.answers import QuestionError, rightsize
from xenmem.answers.rightsize import Rightsizing, Sizing, resized
from xenmem.fleet import POLICIES
from xenmem.history.evidence import DAY, Terms
from xenmem.inventory.use import Rows, Use
from xenmem.units import GIB

HALF = "half of what it has is as far as one step goes"


def use_of(
    fleet: xenmem.Fleet, vm: int, share: float, *, step: int = 60, days: float = 8, cpu: float = math.nan
) -> Use:
    """A VM that uses always the same share of its memory."""
    count = int(days * DAY / step)
    memory = np.full(count, float(fleet.vms.memory_dynamic_max[vm]))
    times = np.arange(count, dtype=np.int64) * step + 20_000 * DAY
    rows = Rows(times, memory, memory, memory * (1 - share), np.full(count, cpu))
    return Use(fleet.vms.uuid[vm], {step: rows})


def asked(fleet: xenmem.Fleet, shares: Sequence[float | None], **more: object) -> Rightsizing:
    uses = [use_of(fleet, vm, share) for vm, share in enumerate(shares) if share is not None]
    return rightsize(fleet, uses, **more)  # type: ignore[arg-type]


def sizings(result: Rightsizing) -> dict[str, Sizing]:
    return {vm.name_label: vm for pool in result.pools for vm in pool.vms}


@pytest.fixture
def three() -> xenmem.Fleet:
    """Three hosts of 32 GiB; the failure of the first is not survived, as long as its VM of 24 GiB is that large."""
    return pools.pool([32 * 1024] * 3, [(24 * 1024, 0), (14 * 1024, 1), (8 * 1024, 1), (14 * 1024, 2), (4096, None)])


def test_what_shrinking_does(three: xenmem.Fleet) -> None:
    result = asked(three, [0.2, 0.7, 0.7, None, None])
    found = sizings(result)
    large = found["p-v0"]
    has = int(three.vms.memory_static_max[0])
    to = 12 * GIB
    assert (large.kind, large.quality, large.memory_static_max, large.recommended) == ("over", "good", has, to)
    assert large.caveats == [HALF]
    after = three.resized({0: to})
    for policy in POLICIES:
        gained = int((after.free_memory(policy) - three.free_memory(policy))[0])
        assert gained > 11 * GIB
        assert large.gains is not None
        assert large.host_free is not None
        assert large.host_free_after is not None
        assert getattr(large.gains, policy) == gained
        assert getattr(large.host_free, policy) == three.free_memory(policy)[0]
        assert getattr(large.host_free_after, policy) == after.free_memory(policy)[0]
    running = three.vms.resident_on >= 0
    for fleet, survives in ((three, large.survives), (after, large.survives_after)):
        pool = planning.RestartPool.from_fleet(fleet, 0, protected=running)
        assert survives is not None
        assert survives.static_max is planning.failover(pool, 1).survives
    assert large.survives is not None
    assert large.survives.static_max is False
    (pool,) = result.pools
    assert pool.survives_after.static_max is True
    assert pool.margin is not None
    assert pool.margin < 0
    assert pool.margin_after == planning.margin(planning.RestartPool.from_fleet(after, 0, protected=running), 1)
    assert pool.kinds == {"under": 0, "over": 1, "idle": 0, "right": 2, "unknown": 2}
    assert result.verdict.startswith("1 of 3 VMs has far more memory than it uses, 11.")
    assert result.verdict.endswith("of 2 the record does not tell; and then any one host may fail.")
    assert found["p-v3"].kind == "unknown"
    assert found["p-v3"].caveats == [
        "no row tells what it used: its guest does not say what is free, or it was not measured"
    ]


def test_what_growing_does() -> None:
    """Its host has room, but then a failure is no longer survived."""
    fleet = pools.pool([20 * 1024] * 2, [(8 * 1024, 0), (10 * 1024, 1)])
    result = asked(fleet, [0.95, 0.8])
    small = sizings(result)["p-v0"]
    assert (small.kind, small.recommended) == ("under", int(9.5 * GIB))
    assert small.gains is not None
    assert small.gains.static_max < -1 * GIB
    assert small.survives is not None
    assert small.survives_after is not None
    assert (small.survives.static_max, small.survives_after.static_max) == (True, True)
    fleet = pools.pool([19 * 1024] * 2, [(8 * 1024, 0), (10 * 1024, 1)])
    result = asked(fleet, [0.95, 0.8])
    small = sizings(result)["p-v0"]
    assert small.survives_after is not None
    assert small.survives_after.static_max is False
    assert (
        result.verdict
        == "0 of 2 VMs have far more memory than they use; 1 has too little; but then not any one host may fail."
    )


def test_hourly_means_are_said(three: xenmem.Fleet) -> None:
    result = rightsize(three, [use_of(three, 0, 0.2, step=3600), use_of(three, 1, 0.8)])
    (large,) = (vm for vm in result.pools[0].vms if vm.name_label == "p-v0")
    assert large.measured is not None
    assert large.measured.resolution == "hourly"
    assert large.caveats == [
        "hourly means hide peaks that are shorter: the largest mean and 15 % stand for the percentile",
        HALF,
    ]
    assert result.caveats == [
        "of 1 VM of 2 there are hourly means alone, which hide shorter peaks: collect minutes every 2 hours"
    ]


def test_a_short_record_is_preliminary(three: xenmem.Fleet) -> None:
    result = rightsize(three, [use_of(three, 0, 0.2, days=2)])
    (large,) = (vm for vm in result.pools[0].vms if vm.name_label == "p-v0")
    assert (large.quality, large.caveats) == ("preliminary", ["preliminary: 2.0 days, and 7 are needed", HALF])
    assert result.caveats == ["of 1 VM the record is shorter than 7 days: preliminary"]


def test_nothing_is_known(three: xenmem.Fleet) -> None:
    result = rightsize(three, [use_of(three, 0, 0.2, step=DAY, days=300)])
    assert result.outcome == "unknown"
    assert result.verdict == "The record is too short or too patchy to say anything of 5 VMs."
    (large,) = (vm for vm in result.pools[0].vms if vm.name_label == "p-v0")
    assert large.caveats == ["not enough data: there are daily means alone"]


def test_ranges(three: xenmem.Fleet) -> None:
    found = sizings(asked(three, [0.2, 0.99, None, None, None], ranges=True))
    balloons = found["p-v0"].range
    assert balloons is not None
    has = int(three.vms.memory_static_max[0])
    assert balloons.dynamic_max == has
    assert balloons.dynamic_min == -(-has // 4)  # a quarter: more than 20 % and a tenth of them
    assert found["p-v1"].range is None
    assert found["p-v1"].not_to_balloon == ["it uses all that it has"]
    assert found["p-v3"].range is None
    assert found["p-v3"].not_to_balloon == []


def test_a_vm_that_cannot_balloon() -> None:
    inventory = pools.records([32 * 1024] * 2, [(8192, 0)])
    inventory["VM"]["p-v0"]["attached_PCIs"] = ["OpaqueRef:pci"]
    inventory["PCI"] = {"OpaqueRef:pci": {"uuid": "pci", "host": "p-h0"}}
    fleet = xenmem.Fleet.from_records(inventory)
    found = sizings(asked(fleet, [0.2], ranges=True))["p-v0"]
    assert (found.range, found.not_to_balloon) == (None, ["a vGPU, a PCI device or a virtual function is attached"])


@pytest.mark.parametrize(
    ("guest", "platform", "obstacle"),
    [
        ({"os_version": {"distro": "Rocky", "major": "9"}}, {}, "the kernel of Rocky 9 has no balloon driver"),
        ({"os_version": {"distro": "rocky", "major": "10"}}, {}, None),
        ({}, {"nested-virt": "true"}, "it runs with nested virtualisation"),
    ],
)
def test_guests_that_do_not_balloon(guest: dict[str, object], platform: dict[str, str], obstacle: str | None) -> None:
    inventory = pools.records([32 * 1024] * 2, [(8192, 0)])
    inventory["VM"]["p-v0"].update(guest_metrics="g", platform=platform)
    inventory["VM_guest_metrics"] = {"g": {"uuid": "g", "PV_drivers_version": {}, "other": {}, **guest}}
    found = sizings(asked(xenmem.Fleet.from_records(inventory), [0.2], ranges=True))["p-v0"]
    assert found.not_to_balloon == ([] if obstacle is None else [obstacle])


def test_an_agent_that_may_count_caches() -> None:
    """What is used is then an upper bound, which is said, and no less than was seen is advised."""
    inventory = pools.records([32 * 1024] * 2, [(16 * 1024, 0)])
    inventory["VM"]["p-v0"]["guest_metrics"] = "g"
    version = {"major": "1", "minor": "0", "micro": "0", "build": "proto-0.4.0"}
    inventory["VM_guest_metrics"] = {"g": {"uuid": "g", "PV_drivers_version": version, "other": {}}}
    fleet = xenmem.Fleet.from_records(inventory)
    assert fleet.vms.agent_build.tolist() == ["proto-0.4.0"]
    use = use_of(fleet, 0, 0.2)
    rows = use.rows[60]
    rows.memory_internal_free[100] = 0.3 * rows.memory[100]
    found = sizings(rightsize(fleet, [use]))["p-v0"]
    assert found.kind == "over"
    assert found.recommended == int(11.25 * GIB)
    assert found.caveats == ["upper bound of use: caches counted, for its agent may tell MemFree"]
    inventory["VM_guest_metrics"]["g"]["PV_drivers_version"] = version | {"build": "123"}
    found = sizings(rightsize(xenmem.Fleet.from_records(inventory), [use]))["p-v0"]
    assert (found.recommended, found.caveats) == (8 * GIB, [HALF])


def test_limits_follow_static_max() -> None:
    """A dynamic limit that was the old static_max is the new one; one that is above goes down to it."""
    inventory = pools.records([64 * 1024], [(16 * 1024, 0), (16 * 1024, 0), (16 * 1024, 0)])
    limits = [(4, 8), (12, 12), (None, None)]
    for number, (low, high) in enumerate(limits):
        if low is not None and high is not None:
            vm = inventory["VM"][f"p-v{number}"]
            vm["memory_static_min"] = vm["memory_dynamic_min"] = str(low * GIB)
            vm["memory_dynamic_max"] = str(high * GIB)
    fleet = xenmem.Fleet.from_records(inventory)
    after = resized(fleet, {0: 10 * GIB, 1: 10 * GIB, 2: 20 * GIB}).vms
    assert after.memory_static_max.tolist() == [10 * GIB, 10 * GIB, 20 * GIB]
    assert after.memory_dynamic_max.tolist() == [8 * GIB, 10 * GIB, 20 * GIB]
    assert after.memory_dynamic_min.tolist() == [4 * GIB, 10 * GIB, 20 * GIB]
    assert (
        after.memory_overhead.tolist()
        == fleet.resized({0: 10 * GIB, 1: 10 * GIB, 2: 20 * GIB}).vms.memory_overhead.tolist()
    )
    assert (after.memory_static_min <= after.memory_dynamic_min).all()


@pytest.mark.parametrize(
    ("terms", "problem"),
    [
        (Terms(percentile=Terms().percentile * 2), "percentile: 198 is outside 0..100"),
        (Terms(headroom=-1), "headroom: -1 is outside 0..1000 percent"),
        (Terms(days=0), "window: 0 is outside 1..3660 days"),
    ],
)
def test_terms_that_make_no_sense(three: xenmem.Fleet, terms: Terms, problem: str) -> None:
    with pytest.raises(QuestionError, match=problem):
        rightsize(three, [use_of(three, 0, 0.2)], terms=terms)


def test_a_record_of_other_vms(three: xenmem.Fleet) -> None:
    stranger = use_of(three, 0, 0.2)._replace(uuid="elsewhere")
    with pytest.raises(QuestionError, match="none of the 1 VM that were measured is in the inventory"):
        rightsize(three, [stranger])
    with pytest.raises(QuestionError, match="no measured VM is in the inventory"):
        rightsize(three, [])
    assert rightsize(three, [use_of(three, 0, 0.2), stranger]).strangers == 1


def test_a_pool_whose_hosts_take_no_vms() -> None:
    """What it survives is not known; what a host gains is."""
    fleet = pools.pool([32 * 1024], [(24 * 1024, 0)], disabled=[0])
    (vm,) = asked(fleet, [0.2]).pools[0].vms
    assert vm.survives is not None
    assert vm.survives.static_max is None
    assert vm.gains is not None
    assert vm.gains.static_max > 11 * GIB
