"""What the live page asks: hosts fail or are emptied, VMs are added; where everything goes, and what stays down.

Planned on a copy by xenmem.planning. Amounts are bytes. Knows neither sockets nor processes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Annotated, Any, Final

import msgspec
import numpy as np

from xenmem import answers, planning
from xenmem.answers.move_plan import OF_THE_GUEST
from xenmem.answers.naming import START_POLICY, QuestionError, as_question
from xenmem.fleet import Fleet
from xenmem.page.bars import legend, picture
from xenmem.page.document import text
from xenmem.page.table import Column, encoded
from xenmem.rules.migration import whereabouts
from xenmem.text import counted
from xenmem.units import format_size, parse_size

SECONDS: Final = 10.0
"""That each search may take."""

_MOST_ADDED: Final = 1000


class Addition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """VMs to add: their memory as people write it, such as 16GiB."""

    memory: str
    vcpus: Annotated[int, msgspec.Meta(ge=1, le=254)] = 1
    count: Annotated[int, msgspec.Meta(ge=1, le=_MOST_ADDED)] = 1


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question: hosts by uuid or name, those that fail and those that are emptied; and VMs to add."""

    fail: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    add: Addition | None = None


class _Fate:
    """What becomes of VMs: their names, what is done, from where, to where, memory, and why not."""

    def __init__(self, fleet: Fleet) -> None:
        self._host = [*(fleet.hosts.label(row) for row in range(len(fleet.hosts))), ""]
        self.rows: list[tuple[str, str, str, str, int, str]] = []
        self.down = 0
        self.held = 0

    def tell(self, name: str, what: str, source: int, target: int, memory: int, why: str = "") -> None:
        """Take note of one VM; hosts are rows, -1 for none."""
        self.rows.append((name, what, self._host[source], self._host[target], memory, why))


def answer(fleet: Fleet, body: bytes) -> dict[str, Any]:
    """The answer to a question, for the page's script.

    Parameters
    ----------
    body : JSON of `Asked`

    Returns
    -------
    ``html``, the verdict and the pools afterwards, and ``tables``, what becomes of which VM

    Raises
    ------
    QuestionError : the question is no such JSON, or names what there is not
    """
    try:
        asked = msgspec.json.decode(body, type=Asked)
    except msgspec.DecodeError as error:
        raise QuestionError(f"the question is not understood: {error}") from None
    with as_question():
        failing, emptied = ([fleet.host(name) for name in names] for names in (asked.fail, asked.empty))
    if both := set(failing) & set(emptied):
        raise QuestionError(f"host {fleet.hosts.label(min(both))} is to fail and to be emptied: choose one")
    if not failing and not emptied and asked.add is None:
        raise QuestionError("nothing is asked: choose hosts, or a VM to add")
    fate = _Fate(fleet)
    sentences: list[str] = []
    fleet = _without(fleet, [*failing, *emptied])
    if failing:
        fleet = _failed(fleet, failing, fate, sentences)
    for host in emptied:
        fleet = _emptied(fleet, host, fate, sentences)
    if asked.add is not None:
        fleet = _added(fleet, asked.add, fate, sentences)
    after = answers.report(fleet)
    pictures = "".join(f"<h3>{text(pool.pool.name_label)} then</h3>{picture(pool)}" for pool in after.pools)
    html = "".join(f'<p class="verdict">{text(sentence)}</p>' for sentence in sentences)
    return {"html": f"{html}{legend()}{pictures}", "tables": [_table(fate)]}


def _without(fleet: Fleet, hosts: Sequence[int]) -> Fleet:
    """The fleet with hosts on which no VM starts any more."""
    enabled = fleet.hosts.enabled.copy()
    enabled[list(hosts)] = False
    return fleet.replace(hosts=replace(fleet.hosts, enabled=enabled))


def _failed(fleet: Fleet, hosts: Sequence[int], fate: _Fate, sentences: list[str]) -> Fleet:
    """The guests of hosts that fail start elsewhere, as many as can."""
    live = fleet.hosts.live.copy()
    live[list(hosts)] = False
    homes = whereabouts(fleet.vms)
    down = np.flatnonzero(fleet.vms.is_guest & np.isin(homes, list(hosts))).tolist()
    fleet = fleet.replace(hosts=replace(fleet.hosts, live=live)).moved(dict.fromkeys(down))
    restarted, reason = _started(fleet, down)
    need = fleet.start_memory(START_POLICY)
    for vm in down:
        target = restarted.get(vm, -1)
        what = "restarts" if target >= 0 else "stays down"
        fate.tell(fleet.vms.label(vm), what, int(homes[vm]), target, int(need[vm]), "" if target >= 0 else reason)
    lost = len(down) - len(restarted)
    fate.down += lost
    failed = f"If {_named(fleet, hosts)} {'fails' if len(hosts) == 1 else 'fail'},"
    told = f"all {counted(len(down), 'VM')} of there run again" if not lost else f"{lost} of {len(down)} VMs stay down"
    sentences.append(f"{failed} {told}.")
    return _moved(fleet, restarted.items())


