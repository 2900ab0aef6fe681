"""Plans are carried out in the pool in memory before they are shown: what is advised is accepted.

The inputs of data/plans each made a plan untrue once; their right answers were found by hand and by enumeration.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from busy_pools import GIB, Records, add_vm, empty_pool, four_hosts, without_drivers
from pools import records, with_drivers

import xenmem
from xenmem import answers, planning
from xenmem.answers.move_attempts import Leave, Selection
from xenmem.answers.move_plan import MovePlan, actions
from xenmem.answers.naming import QuestionError, find_host, find_vm
from xenmem.answers.replay import Replay, Step
from xenmem.answers.script import as_messages, as_xe
from xenmem.xenapi import Failure, Session, connect

pytestmark = pytest.mark.compiled

PLANS = Path(__file__).parent.parent / "data" / "plans"
IMMOBILE = Selection(immobile=True)

Ask = Callable[[xenmem.Fleet], MovePlan]


def evacuate(host: str, **more: Any) -> Ask:
    return lambda fleet: answers.evacuate(fleet, find_host(fleet, host), **more)


CASES: dict[str, tuple[str, Ask, str, int]] = {
    "a disabled host is left alone": ("disabled-optimal", evacuate("east"), "yes", 2),
    "a disabled host is no proof": ("disabled-infeasible", evacuate("east"), "yes", 2),
    "a dead host cannot be emptied": ("dead-host", evacuate("gone"), "no", 0),
    "a dead host's VMs are not packed": ("dead-host", lambda fleet: answers.pack(fleet, objective="even"), "yes", -1),
    "HA does not let a host go": ("ha", evacuate("a"), "no", 0),
    "devices hold a VM": ("devices", evacuate("a"), "no", 0),
    "a group as large as the pool is crowded": ("group-evacuate", evacuate("west"), "yes", 2),
    "a crowded group is left as it is": ("group-consolidate", answers.consolidate, "yes", 0),
    "what stays counts with what it uses": ("stale-overhead", answers.consolidate, "yes", 2),
    "a VM in flight is on its target": ("arriving", answers.consolidate, "yes", 1),
    "empty hosts are free": ("empty-pool", lambda fleet: answers.rebalance(fleet, 2), "yes", 0),
    "a disk on one host's storage holds a VM": ("local-sr", evacuate("a"), "no", 0),
    "hardware of a version that no other host has": ("hw-platform", evacuate("a"), "no", 0),
    "a host that runs no HVM guests": ("no-hvm", evacuate("a"), "no", 0),
    "an old coordinator compares platforms": ("xen-version", evacuate("a"), "yes", 1),
    "two old hosts exchange VMs in an upgrade": ("upgrade", evacuate("old-1"), "yes", 1),
}


@pytest.mark.parametrize("case", CASES)
def test_inputs_that_made_plans_untrue(case: str, tmp_path: Path) -> None:
    name, ask, outcome, migrations = CASES[case]
    path = str(PLANS / f"{name}.json")
    plan = ask(xenmem.read(path))
    assert plan.outcome == outcome, plan.verdict
    if migrations >= 0:
        assert plan.migrations == migrations
    if outcome == "yes":
        assert carried_out(tmp_path, path, plan).failures == []
    else:
        assert not any(pool.moves for pool in plan.pools)


def carried_out(folder: Path, inventory: str, plan: MovePlan) -> answers.WhatIf:
    script = folder / "plan.jsonl"
    script.write_bytes(as_messages(actions(plan)))
    return answers.what_if(inventory, str(script))


def written(folder: Path, inventory: Records) -> str:
    path = folder / "pool.json"
    path.write_text(json.dumps(inventory))
    return str(path)


def test_the_pool_that_refuses_to_disable_a_host_is_quoted() -> None:
    plan = evacuate("a")(xenmem.read(PLANS / "ha.json"))
    assert plan.status == "infeasible"
    assert plan.refusal is not None
    assert (plan.refusal.step, plan.refusal.vm, plan.refusal.code) == (
        1,
        None,
        "HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN",
    )
    assert plan.verdict == (
        "a cannot be emptied as things are: the pool refuses step 1, disable host a: "
        "HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN."
    )
    assert plan.own_plan is not None
    assert plan.own_plan.refusals == ["HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN"]


def test_what_the_pool_refuses_is_planned_around(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool that lets nobody come to a host gives the next best plan, one that lets nobody come anywhere none."""
    inventory = four_hosts()
    del inventory["VM"]["p-vm-db-1"]
    fleet = xenmem.Fleet.from_records(inventory)
    barred = {find_host(fleet, "bravo")}
    original = Replay._carry_out

    def picky(self: Replay, step: Step) -> None:
        if step.action == "migrate" and step.host in barred:
            raise Failure(["VM_REQUIRES_SR", fleet.vms.ref[step.vm], "an SR"])
        original(self, step)

    monkeypatch.setattr(Replay, "_carry_out", picky)
    plan = answers.evacuate(fleet, find_host(fleet, "alpha"))
    assert plan.outcome == "yes"
    assert {move.target.name_label for move in plan.pools[0].moves if move.target} <= {"charlie", "delta"}
    barred |= set(range(4))
    plan = answers.evacuate(fleet, find_host(fleet, "alpha"))
    assert (plan.outcome, plan.migrations) == ("no", 0)


