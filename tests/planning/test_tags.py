"""Tags of VMs as constraints: apart as far as can be, together where that fits, left alone unless a host is emptied."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from pools import pool, records, with_drivers

from xenmem import Fleet, planning
from xenmem.planning import Tags, tag_rules


def tagged(
    hosts: Sequence[int], vms: Sequence[tuple[int, int | None]], tags: Mapping[int, Sequence[str]], **more: Any
) -> Fleet:
    tables = with_drivers(records(hosts, vms, **more))
    for vm, own in tags.items():
        tables["VM"][f"p-v{vm}"]["tags"] = list(own)
    return Fleet.from_records(tables)


def test_three_on_three_hosts_are_apart() -> None:
    fleet = tagged([300] * 3, [(20, 0), (20, 0), (20, 0), (20, 0)], {0: ["db"], 1: ["db"], 2: ["db"]})
    rules = tag_rules(fleet, Tags(anti_affinity=frozenset({"db"})))
    plan = planning.pack(fleet, objective="fewest-hosts", **rules.constraints)
    assert len(set(plan.host[:3].tolist())) == 3
    assert "share a host" not in plan.reason


def test_a_rebalance_leaves_a_crowd_and_adds_nobody_to_it() -> None:
    fleet = tagged([100] * 2, [(20, 0), (20, 0), (20, 0), (10, 1)], {vm: ["db"] for vm in range(4)})
    rules = tag_rules(fleet, Tags(anti_affinity=frozenset({"db"})), moves_few=True)
    assert planning.rebalance(fleet, 1, **rules.constraints).migrations == []
    assert len(planning.rebalance(fleet, 1).migrations) == 1


def test_an_evacuation_spreads_what_it_moves() -> None:
    fleet = tagged([100] * 3, [(20, 0), (20, 0), (60, 1)], {0: ["db"], 1: ["db"]})
    rules = tag_rules(fleet, Tags(anti_affinity=frozenset({"db"})), emptied=0, moves_few=True)
    assert sorted(one.target for one in planning.evacuate(fleet, 0, **rules.constraints).migrations) == [1, 2]


def test_five_on_two_hosts_are_spread_evenly_and_said_to_be() -> None:
    """Nothing but the tag keeps them from one host; where not all can be apart, the numbers differ by one at most."""
    fleet = tagged([300] * 2, [(20, None)] * 5, {vm: ["db"] for vm in range(5)})
    rules = tag_rules(fleet, Tags(anti_affinity=frozenset({"db"})))
    plan = planning.pack(fleet, objective="fewest-hosts", **rules.constraints)
    assert sorted(Counter(plan.host.tolist()).values()) == [2, 3]
    assert "spread evenly" in plan.reason


def test_a_group_and_a_tag_of_the_same_vms_are_one_rule() -> None:
    fleet = tagged([300] * 3, [(20, 0)] * 3, {0: ["db"], 1: ["db"]}, groups=[[0, 1]])
    rules = tag_rules(fleet, Tags(anti_affinity=frozenset({"db"})))
    found = planning.question.soft_groups(fleet, rules.constraints)  # type: ignore[attr-defined]
    assert [group.tolist() for group in found] == [[0, 1]]


def test_affinities_with_a_common_vm_are_one() -> None:
    fleet = tagged([300] * 3, [(20, 0), (20, 1), (20, 2), (20, 2)], {0: ["a"], 1: ["a", "b"], 2: ["b"]})
    rules = tag_rules(fleet, Tags(affinity=frozenset({"a", "b"})))
    assert rules.constraints["together"] == [[0, 1, 2]]
    plan = planning.pack(fleet, **rules.constraints)
    assert len(set(plan.host[:3].tolist())) == 1


def test_apart_wins_over_together_and_a_warning_names_both() -> None:
    fleet = tagged([300] * 3, [(20, 0)] * 3, {0: ["web", "db"], 1: ["web", "db"], 2: ["web"]})
    rules = tag_rules(fleet, Tags(affinity=frozenset({"web"}), anti_affinity=frozenset({"db"})))
    assert rules.constraints["together"] == [[0, 2]]
    assert rules.warnings == ("affinity web and anti-affinity db both name p-v0, p-v1: apart",)
    plan = planning.pack(fleet, **rules.constraints)
    assert plan.host[0] != plan.host[1]
    assert plan.host[0] == plan.host[2]


def test_apart_by_a_vm_group_wins_as_well() -> None:
    fleet = tagged([300] * 3, [(20, 0)] * 2, {0: ["web"], 1: ["web"]}, groups=[[0, 1]])
    rules = tag_rules(fleet, Tags(affinity=frozenset({"web"})))
    assert "together" not in rules.constraints
    assert rules.warnings == ("affinity web and anti-affinity a VM group both name p-v0, p-v1: apart",)


def test_a_group_that_fits_no_host_is_said_and_dropped() -> None:
    fleet = tagged([100] * 3, [(60, 0), (60, 1)], {0: ["web"], 1: ["web"]})
    rules = tag_rules(fleet, Tags(affinity=frozenset({"web"})))
    assert rules.constraints == {}
    assert rules.warnings == ("affinity web: its 2 VMs are not kept together: no host is large enough",)
    fits = tagged([120] * 3, [(60, 0), (60, 1)], {0: ["web"], 1: ["web"]})
    assert tag_rules(fits, Tags(affinity=frozenset({"web"}))).constraints == {"together": [[0, 1]]}


def test_what_is_ignored_stays_unless_its_host_is_emptied() -> None:
    fleet = tagged([100] * 2, [(60, 0), (20, 0)], {1: ["pin"]})
    tags = Tags(ignore=frozenset({"pin"}))
    rules = tag_rules(fleet, tags)
    assert rules.constraints == {"immovable": {1: "tag pin"}}
    assert [one.vm for one in planning.rebalance(fleet, 1).migrations] == [1]
    assert [one.vm for one in planning.rebalance(fleet, 1, **rules.constraints).migrations] == [0]
    emptied = tag_rules(fleet, tags, emptied=0)
    assert emptied.constraints == {}
    assert emptied.warnings == ("tags say not to move p-v1, but their host is to be emptied",)
    assert tag_rules(fleet, tags, emptied=1).warnings == ()


def test_vms_that_are_on_several_hosts_are_not_brought_together_where_few_move() -> None:
    fleet = tagged([300] * 3, [(20, 0), (20, 1)], {0: ["web"], 1: ["web"]})
    rules = tag_rules(fleet, Tags(affinity=frozenset({"web"})), moves_few=True)
    assert rules.constraints == {}
    assert rules.warnings == ("affinity web: its VMs are on several hosts, and are left there: pack them first",)
    planning.rebalance(fleet, 1, **rules.constraints)


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("xo:load:balancer:anti-affinity=G", {"spread": [[0, 1]]}),
        ("xo:load:balancer:affinity=G", {"together": [[0, 1]]}),
        (
            "xo:load:balancer:ignore",
            {"immovable": {0: "tag xo:load:balancer:ignore", 1: "tag xo:load:balancer:ignore"}},
        ),
        ("xo:load:balancer:affinity=", {}),
        ("xo:load:balancer:Affinity=G", {}),
        ("xo:load:balancer:ignored", {}),
    ],
)
def test_some_tags_are_known_by_themselves(tag: str, expected: dict[str, object]) -> None:
    fleet = tagged([300] * 2, [(20, 0), (20, 0)], {0: [tag], 1: [tag]})
    assert tag_rules(fleet).constraints == expected


def test_tags_of_several_pools_are_several_groups() -> None:
    fleets = [tagged([300] * 2, [(20, 0), (20, 0)], {0: ["db"], 1: ["db"]}, name="p") for _ in range(1)]
    other = pool([300] * 2, [(20, 0)], name="q")
    both = Fleet.concatenate([*fleets, other])
    assert tag_rules(both, Tags(anti_affinity=frozenset({"db"}))).constraints == {"spread": [[0, 1]]}


def test_the_configuration_of_the_load_balancer() -> None:
    plans = [{"name": "x", "pools": ["p"], "affinityTags": ["a"]}, {"antiAffinityTags": ["b"], "affinityTags": ["c"]}]
    tags = Tags.of_load_balancer({"plans": plans, "ignoredVmTags": ["d"], "other": 1})
    assert tags == (frozenset("ac"), frozenset("b"), frozenset("d"))
    for wrong, message in (
        ({"plans": {}}, "plans: is no list"),
        ({"plans": [{"affinityTags": "a"}]}, "affinityTags: is no list"),
        ({"ignoredVmTags": [1]}, "ignoredVmTags: is no list"),
    ):
        with pytest.raises(ValueError, match=message):
            Tags.of_load_balancer(wrong)
