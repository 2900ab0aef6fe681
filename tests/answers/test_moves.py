"""Plans of moves: the pool in memory does what they promise when it is sent them, and bad questions are refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from busy_pools import GIB, Records, add_vm, empty_pool, four_hosts, random_pool, without_drivers

import xenmem
from xenmem import answers
from xenmem.answers import QuestionError
from xenmem.answers.move_plan import MovePlan, actions, heading
from xenmem.answers.naming import find_host, find_vm
from xenmem.answers.script import as_messages
from xenmem.rules.migration import refusals, too_wide

pytestmark = pytest.mark.compiled

Ask = Callable[..., MovePlan]
INVENTORIES = Path(__file__).parent.parent / "data" / "inventories"

QUESTIONS: dict[str, Callable[[xenmem.Fleet, dict[str, Any]], MovePlan]] = {
    "pack": lambda fleet, more: answers.pack(fleet, policy="dynamic_min", **more),
    "pack static": lambda fleet, more: answers.pack(fleet, objective="fewest-hosts", **more),
    "pack running": lambda fleet, more: answers.pack(fleet, objective="even", running=True, **more),
    "pack few": lambda fleet, more: answers.pack(fleet, objective="fewest-migrations", **more),
    "evacuate first": lambda fleet, more: answers.evacuate(fleet, 0, **more),
    "evacuate last": lambda fleet, more: answers.evacuate(fleet, len(fleet.hosts) - 1, **more),
    "consolidate": lambda fleet, more: answers.consolidate(fleet, **more),
    "rebalance": lambda fleet, more: answers.rebalance(fleet, 3, **more),
}


def written(folder: Path, records: Records) -> str:
    path = folder / "pool.json"
    path.write_text(json.dumps(records))
    return str(path)


def fleet_of(records: Records) -> xenmem.Fleet:
    return xenmem.Fleet.from_records(records)


def carried_out(folder: Path, inventory: str, plan: MovePlan) -> answers.WhatIf:
    """What the pool in memory makes of a plan."""
    script = folder / "plan.jsonl"
    script.write_bytes(as_messages(actions(plan)))
    return answers.what_if(inventory, str(script))


def assert_kept(plan: MovePlan, result: answers.WhatIf) -> None:
    """No message failed, every VM is where the plan says, and every host has what the plan says."""
    assert result.failures == []
    (pool,) = plan.pools
    final = {move.vm.ref: move.target.ref for move in pool.moves}
    start = {move.vm.ref: move.source.ref for move in reversed(pool.moves) if move.source is not None}
    expected = {vm: host for vm, host in final.items() if start.get(vm) != host}
    assert {field.ref: field.after for field in result.fields if field.field == "resident_on"} == expected
    for host in result.hosts:
        (change,) = [change for change in pool.hosts if change.ref == host.ref]
        for promised, state in ((change.before, host.before), (change.after, host.after)):
            assert max(0, promised.free or 0) == getattr(state.free, plan.policy)
            assert promised.vms + 1 == state.vms
        assert host.after.enabled is (plan.disabled is None or plan.disabled.ref != host.ref)


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("seed", range(12))
def test_the_pool_does_what_the_plan_says(tmp_path: Path, question: str, seed: int) -> None:
    inventory = written(tmp_path, random_pool(seed))
    fleet = xenmem.read(inventory)
    plan = QUESTIONS[question](fleet, {})
    if plan.status in ("infeasible", "unknown") or plan.blocked:
        with pytest.raises(QuestionError, match="there is no whole plan to write"):
            actions(plan)
        return
    assert_kept(plan, carried_out(tmp_path, inventory, plan))


@pytest.mark.parametrize("name", ["pool-small.records.json", "pool-small.statedb.xml"])
@pytest.mark.parametrize("question", ["consolidate", "pack running", "evacuate first"])
def test_plans_of_real_formats_are_carried_out(tmp_path: Path, name: str, question: str) -> None:
    inventory = str(INVENTORIES / name)
    fleet = xenmem.read(inventory)
    plan = QUESTIONS[question](fleet, {})
    result = carried_out(tmp_path, inventory, plan)
    assert result.messages > 1
    assert result.failures == []


def test_evacuation_moves_others_where_the_pool_gives_up() -> None:
    fleet = fleet_of(four_hosts())
    plan = answers.evacuate(fleet, find_host(fleet, "delta"), bandwidth=2 * GIB)
    (pool,) = plan.pools
    assert (plan.status, plan.migrations, plan.copied, plan.seconds) == ("optimal", 4, 42 * GIB, 21.0)
    assert [move.vm.name_label for move in pool.moves if move.source and move.source.name_label != "delta"] == ["dns"]
    assert [host.name_label for host in pool.emptied] == ["delta"]
    assert plan.own_plan is not None
    assert plan.own_plan.refusals == ["files: HOST_NOT_ENOUGH_FREE_MEMORY"]
    assert plan.own_plan.text == "The pool itself would move nothing: files: HOST_NOT_ENOUGH_FREE_MEMORY."
    assert heading(plan) == ["Evacuate host delta. p, records.", "Optimal: 4 VMs move; no plan does better."]


def test_the_pools_own_evacuation_is_told() -> None:
    fleet = fleet_of(four_hosts())
    own = answers.evacuate(fleet, find_host(fleet, "alpha")).own_plan
    assert own is not None
    assert (own.migrations, own.copied, own.refusals) == (4, 44 * GIB, [])
    assert own.text == "The pool's own plan: 4 migrations, 44GiB to copy."


def test_vms_that_cannot_migrate_stay(tmp_path: Path) -> None:
    records = four_hosts()
    without_drivers(records, "p-vm-wiki")
    records["VM"]["p-vm-mail"]["power_state"] = "Paused"
    records["VM"]["p-vm-proxy"]["scheduled_to_be_resident_on"] = "p-charlie"
    records["VM"]["p-vm-test-2"]["scheduled_to_be_resident_on"] = "p-bravo"
    inventory = written(tmp_path, records)
    fleet = xenmem.read(inventory)
    plan = answers.rebalance(fleet, 5)
    assert not {move.vm.name_label for move in plan.pools[0].moves} & {"wiki", "mail", "proxy", "test-2"}
    assert [warning.kind for warning in plan.warnings] == ["stays"]
    assert plan.warnings[0].text == (
        "3 VMs stay where they are: mail (it is Paused), proxy (it is migrating to charlie), "
        "wiki (no guest tools, VM_LACKS_FEATURE)"
    )
    plan = answers.evacuate(fleet, find_host(fleet, "delta"))
    assert plan.status == "infeasible"
    assert plan.reason == "1 VM of delta cannot migrate: wiki (VM_LACKS_FEATURE)"
    assert plan.obstacle is not None
    assert [vm.name_label for vm in plan.obstacle.vms] == ["wiki"]
    assert plan.own_plan is not None
    assert "wiki: VM_LACKS_FEATURE" in plan.own_plan.refusals
    with pytest.raises(QuestionError, match="VM wiki takes no part: it stays where it is, VM_LACKS_FEATURE"):
        answers.rebalance(fleet, 1, pinned={find_vm(fleet, "wiki"): find_host(fleet, "alpha")})


def test_a_vm_that_could_not_come_back_stays(tmp_path: Path) -> None:
    """xapi does not ask again whether a VM may be where it is: more vCPUs than CPUs are no reason to move it."""
    records = four_hosts()
    records["VM"]["p-vm-dns"]["VCPUs_max"] = "64"
    records["VM"]["p-vm-git"] |= {"VCPUs_max": "64", "platform": {"vcpu-unrestricted": "true"}}
    inventory = written(tmp_path, records)
    fleet = xenmem.read(inventory)
    assert too_wide(fleet.vms, fleet.hosts) == {find_vm(fleet, "dns"): "64 vCPUs on 32 CPUs"}
    for question in ("consolidate", "pack running", "rebalance"):
        plan = QUESTIONS[question](fleet, {})
        assert plan.status != "infeasible"
        assert "dns" not in {move.vm.name_label for move in plan.pools[0].moves}
        assert_kept(plan, carried_out(tmp_path, inventory, plan))
        assert "dns (64 vCPUs on 32 CPUs)" in plan.warnings[0].text
    plan = answers.evacuate(fleet, find_host(fleet, "charlie"))
    assert plan.status == "infeasible"
    assert "dns" in plan.reason
    records["host"]["p-alpha"]["cpu_info"]["cpu_count"] = "64"
    plan = answers.evacuate(fleet_of(records), find_host(fleet, "charlie"))
    assert {move.vm.name_label: move.target.name_label for move in plan.pools[0].moves}["dns"] == "alpha"


def test_an_inventory_without_guest_metrics_does_not_tell_of_drivers() -> None:
    records = four_hosts()
    without_drivers(records, "p-vm-wiki")
    del records["VM_guest_metrics"]
    for vm in records["VM"].values():
        vm["guest_metrics"] = "OpaqueRef:NULL"
    fleet = fleet_of(records)
    assert refusals(fleet.vms, fleet.hosts) == {}


def test_vms_that_would_not_start_are_left_out() -> None:
    records = four_hosts()
    records["VM"]["p-vm-test-1"]["HVM_shadow_multiplier"] = 0.5
    plan = answers.pack(fleet_of(records))
    (pool,) = plan.pools
    assert [(move.action, move.vm.name_label) for move in pool.moves] == [("start", "test-2")]
    assert [warning.kind for warning in plan.warnings] == ["cannot-start"]
    assert "test-1 (HVM_shadow_multiplier 0.5 is below 1)" in plan.warnings[0].text


def test_an_overcommitted_host_is_told_of() -> None:
    records = four_hosts()
    records["host_metrics"]["p-alpha-metrics"]["memory_total"] = str(40 * GIB)
    plan = answers.rebalance(fleet_of(records), 3)
    assert plan.warnings[0].kind == "overcommitted"
    assert plan.warnings[0].text == "alpha is overcommitted now, by 7.89GiB under dynamic_min"
    (alpha,) = [host for host in plan.pools[0].hosts if host.name_label == "alpha"]
    assert alpha.before.free == -plan.warnings[0].memory  # type: ignore[operator]


def test_high_availability_is_told_of() -> None:
    records = four_hosts()
    records["pool"]["p-pool"]["ha_enabled"] = True
    (warning,) = answers.consolidate(fleet_of(records)).warnings
    assert warning.kind == "high-availability"


def test_many_pools_are_planned_at_once() -> None:
    second = empty_pool(("x", "y"), name="q")
    add_vm(second, "a", 8, "x")
    add_vm(second, "b", 8, "y")
    fleet = xenmem.Fleet.concatenate([fleet_of(four_hosts()), fleet_of(second)])
    plan = answers.consolidate(fleet)
    assert [pool.pool.name_label for pool in plan.pools] == ["p", "q"]
    assert [len(pool.emptied) for pool in plan.pools] == [1, 1]
    assert [move.number for pool in plan.pools for move in pool.moves] == [1, 2, 3, 1]
    with pytest.raises(QuestionError, match="the plan concerns several pools"):
        actions(plan)


def test_other_pools_have_no_part_in_an_evacuation() -> None:
    second = empty_pool(("x", "y"), name="q")
    add_vm(second, "a", 8, "x", power_state="Paused")
    fleet = xenmem.Fleet.concatenate([fleet_of(second), fleet_of(four_hosts())])
    plan = answers.evacuate(fleet, find_host(fleet, "delta"))
    assert (plan.status, plan.migrations) == ("optimal", 4)
    assert [pool.pool.name_label for pool in plan.pools] == ["p"]


def test_constraints_hold() -> None:
    fleet = fleet_of(four_hosts())
    vm, host = (lambda name: find_vm(fleet, name)), (lambda name: find_host(fleet, name))
    plan = answers.pack(
        fleet,
        objective="fewest-migrations",
        pinned={vm("dns"): host("alpha")},
        same_host=[[vm("web-1"), vm("db-2")]],
        anti_affinity=[[vm("files"), vm("wiki"), vm("git")]],
        headroom=GIB,
    )
    (pool,) = plan.pools
    place = {fleet.vms.name_label[row]: fleet.hosts.name_label[h] for row, h in enumerate(fleet.vms.resident_on)}
    place |= {move.vm.name_label: move.target.name_label for move in pool.moves}
    assert place["dns"] == "alpha"
    assert place["web-1"] == place["db-2"]
    assert len({place["files"], place["wiki"], place["git"]}) == 3
    assert min(host.after.free or 0 for host in pool.hosts) >= GIB


def contradiction(question: str) -> tuple[Ask, xenmem.Fleet, dict[str, Any]]:
    """A question, a fleet and arguments that contradict each other."""
    records = four_hosts()
    records["host"]["p-bravo"]["enabled"] = question != "pin to disabled"
    records["host_metrics"]["p-charlie-metrics"]["live"] = question != "host not live"
    records["VM"]["p-vm-test-1"]["is_a_template"] = question == "template"
    fleet = fleet_of(records)
    vm, host = (lambda name: find_vm(fleet, name)), (lambda name: find_host(fleet, name))
    options: dict[str, tuple[Ask, dict[str, Any]]] = {
        "pin to excluded": (
            answers.pack,
            {"hosts": [host("alpha"), host("bravo")], "pinned": {vm("dns"): host("delta")}},
        ),
        "pin to disabled": (answers.pack, {"pinned": {vm("dns"): host("bravo")}}),
        "pin to the emptied": (answers.evacuate, {"host": host("alpha"), "pinned": {vm("mail"): host("alpha")}}),
        "host not live": (answers.consolidate, {"hosts": [host("charlie")]}),
        "the emptied takes": (answers.evacuate, {"host": host("alpha"), "hosts": [host("alpha")]}),
        "template": (answers.pack, {"vms": [vm("test-1")]}),
        "halted": (answers.rebalance, {"migrations": 1, "pinned": {vm("test-2"): host("alpha")}}),
        "together and apart": (
            answers.pack,
            {"same_host": [[vm("dns"), vm("git")]], "anti_affinity": [[vm("git"), vm("erp"), vm("dns")]]},
        ),
        "together on two": (
            answers.pack,
            {"same_host": [[vm("dns"), vm("git")]], "pinned": {vm("dns"): host("alpha"), vm("git"): host("delta")}},
        ),
        "apart on one": (
            answers.pack,
            {"anti_affinity": [[vm("dns"), vm("git")]], "pinned": {vm("dns"): host("delta"), vm("git"): host("delta")}},
        ),
    }
    ask, arguments = options[question]
    return ask, fleet, arguments


@pytest.mark.parametrize(
    ("question", "problem"),
    [
        ("pin to excluded", "VM dns cannot be pinned to host delta, which is not among the hosts that take VMs"),
        ("pin to disabled", "VM dns cannot be pinned to host bravo, which is not among the hosts that take VMs"),
        ("pin to the emptied", "VM mail cannot be pinned to host alpha, which is not among the hosts that take VMs"),
        ("host not live", "host charlie takes no VMs: not live"),
        ("the emptied takes", "host alpha is to be emptied, and takes no VMs"),
        ("template", "VM test-1 takes no part: it is a template"),
        ("halted", "VM test-2 takes no part: it is on no host"),
        ("together and apart", "VMs dns, git are to be together and apart"),
        ("together on two", "VMs dns, git cannot share a host: they are pinned to alpha, delta"),
        ("apart on one", "VMs dns, git are to be apart, and are pinned to host delta"),
    ],
)
def test_contradictions_are_refused_by_name(question: str, problem: str) -> None:
    ask, fleet, arguments = contradiction(question)
    with pytest.raises(QuestionError, match=f"^[a-z_, ]*:? ?{problem}$"):
        ask(fleet, **arguments)


def test_pins_across_pools_are_refused() -> None:
    second = empty_pool(("x", "y"), name="q")
    add_vm(second, "a", 8, "x")
    fleet = xenmem.Fleet.concatenate([fleet_of(four_hosts()), fleet_of(second)])
    vm, host = find_vm(fleet, "a"), find_host(fleet, "alpha")
    with pytest.raises(QuestionError, match="VM a cannot be pinned to host alpha, which is in another pool"):
        answers.pack(fleet, pinned={vm: host})
    with pytest.raises(QuestionError, match="VMs dns, a cannot share a host: they are in different pools"):
        answers.pack(fleet, same_host=[[vm, find_vm(fleet, "dns")]])


def test_the_only_host_is_not_evacuated() -> None:
    records = empty_pool(("alone",))
    add_vm(records, "a", 8, "alone")
    with pytest.raises(QuestionError, match="host alone is the only one of its pool: its VMs have nowhere to go"):
        answers.evacuate(fleet_of(records), 0)
