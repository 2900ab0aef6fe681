"""The report: every number equal to the naive inventory layer, and a finding for each thing amiss."""

import json
from pathlib import Path
from typing import Any

import pytest
from twins import reference

import xenmem
from xenmem import answers
from xenmem.answers.naming import Amounts, Finding
from xenmem.answers.report import PoolReport

Records = dict[str, dict[str, dict[str, Any]]]


def by_policy(amounts: Amounts) -> dict[str, int]:
    return {policy: getattr(amounts, policy) for policy in reference.POLICIES}


def pool_of(records: Records, **options: Any) -> PoolReport:
    (pool,) = answers.report(xenmem.Fleet.from_records(records), **options).pools
    return pool


def finding(records: Records, kind: str, **options: Any) -> Finding:
    (found,) = [warning for warning in pool_of(records, **options).warnings if warning.kind == kind]
    return found


def kinds(records: Records) -> set[str]:
    return {warning.kind for warning in pool_of(records).warnings}


def test_hosts_equal_the_reference(inventory: Path) -> None:
    naive = reference.read(inventory)
    expected = reference.report(naive)
    (pool,) = answers.report(xenmem.read(inventory)).pools
    assert pool.pool.model == expected.model
    assert {host.ref: by_policy(host.free) for host in pool.hosts} == expected.free
    for host in pool.hosts:
        assert host.memory_total == reference.memory_total(naive, host.ref)
        assert host.memory_free == naive["host_metrics"][naive["host"][host.ref]["metrics"]]["memory_free"]
        assert host.memory_overhead == naive["host"][host.ref]["memory_overhead"]
        for usage, is_control_domain in ((host.control_domains, True), (host.vms, False)):
            there = [
                (ref, vm)
                for ref, vm in naive["VM"].items()
                if vm["is_control_domain"] == is_control_domain
                for place in (vm["resident_on"], vm.get("scheduled_to_be_resident_on"))
                if place == host.ref
            ]
            assert usage.count == len({ref for ref, _ in there})
            assert usage.memory_overhead == sum(expected.stored_overhead[ref] for ref, _ in there)
            assert by_policy(usage.memory) == {
                policy: sum(vm[f"memory_{policy}"] for _, vm in there) for policy in reference.POLICIES
            }
        for policy in reference.POLICIES:
            left = (
                host.memory_total
                - host.memory_overhead
                - sum(getattr(u.memory, policy) + u.memory_overhead for u in (host.control_domains, host.vms))
            )
            assert (getattr(host.free, policy), getattr(host.overcommitted, policy)) == (max(0, left), max(0, -left))


def test_totals_add_up_the_hosts(inventory: Path) -> None:
    (pool,) = answers.report(xenmem.read(inventory)).pools
    assert pool.total.hosts == len(pool.hosts)
    assert pool.total.memory_total == sum(host.memory_total or 0 for host in pool.hosts)
    assert pool.total.memory_free == sum(host.memory_free or 0 for host in pool.hosts)
    assert pool.total.control_domains.count == sum(host.control_domains.count for host in pool.hosts)
    assert pool.total.vms.count == sum(host.vms.count for host in pool.hosts)
    assert pool.total.vms.memory_overhead == sum(host.vms.memory_overhead for host in pool.hosts)
    for policy in reference.POLICIES:
        assert getattr(pool.total.free, policy) == sum(getattr(host.free, policy) for host in pool.hosts)


def test_hosts_are_overcommitted_in_order_of_the_excess(records: Records) -> None:
    for number, host in enumerate(records["host"].values()):
        records["host_metrics"][host["metrics"]]["memory_total"] = str((8 << 30) - (number << 20))
    pool = pool_of(records)
    excess = {host.ref: host.overcommitted.static_max for host in pool.hosts}
    (found,) = [
        warning for warning in pool.warnings if warning.kind == "overcommitted" and "static_max" in warning.text
    ]
    assert found.hosts == sorted(excess, key=lambda ref: -excess[ref])
    assert found.hosts != list(excess)
    assert found.memory == sum(excess.values())