def _emptied(fleet: Fleet, host: int, fate: _Fate, sentences: list[str]) -> Fleet:
    """The guests of a host migrate away, as many as can."""
    homes = whereabouts(fleet.vms)
    with as_question():
        plan = planning.evacuate(fleet, host, policy=START_POLICY, time_limit=SECONDS)
    placed = zip(plan.vms.tolist(), plan.host.tolist(), strict=True)
    moved = [(vm, target) for vm, target in placed if target >= 0 and target != homes[vm]]
    here = np.flatnonzero(fleet.vms.is_guest & (homes == host)).tolist()
    used = fleet.amount(START_POLICY) + fleet.vms.memory_overhead
    for vm, target in moved:
        fate.tell(fleet.vms.label(vm), "migrates", int(homes[vm]), target, int(used[vm]))
    left = set(here) - {vm for vm, _ in moved}
    for vm in sorted(left):
        why = plan.stays.get(vm, plan.reason)
        fate.tell(fleet.vms.label(vm), "cannot leave", host, host, int(used[vm]), OF_THE_GUEST.get(why, why))
    fate.held += len(left)
    name = fleet.hosts.label(host)
    if left:
        sentences.append(f"{name} cannot be emptied: {len(left)} of {counted(len(here), 'VM')} cannot leave.")
    else:
        sentences.append(f"{name} can be emptied: {counted(len(moved), 'migration')}.")
    return _moved(fleet, moved)


def _added(fleet: Fleet, addition: Addition, fate: _Fate, sentences: list[str]) -> Fleet:
    """New VMs start where there is room, in the pool of the host with the most free."""
    try:
        memory = parse_size(addition.memory)
    except ValueError as error:
        raise QuestionError(str(error)) from None
    if not len(fleet.hosts):
        raise QuestionError("there is no host for a VM")
    before = len(fleet.vms)
    free = np.where(fleet.hosts.enabled & fleet.hosts.live, fleet.free_memory(START_POLICY), -1)
    with as_question():
        for number in range(addition.count):
            fleet = fleet.with_vm(f"new VM {number + 1}", memory, vcpus=addition.vcpus)
    pool = fleet.vms.pool.copy()
    pool[before:] = fleet.hosts.pool[int(np.argmax(free))]
    fleet = fleet.replace(vms=replace(fleet.vms, pool=pool))
    new = list(range(before, len(fleet.vms)))
    started, reason = _started(fleet, new)
    need = fleet.start_memory(START_POLICY)
    for vm in new:
        target = started.get(vm, -1)
        what = "starts" if target >= 0 else "does not start"
        fate.tell(fleet.vms.label(vm), what, -1, target, int(need[vm]), "" if target >= 0 else reason)
    fate.down += len(new) - len(started)
    shape = f"{format_size(memory)} and {counted(addition.vcpus, 'vCPU')}"
    sentences.append(
        f"{len(started)} of {counted(len(new), 'new VM')} of {shape} {'has' if len(started) == 1 else 'have'} room."
    )
    return _moved(fleet, started.items())


def _started(fleet: Fleet, vms: Sequence[int]) -> tuple[dict[int, int], str]:
    """A host for each of these VMs that gets one, the others staying where they are; and what limits it."""
    if not vms:
        return {}, ""
    with as_question():
        plan = planning.pack(fleet, vms, objective="all", policy=START_POLICY, time_limit=SECONDS)
    placed = zip(plan.vms.tolist(), plan.host.tolist(), strict=True)
    return {vm: host for vm, host in placed if host >= 0}, plan.reason


def _moved(fleet: Fleet, places: Iterable[tuple[int, int]]) -> Fleet:
    found: dict[int | str, int | str | None] = {}
    found.update(places)
    return fleet.moved(found)


def _named(fleet: Fleet, hosts: Sequence[int]) -> str:
    return ", ".join(fleet.hosts.label(host) for host in hosts)


def _table(fate: _Fate) -> dict[str, Any]:
    names, whats, sources, targets, memory, whys = zip(*fate.rows, strict=True) if fate.rows else ((),) * 6
    return encoded(
        "moves",
        "VM",
        [
            Column("name", "VM", "text", names),
            Column("what", "what", "text", whats),
            Column("from", "from", "text", sources),
            Column("to", "to", "text", targets),
            Column("memory", "memory", "size", memory),
            Column("why", "why not", "text", whys),
        ],
    )
