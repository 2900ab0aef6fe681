"""What pools survive: as planning and the pool's own planner say, in names; and remedies that do what they promise."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pools import pool

import xenmem
from xenmem import planning
from xenmem.answers import QuestionError, failover, script, unprotecting, what_if
from xenmem.answers.failover import COUNTED, PoolSurvival, Remedies
from xenmem.planning import xapi
from xenmem.units import MIB

pytestmark = pytest.mark.compiled

Records = dict[str, dict[str, dict[str, Any]]]


def refs(items: Any) -> list[str]:
    return [item.ref for item in items]


def remedies_of(answered: PoolSurvival) -> Remedies:
    assert answered.remedies is not None
    return answered.remedies


@pytest.mark.parametrize("counted", COUNTED)
@pytest.mark.parametrize("num_failures", [0, 1, 2, None])
def test_equals_both_planners(inventory: Path, counted: str, num_failures: int | None) -> None:
    fleet = xenmem.read(inventory)
    running = fleet.vms.is_guest & (fleet.vms.resident_on >= 0)
    asked = planning.RestartPool.from_fleet(fleet, protected=running if counted == "running" else None)
    own = xapi.HAPool.from_fleet(fleet)
    if counted == "running":
        own = own.protecting(np.flatnonzero(running))
    (answered,) = failover(fleet, num_failures, restart=counted).pools
    verdict = answered.verdict
    if num_failures is None:
        most = planning.max_failures(asked)
        assert (verdict.at_least, verdict.at_most) == (most.at_least, most.at_most)
        num_failures = most.at_most + 1
    expected = planning.failover(asked, num_failures)
    assert (verdict.num_failures, verdict.answer, verdict.reason) == (num_failures, expected.answer, expected.reason)
    assert refs(verdict.failed_hosts) == fleet.hosts.ref[list(expected.failed_hosts)].tolist()
    assert refs(verdict.stays_down) == fleet.vms.ref[list(expected.stays_down)].tolist()
    assert refs(verdict.overcommitted) == fleet.hosts.ref[asked.overcommitted].tolist()
    assert refs(host for host in answered.hosts if host.fails) == refs(verdict.failed_hosts)
    assert verdict.own.outcome == xapi.plan_for_n_failures(own, num_failures)
    assert verdict.own.max_failures == xapi.compute_max_host_failures_to_tolerate(own)
    assert (verdict.vms, verdict.memory) == (len(asked.vms), int(asked.size.sum()))
    nowhere = [vm.memory for vm in answered.waiting]
    assert sum(host.vms for host in answered.hosts) + len(nowhere) == len(asked.vms)
    assert sum(host.memory for host in answered.hosts) + sum(nowhere) == int(asked.size.sum())
    assert [host.free for host in answered.hosts] == asked.free.tolist()


def test_the_two_planners_may_differ() -> None:
    """planning.md, 7.2: hosts 6 and 5 take VMs of 5, 3 and 3; the pool's own rule leaves one of them down."""
    fleet = pool([11000, 6000, 5000], [(5000, 0), (3000, 0), (3000, 0)])
    (answered,) = failover(fleet, 1, restart="running").pools
    assert answered.verdict.answer == "survives"
    assert answered.verdict.own.outcome == "no_plan_exists"
    assert answered.verdict.memory == 11000 * MIB


def test_one_by_one() -> None:
    fleet = pool([11000, 6000, 5000], [(5000, 0), (3000, 0), (3000, 0)])
    (answered,) = failover(fleet, 2, one_by_one=True, restart="running").pools
    running = np.ones(len(fleet.vms), np.bool_)
    expected = planning.failover(planning.RestartPool.from_fleet(fleet, protected=running), 2, one_by_one=True)
    assert (answered.verdict.answer, answered.verdict.one_by_one) == (expected.answer, True)
    assert refs(answered.verdict.failed_hosts) == fleet.hosts.ref[list(expected.failed_hosts)].tolist()


def test_hosts_that_take_no_part_are_named(records: Records) -> None:
    disabled, other, _ = records["host"]
    records["host"][disabled]["enabled"] = False
    (answered,) = failover(xenmem.Fleet.from_records(records), 0).pools
    assert refs(answered.verdict.left_out) == [disabled]
    assert disabled not in refs(answered.hosts)
    assert other in refs(answered.hosts)