@pytest.mark.parametrize("model", [None, "26.3", "pre-26.3"])
def test_vms_equal_the_reference(inventory: Path, model: str | None) -> None:
    naive = reference.read(inventory)
    expected = reference.report(naive, model)
    (pool,) = answers.report(xenmem.read(inventory), model=model, vms=True).pools
    assert isinstance(pool.vms, list)
    shown = {vm.ref: vm for vm in pool.vms}
    assert shown.keys() == {
        ref
        for ref, vm in naive["VM"].items()
        if not vm["is_a_template"] or vm["resident_on"] or vm.get("scheduled_to_be_resident_on")
    }
    for ref, vm in shown.items():
        assert vm.domain_type == expected.domain_type[ref]
        assert vm.memory_overhead == expected.stored_overhead[ref]
        assert vm.compute_memory_overhead == expected.overhead[ref]
        assert by_policy(vm.start_memory) == expected.start_memory[ref]
        assert (vm.resident_on.ref if vm.resident_on else None) == naive["VM"][ref]["resident_on"]
        assert vm.memory_static_max == naive["VM"][ref]["memory_static_max"]


def test_free_memory_does_not_depend_on_the_model(inventory: Path) -> None:
    fleet = xenmem.read(inventory)
    assert [host.free for pool in answers.report(fleet, model="pre-26.3").pools for host in pool.hosts] == [
        host.free for pool in answers.report(fleet, model="26.3").pools for host in pool.hosts
    ]


def test_unknown_model_is_refused(small: xenmem.Fleet) -> None:
    with pytest.raises(ValueError, match="model: '9'"):
        answers.report(small, model="9")


def test_healthy_pool_has_no_other_findings(records: Records) -> None:
    assert kinds(records) == {"migrating", "shadow-multiplier"}


@pytest.mark.parametrize(
    ("table", "field", "value", "kind"),
    [
        ("host", "enabled", False, "host-disabled"),
        ("host_metrics", "live", False, "host-not-live"),
        ("host_metrics", "memory_total", "-1", "memory-total-unknown"),
    ],
)
def test_state_of_a_host_is_reported(records: Records, table: str, field: str, value: Any, kind: str) -> None:
    ref, host = next(iter(records["host"].items()))
    records[table][ref if table == "host" else host["metrics"]][field] = value
    assert finding(records, kind).hosts == [ref]


def test_unknown_total_is_null_and_free_is_what_xapi_says(records: Records) -> None:
    ref, host = next(iter(records["host"].items()))
    records["host_metrics"][host["metrics"]].update(memory_total="-1", memory_free="-1")
    pool = pool_of(records)
    (row,) = [row for row in pool.hosts if row.ref == ref]
    assert (row.memory_total, row.memory_free) == (None, None)
    assert (row.free, row.overcommitted) == (Amounts(0, 0, 0), Amounts(0, 0, 0))
    assert pool.total.memory_total == sum(other.memory_total or 0 for other in pool.hosts)


def test_overcommitment_is_reported_with_its_amount(records: Records) -> None:
    ref, host = next(iter(records["host"].items()))
    metrics = records["host_metrics"][host["metrics"]]
    (row,) = [row for row in pool_of(records).hosts if row.ref == ref]
    metrics["memory_total"] = str(int(metrics["memory_total"]) - row.free.static_max)
    assert "overcommitted" not in kinds(records)
    metrics["memory_total"] = str(int(metrics["memory_total"]) - 4096)
    found = [warning for warning in pool_of(records).warnings if warning.kind == "overcommitted"]
    assert [(warning.hosts, warning.memory) for warning in found] == [([ref], 4096)] * 3


def test_stored_overheads_of_the_other_model_are_reported(records: Records) -> None:
    naive = reference.read_records(json.dumps(records))
    stale = [ref for ref, vm in records["VM"].items() if not vm["is_a_template"] and vm["HVM_shadow_multiplier"] == 1][
        :3
    ]
    lack = 0
    for ref in stale:
        old = reference.vm_overhead(naive, ref, "pre-26.3")
        lack += reference.vm_overhead(naive, ref, "26.3") - old
        records["VM"][ref]["memory_overhead"] = str(old)
    found = finding(records, "stored-overhead")
    assert (sorted(found.vms), found.memory) == (sorted(stale), lack)
    assert "stored overheads of model pre-26.3, in all" in found.text


def test_stored_overhead_of_no_model_is_reported(records: Records) -> None:
    ref = next(ref for ref, vm in records["VM"].items() if not vm["is_a_template"])
    stored = int(records["VM"][ref]["memory_overhead"])
    records["VM"][ref]["memory_overhead"] = str(stored + 4096)
    found = finding(records, "stored-overhead")
    assert (found.vms, found.memory) == ([ref], -4096)
    assert "no known model" in found.text


