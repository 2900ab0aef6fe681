"""The planners against their naive twins, on inputs drawn so that ties, exact fits and misfits are frequent."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from golden import pairs, plan_pairs
from ha_pools import ha_pool
from hypothesis import given, settings
from hypothesis import strategies as st
from twins import naive

from xenmem.planning.xapi import balloon, binpack, evacuation, failover, placement
from xenmem.planning.xapi.errors import ConfigurationError, DivisionByZeroError, EvacuationDataCorruptedError

INT64 = np.iinfo(np.int64)

small = st.integers(0, 12)
sizes = st.one_of(small, st.integers(0, INT64.max), st.sampled_from([INT64.max, INT64.max - 1]))
frees = st.one_of(st.integers(-5, 30), st.integers(INT64.min, INT64.max), st.sampled_from([INT64.min, INT64.max]))


def some(values: Sequence[int], most: int, **options: Any) -> st.SearchStrategy[list[int]]:
    """A few of some values, of which there may be none."""
    return st.lists(st.sampled_from(values), max_size=most, **options) if values else st.just([])


def tuples(listed: list[list[Any]]) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in listed]


@settings(max_examples=150)
@given(st.lists(sizes, max_size=40), st.lists(frees, max_size=12))
def test_biggest_fit_decreasing(vms: list[int], hosts: list[int]) -> None:
    plan = binpack.biggest_fit_decreasing(vms, hosts)
    assert tuples(plan_pairs(plan)) == naive.biggest_fit_decreasing(list(enumerate(vms)), list(enumerate(hosts)))


def test_biggest_fit_decreasing_of_many() -> None:
    rng = np.random.default_rng(7)
    for kinds, vms, hosts in ((3, 3000, 60), (1 << 40, 3000, 200), (1, 500, 499)):
        vm_sizes, free = rng.integers(0, kinds, vms), rng.integers(0, kinds * 40, hosts)
        expected = naive.biggest_fit_decreasing(list(enumerate(vm_sizes.tolist())), list(enumerate(free.tolist())))
        assert tuples(plan_pairs(binpack.biggest_fit_decreasing(vm_sizes, free))) == expected


@st.composite
def configurations(draw: st.DrawFn) -> naive.Configuration:
    """Few hosts with room for a little more than their VMs; now and then a VM is placed twice, or unknown."""
    hosts = draw(st.lists(st.integers(0, 9), unique=True, max_size=6))
    vms = draw(st.lists(st.integers(0, 30), unique=True, max_size=12))
    placed = draw(some(vms, 14)) if hosts else []
    placement = [(vm, draw(st.sampled_from(hosts))) for vm in placed]
    if draw(st.integers(0, 3)):
        placement = list(dict(placement).items())
    if not draw(st.integers(0, 9)):
        placement.append((draw(st.integers(0, 40)), draw(st.integers(0, 12))))
    return naive.Configuration(
        hosts=[(host, draw(st.integers(-3, 25))) for host in hosts],
        vms=[(vm, draw(st.integers(0, 9))) for vm in vms],
        placement=placement,
        total_hosts=draw(st.one_of(st.just(len(hosts)), st.integers(0, 40))),
        num_failures=draw(st.integers(-1, 4)),
    )


def fast(config: naive.Configuration) -> binpack.Configuration:
    return binpack.Configuration(
        *([pair[place] for pair in listed] for listed in config[:3] for place in (0, 1)), *config[3:]
    )


def plain(config: binpack.Configuration | None) -> naive.Configuration | None:
    if config is None:
        return None
    return naive.Configuration(
        tuples(pairs(config.hosts.tolist(), config.free.tolist())),
        tuples(pairs(config.vms.tolist(), config.sizes.tolist())),
        tuples(pairs(config.placed_vms.tolist(), config.placed_hosts.tolist())),
        config.total_hosts,
        config.num_failures,
    )


def answered(ask: Any, *arguments: Any) -> Any:
    """An answer, or the failure in its place, in the same words for both implementations."""
    try:
        return ask(*arguments)
    except (ConfigurationError, naive.RefusedError) as error:
        return str(error).partition(":")[0]
    except (DivisionByZeroError, naive.DivisionError):
        return "Division_by_zero"
    except (EvacuationDataCorruptedError, naive.CorruptedError):
        return "INTERNAL_ERROR"


@settings(max_examples=150)
@given(configurations())
def test_failures(config: naive.Configuration) -> None:
    asked = fast(config)
    refused = answered(naive.check, config)
    assert answered(asked.check) == refused
    assert answered(binpack.plan_always_possible, asked) == answered(naive.always_possible, config)
    if refused is not None:
        return
    assert binpack.trivially_impossible(asked) == naive.trivially_impossible(config)
    assert binpack.exhaustive_plan_always_possible(asked) == naive.exhaustive(config)
    assert answered(binpack.approximate_plan_always_possible, asked) == answered(naive.approximate, config)
    assert binpack.choose_heuristic(*config[3:]) == naive.heuristic(*config[3:])
    for host, _ in config.hosts:
        assert plain(binpack.simulate_failure(asked, host)) == naive.simulate_failure(config, host)


@settings(max_examples=100)
@given(configurations(), st.lists(st.integers(0, 9), max_size=3))
def test_plans_for_dead_hosts(config: naive.Configuration, dead: list[int]) -> None:
    failed = naive.failed_vms(config, dead)
    assert binpack.failed_vms(fast(config), dead).tolist() == failed
    rest = config._replace(hosts=[(host, free) for host, free in config.hosts if host not in dead])
    expected = answered(naive.specific_plan, rest, failed)
    plan = answered(binpack.get_specific_plan, fast(config).without_hosts(dead), failed)
    if isinstance(expected, str):
        assert plan == expected
        return
    assert tuples(plan_pairs(plan)) == expected
    assert plain(binpack.apply_plan(fast(rest), plan)) == naive.apply_plan(rest, expected)


def test_every_pool_and_number_of_failures_has_the_heuristic_of_the_reference() -> None:
    for hosts in range(40):
        for failures in range(hosts + 1):
            assert binpack.choose_heuristic(hosts, failures) == naive.heuristic(hosts, failures)


# ------------------------------------------------------------------------------------------------ high availability


@st.composite
def pools(draw: st.DrawFn) -> tuple[list[naive.HAHost], list[naive.HAVM], naive.Change]:
    """A pool, and a change to it; row numbers are not in order, and uuids may be equal."""
    hosts = [
        naive.HAHost(
            ref=ref,
            uuid=draw(st.sampled_from("abcdef")),
            enabled=draw(st.sampled_from([True, True, False])),
            live=draw(st.sampled_from([True, True, True, False])),
            free=draw(st.integers(0, 25)),
            cluster_enabled=draw(st.booleans()),
        )
        for ref in draw(st.lists(st.integers(0, 20), unique=True, min_size=1, max_size=5))
    ]
    host = st.sampled_from([there.ref for there in hosts])
    vms = [
        naive.HAVM(
            ref=ref,
            uuid=draw(st.sampled_from("pqrstu")),
            protected=draw(st.booleans()),
            resident_on=draw(st.one_of(host, st.none())),
            scheduled_on=draw(st.one_of(host, st.none(), st.none())),
            size=draw(st.integers(0, 9)),
            agile=draw(st.sampled_from([True, True, True, False])),
            bootable_hosts=tuple(draw(st.lists(host, max_size=3))),
        )
        for ref in draw(st.lists(st.integers(0, 20), unique=True, max_size=8))
    ]
    refs = [there.ref for there in vms]
    leaving, arriving = (
        tuple(naive.Move(draw(host), vm, draw(small), draw(small)) for vm in draw(some(refs, 2))) for _ in range(2)
    )
    change = naive.Change(
        leaving=leaving,
        arriving=arriving,
        hosts_to_disable=tuple(draw(st.lists(host, max_size=1))),
        num_failures=draw(st.one_of(st.none(), st.integers(-1, 6))),
        new_vms_to_protect=tuple(draw(some(refs, 2))),
    )
    return hosts, vms, draw(st.sampled_from([naive.Change(), change]))


def restart_record(restart: failover.RestartPlan) -> naive.Restart:
    config = plain(restart.configuration)
    assert config is not None
    return naive.Restart(
        tuples(plan_pairs(restart.plan)),
        config,
        restart.not_restarted.tolist(),
        restart.non_agile_protected_vms_exist,
    )


@settings(max_examples=150)
@given(pools(), st.integers(-1, 5), st.booleans())
def test_high_availability(
    pool: tuple[list[naive.HAHost], list[naive.HAVM], naive.Change], num_failures: int, corosync: bool
) -> None:
    hosts, vms, change = pool
    asked = ha_pool(hosts, vms, corosync)
    asked_change = failover.ConfigurationChange(
        leaving=tuple(failover.Move(*move) for move in change.leaving),
        arriving=tuple(failover.Move(*move) for move in change.arriving),
        hosts_to_disable=change.hosts_to_disable,
        num_failures=change.num_failures,
        new_vms_to_protect=change.new_vms_to_protect,
    )
    alive = naive.live_set(hosts)
    assert failover.get_live_set(asked).tolist() == alive
    expected = answered(naive.restart_plan, hosts, vms, alive, change, num_failures)
    restart = answered(lambda: failover.compute_restart_plan(asked, num_failures, change=asked_change))
    assert (restart if isinstance(restart, str) else restart_record(restart)) == expected
    outcome = failover.plan_for_n_failures(asked, num_failures, change=asked_change)
    assert outcome == naive.outcome(hosts, vms, change, num_failures)
    assert failover.compute_max_host_failures_to_tolerate(asked) == naive.max_failures(hosts, vms, corosync)


@settings(max_examples=50)
@given(pools(), st.data())
def test_live_set_of_the_caller(
    pool: tuple[list[naive.HAHost], list[naive.HAVM], naive.Change], data: st.DataObject
) -> None:
    hosts, vms, _ = pool
    alive = data.draw(st.lists(st.sampled_from([host.ref for host in hosts]), unique=True))
    expected = answered(naive.restart_plan, hosts, vms, alive, naive.Change(), 0)
    assert restart_record(failover.compute_restart_plan(ha_pool(hosts, vms), 0, live_set=alive)) == expected


# --------------------------------------------------------------------------------------------------------- evacuation


@settings(max_examples=150)
@given(st.data())
def test_evacuation(data: st.DataObject) -> None:
    draw = data.draw
    refs = draw(st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=5))
    hosts = [naive.Target(ref, draw(st.integers(-2, 15))) for ref in refs]
    groups = draw(st.integers(0, 3))
    group = st.one_of(st.none(), *([st.integers(0, groups - 1)] * 2 if groups else []))
    vms = [naive.Leaver(ref, draw(st.integers(0, 6)), draw(group)) for ref in range(draw(st.integers(0, 9)))]
    counts = {(member, ref): draw(st.integers(0, 2)) for member in range(groups) for ref in refs}
    total_hosts, enabled = draw(st.integers(0, 5)), draw(st.sampled_from([True, True, False]))
    asked = evacuation.Evacuation(
        total_hosts=total_hosts,
        host_refs=refs,
        free=np.array([host.free for host in hosts], np.int64),
        sizes=np.array([vm.size for vm in vms], np.int64),
        group=np.array([-1 if vm.group is None else vm.group for vm in vms], np.int32),
        group_count=np.array([[counts[member, ref] for ref in refs] for member in range(groups)], np.int64).reshape(
            groups, len(refs)
        ),
        vm_groups_enabled=enabled,
    )

    def named(plan: binpack.Plan | str) -> list[tuple[Any, ...]] | str:
        return plan if isinstance(plan, str) else tuples(plan_pairs(plan, None, refs))

    expected = answered(naive.evacuation_plan, total_hosts, vms, hosts, counts, enabled)
    assert named(answered(evacuation.compute_evacuation_plan, asked)) == expected
    if enabled:
        expected = answered(naive.spread_evenly, vms, hosts, counts)
        assert named(answered(evacuation.spread_evenly_plan, asked)) == expected
        plan, not_planned = evacuation.no_breach_plan(asked)
        assert (named(plan), not_planned.tolist()) == naive.no_breach(vms, hosts, counts)


# -------------------------------------------------------------------------------------------------------- host choice


@settings(max_examples=150)
@given(st.data())
def test_host_choice(data: st.DataObject) -> None:
    draw = data.draw
    amounts = st.integers(0, 12)
    hosts = [
        naive.Sums(low, low + wide, low + wide + draw(amounts), draw(st.integers(-3, 40)))
        for low, wide in draw(st.lists(st.tuples(amounts, amounts), max_size=6))
    ]
    places = range(len(hosts))
    affinity, coordinator = draw(some(places, 2)), draw(some(places, 1))
    invalid = draw(some(places, 6, unique=True))
    draws = draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=24, max_size=24))
    columns = [np.array([host[column] for host in hosts], np.int64) for column in range(4)]
    summary = placement.HostSummary(np.zeros(len(hosts), np.int64), *columns)
    asked: list[list[int]] = [[], []]

    def validity(seen: list[int]) -> Any:
        def is_valid(host: int) -> bool:
            seen.append(host)
            return host not in invalid

        return is_valid

    values = placement.category_values(summary, affinity, coordinator)
    chosen = placement.select_host(values, validity(asked[0]), iter(draws).__next__)
    expected = naive.select_host(hosts, affinity, coordinator, validity(asked[1]), iter(draws).__next__)
    assert (chosen, asked[0]) == (expected, asked[1])


# --------------------------------------------------------------------------------------------------------- ballooning

kib = st.integers(0, 40)
snapshots = st.lists(
    st.builds(balloon.Domain, st.integers(0, 9), st.booleans(), kib, kib, kib, kib, kib, st.integers(0, 4)),
    max_size=5,
    unique_by=lambda domain: domain.domid,
)


@settings(max_examples=150)
@given(
    st.lists(st.tuples(snapshots, st.integers(0, 60), st.sampled_from([0.0, 1.0, 2.5, 6.0])), min_size=1, max_size=5),
    st.integers(0, 60),
)
def test_iterations(steps: list[tuple[list[balloon.Domain], int, float]], wanted: int) -> None:
    squeezer, twin = balloon.Squeezer(), naive.Squeezer()
    now = 0.0
    for domains, free, later in steps:
        now += later
        found = squeezer.iterate(balloon.Host(domains, free), wanted, now, lambda free: free >= wanted)
        expected = twin.iterate(
            [naive.Domain(*domain) for domain in domains], free, wanted, now, lambda free: free >= wanted
        )
        match found.action:
            case balloon.Adjust(targets):
                action: tuple[str, Any] = ("adjust", tuples([list(target) for target in targets]))
            case balloon.Failed(domids):
                action = ("failed", list(domids))
            case balloon.Success():
                action = ("success", None)
        assert {
            "phase": found.phase,
            "inactive": list(found.inactive),
            "declared_active": list(found.declared_active),
            "declared_inactive": list(found.declared_inactive),
            "action": action,
        } == expected
