"""upgrade-check against the naive inventory layer with its stored overheads rewritten."""

import copy
import json
from pathlib import Path
from typing import Any

import dumps
import pytest
from twins import reference

import xenmem
from xenmem import answers
from xenmem.answers.upgrade_check import Case

Records = dict[str, dict[str, dict[str, Any]]]


def rewritten(naive: reference.Inventory, model: str) -> reference.Inventory:
    """The inventory as it is once every stored overhead is the model's, the hosts' own for all that it keeps back."""
    answer = copy.deepcopy(naive)
    for host in answer["host"].values():
        version = reference.xapi_version(host)
        present = reference.pool_model(naive) if version is None else reference.model_name_for(version)
        grown = reference.MODELS[model].host_reserve_mib - reference.MODELS[present].host_reserve_mib
        host["memory_overhead"] += grown * reference.MIB
    for ref, vm in answer["VM"].items():
        vm["memory_overhead"] = reference.vm_overhead(naive, ref, model)
    return answer


def check_case(case: Case, naive: reference.Inventory, host: str) -> None:
    vms = [
        (vm["memory_overhead"], vm)
        for vm in naive["VM"].values()
        for place in (vm["resident_on"], vm.get("scheduled_to_be_resident_on"))
        if place == host
    ]
    assert case.memory_overhead == sum(overhead for overhead, _ in vms)
    assert case.host_overhead == naive["host"][host]["memory_overhead"]
    there = reference.memory_total(naive, host) - naive["host"][host]["memory_overhead"]
    for policy in reference.POLICIES:
        left = there - sum(overhead + vm[f"memory_{policy}"] for overhead, vm in vms)
        assert getattr(case.free, policy) == reference.host_free_memory(naive, host, policy) == max(0, left)
        assert getattr(case.overcommitted, policy) == max(0, -left)


@pytest.mark.parametrize("to", ["26.3", "pre-26.3"])
def test_hosts_equal_the_reference(inventory: Path, to: str) -> None:
    naive = reference.read(inventory)
    cases = {
        "stored": naive,
        "present": rewritten(naive, reference.pool_model(naive)),
        "target": rewritten(naive, to),
    }
    (pool,) = answers.upgrade_check(xenmem.read(inventory), to).pools
    for host in pool.hosts:
        for name, state in cases.items():
            check_case(getattr(host, name), state, host.ref)
    for name in cases:
        for policy in reference.POLICIES:
            assert getattr(getattr(pool, name).free, policy) == sum(
                getattr(getattr(host, name).free, policy) for host in pool.hosts
            )


def would_start(naive: reference.Inventory, ref: str, host: str, model: str) -> bool:
    """Whether a VM starts on a host when it alone is not there."""
    alone = copy.deepcopy(naive)
    alone["VM"][ref].update(resident_on=None, scheduled_to_be_resident_on=None)
    policy = "static_max" if reference.domain_type(naive, ref) == "pv_in_pvh" else "dynamic_min"
    return reference.start_memory(naive, ref, policy, model) <= reference.host_free_memory(alone, host)


def full_pool(records: Records) -> Records:
    """The small pool before 26.3, each host with 1 MiB to spare."""
    for host in records["host"].values():
        host["software_version"].update(xapi="26.2", xapi_build="26.2.0")
    naive = reference.read_records(json.dumps(records))
    for ref, vm in records["VM"].items():
        vm["memory_overhead"] = str(reference.vm_overhead(naive, ref, "pre-26.3"))
    naive = reference.read_records(json.dumps(records))
    for ref, host in records["host"].items():
        metrics = records["host_metrics"][host["metrics"]]
        metrics["memory_total"] = str(
            int(metrics["memory_total"]) - reference.host_free_memory(naive, ref, "dynamic_min") + reference.MIB
        )
    return records


def test_vms_that_no_longer_start_equal_the_reference(records: Records) -> None:
    full = full_pool(records)
    naive = reference.read_records(json.dumps(full))
    after = rewritten(naive, "26.3")
    expected = set()
    for ref, vm in naive["VM"].items():
        host = vm["resident_on"] or vm["scheduled_to_be_resident_on"] or vm["affinity"]
        if vm["is_a_template"] or vm["is_control_domain"] or host is None:
            continue
        if would_start(naive, ref, host, "pre-26.3") and not would_start(after, ref, host, "26.3"):
            expected.add((ref, host))
    (pool,) = answers.upgrade_check(xenmem.Fleet.from_records(full), "26.4.0").pools
    assert {(vm.ref, vm.host.ref) for vm in pool.no_longer_start} == expected
    assert expected
    for vm in pool.no_longer_start:
        assert vm.required_now <= vm.available_now
        assert vm.required > vm.available


def test_halted_vm_is_judged_on_its_affinity_host(records: Records) -> None:
    full = full_pool(records)
    ref = next(
        ref
        for ref, vm in full["VM"].items()
        if vm["power_state"] == "Halted" and not vm["is_a_template"] and float(vm["HVM_shadow_multiplier"]) == 1
    )
    host = next(host for host in full["host"])
    full["VM"][ref].update(affinity=host, scheduled_to_be_resident_on="OpaqueRef:NULL")
    naive = reference.read_records(json.dumps(full))
    needed = reference.start_memory(naive, ref, "dynamic_min", "pre-26.3")
    metrics = full["host_metrics"][full["host"][host]["metrics"]]
    free = reference.host_free_memory(naive, host)
    for spare, starts_now in ((0, True), (-1, False)):
        metrics["memory_total"] = str(reference.memory_total(naive, host) - free + needed + spare)
        (pool,) = answers.upgrade_check(xenmem.Fleet.from_records(full), "26.3").pools
        found = [vm for vm in pool.no_longer_start if vm.ref == ref]
        assert len(found) == starts_now
        for vm in found:
            assert (vm.host.ref, vm.required_now, vm.available_now) == (host, needed, needed)
            assert vm.required == reference.start_memory(naive, ref, "dynamic_min", "26.3")


