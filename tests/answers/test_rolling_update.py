"""A rolling update as a script: what the pool in memory makes of it, who may be named, why there is no plan."""

import json
import random
from pathlib import Path

import msgspec
import pytest
from busy_pools import GIB, Records, add_vm, empty_pool, four_hosts, without_drivers

import xenmem
from xenmem import answers
from xenmem.answers import QuestionError, RollingPlan
from xenmem.answers.naming import Named, find_host
from xenmem.answers.rolling_update import UpdateStep, actions, heading
from xenmem.answers.script import as_messages, as_xe

pytestmark = pytest.mark.compiled


def fleet_of(records: Records) -> xenmem.Fleet:
    return xenmem.Fleet.from_records(records)


def random_busy_pool(seed: int) -> Records:
    """Four hosts filled to about 70 % with VMs that can all move."""
    draw = random.Random(seed)
    records = empty_pool(("a", "b", "c", "d"))
    for host in "abcd":
        room = 60 * draw.uniform(0.55, 0.8)
        number = 0
        while (size := draw.choice((2, 4, 6, 8, 12))) + 1 < room:
            add_vm(records, f"{host}{number}", size, host)
            room -= size + 1
            number += 1
    return records


@pytest.mark.parametrize("seed", range(8))
def test_the_pool_does_what_the_plan_says(tmp_path: Path, seed: int) -> None:
    """No message fails, no VM is sent to a host that is disabled, and everything is as it was before."""
    inventory, script = tmp_path / "pool.json", tmp_path / "update.jsonl"
    inventory.write_text(json.dumps(random_busy_pool(seed)))
    fleet = xenmem.read(inventory)
    plan = answers.rolling_update(fleet, time_limit=2)
    assert plan.steps, plan.verdict
    carried = actions(plan)
    script.write_bytes(as_messages(carried))
    result = answers.what_if(str(inventory), str(script))
    assert result.failures == []
    assert result.messages == len(plan.steps) + len(plan.hosts)
    assert {field.field for field in result.fields} <= {"domid"}
    assert all(host.before.enabled and host.after.enabled for host in result.hosts)
    assert {host.ref for host in plan.hosts} == {host.ref for host in result.hosts}
    restarted = [action.parameters[0] for action in carried if action.method == "host.enable"]
    assert restarted == [{"uuid": host.uuid} for host in plan.hosts]
    disabled: list[object] = []
    emptied_at = {step.number: host for host in plan.hosts for step in plan.steps if host.step == step.number}
    assert [plan.steps[number - 1].action for number in emptied_at] == ["restart"] * len(plan.hosts)
    for action in carried:
        if action.method == "host.disable":
            disabled.append(action.parameters[0])
        elif action.method == "host.enable":
            disabled.remove(action.parameters[0])
        else:
            assert action.parameters[1] not in disabled


def test_steps_and_sums() -> None:
    fleet = fleet_of(four_hosts())
    plan = answers.rolling_update(fleet, [find_host(fleet, name) for name in ("delta", "alpha", "bravo", "charlie")])
    assert [host.name_label for host in plan.hosts] == ["delta", "alpha", "bravo", "charlie"]
    assert [step.number for step in plan.steps] == list(range(1, len(plan.steps) + 1))
    assert sum(host.migrations for host in plan.hosts) + plan.homecoming == plan.migrations
    assert sum(step.copied for step in plan.steps) == plan.copied >= plan.bound
    assert plan.seconds == plan.copied / GIB
    assert (plan.to_model, plan.pool.model) == ("26.3", "pre-26.3")
    assert heading(plan)[0] == "Rolling update of pool p, records: delta, alpha, bravo, charlie."


def test_a_host_that_still_takes_a_vm_is_not_disabled_yet() -> None:
    plan = answers.rolling_update(fleet_of(four_hosts()))
    vm = next(step.vm for step in plan.steps if step.vm)
    a, b, c, d = (Named(host.ref, host.uuid, host.name_label) for host in plan.hosts)

    def migrate(source: Named, target: Named) -> UpdateStep:
        return UpdateStep(0, "migrate", vm, source, target, 0, 0.0, True)

    steps = [migrate(a, b), migrate(b, c), UpdateStep(0, "restart", None, None, b, 0, 0.0, False), migrate(c, d)]
    carried = actions(msgspec.structs.replace(plan, steps=steps))
    assert [
        (action.method, action.parameters[-2 if action.method == "VM.pool_migrate" else 0]) for action in carried
    ] == [
        ("VM.pool_migrate", {"uuid": b.uuid}),
        ("host.disable", {"uuid": b.uuid}),
        ("VM.pool_migrate", {"uuid": c.uuid}),
        ("host.enable", {"uuid": b.uuid}),
        ("VM.pool_migrate", {"uuid": d.uuid}),
    ]


