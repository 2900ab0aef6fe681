"""One VM piece by piece: the pieces against the naive model, the hosts against the naive inventory layer."""

import json
from pathlib import Path
from typing import Any

import pytest
from twins import reference

import xenmem
from xenmem import answers
from xenmem.answers.naming import find_host, find_vm

Records = dict[str, dict[str, dict[str, Any]]]


@pytest.mark.parametrize("model", ["26.3", "pre-26.3"])
def test_pieces_equal_the_reference(inventory: Path, model: str) -> None:
    naive = reference.read(inventory)
    fleet = xenmem.read(inventory)
    for row, ref in enumerate(fleet.vms.ref):
        vm, kind = naive["VM"][ref], reference.domain_type(naive, ref)
        constants = reference.MODELS[model]
        which = reference.DOMAIN_TYPES.index(kind)
        mib, vcpus, multiplier = (
            reference.mib_used(vm["memory_static_max"]),
            vm["VCPUs_max"],
            vm["HVM_shadow_multiplier"],
        )
        answer = answers.explain(fleet, row, model=model)
        pieces = answer.overhead
        assert pieces.shadow.memory == reference.shadow_mib(constants, kind, mib, vcpus, multiplier) * reference.MIB
        assert pieces.shadow.unscaled == reference.shadow_mib(constants, kind, mib, vcpus, 1.0) * reference.MIB
        assert (pieces.shadow.vcpu_pages, pieces.shadow.p2m_pages, pieces.shadow.resident_pages) == (
            256 * vcpus,
            mib,
            mib,
        )
        assert pieces.xen_vcpu_pages == constants.xen_pages_per_vcpu * vcpus
        assert pieces.xen_vcpu == reference.round_up(pieces.xen_vcpu_pages, 256) * reference.MIB
        assert pieces.shim == reference.shim_mib(constants, kind, mib) * reference.MIB
        assert pieces.extra_internal == constants.extra_internal_mib[which] * reference.MIB
        assert pieces.extra_external == constants.extra_external_mib[which] * reference.MIB
        parts = (pieces.xen_vcpu, pieces.shim, pieces.extra_internal, pieces.extra_external)
        assert pieces.total == pieces.shadow.memory + sum(parts) == reference.vm_overhead(naive, ref, model)
        for policy in reference.POLICIES:
            part = getattr(answer.required, policy)
            assert (part.normal, part.shadow) == reference.required_memory(
                kind, vm["memory_static_max"], vm[f"memory_{policy}"], vcpus, multiplier, model
            )
            assert part.total == reference.start_memory(naive, ref, policy, model)


def test_hosts_equal_the_reference(inventory: Path) -> None:
    naive = reference.read(inventory)
    fleet = xenmem.read(inventory)
    model = reference.pool_model(naive)
    for row, ref in enumerate(fleet.vms.ref):
        policy = "static_max" if reference.domain_type(naive, ref) == "pv_in_pvh" else "dynamic_min"
        answer = answers.explain(fleet, row)
        assert {host.ref for host in answer.hosts} == naive["host"].keys()
        for host in answer.hosts:
            assert host.required == reference.start_memory(naive, ref, policy, model)
            assert host.available == reference.host_free_memory(naive, host.ref, ignore_scheduled=ref)
            assert host.spare == host.available - host.required
            if host.fits is not False:
                assert host.spare >= 0
                assert host.reasons == []
                assert bool(host.not_known) == (host.fits is None)
            else:
                assert host.reasons or answer.obstacles


def explain(records: Records, ref: str) -> Any:
    fleet = xenmem.Fleet.from_records(records)
    return answers.explain(fleet, find_vm(fleet, ref))


@pytest.fixture
def halted(records: Records) -> str:
    """A VM that could start on every host."""
    return next(
        ref
        for ref, vm in records["VM"].items()
        if vm["power_state"] == "Halted" and not vm["is_a_template"] and float(vm["HVM_shadow_multiplier"]) == 1
    )


