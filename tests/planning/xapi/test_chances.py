"""How probable each host of a start is: against every order of draws, and against the draws of the choice itself."""

import json
import math
from pathlib import Path

import pytest
from busy_pools import random_pool
from hypothesis import given
from hypothesis import strategies as st

import xenmem
from xenmem.planning.xapi import PlanningError, choose_host_for_vm
from xenmem.planning.xapi.placement import chances, host_candidates


def naive(hosts: list[int], is_valid: list[bool]) -> dict[int, float]:
    """Draw each host with its probability; where it is invalid, go on without it."""
    answer = dict.fromkeys(range(len(is_valid)), 0.0)
    for place, host in enumerate(hosts):
        drawn = math.sqrt((place + 1) / len(hosts)) - math.sqrt(place / len(hosts))
        if is_valid[host]:
            answer[host] += drawn
            continue
        for other, chance in naive([other for other in hosts if other != host], is_valid).items():
            answer[other] += drawn * chance
    return answer


@given(st.lists(st.booleans(), min_size=1, max_size=7).filter(any))
def test_chances_are_those_of_every_order_of_draws(is_valid: list[bool]) -> None:
    found = chances(is_valid)
    assert found is not None
    expected = naive(list(range(len(is_valid))), is_valid)
    assert [round(chance, 12) for chance in found] == [round(expected[host], 12) for host in range(len(is_valid))]


def test_the_best_of_four_is_taken_every_other_time() -> None:
    found = chances([True] * 4)
    assert found is not None
    assert found[0] == 0.5


def test_too_many_orders_have_no_chances() -> None:
    assert chances([True, False] * 20) is None
    assert chances([False] * 2000 + [True]) is not None


@pytest.mark.parametrize("seed", range(6))
def test_the_choice_draws_from_the_candidates(tmp_path: Path, seed: int) -> None:
    """Whatever the first draw is, the host is one of the candidates, and each valid one is drawn by some."""
    path = tmp_path / "pool.json"
    path.write_text(json.dumps(random_pool(seed)))
    fleet = xenmem.read(path)

    def can_boot(vm: int, host: int) -> bool:
        return (vm + host) % 3 > 0

    asked = 0
    for vm in range(len(fleet.vms)):
        if fleet.vms.resident_on[vm] >= 0:
            continue
        try:
            candidates = host_candidates(fleet, vm, can_boot=can_boot)
        except PlanningError:
            with pytest.raises(PlanningError):
                choose_host_for_vm(fleet, vm, lambda: 0.0, can_boot=can_boot)
            continue
        asked += 1
        valid = {host for host, is_valid in zip(candidates.hosts, candidates.is_valid, strict=True) if is_valid}
        drawn = {choose_host_for_vm(fleet, vm, lambda r=r: r / 60, can_boot=can_boot) for r in range(60)}  # type: ignore[misc]
        assert drawn == valid
        assert list(candidates.values) == sorted(candidates.values, reverse=True)
    assert asked