def test_several_pools(small: xenmem.Fleet, data: Path) -> None:
    other = xenmem.read(data / "inventories" / "pool-65.statedb.xml")
    both = failover(xenmem.Fleet.concatenate([small, other]), 1, remedies=True)
    alone = [failover(fleet, 1, remedies=True).pools[0] for fleet in (small, other)]
    assert [answered.verdict.answer for answered in both.pools] == ["survives", "loses"]
    assert both.pools == alone
    with pytest.raises(QuestionError, match="a script is for one pool, and the inventories hold 2"):
        unprotecting(both)


# ------------------------------------------------------------------------------------------------------------ remedies


def let_memory_alone_decide(records: Records) -> None:
    """No VM has a disk, or needs so many CPUs."""
    for disk in records["VBD"].values():
        disk.update(empty=True, VDI="OpaqueRef:NULL")
    for vm in records["VM"].values():
        vm["platform"]["vcpu-unrestricted"] = "true"


@pytest.mark.parametrize("counted", COUNTED)
@pytest.mark.parametrize("num_failures", [1, 2])
def test_memory_to_add_is_the_least(records: Records, counted: str, num_failures: int) -> None:
    let_memory_alone_decide(records)
    fleet = xenmem.Fleet.from_records(records)
    found = remedies_of(failover(fleet, num_failures, restart=counted, remedies=True).pools[0])

    def answer(**more: int) -> str:
        changed = json.loads(json.dumps(records))
        for host, amount in more.items():
            metrics = changed["host_metrics"][changed["host"][host]["metrics"]]
            metrics["memory_total"] = str(int(metrics["memory_total"]) + amount)
        return failover(xenmem.Fleet.from_records(changed), num_failures, restart=counted).pools[0].verdict.answer

    assert found.memory is not None
    assert found.undecided == []
    added = {host.ref: host.memory for host in found.memory}
    assert answer(**added) == "survives"
    assert sum(added.values()) >= found.memory_bound
    for host in added:
        assert answer(**added | {host: added[host] - MIB}) == "loses"
    if found.memory_each_host:
        assert answer(**dict.fromkeys(records["host"], found.memory_each_host)) == "survives"
        assert answer(**dict.fromkeys(records["host"], found.memory_each_host - MIB)) == "loses"
    else:
        assert answer() == ("survives" if found.memory_each_host == 0 else "loses")
    if found.host is not None and found.memory_one_host:
        assert answer(**{found.host.ref: found.memory_one_host}) == "survives"
        for host in records["host"]:
            assert answer(**{host: found.memory_one_host - MIB}) == "loses"


def protect_running(records: Records) -> None:
    for vm in records["VM"].values():
        if vm["power_state"] == "Running" and not vm["is_control_domain"]:
            vm.update(ha_always_run=True, ha_restart_priority="restart")


