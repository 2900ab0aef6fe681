"""How VM groups hold in every planner: apart where that is possible, else evenly, else anyhow; never worse by choice.

The pool keeps VMs of a group apart as far as it can, so a group as large as the pool hinders nothing, and one that is
crowded now may stay so. Whoever wants a rule asks for it strictly. Does not search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final, Literal

import numpy as np

from xenmem.planning.plan import Plan
from xenmem.planning.question import Constraints, Question

Level = Literal["strictly", "apart", "evenly", "anyhow"]
"""At most one of a group on a host; or as many as are there now; or so many as an even spread needs; or any number."""

STRICT: Final = "strict"
"""The value of vm_groups that makes them a rule."""


def levels(constraints: Constraints, grouped: bool) -> Iterator[Level]:
    """How VM groups may hold, the best first.

    Parameters
    ----------
    grouped : whether there are any
    """
    if constraints.get("vm_groups", True) == STRICT:
        yield "strictly"
        return
    yield "apart"
    if grouped and (constraints.get("vm_groups", True) or constraints.get("spread")):
        yield "evenly"
        yield "anyhow"


def at_level(question: Question, constraints: Constraints, level: Level, *, as_found: bool = False) -> Question:
    """The same with the VM groups holding so; groups that the caller asks for always hold strictly.

    Parameters
    ----------
    as_found : also VMs that are to be spread may share a host if they do now, as those of VM groups always may
    """
    own = len(question.groups) - len(constraints.get("anti_affinity", ()))
    spread = len({frozenset(members) for members in constraints.get("spread", ())})
    if level == "strictly" or not own or not len(question.hosts):
        return question
    taken = question.taken.copy()
    for group in range(own):
        members = question.groups[group]
        at = question.origin[members]
        now = question.taken[group] + np.bincount(at[at >= 0], minlength=len(question.hosts))
        most = np.maximum(now, 1) if as_found or group < own - spread else np.ones_like(now)
        if level == "evenly":
            everybody = len(members) + int(question.taken[group].sum())
            most = np.maximum(most, -(-everybody // len(question.hosts)))
        if level == "anyhow":
            most = np.full_like(most, len(members) + int(question.taken[group].max(initial=0)))
        taken[group] -= (most - 1).astype(np.int32)
    return replace(question, taken=taken)


def as_apart_as_can_be(ask: Callable[[Level], Plan], constraints: Constraints, grouped: bool) -> Plan:
    """The plan in which VM groups hold best, and why not better; where there is none, that without them.

    Parameters
    ----------
    ask : the planner, with VM groups holding at a level
    grouped : whether there are any
    """
    reason = ""
    for number, level in enumerate(levels(constraints, grouped)):
        plan = ask(level)
        if number == 0:
            reason = plan.reason
        elif plan.is_complete:
            how = "spread evenly" if level == "evenly" else "spread as it comes"
            why = f"VMs of a VM group share a host, {how}: {reason}"
            return replace(plan, reason=f"{plan.reason}; {why}" if plan.reason else why)
        if plan.is_complete:
            break
    return plan
