"""What the pool says and writes about its failover plan, and the order in which HA starts VMs."""

import numpy as np
import pytest
from ha_pools import ha_pool
from twins.naive import HAVM, HAHost

from xenmem.planning.xapi import failover
from xenmem.planning.xapi.binpack import Plan
from xenmem.planning.xapi.errors import ConfigurationError, FailoverPlanBrokenError, RestartPriorityError
from xenmem.planning.xapi.failover import PoolStatus

HOSTS = [HAHost(ref, f"h{ref}", True, True, free, True) for ref, free in enumerate((4, 10, 10))]
VMS = [HAVM(ref, f"v{ref}", ref < 2, 0, None, size, True, ()) for ref, size in enumerate((3, 3, 9))]
POOL = ha_pool(HOSTS, VMS)  # survives 2 failures; 1 if VM 2 is protected, too


def test_status_update() -> None:
    assert failover.compute_max_host_failures_to_tolerate(POOL) == 2
    assert failover.update_pool_status(POOL, 1, 0) == PoolStatus(False, 1, False)
    assert failover.update_pool_status(POOL, 2, 2) == PoolStatus(False, 2, False)
    assert failover.update_pool_status(POOL, 3, 3) == PoolStatus(True, 2, True)
    assert failover.update_pool_status(POOL, 3, 2) == PoolStatus(True, 2, False)
    assert failover.update_pool_status(POOL, 3, 0) == PoolStatus(True, 2, False)


def test_status_after_the_message() -> None:
    assert failover.status_after_computing_max(3, 1, 2) == PoolStatus(True, 2, False)
    assert failover.status_after_computing_max(1, 5, 2) == PoolStatus(False, 1, True)
    assert failover.status_after_computing_max(1, 2, 2) == PoolStatus(False, 2, False)


def test_whether_a_plan_exists() -> None:
    assert [failover.plan_exists_for_all(POOL, failures) for failures in (-1, 0, 2, 3, 4)] == [
        False,
        True,
        True,
        False,
        False,
    ]
    assert not failover.plan_exists_for_all(POOL, 1, live_set=[0])


def test_hypothetical_priorities() -> None:
    ask = failover.compute_hypothetical_max_host_failures_to_tolerate
    assert ask(POOL, {}) == 3
    assert ask(POOL, {0: "restart", 1: "best-effort", 2: ""}) == 2
    assert ask(POOL, {0: "restart", 1: "restart", 2: "restart"}) == 1
    with pytest.raises(RestartPriorityError) as raised:
        ask(POOL, {0: "restart", 1: "Restart"})
    assert raised.value.details == ("INVALID_VALUE", "ha_restart_priority", "Restart")


def guard(
    change: failover.ConfigurationChange, survives: int = 2, enabled: bool = True, overcommit: bool = False
) -> None:
    failover.assert_configuration_change_preserves_ha_plan(
        POOL, change, ha_enabled=enabled, ha_allow_overcommit=overcommit, ha_plan_exists_for=survives
    )


def test_guard() -> None:
    harmful = failover.ConfigurationChange(hosts_to_disable=(1,))
    with pytest.raises(FailoverPlanBrokenError) as raised:
        guard(harmful)
    assert raised.value.details == ("HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN",)
    guard(harmful, survives=1)
    guard(harmful, enabled=False)
    guard(harmful, overcommit=True)
    guard(harmful, survives=3)  # nothing to lose: three failures are not survived now
    with pytest.raises(FailoverPlanBrokenError):
        guard(failover.ConfigurationChange(new_vms_to_protect=(2,)))


def test_the_first_of_several_arrivals_counts() -> None:
    arriving = (failover.Move(1, 0, memory=2, size=5), failover.Move(2, 0, memory=4, size=6))
    restart = failover.compute_restart_plan(POOL, 1, change=failover.ConfigurationChange(arriving=arriving))
    assert restart.configuration.sizes.tolist() == [5, 3]
    assert restart.configuration.placed_hosts.tolist() == [1, 0]
    assert restart.configuration.free.tolist() == [4, 8, 6]


def test_unknown_vm() -> None:
    change = failover.ConfigurationChange(new_vms_to_protect=(0, 8))
    with pytest.raises(ConfigurationError, match="new_vms_to_protect: 8 at index 1 is no row of the pool"):
        failover.compute_restart_plan(POOL, 1, change=change)


ORDER = np.array([5, -1, 0, 5, -7, 0])


def starts(groups: list[failover.StartGroup]) -> list[tuple[int, list[int], list[int]]]:
    return [(group.order, group.vms.tolist(), group.hosts.tolist()) for group in groups]


def test_groups_are_started_in_ascending_order_negative_ones_last() -> None:
    plan = Plan(np.arange(6, dtype=np.int32)[::-1], np.array([9, 8, 7, 6, 5, 4], np.int32))
    assert starts(failover.group_by_order(plan, ORDER)) == [
        (0, [5, 2], [9, 6]),
        (5, [3, 0], [7, 4]),
        (2**63 - 1, [4, 1], [8, 5]),
    ]


def test_a_partial_plan_is_thrown_away() -> None:
    hosts = [HAHost(0, "h", True, True, 5, True)]
    vms = [HAVM(ref, f"v{ref}", True, None, None, size, True, ()) for ref, size in ((0, 3), (2, 2), (3, 1))]
    complete = failover.compute_restart_plan(ha_pool(hosts, vms[:2]), 0)
    assert starts(failover.restart_order(complete, [0, 2], ORDER)) == [(0, [2], [0]), (5, [0], [0])]
    partial = failover.compute_restart_plan(ha_pool(hosts, vms), 0)
    assert partial.not_restarted.tolist() == [3]
    discarded = [(0, [2], [-1]), (5, [0, 3], [-1, -1])]
    assert starts(failover.restart_order(partial, [0, 2, 3], ORDER)) == discarded
    assert starts(failover.restart_order(None, [0, 2, 3], ORDER)) == discarded