def test_healthy_vm_could_start_everywhere(records: Records, halted: str) -> None:
    answer = explain(records, halted)
    assert answer.operation == "start"
    assert [host.fits for host in answer.hosts] == [True] * 3


@pytest.mark.parametrize(
    ("table", "field", "value", "reason"),
    [
        ("host", "enabled", False, "disabled"),
        ("host_metrics", "live", False, "not live"),
        ("host_metrics", "memory_total", "-1", "memory_total unknown"),
        ("host", "cpu_info", {"cpu_count": "1"}, "has 1 CPUs for 2 vCPUs"),
    ],
)
def test_state_of_a_host_is_a_reason(
    records: Records, halted: str, table: str, field: str, value: Any, reason: str
) -> None:
    records["VM"][halted].update(VCPUs_max="2", VCPUs_at_startup="1")
    ref, host = next(iter(records["host"].items()))
    records[table][ref if table == "host" else host["metrics"]][field] = value
    (row,) = [row for row in explain(records, halted).hosts if row.ref == ref]
    assert (row.fits, row.reasons) == (False, [reason])


def test_a_control_domain_starts_on_its_affinity_host_also_if_that_is_disabled(records: Records, halted: str) -> None:
    first, *others = records["host"]
    records["VM"][halted].update(is_control_domain=True, affinity=first)
    for host in records["host"].values():
        host["enabled"] = False
    reasons = {row.ref: row.reasons for row in explain(records, halted).hosts}
    elsewhere = "a control domain starts on its affinity host only"
    assert reasons == {first: []} | {ref: [elsewhere] for ref in others}


def test_unrestricted_vcpus_need_no_cpus(records: Records, halted: str) -> None:
    records["VM"][halted].update(VCPUs_max="2", VCPUs_at_startup="1", platform={"vcpu-unrestricted": "true"})
    for host in records["host"].values():
        host["cpu_info"] = {"cpu_count": "1"}
    assert [row.reasons for row in explain(records, halted).hosts] == [[], [], []]
    fleet = xenmem.Fleet.from_records(records)
    assert [row.reasons for row in answers.maximise(fleet, find_vm(fleet, halted)).hosts] == [[], [], []]
    del records["VM"][halted]["platform"]
    fleet = xenmem.Fleet.from_records(records)
    assert [row.reasons for row in answers.maximise(fleet, find_vm(fleet, halted)).hosts] == [
        ["has 1 CPUs for 2 vCPUs"]
    ] * 3


@pytest.mark.parametrize(
    ("kind", "policy"),
    [("hvm", "dynamic_min"), ("pv", "dynamic_min"), ("pvh", "dynamic_min"), ("pv_in_pvh", "static_max")],
)
def test_domain_type_says_which_requirement_decides(records: Records, halted: str, kind: str, policy: str) -> None:
    records["VM"][halted].update(
        domain_type=kind,
        memory_static_min="0",
        memory_dynamic_min=str(1 << 30),
        memory_dynamic_max=str(2 << 30),
        memory_static_max=str(4 << 30),
    )
    naive = reference.read_records(json.dumps(records))
    answer = explain(records, halted)
    assert answer.boot_policy == policy
    assert {host.required for host in answer.hosts} == {reference.start_memory(naive, halted, policy, "26.3")}


def test_memory_is_a_reason_to_the_byte(records: Records, halted: str) -> None:
    ref, host = next(iter(records["host"].items()))
    metrics = records["host_metrics"][host["metrics"]]
    (row,) = [row for row in explain(records, halted).hosts if row.ref == ref]
    metrics["memory_total"] = str(int(metrics["memory_total"]) - row.spare)
    (row,) = [row for row in explain(records, halted).hosts if row.ref == ref]
    assert (row.fits, row.spare) == (True, 0)
    metrics["memory_total"] = str(int(metrics["memory_total"]) - 1)
    (row,) = [row for row in explain(records, halted).hosts if row.ref == ref]
    assert (row.fits, row.spare, row.reasons) == (False, -1, ["needs 1B more memory"])


