"""HA planning of whole pools against the golden vectors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from golden import golden, pairs, plan_pairs

from xenmem import kernel
from xenmem.planning.xapi import failover
from xenmem.planning.xapi.errors import ConfigurationError, FailoverPlanBrokenError

CASES = golden("ha_pool.jsonl")
Record = dict[str, Any]


def start_memory(vms: list[Record], amount: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    normal, shadow = kernel.required_memory(
        np.array([kernel.DomainType[vm["domain_type"].upper()] for vm in vms], np.int64),
        np.array([vm["memory_static_max"] for vm in vms], np.int64),
        np.array([vm[amount] for vm in vms], np.int64),
        np.array([vm["vcpus_max"] for vm in vms], np.int64),
        np.array([vm["shadow_multiplier"] for vm in vms], np.float64),
    )
    return normal + shadow


class Pool:
    """A golden pool, with its references as row numbers in the order of the database."""

    def __init__(self, case: Record) -> None:
        self.hosts = [host["ref"] for host in case["hosts"]]
        self.vms = [vm["ref"] for vm in case["vms"]]
        hosts, vms = case["hosts"], case["vms"]
        resident_on = self.host_rows([vm["resident_on"] for vm in vms])
        scheduled_on = self.host_rows([vm["scheduled_to_be_resident_on"] for vm in vms])
        bootable = [self.host_rows(vm["bootable_hosts"] or []).tolist() for vm in vms]
        self.ha = failover.HAPool(
            hosts=np.arange(len(hosts), dtype=np.int32),
            host_uuid=np.array([host["uuid"] for host in hosts], object),
            host_enabled=np.array([host["enabled"] for host in hosts], bool),
            host_live=np.array([host["live"] for host in hosts], bool),
            host_free=kernel.free_memory(
                np.array([host["memory_total"] - host["memory_overhead"] for host in hosts], np.int64),
                np.array([vm["memory_static_max"] for vm in vms], np.int64),
                np.array([vm["memory_overhead"] for vm in vms], np.int64),
                resident_on,
                scheduled_on,
            ),
            cluster_enabled=np.array([host["cluster_enabled"] for host in hosts], bool) if case["corosync"] else None,
            vms=np.arange(len(vms), dtype=np.int32),
            vm_uuid=np.array([vm["uuid"] for vm in vms], object),
            protected=np.array([vm["ha_always_run"] and vm["ha_restart_priority"] == "restart" for vm in vms], bool),
            resident_on=resident_on,
            scheduled_to_be_resident_on=scheduled_on,
            size=start_memory(vms, "memory_static_max"),
            agile=np.array([vm["agile"] for vm in vms], bool),
            bootable_hosts=lambda vm: bootable[vm],
        )
        change = case["change"]
        by_ref = dict(zip(self.vms, vms, strict=True))
        self.change = failover.ConfigurationChange(
            leaving=tuple(self.move(host, vm, by_ref[vm]) for host, vm in change["leaving"]),
            arriving=tuple(self.move(host, vm, record) for host, vm, record in change["arriving"]),
            hosts_to_disable=tuple(self.host_rows(change["hosts_to_disable"]).tolist()),
            num_failures=change["num_failures"],
            new_vms_to_protect=tuple(self.vms.index(vm) for vm in change["new_vms_to_protect"]),
        )

    def host_rows(self, refs: list[str | None]) -> "np.ndarray[Any, np.dtype[np.int32]]":
        return np.array([-1 if ref is None else self.hosts.index(ref) for ref in refs], np.int32)

    def move(self, host: str, vm: str, record: Record) -> failover.Move:
        amount = "memory_dynamic_max" if record["is_control_domain"] else "memory_static_max"
        memory, size = (int(start_memory([record], name)[0]) for name in (amount, "memory_static_max"))
        return failover.Move(self.hosts.index(host), self.vms.index(vm), memory, size)


@pytest.fixture(scope="module")
def pools() -> list[tuple[Record, Pool]]:
    assert len(CASES) == 380
    return [(case, Pool(case)) for case in CASES]


def equal_in_all(pools: list[tuple[Record, Pool]], name: str, answer: Callable[[Record, Pool], Any]) -> None:
    for case, pool in pools:
        assert answer(case, pool) == case[name], case["id"]


def test_protected_vms_and_live_set(pools: list[tuple[Record, Pool]]) -> None:
    equal_in_all(pools, "protected", lambda _, pool: [pool.vms[vm] for vm in np.flatnonzero(pool.ha.protected)])
    equal_in_all(pools, "live_set", lambda _, pool: [pool.hosts[host] for host in failover.get_live_set(pool.ha)])


def restart_plan(case: Record, pool: Pool) -> Record:
    try:
        restart = failover.compute_restart_plan(pool.ha, case["num_failures"], change=pool.change)
    except ConfigurationError as error:
        return {"error": str(error)}
    config = restart.configuration
    hosts = [pool.hosts[host] for host in config.hosts]
    return {
        "plan": plan_pairs(restart.plan, pool.vms, pool.hosts),
        "hosts": pairs(hosts, config.free.tolist()),
        "vms": pairs([pool.vms[vm] for vm in config.vms], config.sizes.tolist()),
        "placement": [
            [pool.vms[vm], pool.hosts[host]] for vm, host in zip(config.placed_vms, config.placed_hosts, strict=True)
        ],
        "total_hosts": config.total_hosts,
        "num_failures": config.num_failures,
        "vms_not_restarted": [pool.vms[vm] for vm in restart.not_restarted],
        "non_agile_protected_vms_exist": restart.non_agile_protected_vms_exist,
    }


def test_restart_plan(pools: list[tuple[Record, Pool]]) -> None:
    equal_in_all(pools, "restart_plan", restart_plan)


def test_outcomes(pools: list[tuple[Record, Pool]]) -> None:
    def outcome(change: bool) -> Callable[[Record, Pool], str]:
        return lambda case, pool: str(
            failover.plan_for_n_failures(
                pool.ha, case["num_failures"], change=pool.change if change else failover.NO_CHANGE
            )
        )

    equal_in_all(pools, "status", outcome(change=True))
    equal_in_all(pools, "status_without_change", outcome(change=False))


def test_max_failures(pools: list[tuple[Record, Pool]]) -> None:
    equal_in_all(pools, "max_failures", lambda _, pool: failover.compute_max_host_failures_to_tolerate(pool.ha))


def guard(case: Record, pool: Pool) -> str:
    try:
        failover.assert_configuration_change_preserves_ha_plan(
            pool.ha,
            pool.change,
            ha_enabled=True,
            ha_allow_overcommit=case["allow_overcommit"],
            ha_plan_exists_for=case["num_failures"],
        )
    except FailoverPlanBrokenError as error:
        return error.details[0]
    return "allowed"


def test_guard(pools: list[tuple[Record, Pool]]) -> None:
    equal_in_all(pools, "change_check", guard)
