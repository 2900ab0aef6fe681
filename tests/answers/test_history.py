"""What changed between two moments: each kind of change by a fleet that was changed so, and the margin."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pools
import pytest

import xenmem
from xenmem import planning
from xenmem.answers import Changes, QuestionError, history
from xenmem.fleet import POLICIES
from xenmem.units import GIB

Records = dict[str, dict[str, dict[str, Any]]]


def records() -> Records:
    return pools.records([32 * 1024] * 3, [(24 * 1024, 0), (8 * 1024, 1), (8 * 1024, 2), (4 * 1024, None)])


def changed(change: Callable[[Records], object]) -> Changes:
    before, after = records(), records()
    change(after)
    return history(xenmem.Fleet.from_records(before), xenmem.Fleet.from_records(after))


def set_all(record: dict[str, Any], amount: int) -> None:
    for name in ("static_max", "dynamic_max", "dynamic_min"):
        record[f"memory_{name}"] = str(amount)


def test_nothing() -> None:
    result = changed(lambda tables: None)
    assert result.verdict == "Nothing changed in 1 pool."
    (pool,) = result.pools
    assert (pool.hosts, pool.vms) == ([], [])
    assert pool.before == pool.after


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda t: t["VM"]["p-v0"].update(resident_on="p-h1"), ["moved"]),
        (lambda t: t["VM"]["p-v0"].update(resident_on="OpaqueRef:NULL", power_state="Halted"), ["stopped"]),
        (lambda t: t["VM"]["p-v0"].update(resident_on="OpaqueRef:NULL", power_state="Suspended"), ["suspended"]),
        (lambda t: t["VM"]["p-v3"].update(resident_on="p-h1", power_state="Running"), ["started"]),
        (lambda t: set_all(t["VM"]["p-v0"], 20 * GIB), ["resized"]),
        (lambda t: t["VM"]["p-v0"].update(memory_dynamic_min=str(9 * GIB)), ["ballooning"]),
        (lambda t: t["VM"]["p-v0"].update(VCPUs_max="2"), ["vcpus"]),
        (lambda t: t["VM"]["p-v0"].update(memory_overhead=str(9 << 20)), ["overhead"]),
        (lambda t: t["VM"]["p-v0"].update(name_label="other"), ["renamed"]),
        (lambda t: t["VM"].pop("p-v0"), ["removed"]),
        (lambda t: t["VM"].update(new={**t["VM"]["p-v1"], "uuid": "new", "name_label": "new"}), ["added"]),
        (
            lambda t: t["VM"]["p-v0"].update(resident_on="p-h1", VCPUs_max="2", name_label="other"),
            ["moved", "vcpus", "renamed"],
        ),
    ],
)
def test_vms(change: Callable[[Records], object], what: list[str]) -> None:
    result = changed(change)
    (pool,) = result.pools
    (vm,) = pool.vms
    assert (vm.what, pool.hosts) == (what, [])
    taken = {
        side: 0 if then is None or not then.host else then.memory_static_max + then.memory_overhead
        for side, then in (("before", vm.before), ("after", vm.after))
    }
    assert vm.memory == taken["after"] - taken["before"]
    assert pool.before is not None
    assert pool.after is not None
    assert vm.memory == pool.after.taken.static_max - pool.before.taken.static_max
    assert result.verdict.startswith("1 VM changed; free memory went from ")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda t: t["host"]["p-h1"].update(enabled=False), ["disabled"]),
        (lambda t: t["host_metrics"]["p-h1-m"].update(live=False), ["not-live"]),
        (lambda t: t["host_metrics"]["p-h1-m"].update(memory_total=str(64 * GIB)), ["resized"]),
        (lambda t: t["host"]["p-h1"].update(memory_overhead=str(GIB)), ["overhead"]),
        (lambda t: t["host"]["p-h1"].update(software_version={"xapi_build": "26.4.0"}), ["upgraded"]),
        (lambda t: t["host"]["p-h1"].update(name_label="other"), ["renamed"]),
        (lambda t: t["host"].update(new={**t["host"]["p-h1"], "uuid": "new"}), ["added"]),
    ],
)
def test_hosts(change: Callable[[Records], object], what: list[str]) -> None:
    (pool,) = changed(change).pools
    (host,) = pool.hosts
    assert host.what == what
    if what == ["disabled"]:
        assert host.before is not None
        assert host.before.enabled
        assert host.after is not None
        assert not host.after.enabled
        assert host.after.memory_total == 32 * GIB
        assert host.after.vms == 1
    back = history(
        xenmem.Fleet.from_records((lambda t: (change(t), t)[1])(records())), xenmem.Fleet.from_records(records())
    )
    opposite = {"disabled": "enabled", "not-live": "live", "added": "removed"}
    assert back.pools[0].hosts[0].what == [opposite.get(one, one) for one in what]


def test_amounts_are_those_of_the_fleets() -> None:
    before, after = records(), records()
    after["VM"]["p-v1"].update(resident_on="OpaqueRef:NULL", power_state="Halted")
    fleets = [xenmem.Fleet.from_records(tables) for tables in (before, after)]
    when = [datetime(2026, 3, day, 4, 5, 6, tzinfo=UTC) for day in (1, 2)]
    (pool,) = history(*fleets, *when).pools
    for fleet, then, moment in zip(fleets, (pool.before, pool.after), when, strict=True):
        assert then is not None
        assert then.at == moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        assert (then.hosts, then.vms) == (3, 4)
        assert then.memory_total == 96 * GIB
        runs = fleet.vms.resident_on >= 0
        assert then.running == runs.sum()
        for policy in POLICIES:
            assert getattr(then.free, policy) == fleet.free_memory(policy).sum()
            assert getattr(then.taken, policy) == (fleet.amount(policy) + fleet.vms.memory_overhead)[runs].sum()
        assert then.margin == planning.margin(planning.RestartPool.from_fleet(fleet, protected=runs), 1)


def test_a_loss_of_margin_is_said() -> None:
    """Any one host may fail, until a VM grows; and then again."""
    small, large = records(), records()
    large["VM"]["p-v1"]["memory_static_max"] = str(int(small["VM"]["p-v1"]["memory_static_max"]) + 1024 * (1 << 20))
    large["VM"]["p-v2"]["memory_static_max"] = str(int(small["VM"]["p-v2"]["memory_static_max"]) + 1024 * (1 << 20))
    fleets = [xenmem.Fleet.from_records(tables) for tables in (small, large)]
    assert history(*fleets).verdict.endswith("; not any one host of p may fail any more.")
    assert history(*fleets[::-1]).verdict.endswith("; any one host of p may fail again.")


def test_pools_that_come_and_go() -> None:
    one, two, three = (pools.pool([32 * 1024], [(8 * 1024, 0)], name=name) for name in ("one", "two", "three"))
    result = history(xenmem.Fleet.concatenate([one, two]), xenmem.Fleet.concatenate([one, three]))
    assert [pool.pool.name_label for pool in result.pools] == ["one", "three", "two"]
    assert [(pool.before is None, pool.after is None) for pool in result.pools] == [
        (False, False),
        (True, False),
        (False, True),
    ]
    assert [[host.what for host in pool.hosts] for pool in result.pools] == [[], [["added"]], [["removed"]]]
    with pytest.raises(QuestionError, match="no pool is in both: they are compared by uuid"):
        history(one, two)


def test_moments_in_the_wrong_order() -> None:
    fleet = xenmem.Fleet.from_records(records())
    late, early = datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)
    with pytest.raises(QuestionError, match="2026-03-02T00:00:00Z is after 2026-03-01T00:00:00Z"):
        history(fleet, fleet, late, early)
