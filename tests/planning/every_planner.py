"""Calls every public planner once, and writes as JSON which were called and what was compiled on the way.

Run as a program: its argument is an inventory of one pool. Fails if a public planner is not called.
"""

import inspect
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.core import event

import xenmem
from xenmem import kernel, planning
from xenmem.planning import xapi

SHORT = 0.3


def packed(fleet: xenmem.Fleet) -> list[planning.Plan]:
    """With each objective, and once more for few VMs, of which the last has hardly room."""
    plans = [planning.pack(fleet, objective=objective, time_limit=SHORT) for objective in planning.OBJECTIVES]
    vms = fleet.vms
    halted = vms.is_guest & (vms.power_state == xenmem.PowerState.HALTED) & (vms.scheduled_to_be_resident_on < 0)
    few = np.flatnonzero(halted)[:9].tolist()
    plans += [planning.pack(fleet, few, pinned={few[0]: 0}, anti_affinity=[few[:2]], time_limit=SHORT)]
    return plans


def in_threes(objective: str) -> planning.Plan:
    """Three VMs to each host, full to the last byte."""
    sizes = np.random.default_rng(5).integers(260, 370, (15, 2))
    return planning.pack_sizes(
        np.column_stack([sizes, 1000 - sizes.sum(axis=1)]).ravel(), [1000] * 15, objective, time_limit=SHORT
    )


def calls(fleet: xenmem.Fleet) -> dict[str, Callable[[], Any]]:
    """What to call, by the name of the planner."""
    running = fleet.vms.is_guest & (fleet.vms.resident_on >= 0)
    pool = planning.RestartPool.from_fleet(fleet, protected=running)
    small = planning.RestartPool.from_arrays([9, 4, 5, 8], [5, 3, 3, 4, 2], [0, 0, 1, 2, 3])
    ha = xapi.HAPool.from_fleet(fleet).protecting(np.flatnonzero(running))
    halted = int(np.flatnonzero(fleet.vms.is_guest & ~running)[0])
    restart = xapi.compute_restart_plan(ha, 1)
    host = xapi.balloon.Host([xapi.balloon.Domain(1, True, 1024, 4096, 8192, 4096, 4096, 4)], 1 << 17)
    return {
        "pack": lambda: packed(fleet),
        "pack_sizes": lambda: [in_threes(objective) for objective in planning.OBJECTIVES],
        "verify": lambda: planning.verify(planning.pack_sizes([5, 3, 3], [6, 5]), sizes=[5, 3, 3], free=[6, 5]),
        "evacuate": lambda: [planning.evacuate(fleet, row, time_limit=SHORT).migrations for row in (0, 1)],
        "consolidate": lambda: planning.consolidate(fleet, time_limit=SHORT).migrations,
        "rebalance": lambda: planning.rebalance(fleet, 5, time_limit=SHORT).migrations,
        "rolling_update": lambda: planning.rolling_update(
            planning.UpdateProblem.from_fleet(fleet, model=kernel.DEFAULT_MODEL), time_limit=SHORT
        ),
        "failover": lambda: [
            planning.failover(each, n, one_by_one=one_by_one, time_limit=SHORT)
            for each in (pool, small)
            for n in range(3)
            for one_by_one in (False, True)
        ],
        "failover_of_pools": lambda: planning.failover_of_pools(fleet, 1),
        "max_failures": lambda: [planning.max_failures(each, time_limit=SHORT) for each in (pool, small)],
        "remedy": lambda: planning.remedy(small, 2, smallest=[1, 1, 1, 1, 1]),
        "restart_plan": lambda: planning.restart_plan(small, [0]),
        "capacity": lambda: planning.capacity(small, [1, 2], num_failures=1),
        "tag_rules": lambda: planning.tag_rules(fleet),
        "margin": lambda: planning.margin(small, 1),
        "capacity_of_pools": lambda: planning.capacity_of_pools(fleet, static_max=[1 << 30], num_failures=1),
        "balloon": lambda: planning.balloon(fleet, halted, 0),
        "squeeze": lambda: planning.squeeze(host, 1024, 2048),
        "fair_targets": lambda: planning.fair_targets(host, (1024, 2048)),
        "xapi.biggest_fit_decreasing": lambda: xapi.biggest_fit_decreasing([5, 3, 3], [6, 5]),
        "xapi.choose_host_for_vm": lambda: xapi.choose_host_for_vm(fleet, halted, xapi.placement.biased(0)),
        "xapi.compute_evacuation_plan": lambda: xapi.plan_host_evacuation(fleet, 1),
        "xapi.plan_host_evacuation": lambda: xapi.plan_host_evacuation(fleet, 0),
        "xapi.compute_max_host_failures_to_tolerate": lambda: xapi.compute_max_host_failures_to_tolerate(ha),
        "xapi.compute_restart_plan": lambda: xapi.compute_restart_plan(ha, 1),
        "xapi.plan_for_n_failures": lambda: [xapi.plan_for_n_failures(ha, n) for n in range(4)],
        "exhaustive": lambda: xapi.binpack.exhaustive_plan_always_possible(restart.configuration),
        "approximate": lambda: xapi.binpack.approximate_plan_always_possible(restart.configuration),
        "kernel": lambda: [
            kernel.overhead(0, [1 << 30], 1, 1.0, backend="numba"),
            kernel.required_memory(0, [1 << 30], 1 << 30, 1, 1.0, backend="numba"),
            kernel.maximise_memory(0, 1, 1.0, [1 << 30], backend="numba"),
            kernel.build_memory(0, 1 << 30, 1 << 30, [0], backend="numba"),
            fleet.free_memory(),
            fleet.start_memory(),
        ],
    }


def public() -> set[str]:
    """Every planner by the name under which it is called here."""
    return {
        f"{prefix}{name}"
        for prefix, package in (("", planning), ("xapi.", xapi))
        for name in package.__all__
        if inspect.isfunction(getattr(package, name))
    }


def main() -> None:
    fleet = xenmem.read(sys.argv[1])
    with event.install_recorder("numba:compile") as recorder:
        questions = calls(fleet)
        missing = public() - questions.keys()
        assert not missing, missing
        for ask in questions.values():
            ask()
    compiled = [
        f"{function.__module__}.{function.__name__}"
        for function in (one.data["dispatcher"].py_func for _, one in recorder.buffer if one.is_start)
    ]
    json.dump({"called": sorted(questions), "compiled": compiled}, sys.stdout)


if __name__ == "__main__":
    main()