def test_model_asked_for_decides_what_is_stale(records: Records) -> None:
    naive = reference.read_records(json.dumps(records))
    shown = [ref for ref, vm in naive["VM"].items() if not vm["is_a_template"]]
    found = finding(records, "stored-overhead", model="pre-26.3")
    assert found.memory == sum(
        reference.vm_overhead(naive, ref, "pre-26.3") - reference.vm_overhead(naive, ref, "26.3") for ref in shown
    )


def test_limits_out_of_order_are_reported(records: Records) -> None:
    ref = next(ref for ref, vm in records["VM"].items() if not vm["is_a_template"])
    for changed in (
        {"memory_static_min": "2", "memory_dynamic_min": "1"},
        {"memory_dynamic_min": "3", "memory_dynamic_max": "2"},
        {"memory_dynamic_max": "4", "memory_static_max": "3"},
    ):
        vm = records["VM"][ref]
        kept = dict(vm)
        vm.update(memory_static_min="1", memory_dynamic_min="1", memory_dynamic_max="1", memory_static_max="5", **{})
        vm.update(changed)
        assert finding(records, "constraints").vms == [ref]
        records["VM"][ref] = kept


def test_vm_counted_twice_is_told_from_one_that_migrates(records: Records) -> None:
    found = finding(records, "migrating")
    (ref,) = found.vms
    vm = records["VM"][ref]
    assert found.memory == int(vm["memory_dynamic_min"]) + int(vm["memory_overhead"])
    vm["scheduled_to_be_resident_on"] = vm["resident_on"]
    assert finding(records, "counted-twice").vms == [ref]
    places = ("resident_on", "scheduled_to_be_resident_on")
    there = [other for other in records["VM"].values() for place in places if other[place] == vm["resident_on"]]
    (host,) = [host for host in pool_of(records).hosts if host.ref == vm["resident_on"]]
    assert host.vms.count + host.control_domains.count == len({other["uuid"] for other in there}) == len(there) - 1
    assert host.vms.memory_overhead + host.control_domains.memory_overhead == sum(
        int(other["memory_overhead"]) for other in there
    )


def test_host_of_another_model_is_reported(records: Records) -> None:
    ref = next(ref for ref in records["host"] if all(pool["master"] != ref for pool in records["pool"].values()))
    records["host"][ref]["software_version"].update(xapi="26.2", xapi_build="26.2.0")
    assert finding(records, "model-differs").hosts == [ref]


def test_impossible_amounts_are_refused_not_wrapped(records: Records) -> None:
    host = next(iter(records["host"]))
    for number, vm in enumerate(records["VM"].values()):
        if number < 10:
            vm.update(memory_static_max=str(1 << 50), memory_dynamic_max=str(1 << 50), resident_on=host)
    with pytest.raises(answers.QuestionError, match="more than 4PiB"):
        answers.report(xenmem.Fleet.from_records(records))


def test_notes_of_reading_are_passed_on(small: xenmem.Fleet) -> None:
    notes = answers.report(small).notes
    assert [(note.kind, note.text) for note in notes] == [(note.kind, note.text) for note in small.notes]
    assert notes


def test_sums_beyond_64_bits_are_exact() -> None:
    """Each amount lies in its range, and so does what each host has."""
    pib, many = 1 << 50, range(9_000)
    vm = {
        **{"domain_type": "hvm", "power_state": "Running", "VCPUs_max": 2, "VCPUs_at_startup": 2},
        **{"HVM_shadow_multiplier": 1.0, "memory_overhead": pib, "memory_static_min": 0},
        **dict.fromkeys(("memory_static_max", "memory_dynamic_max", "memory_dynamic_min"), pib),
    }
    records = {
        "VM": {
            f"v{n}": vm | {"resident_on": f"h{n}", "scheduled_to_be_resident_on": f"h{(n + 1) % len(many)}"}
            for n in many
        },
        "host": {f"h{n}": {"metrics": "m", "enabled": True, "software_version": {"xapi": "24.19.2"}} for n in many},
        "host_metrics": {"m": {"memory_total": pib, "live": True}},
    }
    found = {warning.kind: warning for warning in pool_of(records).warnings}
    overhead = reference.overhead("hvm", pib, 2, 1.0, "pre-26.3")
    assert found["stored-overhead"].memory == len(many) * (overhead - pib) < -(1 << 62)
    assert "in all 8929.69PiB above what model pre-26.3 computes" in found["stored-overhead"].text
    assert found["migrating"].memory == len(many) * 2 * pib > 1 << 63
