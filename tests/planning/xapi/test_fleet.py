"""The questions about a Fleet: golden pools as XenAPI records, and an inventory, counted by the naive models."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden import golden
from pools import records
from twins import naive, reference

import xenmem
from xenmem.planning.pool_view import memory_to_leave
from xenmem.planning.xapi import evacuation, failover, placement
from xenmem.planning.xapi.errors import NoHostsAvailableError

POOL_SMALL = Path(__file__).parents[2] / "data" / "inventories" / "pool-small.records.json"
NULL = "OpaqueRef:NULL"
Record = dict[str, Any]


def fleet_of(hosts: list[Record], vms: list[Record]) -> xenmem.Fleet:
    """A Fleet of the records of a golden case, in the order of its database."""
    as_they_are = ("uuid", "domain_type", "ha_always_run", "ha_restart_priority", "is_control_domain")
    memory = ("memory_dynamic_min", "memory_dynamic_max", "memory_static_max", "memory_overhead")
    return xenmem.Fleet.from_records(
        {
            "pool": {"pool": {"uuid": "pool", "master": hosts[0]["ref"]}},
            "host": {
                host["ref"]: {
                    "uuid": host.get("uuid", host["ref"]),
                    "enabled": host.get("enabled", True),
                    "memory_overhead": host["memory_overhead"],
                    "metrics": f"metrics of {host['ref']}",
                    "software_version": {"xapi_build": "26.17.0"},
                }
                for host in hosts
            },
            "host_metrics": {
                f"metrics of {host['ref']}": {
                    "uuid": f"metrics of {host['ref']}",
                    "memory_total": host["memory_total"],
                    "live": host.get("live", True),
                }
                for host in hosts
            },
            "VM": {
                vm["ref"]: {
                    **{name: vm[name] for name in (*as_they_are, *memory)},
                    "memory_static_min": 0,
                    "power_state": "Running" if vm["resident_on"] else "Halted",
                    "VCPUs_max": vm["vcpus_max"],
                    "VCPUs_at_startup": vm["vcpus_max"],
                    "HVM_shadow_multiplier": vm["shadow_multiplier"],
                    "HVM_boot_policy": "",
                    "resident_on": vm["resident_on"] or NULL,
                    "scheduled_to_be_resident_on": vm["scheduled_to_be_resident_on"] or NULL,
                    "is_a_template": False,
                    "is_a_snapshot": False,
                }
                for vm in vms
            },
        }
    )


def test_memory_checks_and_sizes_equal_the_golden_vectors() -> None:
    cases = golden("host_free.jsonl")
    assert len(cases) == 500
    for case in cases:
        host = {"ref": "h", "memory_total": case["memory_total"], "memory_overhead": case["memory_overhead"]}
        fleet = fleet_of([host, {**host, "ref": "other"}], case["vms"])
        cand = len(fleet.vms) - 1
        error = placement.memory_error(fleet, cand, 0)
        expected = case["start_check"]
        if expected["ok"]:
            assert error is None, case["id"]
        else:
            assert error == (expected["error"], str(expected["required"]), str(expected["available"])), case["id"]
        assert placement.free_for(fleet, cand)[0] == case["free_maximum_compression_ignoring_cand"], case["id"]
        assert memory_to_leave(fleet)[cand] == case["evacuation_memory"], case["id"]
        assert failover.HAPool.from_fleet(fleet).size[cand] == case["ha_memory"], case["id"]


def test_high_availability_equals_the_golden_vectors() -> None:
    for case in golden("ha_pool.jsonl"):
        fleet = fleet_of(case["hosts"], case["vms"])
        hosts = [host["ref"] for host in case["hosts"]]
        bootable = [[hosts.index(host) for host in vm["bootable_hosts"] or []] for vm in case["vms"]]
        pool = failover.HAPool.from_fleet(
            fleet,
            agile=[vm["agile"] for vm in case["vms"]],
            bootable_hosts=bootable.__getitem__,
            cluster_enabled=[host["cluster_enabled"] for host in case["hosts"]] if case["corosync"] else None,
        )
        assert [fleet.vms.ref[vm] for vm in np.flatnonzero(pool.protected)] == case["protected"], case["id"]
        outcome = failover.plan_for_n_failures(pool, case["num_failures"])
        assert outcome == case["status_without_change"], case["id"]
        assert failover.compute_max_host_failures_to_tolerate(pool) == case["max_failures"], case["id"]
        change = case["change"]
        if len(change["arriving"]) == 1 and not change["leaving"] and not change["hosts_to_disable"]:
            (host, vm, record), row = change["arriving"][0], len(fleet.vms)
            if record in case["vms"]:
                row = case["vms"].index(record)
                asked = failover.vm_arrives(fleet, row, hosts.index(host))
                if asked.arriving and change["num_failures"] is None and not change["new_vms_to_protect"]:
                    assert failover.plan_for_n_failures(pool, case["num_failures"], change=asked) == case["status"]
            assert vm == record["ref"]


class Inventory:
    """The small pool as records, by the naive reader, and as a Fleet; some of it changed first."""

    def __init__(self, tmp_path: Path, change: Any = lambda _document: None) -> None:
        document = json.loads(POOL_SMALL.read_text())
        change(document)
        path = tmp_path / "pool.json"
        path.write_text(json.dumps(document))
        self.document = document
        self.plain = reference.read(path)
        self.fleet = xenmem.read(path)
        self.hosts, self.vms = list(self.fleet.hosts.ref), list(self.fleet.vms.ref)
        self.model = reference.pool_model(self.plain)

    def free(self, host: str, ignoring: str | None = None) -> int:
        return reference.host_free_memory(self.plain, host, "dynamic_min", ignoring)

    def start_memory(self, vm: str, static_max_for: tuple[str, ...]) -> int:
        policy = "static_max" if reference.domain_type(self.plain, vm) in static_max_for else "dynamic_min"
        return reference.start_memory(self.plain, vm, policy, self.model)

    def group(self, vm: str) -> str | None:
        groups = self.document["VM"][vm]["groups"]
        return next((g for g in groups if self.document["VM_group"][g]["placement"] == "anti_affinity"), None)

    def host_of(self, vm: str) -> str | None:
        record = self.plain["VM"][vm]
        running = record["resident_on"] if record["power_state"] == "Running" else None
        return record["scheduled_to_be_resident_on"] or running

    def count(self, group: str | None, host: str) -> int:
        return sum(group in record["groups"] and self.host_of(vm) == host for vm, record in self.document["VM"].items())


def spread_groups(document: Record) -> None:
    """Every third VM into a group that wants its VMs apart, so that all phases have something to do."""
    groups = sorted(document["VM_group"])
    for place, record in enumerate(document["VM"].values()):
        record["groups"] = [groups[place % len(groups)]] if place % 3 == 0 else []


def evacuees(inventory: Inventory, vms: list[str]) -> tuple[list[naive.Leaver], dict[tuple[int, str], int]]:
    groups = sorted({group for vm in vms if (group := inventory.group(vm)) is not None})
    leavers = [
        naive.Leaver(
            inventory.vms.index(vm),
            inventory.start_memory(vm, ("pv_in_pvh", "pvh")),
            None if (group := inventory.group(vm)) is None else groups.index(group),
        )
        for vm in vms
    ]
    counts = {
        (place, host): inventory.count(name, host) for place, name in enumerate(groups) for host in inventory.hosts
    }
    return leavers, counts


def test_evacuation_of_each_host(tmp_path: Path) -> None:
    inventory = Inventory(tmp_path, spread_groups)
    for row, host in enumerate(inventory.hosts):
        vms = [
            vm
            for vm, record in inventory.plain["VM"].items()
            if record["resident_on"] == host and not record["is_control_domain"]
        ]
        assert vms
        leavers, counts = evacuees(inventory, vms)
        targets = [naive.Target(other, inventory.free(other)) for other in inventory.hosts if other != host]
        expected = naive.evacuation_plan(len(inventory.hosts), leavers, targets, counts, True)
        found = evacuation.plan_host_evacuation(inventory.fleet, row)
        assert [(vm, inventory.hosts[target]) for vm, target in found.migrations.items()] == expected
        planned = [vm for vm, _ in expected]
        assert found.errors == {
            inventory.vms.index(vm): ("HOST_NOT_ENOUGH_FREE_MEMORY", vm)
            for vm in vms
            if inventory.vms.index(vm) not in planned
        }


def test_counts_of_the_vms_of_a_group(tmp_path: Path) -> None:
    """A VM counts where it is scheduled, else where it runs; the paused, suspended and halted ones do not count."""
    inventory = Inventory(tmp_path, spread_groups)
    groups = list(inventory.fleet.vm_groups.ref)
    states = {record["power_state"] for record in inventory.plain["VM"].values() if record["resident_on"]}
    assert states >= {"Running", "Paused"}
    for row, group in enumerate(groups):
        counts = evacuation.host_to_vm_count(inventory.fleet, row)
        assert counts.tolist() == [inventory.count(group, host) for host in inventory.hosts]
    assert sum(evacuation.host_to_vm_count(inventory.fleet, row).sum() for row in range(len(groups))) > 0


def test_hosts_with_equally_many_vms_of_a_group_are_tried_in_reverse_order(tmp_path: Path) -> None:
    def one_member(document: Record) -> None:
        for record in document["VM"].values():
            record["groups"] = []
        apart = next(ref for ref, group in document["VM_group"].items() if group["placement"] == "anti_affinity")
        halted = next(record for record in document["VM"].values() if record["power_state"] == "Halted")
        halted.update(groups=[apart], affinity=NULL, scheduled_to_be_resident_on=NULL)

    fleet = Inventory(tmp_path, one_member).fleet
    (vm,) = (row for row, groups in enumerate(fleet.vms.groups) if groups)
    assert placement.host_lists(fleet, vm) == [[2, 1, 0]]
    assert placement.host_lists(fleet, vm, vm_groups_enabled=False) == [[0, 1, 2]]


def test_what_prevents_an_evacuation(tmp_path: Path) -> None:
    def enable_ha(document: Record) -> None:
        next(iter(document["pool"].values()))["ha_enabled"] = True

    fleet = Inventory(tmp_path).fleet
    everyone = list(evacuation.plan_host_evacuation(fleet, 0).migrations)
    boots = evacuation.plan_host_evacuation(
        fleet, 0, boot_error=lambda vm, host: ("HOST_NOT_LIVE",) if (vm, host) == (everyone[0], 2) else None
    )
    assert boots.errors == {everyone[0]: ("HOST_NOT_LIVE",)}
    assert set(boots.migrations) == set(everyone[1:])
    busy = evacuation.plan_host_evacuation(
        fleet, 0, migrate_error=lambda vm: ("VM_LACKS_FEATURE", "x") if vm == everyone[1] else None
    )
    assert busy.errors == {everyone[1]: ("VM_LACKS_FEATURE", "x")}
    alone = evacuation.plan_host_evacuation(fleet, 0, version_not_lower=lambda _old, _new: False)
    assert alone.errors == {vm: ("NO_HOSTS_AVAILABLE", fleet.vms.ref[vm]) for vm in sorted(everyone)}

    def leave_two_hosts_behind(document: Any) -> None:
        for host in fleet.hosts.ref[1:]:
            document["host"][host]["software_version"]["xen"] = "4.0"

    assert evacuation.plan_host_evacuation(Inventory(tmp_path, leave_two_hosts_behind).fleet, 0).errors == alone.errors
    guarded = Inventory(tmp_path, enable_ha).fleet
    refused = evacuation.plan_host_evacuation(guarded, 0)
    protected = [vm for vm in everyone if guarded.vms.ha_restart_priority[vm] == "restart"]
    assert list(refused.migrations) == protected
    assert {error[0] for error in refused.errors.values()} == {"HOST_EVACUATE_VM_NOT_HA_PROTECTED"}
    assert len(refused.errors) == len(everyone) - len(protected)
    with pytest.raises(ValueError, match=r"host: 3 is outside 0\.\.2"):
        evacuation.plan_host_evacuation(fleet, 3)


def test_failover_plan_of_the_pool_message(tmp_path: Path) -> None:
    inventory = Inventory(tmp_path, spread_groups)
    dead = inventory.hosts[1]
    vms = [vm for vm, record in inventory.plain["VM"].items() if record["resident_on"] == dead]
    leavers, counts = evacuees(inventory, vms)
    targets = [naive.Target(host, inventory.free(host)) for host in inventory.hosts if host != dead]
    expected = naive.evacuation_plan(len(inventory.hosts), leavers, targets, counts, True)
    rows = [inventory.vms.index(vm) for vm in vms]
    found = evacuation.compute_vm_failover_plan(inventory.fleet, [1], rows)
    assert [(vm, inventory.hosts[host]) for vm, host in found.items() if isinstance(host, int)] == expected
    nowhere = evacuation.compute_vm_failover_plan(
        inventory.fleet, [0, 1, 2], rows[:2], agility_error=lambda vm: "HOST_HAS_NO_PCI" if vm == rows[0] else None
    )
    assert nowhere == {rows[0]: "HOST_HAS_NO_PCI", rows[1]: "HOST_NOT_ENOUGH_FREE_MEMORY"}


def sums(inventory: Inventory, host: str, new: str) -> naive.Sums:
    vms = inventory.plain["VM"]
    guests = [vm for vm in vms.values() if vm["resident_on"] == host]
    guests += [vm for vm in vms.values() if vm["scheduled_to_be_resident_on"] == host]
    guests.append(vms[new])
    record = inventory.plain["host"][host]
    available = reference.memory_total(inventory.plain, host) - record["memory_overhead"]
    return naive.Sums(
        *(sum(vm[f"memory_{name}"] for vm in guests) for name in ("dynamic_min", "dynamic_max", "static_max")),
        available=available - sum(vm["memory_overhead"] for vm in guests),
    )


def disable_a_host(document: Record) -> None:
    spread_groups(document)
    sorted(document["host"].items())[1][1]["enabled"] = False


@pytest.mark.parametrize("change", [spread_groups, disable_a_host])
@pytest.mark.parametrize("bias", [True, False])
def test_host_of_a_start(tmp_path: Path, change: Any, bias: bool) -> None:
    inventory = Inventory(tmp_path, change)
    plain, hosts = inventory.plain, inventory.hosts
    master = next(iter(plain["pool"].values()))["master"]
    for row, vm in enumerate(inventory.vms):
        record = plain["VM"][vm]
        group, affinity = inventory.group(vm), record["affinity"]
        lists = [hosts]
        if group is not None:
            others = [host for host in reversed(hosts) if host != affinity]
            counts = sorted({inventory.count(group, host) for host in others})
            lists = [[affinity]] if affinity else []
            lists += [[host for host in others if inventory.count(group, host) == count] for count in counts]
        assert placement.host_lists(inventory.fleet, row) == [[hosts.index(host) for host in some] for some in lists]

        def valid(host: str, with_memory: bool, vm: str = vm, record: Record = record) -> bool:
            enabled = plain["host"][host]["enabled"] or record["is_control_domain"]
            fits = inventory.start_memory(vm, ("pv_in_pvh",)) <= inventory.free(host, ignoring=vm)
            return enabled and (fits or not with_memory)

        expected = None
        rng, twin = np.random.default_rng(row), np.random.default_rng(row)
        for candidates, with_memory in [
            *((some, True) for some in lists),
            ([host for some in lists for host in some], False),
        ]:
            place = naive.select_host(
                [sums(inventory, host, vm) for host in candidates],
                [place for place, host in enumerate(candidates) if host == affinity],
                [place for place, host in enumerate(candidates) if bias and host == master],
                lambda place: valid(candidates[place], with_memory),  # noqa: B023  (called at once)
                lambda: float(twin.random()) ** 2,  # noqa: B023
            )
            if place is not None:
                expected = hosts.index(candidates[place])
                break
        try:
            found = placement.choose_host_for_vm(inventory.fleet, row, placement.biased(rng), coordinator_bias=bias)
        except NoHostsAvailableError:
            assert expected is None
        else:
            assert found == expected


def test_choice_with_lists_and_checks_of_the_caller(tmp_path: Path) -> None:
    fleet = Inventory(tmp_path).fleet
    assert placement.choose_host_for_vm(fleet, 0, placement.zero, lists=[[2]]) == 2
    with pytest.raises(NoHostsAvailableError) as raised:
        placement.choose_host_for_vm(fleet, 0, placement.zero, can_boot=lambda _vm, _host: False)
    assert raised.value.details == ("NO_HOSTS_AVAILABLE",)


def test_a_start_without_the_memory_check_where_nothing_passes_it() -> None:
    """A PV VM in a PVH container must fit with static_max, but the categories count its dynamic_min."""
    gib = 1 << 30
    vm: Record = {
        **dict.fromkeys(("ref", "uuid"), "v"),
        "domain_type": "pv_in_pvh",
        "vcpus_max": 1,
        "shadow_multiplier": 1.0,
        "memory_dynamic_min": 2 * gib,
        "memory_dynamic_max": 20 * gib,
        "memory_static_max": 20 * gib,
        "memory_overhead": 0,
        "ha_always_run": False,
        "ha_restart_priority": "",
        "resident_on": None,
        "scheduled_to_be_resident_on": None,
        "is_control_domain": False,
    }
    hosts = [{"ref": ref, "memory_total": total * gib, "memory_overhead": 0} for ref, total in (("h", 3), ("i", 10))]
    fleet = fleet_of(hosts, [vm])
    assert [placement.memory_error(fleet, 0, host) is None for host in (0, 1)] == [False, False]
    assert placement.choose_host_for_vm(fleet, 0, placement.zero) == 1
    with pytest.raises(NoHostsAvailableError):
        placement.choose_host_for_vm(fleet_of([{**hosts[0], "memory_total": gib}], [vm]), 0, placement.zero)

    unknown = {"ref": "h", "memory_total": -1, "memory_overhead": 1 << 50}
    assert placement.free_for(fleet_of([unknown], [vm]), 0).tolist() == [0]


def test_many_pools_are_planned_apart(tmp_path: Path) -> None:
    """The rows of a second pool follow those of the first; every answer is the same, by that offset."""
    first = Inventory(tmp_path).fleet

    def rename(document: Record) -> None:
        next(iter(document["pool"].values()))["uuid"] = "another"
        for host in document["host"].values():
            host["uuid"] = f"another {host['uuid']}"

    second = Inventory(tmp_path, rename).fleet
    both = xenmem.Fleet.concatenate([first, second])
    vms, hosts = len(first.vms), len(first.hosts)
    one, other = (failover.HAPool.from_fleet(both, pool) for pool in (0, 1))
    assert other.vms.tolist() == [vm + vms for vm in one.vms]
    plan, shifted = (failover.compute_restart_plan(pool, 1) for pool in (one, other))
    assert (plan.configuration.hosts + hosts).tolist() == shifted.configuration.hosts.tolist()
    assert (plan.configuration.placed_vms + vms).tolist() == shifted.configuration.placed_vms.tolist()
    migrations = evacuation.plan_host_evacuation(both, hosts + 1).migrations
    alone = evacuation.plan_host_evacuation(first, 1).migrations
    assert migrations == {vm + vms: host + hosts for vm, host in alone.items()}
    with pytest.raises(ValueError, match=r"pool: 2 is outside 0\.\.1"):
        failover.HAPool.from_fleet(both, 2)


def test_a_vm_on_local_storage_is_not_agile_and_runs_where_its_disk_is() -> None:
    tables = records([100, 100], [(40, 0), (40, 1)])
    tables["SR"] = {"local": {"uuid": "local", "name_label": "local", "shared": False, "type": "ext"}}
    tables["PBD"] = {"pbd": {"SR": "local", "host": "p-h1", "currently_attached": True}}
    tables["VDI"] = {"vdi": {"SR": "local", "sm_config": {}}}
    tables["VBD"] = {"vbd": {"VM": "p-v1", "VDI": "vdi", "empty": False}}
    tables["VM"]["p-v1"]["VBDs"] = ["vbd"]
    pool = failover.HAPool.from_fleet(xenmem.Fleet.from_records(tables))
    assert pool.agile.tolist() == [True, False]
    assert [list(pool.bootable_hosts(vm)) for vm in (0, 1)] == [[0, 1], [1]]
