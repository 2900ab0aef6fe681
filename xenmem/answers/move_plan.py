"""What a plan of moves is when it is answered: results in names, and the actions that carry one out.

Amounts are bytes, times seconds. Knows no search and no Fleet.
"""

from typing import Final

from xenmem import notebook
from xenmem.answers import script
from xenmem.answers.naming import (
    Answer,
    Finding,
    Named,
    NamedHost,
    NamedVM,
    PoolHead,
    QuestionError,
    Result,
    label,
)
from xenmem.answers.replay import Refusal

BANDWIDTH: Final = 1 << 30
"""Bytes a second that migrations are taken to copy, unless the caller knows better."""


OF_THE_GUEST: Final = {
    "OPERATION_BLOCKED": "it is blocked",
    "VM_IS_IMMOBILE": "it is not to migrate",
    "VM_NON_SUSPENDABLE": "its guest refuses to be suspended",
    "VM_LACKS_FEATURE": "no guest tools",
    "VM_HAS_PCI_ATTACHED": "it has a PCI device",
    "VM_HAS_VGPU": "it has a vGPU",
    "VM_HAS_VUSBS": "it has a USB device",
}
"""What hinders a VM from migrating and from being suspended alike, in words."""


class Load(Result, frozen=True):
    """What is on a host.

    Attributes
    ----------
    vms : guests
    memory : what all its VMs use under the policy of the plan, control domains included
    free : what they leave; below 0 where the host is overcommitted, None where its memory is unknown
    """

    vms: int
    memory: int
    free: int | None


class HostChange(Named, frozen=True):
    """A host before the plan and after it."""

    enabled: bool
    live: bool
    before: Load
    after: Load


class PlannedMove(Result, frozen=True):
    """One step of a plan.

    Attributes
    ----------
    number : from 1
    action : ``migrate``; ``start`` or ``resume`` where the VM is on no host; ``shutdown`` or ``suspend`` of one that is
        in the way
    source : the host that it leaves
    target : where it goes; None for nowhere
    copied : by a live migration
    seconds : that the copy takes, without what the guest writes meanwhile
    temporary : the VM moves on later
    """

    number: int
    action: str
    vm: Named
    source: Named | None
    target: Named | None
    copied: int
    seconds: float
    temporary: bool


class PoolMoves(Result, frozen=True):
    """One pool of a plan.

    Attributes
    ----------
    unplaced : VMs without a place in the plan
    emptied : hosts that run guests before the plan and none after it
    """

    pool: PoolHead
    hosts: list[HostChange]
    moves: list[PlannedMove]
    unplaced: list[Named]
    emptied: list[Named]


class HeldVM(Named, frozen=True):
    """A VM that stands in the way and cannot move, and why."""

    why: str


class Stopped(Result, frozen=True):
    """The least that is to be stopped for a plan to exist.

    Attributes
    ----------
    vms : the VMs
    memory : that they use; bound : no VMs that use less do, for all that is proved
    """

    vms: list[Named]
    memory: int
    bound: int


class Contradiction(Result, frozen=True):
    """The smallest set found of VMs and hosts that contradict each other."""

    vms: list[NamedVM]
    hosts: list[NamedHost]


class OwnPlan(Result, frozen=True):
    """What the pool itself would do: host.evacuate.

    Attributes
    ----------
    migrations, copied : of its plan
    refusals : code and parameters for each VM that stands against it; if there is one, nothing is moved
    text : the same in a sentence
    """

    migrations: int
    copied: int
    refusals: list[str]
    text: str


class MovePlan(Answer, frozen=True):
    """A plan.

    Attributes
    ----------
    title : what was asked, in words
    objective : of planning.pack: what is best
    policy : which amount counts as a VM's memory
    status : ``optimal``, ``feasible`` or ``infeasible``
    value, bound, gap : what is reached, what is proved that no plan does better than, and the distance relative to it
    proof : what is proved of the plan, in a sentence
    reason : what limits the plan; empty if nothing does
    blocked : why no order of the moves was found; there are then none
    refusal : the step that the pool in memory refuses whatever is planned around it; there are then no moves
    interrupted : the search ended early, at its time limit or by Ctrl-C
    obstacle : for an infeasible plan
    held : VMs that cannot move and are in the way; the moves are then those of the others
    stopped : the least that is to be stopped, where memory lacks and that would do
    migrations, copied, seconds : in all
    bandwidth : bytes a second, from which the seconds follow
    disabled : the host that the plan empties
    own_plan : what the pool itself would do, where that was asked
    warnings : what an operator should know beside
    checked, not_checked : what the plan was held against, and what the pool checks besides
    """

    title: str
    objective: str
    policy: str
    status: str
    value: int
    bound: int
    gap: float
    proof: str
    reason: str
    blocked: str
    refusal: Refusal | None
    interrupted: bool
    obstacle: Contradiction | None
    held: list[HeldVM]
    stopped: Stopped | None
    migrations: int
    copied: int
    seconds: float
    bandwidth: int
    pools: list[PoolMoves]
    disabled: Named | None
    own_plan: OwnPlan | None
    warnings: list[Finding]
    checked: list[str]
    not_checked: list[str]

    def _repr_html_(self) -> str:
        """For notebooks: the sentence and the first moves."""
        moves = [move for pool in self.pools for move in pool.moves]
        rows = (
            (
                move.number,
                move.action,
                label(move.vm),
                move.source and label(move.source),
                move.target and label(move.target),
                notebook.Size(move.copied),
            )
            for move in moves
        )
        return notebook.shown(self.verdict, ("", "what", "VM", "from", "to", "copied"), rows, len(moves))


def in_words(why: str) -> str:
    """Why a VM cannot move, in words beside the pool's code."""
    return f"{OF_THE_GUEST[why]}, {why}" if why in OF_THE_GUEST else why


def actions(plan: MovePlan) -> list[script.Action]:
    """What carries a plan out, in its order.

    Raises
    ------
    QuestionError : the plan is not whole, concerns several pools, or a VM or host of it has no uuid
    """
    if plan.status in ("infeasible", "unknown") or plan.blocked:
        hint = "; --may-stop immobile shuts down first what cannot move" if plan.held else ""
        raise QuestionError(f"there is no whole plan to write: {plan.blocked or plan.reason}{hint}")
    if sum(bool(pool.moves) for pool in plan.pools) > 1:
        raise QuestionError("the plan concerns several pools: write it for one inventory at a time")
    steps = [] if plan.disabled is None else [script.disable(plan.disabled)]
    for pool in plan.pools:
        steps += [_action(move) for move in pool.moves]
    return steps


def _action(move: PlannedMove) -> script.Action:
    if move.target is None:
        return script.shutdown(move.vm) if move.action == "shutdown" else script.suspend(move.vm)
    if move.action == "migrate":
        return script.migrate(move.vm, move.target, move.source)
    return (script.start if move.action == "start" else script.resume)(move.vm, move.target)


def heading(plan: MovePlan) -> list[str]:
    """What a script says of the plan that it carries out."""
    pools = [pool for pool in plan.pools if pool.moves] or plan.pools
    return [f"{plan.title}. {label(pool.pool)}, {pool.pool.source}." for pool in pools] + [plan.proof]