def test_the_script_updates_and_waits() -> None:
    plan = answers.rolling_update(fleet_of(four_hosts()))
    script = as_xe(heading(plan), actions(plan)).decode()
    assert script.count("\nrestart_host p-") == 4
    assert script.count("restart_host() {") == 1
    assert script.index("xe host-disable uuid=p-alpha-uuid") < script.index(" restart_host p-alpha-uuid")


def test_vms_that_cannot_make_way_are_named(tmp_path: Path) -> None:
    records = four_hosts()
    without_drivers(records, "p-vm-wiki")
    records["VM"]["p-vm-mail"]["power_state"] = "Paused"
    records["VM"]["p-vm-dns"]["VCPUs_max"] = "64"
    inventory = tmp_path / "pool.json"
    inventory.write_text(json.dumps(records))
    fleet = xenmem.read(inventory)
    plan = answers.rolling_update(fleet)
    assert (plan.status, plan.steps, plan.hosts) == ("infeasible", [], [])
    assert plan.verdict == (
        "Infeasible: 3 VMs cannot make way and come home; shut down or suspend first mail on alpha: it is Paused, "
        "dns on charlie: 64 vCPUs on 32 CPUs, wiki on delta: VM_LACKS_FEATURE."
    )
    with pytest.raises(QuestionError, match="there is no plan to write: Infeasible: 3 VMs"):
        actions(plan)


def test_a_pool_that_is_too_full_says_what_is_missing() -> None:
    records = four_hosts()
    for number in range(4):
        add_vm(records, f"more-{number}", 14, ("alpha", "bravo", "charlie", "delta")[number])
    plan = answers.rolling_update(fleet_of(records))
    assert plan.status == "infeasible"
    assert plan.shortage is not None
    assert plan.shortage.missing > 0


def test_disabled_and_overcommitted_hosts_are_told_of() -> None:
    records = four_hosts()
    records["host"]["p-bravo"]["enabled"] = False
    records["host_metrics"]["p-alpha-metrics"]["memory_total"] = str(40 * GIB)
    plan: RollingPlan = answers.rolling_update(fleet_of(records))
    assert [warning.kind for warning in plan.warnings] == ["overcommitted", "host-takes-no-part"]
    assert "p-bravo" not in {host.ref for host in plan.hosts}


@pytest.mark.parametrize(
    ("order", "problem"),
    [
        (("alpha", "charlie"), "host delta is missing from the order"),
        (("alpha", "alpha", "charlie", "delta"), "host alpha comes twice in the order"),
        (("alpha", "bravo", "charlie", "delta"), "host bravo takes no part: disabled"),
    ],
)
def test_bad_orders(order: tuple[str, ...], problem: str) -> None:
    records = four_hosts()
    records["host"]["p-bravo"]["enabled"] = False
    fleet = fleet_of(records)
    with pytest.raises(QuestionError, match=f"^{problem}$"):
        answers.rolling_update(fleet, [find_host(fleet, name) for name in order])


def test_other_bad_questions() -> None:
    alone = empty_pool(("alone",))
    with pytest.raises(QuestionError, match="1 host of 1 can take VMs: a rolling update needs two"):
        answers.rolling_update(fleet_of(alone))
    records = four_hosts()
    records["host_metrics"]["p-delta-metrics"]["memory_total"] = "0"
    with pytest.raises(QuestionError, match="host delta: its memory_total is unknown"):
        answers.rolling_update(fleet_of(records))
    fleet = fleet_of(four_hosts())
    with pytest.raises(QuestionError, match="'next' is no version of xapi"):
        answers.rolling_update(fleet, to="next")
    with pytest.raises(QuestionError, match="the fleet has 2 pools: a rolling update is of one"):
        answers.rolling_update(xenmem.Fleet.concatenate([fleet, fleet_of(empty_pool(("x",), name="q"))]))