def test_refusals_of_the_moment_prove_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = xenmem.Fleet.from_records(four_hosts())
    original = Replay._carry_out

    def strict(self: Replay, step: Step) -> None:
        if step.action == "migrate":
            raise Failure(["HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN"])
        original(self, step)

    monkeypatch.setattr(Replay, "_carry_out", strict)
    plan = answers.evacuate(fleet, find_host(fleet, "alpha"))
    assert (plan.outcome, plan.status, plan.migrations) == ("unknown", "unknown", 0)


# --------------------------------------------------------------------------------------------------- what is in the way


def tools_missing() -> Records:
    inventory = four_hosts()
    without_drivers(inventory, "p-vm-wiki")
    inventory["VM"]["p-vm-wiki"]["tags"] = ["soft"]
    return inventory


def test_the_others_move_where_one_cannot(tmp_path: Path) -> None:
    fleet = xenmem.Fleet.from_records(tools_missing())
    plan = evacuate("delta")(fleet)
    assert plan.verdict == "delta cannot be emptied: 2 of 3 VMs can move; shut down first: wiki."
    assert [(vm.name_label, vm.why) for vm in plan.held] == [("wiki", "no guest tools, VM_LACKS_FEATURE")]
    assert {move.vm.name_label for move in plan.pools[0].moves} == {"files", "git", "dns"}
    (delta,) = [host for host in plan.pools[0].hosts if host.name_label == "delta"]
    assert delta.after.vms == 1
    with pytest.raises(QuestionError, match="--may-stop immobile shuts down first what cannot move"):
        actions(plan)
    found = planning.evacuate(fleet, find_host(fleet, "delta"))
    assert (found.status, len(found.migrations)) == ("infeasible", 3)


def test_what_may_be_stopped_is(tmp_path: Path) -> None:
    path = written(tmp_path, tools_missing())
    fleet = xenmem.read(path)
    plan = evacuate("delta", leave=Leave(may_stop=IMMOBILE))(fleet)
    assert plan.outcome == "yes"
    first = plan.pools[0].moves[0]
    assert (first.action, first.vm.name_label) == ("shutdown", "wiki")
    result = carried_out(tmp_path, path, plan)
    assert result.failures == []
    assert {field.ref for field in result.fields if field.field == "resident_on" and field.after.endswith("NULL")} == {
        "p-vm-wiki"
    }
    assert b"shutdown_vm p-vm-wiki-uuid" in as_xe([], actions(plan))


