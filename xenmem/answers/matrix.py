"""Which VMs can run on which hosts, memory apart: guests of equal needs as one kind, each held against every host.

Knows no memory and no plan; the rules are those of rules.mobility.
"""

from collections import defaultdict

import numpy as np

from xenmem.answers.naming import Answer, Named, NamedVM, PoolHead, Result, identity, pool_head, untold
from xenmem.columns import Codes
from xenmem.fleet import Fleet
from xenmem.rules.mobility.matrix import ERRORS, PoolMobility, Step
from xenmem.text import counted


class Pair(Named, frozen=True):
    """A kind of VMs on a host.

    Attributes
    ----------
    kind : number of the kind, from 1
    vms : how many VMs it has
    example : the first of them
    enabled, live : of the host; one that is not takes no VM, whatever else holds
    may_run : None where that is not known
    error : what the pool would answer of the first check that fails; empty if none does
    reason : why not, or what is not known, in words that follow the name of the example; empty if it can
    """

    kind: int
    vms: int
    example: str
    enabled: bool
    live: bool
    may_run: bool | None
    error: str
    reason: str


class Kind(Result, frozen=True):
    """Guests of one pool that can run on the same hosts, for reasons of the same sort.

    Attributes
    ----------
    vms : the guests
    yes, no, not_known : numbers of hosts
    hosts : all of the pool, in the order of the inventory
    """

    vms: list[NamedVM]
    yes: int
    no: int
    not_known: int
    hosts: list[Pair]


class PoolMatrix(Result, frozen=True):
    """The kinds of one pool, those of most VMs first.

    Attributes
    ----------
    takes_none : hosts that are disabled or not live
    """

    pool: PoolHead
    kinds: list[Kind]
    takes_none: list[Named]


class Matrix(Answer, frozen=True):
    """VMs by hosts.

    Attributes
    ----------
    not_checked : what decides besides
    """

    pools: list[PoolMatrix]
    not_checked: list[str]


def matrix(fleet: Fleet) -> Matrix:
    """On which hosts the guests of each pool can run, by what they need beside memory."""
    pools = [_pool(fleet, pool) for pool in range(len(fleet.pools))]
    kinds = [kind for pool in pools for kind in pool.kinds]
    every = sum(len(kind.vms) for kind in kinds)
    everywhere = sum(len(kind.vms) for kind in kinds if not kind.no and not kind.not_known)
    nowhere = sum(len(kind.vms) for kind in kinds if not kind.yes and not kind.not_known)
    unknown = sum(len(kind.vms) for kind in kinds if kind.not_known)
    parts = [f"{everywhere} of {counted(every, 'VM')} can run on every host of {'its' if every == 1 else 'their'} pool"]
    parts += [f"{nowhere} on none"] if nowhere else []
    parts += [f"of {unknown} it is not known on all"] if unknown else []
    return Matrix(
        verdict=f"{', '.join(parts)}.",
        outcome="yes",
        pools=pools,
        not_checked=["memory", *untold(fleet)],
    )


def _pool(fleet: Fleet, pool: int) -> PoolMatrix:
    part, hosts = fleet.mobility.pool(pool), fleet.hosts
    steps = part.first_step()
    alike: dict[bytes, list[int]] = defaultdict(list)
    for place in np.flatnonzero(fleet.vms.is_guest[part.vms]).tolist():
        alike[steps[part.kind_of[place]].tobytes()].append(place)
    groups = sorted(alike.values(), key=len, reverse=True)
    idle = part.hosts[~(hosts.enabled & hosts.live)[part.hosts]]
    return PoolMatrix(
        pool=pool_head(fleet, pool),
        kinds=[_kind(fleet, part, steps, number, places) for number, places in enumerate(groups, 1)],
        takes_none=[Named(**identity(hosts, row)) for row in idle.tolist()],
    )


def _kind(fleet: Fleet, part: PoolMobility, steps: Codes, number: int, places: list[int]) -> Kind:
    vm = int(part.vms[places[0]])
    pairs = []
    for host, code in zip(part.hosts.tolist(), steps[part.kind_of[places[0]]].tolist(), strict=True):
        step = Step(code)
        may_run = True if step == Step.NONE else None if step >= Step.UNDECIDED else False
        pairs.append(
            Pair(
                **identity(fleet.hosts, host),
                kind=number,
                vms=len(places),
                example=fleet.vms.label(vm),
                enabled=bool(fleet.hosts.enabled[host]),
                live=bool(fleet.hosts.live[host]),
                may_run=may_run,
                error=ERRORS.get(step, ""),
                reason=part.unknown(vm, host) if may_run is None else part.reason(vm, host),
            )
        )
    answers = [pair.may_run for pair in pairs]
    return Kind(
        vms=[Named(**identity(fleet.vms, int(part.vms[place]))) for place in places],
        yes=answers.count(True),
        no=answers.count(False),
        not_known=answers.count(None),
        hosts=pairs,
    )
