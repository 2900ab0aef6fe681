"""The least to stop, against every set of VMs; and VM groups at each level."""

from itertools import combinations

import numpy as np
import pytest
from pools import pool

import xenmem
from xenmem import planning
from xenmem.planning.stopping import forgetting, least_stopped, stopped

pytestmark = pytest.mark.compiled


def crowded(seed: int) -> xenmem.Fleet:
    """Three hosts, two of which are nearly full."""
    rng = np.random.default_rng(seed)
    vms = [(int(rng.integers(5, 30)) * 100, int(host)) for host in (0, 0, 0, 1, 1, 2, 2)]
    load = [sum(size for size, host in vms if host == at) for at in range(3)]
    return pool([load[0] + 100, *(load[at] + int(rng.integers(1, 12)) * 100 for at in (1, 2))], vms)


@pytest.mark.parametrize("seed", range(6))
def test_the_least_that_has_to_be_stopped_is_found_and_proved(seed: int) -> None:
    fleet = crowded(seed)
    used = fleet.vms.memory_dynamic_min + fleet.vms.memory_overhead

    def ask(fleet: xenmem.Fleet) -> planning.Plan:
        return planning.evacuate(fleet, 0)

    if ask(fleet).is_complete:
        return
    found = least_stopped(fleet, range(len(fleet.vms)), ask)
    sets = [chosen for size in range(1, 8) for chosen in combinations(range(len(fleet.vms)), size)]
    doing = [chosen for chosen in sets if ask(stopped(fleet, chosen)).is_complete]
    least = min((int(used[list(chosen)].sum()), len(chosen)) for chosen in doing)
    assert found is not None
    assert ask(stopped(fleet, found.vms)).is_complete
    assert found.memory == int(used[list(found.vms)].sum())
    assert found.bound <= least[0] <= found.memory
    if found.is_least:
        assert (found.memory, len(found.vms)) == least


def test_nothing_to_stop_is_enough() -> None:
    fleet = pool([9000, 1000], [(3000, 0), (500, 0)])
    assert least_stopped(fleet, [1], lambda fleet: planning.evacuate(fleet, 0)) is None


def test_a_stopped_vm_is_nowhere_and_counts_nowhere() -> None:
    fleet = pool([9000, 9000], [(3000, 0), (500, 1)])
    gone = stopped(fleet, [0])
    assert gone.vms.resident_on.tolist() == [-1, 1]
    assert gone.free_memory().tolist()[0] > fleet.free_memory().tolist()[0]
    assert fleet.vms.resident_on.tolist() == [0, 1]


def test_constraints_forget_vms_that_are_out() -> None:
    constraints = {"pinned": {0: 1, 1: 0}, "anti_affinity": [[0, 1, 2]], "headroom": 5}
    assert forgetting(constraints, {0}) == {"pinned": {1: 0}, "anti_affinity": [[1, 2]], "headroom": 5}
