"""Evacuation: what bad input gets."""

from typing import Any

import numpy as np
import pytest

from xenmem.planning.xapi import evacuation
from xenmem.planning.xapi.errors import ConfigurationError


def question(**changes: Any) -> evacuation.Evacuation:
    fields: dict[str, Any] = {
        "total_hosts": 3,
        "host_refs": ["a", "b"],
        "free": [4, 5],
        "sizes": [3],
        "group": [0],
        "group_count": np.zeros((1, 2), np.int64),
    }
    return evacuation.Evacuation(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"host_refs": ["a"]}, "host_refs: length 1 where free has 2"),
        ({"group": []}, "group: length 0 where sizes has 1"),
        ({"group": [1]}, r"group: 1 at index 0 is outside -1\.\.0"),
        ({"group": [-2]}, r"group: -2 at index 0 is outside -1\.\.0"),
        ({"group_count": np.zeros((1, 3), np.int64)}, r"group_count: shape \(1, 3\) where free has 2"),
        ({"sizes": [-3]}, "sizes: -3 at index 0 is negative"),
    ],
)
def test_malformed_questions(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        question(**changes)


def test_a_pool_without_hosts() -> None:
    with pytest.raises(ConfigurationError, match="num_failures > total_hosts"):
        evacuation.compute_evacuation_plan(question(total_hosts=0))


def test_the_smallest_host_is_preferred_by_reference_among_equals() -> None:
    plan = evacuation.compute_evacuation_plan(question(free=[5, 5], host_refs=["b", "a"]))
    assert plan.hosts.tolist() == [1]