def test_a_guest_that_cannot_migrate_is_not_suspended() -> None:
    fleet = xenmem.Fleet.from_records(tools_missing())
    assert evacuate("delta", leave=Leave(may_suspend=IMMOBILE))(fleet).outcome == "no"
    both = evacuate("delta", leave=Leave(may_suspend=IMMOBILE, may_stop=IMMOBILE))(fleet)
    assert [move.action for move in both.pools[0].moves if move.vm.name_label == "wiki"] == ["shutdown"]


def test_what_is_ignored_stays(tmp_path: Path) -> None:
    path = written(tmp_path, tools_missing())
    fleet = xenmem.read(path)
    for ignore in (IMMOBILE, Selection(frozenset({find_vm(fleet, "wiki")}))):
        plan = evacuate("delta", leave=Leave(ignore=ignore))(fleet)
        assert (plan.outcome, plan.status) == ("yes", "optimal")
        assert plan.verdict.startswith("All that is to leave delta can")
        assert carried_out(tmp_path, path, plan).failures == []


def full() -> Records:
    inventory = four_hosts()
    for vm, size, host in (("fat", 16, "charlie"), ("fat2", 10, "bravo"), ("fat3", 14, "alpha")):
        add_vm(inventory, vm, size, host)
    return inventory


def test_the_least_to_stop_is_found_and_proved(tmp_path: Path) -> None:
    """22.25 GiB are missing; of files 20, wiki 10 and git 8 the least that give as much are files and git."""
    inventory = full()
    inventory["pool"]["p-pool"]["suspend_image_SR"] = "p-sr"
    path = written(tmp_path, inventory)
    fleet = xenmem.read(path)
    plan = evacuate("delta")(fleet)
    assert plan.outcome == "no"
    assert plan.stopped is not None
    assert [vm.name_label for vm in plan.stopped.vms] == ["files", "git"]
    assert plan.stopped.memory == plan.stopped.bound
    assert "it could, were files, git (28.23GiB) stopped" in plan.verdict
    rows = frozenset(find_vm(fleet, name) for name in ("files", "git", "wiki"))
    for leave, action in (
        (Leave(may_stop=Selection(rows)), "shutdown"),
        (Leave(may_suspend=Selection(rows)), "suspend"),
    ):
        plan = evacuate("delta", leave=leave)(fleet)
        assert plan.outcome == "yes"
        assert {move.vm.name_label for move in plan.pools[0].moves if move.action == action} == {"files", "git"}
        assert carried_out(tmp_path, path, plan).failures == []


def test_vms_that_may_be_stopped_free_hosts(tmp_path: Path) -> None:
    """One VM without tools on each of two hosts: nothing can be emptied, unless one of them may be stopped."""
    inventory = empty_pool(("a", "b", "c"))
    for host in ("a", "b"):
        without_drivers(inventory, add_vm(inventory, f"fixed-{host}", 4, host))
    add_vm(inventory, "free", 8, "c")
    path = written(tmp_path, inventory)
    fleet = xenmem.read(path)
    assert answers.consolidate(fleet).pools[0].emptied[0].name_label == "c"
    plan = answers.consolidate(fleet, leave=Leave(may_stop=IMMOBILE))
    assert len(plan.pools[0].emptied) >= 2
    assert {move.action for move in plan.pools[0].moves} >= {"shutdown"}
    assert carried_out(tmp_path, path, plan).failures == []


# -------------------------------------------------------------------------------------------------------- random pools