def test_newly_overcommitted_hosts_are_named(records: Records) -> None:
    full = full_pool(records)
    fleet = xenmem.Fleet.from_records(full)
    (pool,) = answers.upgrade_check(fleet, "26.3").pools
    assert {host.ref for host in pool.newly_overcommitted} == {
        host.ref
        for host in pool.hosts
        if host.target.overcommitted.static_max and not host.stored.overcommitted.static_max
    }
    assert pool.newly_overcommitted
    (pool,) = answers.upgrade_check(fleet, "26.2.0").pools
    assert (pool.newly_overcommitted, pool.no_longer_start, pool.to_model) == ([], [], "pre-26.3")


def test_a_host_keeps_back_63_mib_more(tmp_path: Path) -> None:
    """A host of 64 GiB with three VMs of 16 GiB: 10 839 MiB free before, 10 773 MiB after, 63 of them by the host."""
    tables = dumps.pool(memory_dynamic_min=str(16 << 30), memory_static_max=str(16 << 30), VCPUs_max="4")
    guest = tables["VM"].pop(dumps.GUEST)
    guest |= {"memory_dynamic_max": str(16 << 30), "power_state": "Running", "resident_on": dumps.HOST}
    guest["memory_overhead"] = str(134 << 20)
    tables["VM"] |= {f"{dumps.GUEST}{number}": guest | {"uuid": f"guest {number}"} for number in range(3)}
    limits = ("memory_static_max", "memory_dynamic_max", "memory_dynamic_min")
    tables["VM"][dumps.DOM0] |= dict.fromkeys(limits, str(4 << 30)) | {"memory_overhead": str(23 << 20)}
    tables["host"][dumps.HOST]["software_version"] = {"xapi": "26.2", "xapi_build": "26.2.0"}
    (pool,) = answers.upgrade_check(xenmem.Fleet.from_records(tables), "26.3").pools
    (host,) = pool.hosts
    assert [case.host_overhead >> 20 for case in (host.stored, host.present, host.target)] == [1024, 1024, 1087]
    assert host.stored.free.dynamic_min >> 20 == 10839
    dom0 = host.target.memory_overhead - 3 * (135 << 20)
    assert host.target.free.dynamic_min >> 20 == 10839 - 63 - 3 - ((dom0 >> 20) - 23)


def test_an_inventory_without_hosts(small: xenmem.Fleet) -> None:
    fleet = xenmem.Fleet.from_records({"VM": dumps.pool()["VM"]})
    (pool,) = answers.upgrade_check(fleet, "26.3").pools
    assert (pool.hosts, pool.no_longer_start, pool.newly_overcommitted) == ([], [], [])


@pytest.mark.parametrize(
    ("to", "model"), [("26.3", "26.3"), ("26.4.0", "26.3"), ("25.6", "pre-26.3"), ("pre-26.3",) * 2]
)
def test_target_is_a_model_or_a_version(small: xenmem.Fleet, to: str, model: str) -> None:
    answer = answers.upgrade_check(small, to)
    assert (answer.to, answer.to_model) == (to, model)


@pytest.mark.parametrize(
    ("to", "build"), [("xcp-ng-9", "26.4.0"), ("8.3", "26.1.4"), ("xenserver-5.6", ""), ("26.5", "")]
)
def test_a_product_stands_for_its_newest_build(small: xenmem.Fleet, to: str, build: str) -> None:
    assert answers.upgrade_check(small, to).to_build == build


def test_the_verdict(records: Records) -> None:
    full = full_pool(records)
    for host in full["host"].values():
        host["software_version"] = {"xapi": "26.2"}
    (pool,) = answers.upgrade_check(xenmem.Fleet.from_records(full), "26.3").pools
    grown = (pool.target.memory_overhead - pool.stored.memory_overhead) >> 20
    stuck = len(pool.no_longer_start)
    assert pool.verdict.startswith(
        f"After 26.3 {stuck} VMs no longer start where they are; xen01.par.example becomes overcommitted by "
    )
    assert pool.verdict.endswith(f". VMs take {grown}MiB more, hosts themselves {63 * len(pool.hosts)}MiB more.")
    same = answers.upgrade_check(xenmem.Fleet.from_records(full), "26.2")
    assert same.verdict.startswith(
        "With pre-26.3 nothing changes: every VM still starts where it is; 2 hosts stay overcommitted, xen03"
    )
    assert same.outcome == "yes"


@pytest.mark.parametrize("to", ["", "next", "x.y"])
def test_other_targets_are_refused(small: xenmem.Fleet, to: str) -> None:
    with pytest.raises(
        answers.QuestionError, match=r"no version of xapi .* no model .*pre-8.1.* and no product .*xcp-ng-8.3"
    ):
        answers.upgrade_check(small, to)
