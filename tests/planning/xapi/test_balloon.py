"""Ballooning: what bad requests get, and that time and stuckness are those of the reference."""

from typing import Any

import pytest
from balloon_simulator import World

from xenmem.planning.xapi import balloon
from xenmem.planning.xapi.errors import CannotFreeError, DomainsRefusedError

STUCK: dict[str, Any] = {"domain": [3, True, 100, 900, 900, 900, 900, 4], "driver": {"model": "stuck"}}


def test_negative_requests() -> None:
    world = World([STUCK], 1000, 1.0)
    for request in (lambda: balloon.free_memory(world, -1), lambda: balloon.free_memory_range(world, -1, 5)):
        with pytest.raises(ValueError, match="is negative"):
            request()
    with pytest.raises(ValueError, match="max_kib: -5 is negative"):
        balloon.free_memory_range(world, 1, -5)


def test_a_domain_is_stuck_after_more_than_five_seconds() -> None:
    world = World([STUCK], 1000, 1.0)
    with pytest.raises(DomainsRefusedError) as raised:
        balloon.free_memory(world, 300, slush_fund_kib=9216)
    assert raised.value.domids == (3,)
    assert world.now() == 6.0


def test_domain_0_is_not_blamed() -> None:
    """A control domain that does not follow is no driver that refuses: the memory cannot be freed."""
    world = World([STUCK | {"domain": [0, *STUCK["domain"][1:]]}], 1000, 1.0)
    with pytest.raises(CannotFreeError) as raised:
        balloon.free_memory(world, 300)
    assert (raised.value.needed_kib, raised.value.free_kib) == (300 + balloon.SLUSH_FUND_KIB, 1000)


def test_nothing_is_done_where_there_is_enough() -> None:
    world = World([STUCK], balloon.SLUSH_FUND_KIB + 50, 1.0)
    balloon.free_memory(world, 50)
    assert world.now() == 0.0
    assert world.domains[0].target_kib == 900