def test_shrunk_vms_survive(records: Records) -> None:
    let_memory_alone_decide(records)
    protect_running(records)
    for vm in records["VM"].values():
        vm["memory_dynamic_min"] = str(max(int(vm["memory_static_min"]), int(vm["memory_static_max"]) // 2))
    found = remedies_of(failover(xenmem.Fleet.from_records(records), 1, remedies=True).pools[0])
    assert found.shrink
    for vm in found.shrink:
        record = records["VM"][vm.ref]
        assert int(record["memory_static_max"]) == vm.memory_static_max > vm.to >= int(record["memory_dynamic_min"])
        record["memory_static_max"] = str(vm.to)
        record["memory_dynamic_max"] = str(min(vm.to, int(record["memory_dynamic_max"])))
    assert failover(xenmem.Fleet.from_records(records), 1).pools[0].verdict.answer == "survives"


def test_the_script_of_a_remedy_makes_the_pool_survive(records: Records, tmp_path: Path) -> None:
    protect_running(records)
    inventory, lines = tmp_path / "pool.json", tmp_path / "script.jsonl"
    inventory.write_text(json.dumps(records))
    before = failover(xenmem.read(inventory), 1, remedies=True)
    assert before.pools[0].verdict.answer == "loses"
    actions = unprotecting(before)
    assert len(actions) == len(remedies_of(before.pools[0]).unprotect)
    lines.write_bytes(script.as_messages(actions))
    trial = what_if(str(inventory), str(lines))
    assert (trial.messages, trial.failures) == (len(actions), [])
    session = xenmem.connect(inventory)
    for action in actions:
        (reference, priority) = action.parameters
        vm = session.xenapi.VM.get_by_uuid(reference["uuid"])
        assert action.method == "VM.set_ha_restart_priority"
        session.xenapi.VM.set_ha_restart_priority(vm, priority)
    after = failover(xenmem.Fleet.from_session(session), 1)
    assert after.pools[0].verdict.answer == "survives"


# ----------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_failures": -1}, "-1 hosts cannot fail"),
        ({"num_failures": 4}, "4 hosts cannot fail in pool .*: it has 3 hosts that can"),
        ({"num_failures": 1, "restart": "halted"}, "'halted' is none of protected, running"),
        ({"num_failures": None, "remedies": True}, "not for no number of failures"),
        ({"num_failures": 1, "remedies": True, "one_by_one": True}, "not for hosts that fail one by one"),
    ],
)
def test_questions_without_an_answer(small: xenmem.Fleet, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(QuestionError, match=message):
        failover(small, **arguments)


@pytest.mark.parametrize(
    ("table", "field", "value", "message"),
    [
        ("host", "enabled", False, "^pool .*: has no host that is enabled and live$"),
        ("host_metrics", "live", False, "^pool .*: has no host that is enabled and live$"),
        ("host_metrics", "memory_total", "0", "^host xen.*: its memory_total is unknown$"),
    ],
)
def test_pools_that_cannot_be_asked_about_are_named(
    records: Records, table: str, field: str, value: Any, message: str
) -> None:
    for record in records[table].values():
        record[field] = value
    with pytest.raises(QuestionError, match=message):
        failover(xenmem.Fleet.from_records(records), 1)


def test_scripts_that_make_no_sense_are_refused(small: xenmem.Fleet) -> None:
    with pytest.raises(QuestionError, match="only VMs that HA protects can be unprotected"):
        unprotecting(failover(small, 1, restart="running", remedies=True))
    with pytest.raises(QuestionError, match="no remedy was asked for"):
        unprotecting(failover(small, 1))


def test_an_overcommitted_pool_is_answered(records: Records) -> None:
    """With memory for nobody, and VMs that run all the same."""
    for metrics in records["host_metrics"].values():
        metrics["memory_total"] = str(1 << 30)
    (answered,) = failover(xenmem.Fleet.from_records(records), 1, restart="running").pools
    assert answered.verdict.answer == "loses"
    assert len(answered.verdict.overcommitted) == 3
    assert all(host.free < 0 for host in answered.hosts)
    assert "3 overcommitted hosts can take no VM" in answered.verdict.reason


def test_shrunk_vms_count_as_the_server_counts_them(records: Records) -> None:
    """Up to 7.2 a live VM counts as it was booted: what it would have to give up is computed like what it needs now."""
    let_memory_alone_decide(records)
    protect_running(records)
    for vm in records["VM"].values():
        vm["memory_dynamic_min"] = str(max(int(vm["memory_static_min"]), int(vm["memory_static_max"]) // 2))
    fleet = xenmem.Fleet.from_records(records)
    vms = replace(
        fleet.vms,
        accounted_VCPUs_max=np.full(len(fleet.vms), 200, fleet.vms.VCPUs_max.dtype),
        accounted_shadow_multiplier=np.full(len(fleet.vms), 8.0),
    )
    found = remedies_of(failover(with_vms(fleet, vms), 1, remedies=True).pools[0])
    assert found.shrink
    limits = {
        name: getattr(vms, name).copy() for name in ("memory_static_max", "accounted_static_max", "memory_dynamic_max")
    }
    for vm in found.shrink:
        for column in limits.values():
            column[vms.ref.tolist().index(vm.ref)] = vm.to
    assert failover(with_vms(fleet, replace(vms, **limits)), 1).pools[0].verdict.answer == "survives"


def with_vms(fleet: xenmem.Fleet, vms: xenmem.fleet.VMs) -> xenmem.Fleet:
    return fleet.replace(vms=vms)