@pytest.mark.parametrize(
    ("changes", "obstacle"),
    [
        ({"VCPUs_max": "0", "VCPUs_at_startup": "0"}, "VCPUs_max is 0"),
        ({"VCPUs_max": "2", "VCPUs_at_startup": "3"}, "VCPUs_at_startup 3 is not in 1..2"),
        ({"HVM_shadow_multiplier": 0.5}, "HVM_shadow_multiplier 0.5 is below 1"),
        ({"memory_static_min": "9", "memory_static_max": "8"}, "its memory limits contradict each other"),
        ({"is_a_template": True}, "it is a template"),
        ({"is_a_template": True, "is_a_snapshot": True}, "it is a snapshot"),
    ],
)
def test_vm_that_starts_nowhere_says_why(records: Records, halted: str, changes: dict[str, Any], obstacle: str) -> None:
    records["VM"][halted].update(changes)
    answer = explain(records, halted)
    assert obstacle in answer.obstacles
    assert not any(host.fits for host in answer.hosts)


def test_stored_overhead_of_the_other_model_is_named(records: Records, halted: str) -> None:
    naive = reference.read_records(json.dumps(records))
    records["VM"][halted]["memory_overhead"] = str(reference.vm_overhead(naive, halted, "pre-26.3"))
    answer = explain(records, halted)
    assert (answer.overhead.model, answer.stored_overhead_model) == ("26.3", "pre-26.3")


def test_names_uuids_and_references_find_a_vm(small: xenmem.Fleet) -> None:
    row = small.vms.name_label.tolist().index("lab-git-011")
    for name in ("lab-git-011", small.vms.uuid[row], small.vms.ref[row]):
        assert find_vm(small, name) == row


def test_hostnames_find_a_host_that_no_name_finds(records: Records) -> None:
    for number, host in enumerate(records["host"].values()):
        host["hostname"] = f"node{number}"
    fleet = xenmem.Fleet.from_records(records)
    assert [find_host(fleet, f"node{number}") for number in range(3)] == [0, 1, 2]
    assert find_host(fleet, fleet.hosts.name_label[1]) == 1


def test_name_of_a_vm_and_its_template_means_the_vm(records: Records, halted: str) -> None:
    template = next(ref for ref, vm in records["VM"].items() if vm["is_a_template"])
    records["VM"][template]["name_label"] = records["VM"][halted]["name_label"]
    assert explain(records, records["VM"][halted]["name_label"]).ref == halted


def test_ambiguous_name_lists_the_candidates(records: Records, halted: str) -> None:
    other = next(ref for ref, vm in records["VM"].items() if ref != halted and not vm["is_a_template"])
    records["VM"][other]["name_label"] = records["VM"][halted]["name_label"]
    with pytest.raises(answers.QuestionError) as caught:
        explain(records, records["VM"][halted]["name_label"])
    assert records["VM"][other]["uuid"] in str(caught.value)
    assert records["VM"][halted]["uuid"] in str(caught.value)


def test_unknown_name_lists_similar_ones(small: xenmem.Fleet) -> None:
    with pytest.raises(answers.QuestionError, match=r"no VM 'LAB-GIT'.*similar: lab-git-011"):
        find_vm(small, "LAB-GIT")
    with pytest.raises(answers.QuestionError, match=r"no host 'par\.example'.*similar: xen01\.par"):
        find_host(small, "par.example")


def test_the_beginning_of_one_name_does(small: xenmem.Fleet) -> None:
    """F20: xen03 for xen03.lab.example was refused with the right suggestion."""
    assert find_host(small, "xen01") == find_host(small, "xen01.par.example")
    assert find_vm(small, "lab-git-0") == find_vm(small, "lab-git-011")
    assert find_vm(small, small.vms.uuid[5][:8]) == 5
    with pytest.raises(answers.QuestionError, match=r"host 'xen' is ambiguous: xen01.*, xen02.*, xen03"):
        find_host(small, "xen")
    with pytest.raises(answers.QuestionError, match="no host ''"):
        find_host(small, "")
