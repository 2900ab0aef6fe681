"""Targets: never more than there is, and nothing lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenmem.planning.ballooning import fair_targets, squeeze
from xenmem.planning.xapi.balloon import SLUSH_FUND_KIB, Domain, Host

GIB = 1 << 20
"""In KiB."""


def domain(domid: int, low: float, high: float, actual: float) -> Domain:
    return Domain(domid, True, *(int(x * GIB) for x in (low, actual, high, actual, actual)), 4)


def test_what_is_left_of_an_exact_fit() -> None:
    newcomer = (3 * GIB - 12, 3 * GIB - 12)
    host = Host([domain(1, 1, 4, 4)], SLUSH_FUND_KIB)
    assert squeeze(host, *newcomer).granted_kib == 3 * GIB - 12
    answer = fair_targets(host, newcomer)
    assert (answer.targets[0].target_kib, answer.granted_kib) == (GIB + 12, 3 * GIB - 12)


def test_what_is_missing_is_named() -> None:
    answer = fair_targets(Host([domain(1, 1, 4, 4)], SLUSH_FUND_KIB), (3 * GIB + 1, 4 * GIB))
    assert (answer.missing_kib, answer.granted_kib) == (1, 0)
    assert answer.targets[0].target_kib == 4 * GIB


@pytest.mark.parametrize("newcomer", [(-1, 5), (5, 4)])
def test_bad_range(newcomer: tuple[int, int]) -> None:
    host = Host([], 0)
    with pytest.raises(ValueError, match="negative or empty"):
        squeeze(host, *newcomer)
    with pytest.raises(ValueError, match="negative or empty"):
        fair_targets(host, newcomer)


amounts = st.integers(0, 1 << 24)


@st.composite
def hosts(draw: st.DrawFn) -> Host:
    domains = []
    for domid in range(draw(st.integers(0, 6))):
        low, more, target, actual = (draw(amounts) for _ in range(4))
        domains.append(Domain(domid, draw(st.booleans()), low, target, low + more, actual, actual, 4))
    return Host(domains, draw(st.integers(0, 1 << 25)))


@given(hosts(), st.none() | st.tuples(amounts, amounts).map(lambda pair: (min(pair), sum(pair))))
def test_never_more_than_there_is_and_nothing_lost(host: Host, newcomer: tuple[int, int] | None) -> None:
    answer = fair_targets(host, newcomer)
    active = [d for d in host.domains if d.can_balloon]
    room = host.free_mem_kib - SLUSH_FUND_KIB + sum(d.memory_actual_kib for d in active)
    given_out = sum(kib for _, kib in answer.targets) + answer.granted_kib
    assert given_out <= max(0, room)
    by_domid = {d.domid: d for d in active}
    assert {domid for domid, _ in answer.targets} == set(by_domid)
    least = sum(d.dynamic_min_kib for d in active)
    assert answer.missing_kib == max(0, least + (newcomer[0] if newcomer else 0) - room)
    if least <= room:
        high = sum(d.dynamic_max_kib for d in active)
        grows = newcomer is not None and not answer.missing_kib
        if newcomer is not None and grows:
            high += newcomer[1]
            assert newcomer[0] <= answer.granted_kib <= newcomer[1]
        assert given_out == min(room, high)
        for domid, kib in answer.targets:
            assert by_domid[domid].dynamic_min_kib <= kib <= by_domid[domid].dynamic_max_kib
    now = {d.domid: d.target_kib for d in active}
    for step in answer.steps:
        now |= dict(step.targets)
    assert now == dict(answer.targets)