def odd_pool(seed: int) -> Records:
    """A small pool with what trips plans: disabled and dead hosts, HA, groups, mixed versions, VMs in flight, ..."""
    rng = np.random.default_rng(seed)
    hosts = int(rng.integers(2, 4))
    vms = [(int(rng.integers(4, 30)) * 100, int(rng.integers(0, hosts))) for _ in range(int(rng.integers(2, 5)))]
    if rng.random() < 0.4:
        vms.append((int(rng.integers(4, 30)) * 100, None))  # type: ignore[arg-type]
    load = [sum(size for size, host in vms if host == at) for at in range(hosts)]
    inventory = records(
        [load[at] + int(rng.integers(0, 30)) * 100 + 100 for at in range(hosts)],
        vms,
        cpus=4,
        disabled=np.flatnonzero(rng.random(hosts) < 0.15).tolist(),
        builds=[str(build) for build in rng.choice(["26.3.0", "26.3.0", "26.4.0"], hosts)],
        groups=[[0, 1]] if rng.random() < 0.4 else (),
    )
    for at in range(hosts):
        inventory["host_metrics"][f"p-h{at}-m"]["live"] = bool(rng.random() < 0.9)
    ha = rng.random() < 0.3
    inventory["pool"]["p-pool"] |= {
        "ha_enabled": bool(ha),
        "ha_host_failures_to_tolerate": "1",
        "ha_plan_exists_for": "1" if ha else "0",
    }
    for vm in inventory["VM"].values():
        runs = vm["power_state"] == "Running"
        if rng.random() < 0.3:
            vm |= {"ha_always_run": bool(runs), "ha_restart_priority": "restart"}
        if rng.random() < 0.3:
            vm["memory_dynamic_min"] = str(int(vm["memory_static_max"]) // 2)
            vm["memory_static_min"] = "0"
        if rng.random() < 0.2:
            vm["memory_overhead"] = str(int(vm["memory_overhead"]) - (1 << 20))
        if rng.random() < 0.1:
            vm |= {"VCPUs_max": "8", "VCPUs_at_startup": "8"}
        if runs and rng.random() < 0.08:
            vm["power_state"] = "Paused"
        if runs and rng.random() < 0.08:
            vm["scheduled_to_be_resident_on"] = f"p-h{rng.integers(0, hosts)}"
        if runs and rng.random() < 0.08:
            vm["blocked_operations"] = {"pool_migrate": "no"}
    if rng.random() < 0.5:
        add_reach(inventory, rng)
    return with_drivers(inventory)


def add_reach(inventory: Records, rng: np.random.Generator) -> None:
    """Disks and networks: some SRs and networks are not on every host."""
    hosts = list(inventory["host"])
    for name in ("SR", "PBD", "VDI", "VBD", "network", "PIF", "VIF"):
        inventory[name] = {}
    for at in range(2):
        inventory["SR"][f"sr{at}"] = {"uuid": f"sr{at}", "name_label": f"sr{at}", "shared": at == 0, "type": "nfs"}
        inventory["network"][f"net{at}"] = {"uuid": f"net{at}", "name_label": f"net{at}", "PIFs": [], "VIFs": []}
        for host in hosts:
            if at == 0 or rng.random() < 0.6:
                link = {"uuid": f"{host}-{at}", "host": host, "currently_attached": True}
                inventory["PBD"][f"pbd-{host}-{at}"] = {**link, "SR": f"sr{at}"}
                pif = {**link, "network": f"net{at}", "physical": True, "bond_slave_of": "OpaqueRef:NULL"}
                inventory["PIF"][f"pif-{host}-{at}"] = pif
                inventory["network"][f"net{at}"]["PIFs"].append(f"pif-{host}-{at}")
    for vm, record in inventory["VM"].items():
        sr, network = f"sr{int(rng.random() < 0.3)}", f"net{int(rng.random() < 0.2)}"
        inventory["VDI"][f"vdi-{vm}"] = {"uuid": f"vdi-{vm}", "SR": sr, "sm_config": {}, "managed": True}
        inventory["VBD"][f"vbd-{vm}"] = {
            "uuid": f"vbd-{vm}",
            "VM": vm,
            "VDI": f"vdi-{vm}",
            "empty": False,
            "type": "Disk",
        }
        inventory["VIF"][f"vif-{vm}"] = {"uuid": f"vif-{vm}", "VM": vm, "network": network}
        record["VBDs"], record["VIFs"] = [f"vbd-{vm}"], [f"vif-{vm}"]
        inventory["network"][network]["VIFs"].append(f"vif-{vm}")


ODD: dict[str, Ask] = {
    "evacuate": lambda fleet: answers.evacuate(fleet, 0),
    "evacuate, stopping": lambda fleet: answers.evacuate(fleet, 0, leave=Leave(may_stop=IMMOBILE)),
    "consolidate": answers.consolidate,
    "rebalance": lambda fleet: answers.rebalance(fleet, 2),
    "pack": lambda fleet: answers.pack(fleet, policy="dynamic_min"),
    "pack even": lambda fleet: answers.pack(fleet, objective="even", policy="dynamic_min"),
    "pack running": lambda fleet: answers.pack(fleet, objective="fewest-hosts", running=True, policy="dynamic_min"),
}


@pytest.mark.parametrize("question", ODD)
@pytest.mark.parametrize("seed", range(25))
def test_every_step_of_every_plan_is_accepted(tmp_path: Path, question: str, seed: int) -> None:
    path = written(tmp_path, odd_pool(seed))
    plan = ODD[question](xenmem.read(path))
    if plan.outcome == "yes":
        assert carried_out(tmp_path, path, plan).failures == []
    elif not plan.held:
        assert not any(pool.moves for pool in plan.pools)


@pytest.mark.parametrize("seed", range(60))
def test_where_a_host_cannot_be_emptied_no_order_of_migrations_does_it(tmp_path: Path, seed: int) -> None:
    path = written(tmp_path, odd_pool(1000 + seed))
    plan = answers.evacuate(xenmem.read(path), 0)
    if plan.outcome == "no":
        assert not can_be_emptied(connect(path), "p-h0")


def can_be_emptied(session: Session, host: str) -> bool:
    """Every arrangement that messages lead to, one after another, once the host is disabled; no VM goes to an older
    host: a pool in an upgrade refuses that, and host.evacuate always."""
    database, api = session.pool.database, session.xenapi
    guests = [vm.ref for vm in database.VM if not vm.is_control_domain]
    try:
        api.host.disable(host)
    except Failure:
        return False
    start = database.snapshot()
    seen: set[tuple[str, ...]] = set()
    waiting: list[list[tuple[str, str]]] = [[]]
    while waiting:
        way = waiting.pop()
        for vm, target in way:
            api.VM.pool_migrate(vm, target, {})
        there = tuple(database.VM[vm].resident_on for vm in guests)
        scheduled = [
            database.VM[vm].scheduled_to_be_resident_on for vm in guests if database.VM[vm].resident_on != host
        ]
        if host not in there and host not in scheduled:
            return True
        if there not in seen:
            seen.add(there)
            for vm in guests:
                for target in database.host.refs():
                    source = database.host.get(database.VM[vm].resident_on)
                    if source is None or build(database.host[target]) < build(source):
                        continue
                    here = database.snapshot()
                    try:
                        api.VM.pool_migrate(vm, target, {})
                    except Failure:
                        continue
                    waiting.append([*way, (vm, target)])
                    database.restore(here)
        database.restore(start)
    return False


def build(host: Any) -> str:
    return str(host.software_version["xapi_build"])


def test_what_is_shown_is_the_state_after_what_is_printed() -> None:
    """No moves, no change: a plan that does not go through leaves everything as it is."""
    inventory = full()
    add_vm(inventory, "huge", 60)
    plan = answers.pack(xenmem.Fleet.from_records(inventory), policy="static_max")
    assert plan.outcome == "no"
    for host in plan.pools[0].hosts:
        assert host.before == host.after
    assert sum(host.before.free or 0 for host in plan.pools[0].hosts) < 64 * GIB
