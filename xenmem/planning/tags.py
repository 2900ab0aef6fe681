"""What tags of VMs say of placement, as constraints for every planner: VMs apart, VMs together, VMs left alone.

Which tags these are the load balancer of Xen Orchestra keeps to itself, so they are given by name; tags of the form
``xo:load:balancer:anti-affinity=G`` are known by themselves. Amounts are bytes.
Source: vatesfr/xen-orchestra, packages/xo-server-load-balancer/src (plan.js, index.js), issue 9615 (tag-parser).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from xenmem.columns import Rows
from xenmem.planning.plan import listed
from xenmem.planning.pool_view import memory_to_start
from xenmem.planning.question import Constraints, anti_affinity_groups
from xenmem.rules.migration import whereabouts
from xenmem.rules.mobility.matrix import is_allowed

if TYPE_CHECKING:
    from xenmem.fleet import Fleet

_PREFIX: Final = "xo:load:balancer:"
_IGNORE: Final = f"{_PREFIX}ignore"
_AFFINITY: Final = f"{_PREFIX}affinity="
_ANTI_AFFINITY: Final = f"{_PREFIX}anti-affinity="


class Tags(NamedTuple):
    """Tags that have a meaning, beside those that carry it in their name.

    Attributes
    ----------
    affinity : VMs with one of them share a host; of several tags on one VM all VMs do
    anti_affinity : VMs with one of them are kept apart, else spread evenly
    ignore : VMs with one of them are not moved, but where a host is emptied
    """

    affinity: frozenset[str] = frozenset()
    anti_affinity: frozenset[str] = frozenset()
    ignore: frozenset[str] = frozenset()

    @classmethod
    def of_load_balancer(cls, configuration: Mapping[str, Any]) -> Tags:
        """The tags that the load balancer of Xen Orchestra is configured with.

        Parameters
        ----------
        configuration : of the plugin: ``plans`` with ``affinityTags`` and ``antiAffinityTags``, and ``ignoredVmTags``;
            a plan's pools do not count

        Raises
        ------
        ValueError : it is no such configuration; names the key
        """
        if not {"plans", "ignoredVmTags"} & configuration.keys():
            raise ValueError("holds neither plans nor ignoredVmTags")
        plans = configuration.get("plans", [])
        if not isinstance(plans, list) or not all(isinstance(plan, dict) for plan in plans):
            raise ValueError("plans: is no list of plans")
        found = {
            key: frozenset(tag for part in parts for tag in _texts(part, key))
            for key, parts in (
                ("affinityTags", plans),
                ("antiAffinityTags", plans),
                ("ignoredVmTags", [configuration]),
            )
        }
        return cls(*found.values())


def _texts(part: Mapping[str, Any], key: str) -> list[str]:
    texts = part.get(key, [])
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{key}: is no list of tags")
    return texts


class TagRules(NamedTuple):
    """What tags come to in a fleet.

    Attributes
    ----------
    constraints : ``spread``, ``together`` and ``immovable``, as far as there are any
    warnings : what of them contradicts itself, cannot hold or is not heeded, each in a sentence
    """

    constraints: Constraints
    warnings: tuple[str, ...]


def tag_rules(
    fleet: Fleet,
    tags: Tags = Tags(),  # noqa: B008 - it never changes
    *,
    emptied: int | None = None,
    moves_few: bool = False,
) -> TagRules:
    """The constraints that the tags of VMs mean.

    Parameters
    ----------
    fleet : any inventory
    tags : that mean something beside those that say so themselves
    emptied : a host that is to be emptied, whatever tags say of its VMs; its ignored VMs are named in a warning
    moves_few : VMs that are to share a host and do not are left so, as where only a few VMs are to move

    Notes
    -----
    Where VMs are to be both together and apart, by tag or by VM group, they are apart. A group that fits no host, even
    an empty one, is not kept together.
    """
    groups: dict[str, dict[tuple[int, str], list[int]]] = {"apart": defaultdict(list), "together": defaultdict(list)}
    ignored: dict[int, str] = {}
    vms = fleet.vms
    for vm in np.flatnonzero(vms.is_guest).tolist():
        for tag in vms.tags[vm]:
            pool = int(vms.pool[vm])
            if tag in tags.anti_affinity or _names(tag, _ANTI_AFFINITY):
                groups["apart"][pool, tag].append(vm)
            if tag in tags.affinity or _names(tag, _AFFINITY):
                groups["together"][pool, tag].append(vm)
            if tag in tags.ignore or tag == _IGNORE:
                ignored.setdefault(vm, tag)
    warnings: list[str] = []
    apart = {name: members for name, members in groups["apart"].items() if len(members) > 1}
    separate = [(tag, members) for (_, tag), members in apart.items()]
    separate += [("a VM group", members.tolist()) for members in anti_affinity_groups(fleet)]
    together = []
    for names, members in _united(groups["together"]):
        left = _without_conflicts(fleet, names, members, separate, warnings)
        if len(left) > 1 and _fits(fleet, names, left, warnings) and not (moves_few and _is_split(fleet, left)):
            together.append(left)
        elif moves_few and len(left) > 1 and _is_split(fleet, left):
            warnings.append(f"affinity {names}: its VMs are on several hosts, and are left there: pack them first")
    constraints: Constraints = {}
    if apart:
        constraints["spread"] = list(apart.values())
    if together:
        constraints["together"] = together
    where = whereabouts(vms)
    if ignored and emptied is None:
        constraints["immovable"] = {vm: f"tag {tag}" for vm, tag in ignored.items() if where[vm] >= 0}
    moved = [vm for vm in ignored if emptied is not None and where[vm] == emptied]
    if moved:
        warnings.append(f"tags say not to move {_named(fleet, moved)}, but their host is to be emptied")
    return TagRules(constraints, tuple(warnings))


def _names(tag: str, prefix: str) -> bool:
    """Whether a tag is of this form, and names a group."""
    return tag.startswith(prefix) and len(tag) > len(prefix)


def _united(groups: Mapping[tuple[int, str], Sequence[int]]) -> Iterable[tuple[str, list[int]]]:
    """Groups of one pool with a common VM as one, with the names of all."""
    parts: list[tuple[int, list[str], set[int]]] = []
    for (pool, tag), members in groups.items():
        meeting = [part for part in parts if part[0] == pool and part[2].intersection(members)]
        parts = [part for part in parts if part not in meeting]
        names = [name for part in meeting for name in part[1]]
        parts.append((pool, [*names, tag], set(members).union(*(part[2] for part in meeting))))
    return [(" and ".join(sorted(names)), sorted(members)) for _, names, members in parts]


def _without_conflicts(
    fleet: Fleet, names: str, members: list[int], separate: Sequence[tuple[str, Sequence[int]]], warnings: list[str]
) -> list[int]:
    """The VMs of an affinity that no anti-affinity wants apart: of each of these one."""
    left = members
    for other, apart in separate:
        both = [vm for vm in left if vm in set(apart)]
        if len(both) > 1:
            warnings.append(f"affinity {names} and anti-affinity {other} both name {_named(fleet, both)}: apart")
            left = [vm for vm in left if vm not in both[1:]]
    return left


def _fits(fleet: Fleet, names: str, members: list[int], warnings: list[str]) -> bool:
    """Whether some host that takes VMs could hold them all if it were empty."""
    vms, hosts = fleet.vms, fleet.hosts
    pool = int(vms.pool[members[0]])
    there = np.flatnonzero((hosts.pool == pool) & hosts.enabled & hosts.live)
    part = fleet.mobility.pool(pool)
    kinds: Rows = part.kind_of[np.searchsorted(part.vms, members)]
    allowed = is_allowed(part.first_step()[kinds][:, np.searchsorted(part.hosts, there)]).all(axis=0)
    held = np.zeros(len(hosts), np.int64)
    control = np.flatnonzero(vms.is_control_domain & (vms.resident_on >= 0))
    np.add.at(held, vms.resident_on[control], (vms.memory_dynamic_min + vms.memory_overhead)[control])
    largest = int(((hosts.available - held)[there][allowed]).max(initial=0))
    needed = int(memory_to_start(fleet)[members].sum())
    if needed > largest:
        what = "no host has what they need" if not allowed.any() else "no host is large enough"
        warnings.append(f"affinity {names}: its {len(members)} VMs are not kept together: {what}")
    return needed <= largest


def _is_split(fleet: Fleet, members: list[int]) -> bool:
    where = whereabouts(fleet.vms)[members]
    return len(np.unique(where[where >= 0])) > 1


def _named(fleet: Fleet, vms: Sequence[int]) -> str:
    return listed([fleet.vms.label(vm) for vm in vms])
