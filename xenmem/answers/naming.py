"""What the answers share: identities, amounts by policy, the memory that VMs take of their hosts, and finding by name.

Amounts are bytes. Sums are exact: they stay integers. Depends on the Fleet and the kernel only.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any, Final, Literal, TypeVar, get_args, get_origin

import msgspec
import numpy as np
from numpy.typing import NDArray

from xenmem import kernel, notebook
from xenmem.columns import Bools, Bytes, Rows, Unknown
from xenmem.fleet import POLICIES, Fleet, Table
from xenmem.rules.hosts import is_known
from xenmem.units import format_size

FORMAT_VERSION: Final = 1
"""Of the commands' JSON: it grows when a key goes away or changes its meaning, not when one is added."""

_MAX_USED: Final = 4 * kernel.MAX_BYTES
_NAMES_SHOWN: Final = 3


NOT_CHECKED: Final = ("storage", "networks", "GPUs and USB devices", "CPU features")
"""What decides besides memory where a VM may run and move, of questions that look at memory alone."""

_UNTOLD: Final = {
    Unknown.STORAGE: "storage",
    Unknown.NETWORKS: "networks",
    Unknown.DEVICES: "GPUs and USB devices",
    Unknown.CPU: "CPU features",
    Unknown.GUEST: "what guests say of migrations",
}


UNTOLD: Final = tuple(_UNTOLD.values())


def untold(fleet: Fleet, vms: Iterable[int] | None = None) -> list[str]:
    """What decides besides memory where VMs, by default all guests, may run, and the inventory does not tell."""
    rows = np.flatnonzero(fleet.vms.is_guest) if vms is None else np.fromiter(vms, np.int64)
    flags = int(np.bitwise_or.reduce(fleet.vms.not_told[rows] | fleet.vms.undecided[rows], initial=0))
    return [what for flag, what in _UNTOLD.items() if flags & flag]


class QuestionError(ValueError):
    """A question that cannot be answered as it was asked. The text is one line."""


@contextmanager
def as_question() -> Iterator[None]:
    """What planning refuses as a question that cannot be answered: it names VMs and hosts as people do."""
    try:
        yield
    except ValueError as error:
        raise QuestionError(str(error)) from None


class Result(msgspec.Struct, frozen=True):
    """Base of all results."""


Outcome = Literal["yes", "no", "unknown"]
"""What an answer comes to; the command makes its exit status of it."""


class Answer(Result, frozen=True):
    """Base of what each question is answered with.

    Attributes
    ----------
    verdict : the answer in one sentence, for people; without newlines
    outcome : whether it is yes or no; ``yes`` also where all that was asked for is told, ``unknown`` where it was not
        found out
    """

    verdict: str
    outcome: Outcome

    def to_arrow(self) -> dict[str, Any]:
        """The lists of results in the answer, by name, each a ``pyarrow.Table``; see `answers.tables.tables`.

        Raises
        ------
        ValueError : pyarrow is not installed, or a number is too large for it
        """
        from xenmem.answers.tables import tables

        return tables(self)

    def _repr_html_(self) -> str:
        """For notebooks: the sentence."""
        return notebook.shown(self.verdict)


def together(outcomes: Iterable[Outcome]) -> Outcome:
    """The outcome over several pools: yes if it is for all, no if it is for any."""
    found = set(outcomes)
    return "no" if "no" in found else "unknown" if "unknown" in found else "yes"


class Named(Result, frozen=True):
    """An object of the inventory; uuid and name_label may be empty."""

    ref: str
    uuid: str
    name_label: str


NamedVM = Annotated[Named, "vms"]
NamedHost = Annotated[Named, "hosts"]
"""In a result that is written from rows: of which table of the Fleet they are."""

Written = TypeVar("Written", bound=Result)


def written(kind: type[Written], fleet: Fleet, found: object, **more: Any) -> Written:
    """A result of this kind: what `more` says of its fields, and for the others what planning has found, rows by name.

    Parameters
    ----------
    kind : its fields of the types NamedVM and NamedHost, or lists of them, are rows of the fleet in `found`, or -1 or
        None for nothing
    found : has an attribute for each field that `more` leaves out
    """
    values = {
        field.name: more[field.name] if field.name in more else _by_name(fleet, field.type, getattr(found, field.name))
        for field in msgspec.structs.fields(kind)
    }
    return kind(**values)


def _by_name(fleet: Fleet, annotation: Any, value: Any) -> Any:
    """A value of what planning has found as a result has it."""
    if isinstance(value, np.generic):
        value = value.item()
    if get_origin(annotation) is Annotated:
        return None if value is None else named(getattr(fleet, annotation.__metadata__[0]), value)
    if isinstance(value, tuple):
        (annotation,) = get_args(annotation)
        return [_by_name(fleet, annotation, one) for one in value]
    kinds = [kind for kind in get_args(annotation) if get_origin(kind) is Annotated]
    return _by_name(fleet, kinds[0], value) if kinds else value


class Amounts(Result, frozen=True):
    """Bytes under each accounting policy."""

    static_max: int
    dynamic_max: int
    dynamic_min: int


class Finding(Result, frozen=True):
    """Something an operator wants to know of a pool.

    Attributes
    ----------
    kind : what it is, in a word that stays the same
    text : the same for people, on one line
    hosts, vms : references of the objects concerned
    memory : bytes concerned in all; None where no amount is
    """

    kind: str
    text: str
    hosts: list[str] = []
    vms: list[str] = []
    memory: int | None = None


class PoolHead(Named, frozen=True):
    """Which pool it is, and what computes there.

    Attributes
    ----------
    xapi_version : of the coordinator; empty if unknown
    model : kernel model that the coordinator computes with
    source, format, schema : the inventory, its format, and the schema version of a database dump
    """

    xapi_version: str
    model: str
    source: str
    format: str
    schema: str


def pool_head(fleet: Fleet, pool: int) -> PoolHead:
    """The head of a row of ``fleet.pools``."""
    pools = fleet.pools
    master = int(pools.master[pool])
    return PoolHead(
        **identity(pools, pool),
        xapi_version=fleet.hosts.xapi_version[master] if master >= 0 else "",
        model=pools.model[pool],
        source=pools.source[pool],
        format=pools.format[pool],
        schema=pools.schema[pool],
    )


def identity(table: Table, row: int) -> dict[str, str]:
    """Reference, uuid and name of a row, as the arguments of a result."""
    return {"ref": table.ref[row], "uuid": table.uuid[row], "name_label": table.name_label[row]}


def named(table: Table, row: int) -> Named | None:
    """The object that a reference names; None for no reference."""
    return Named(**identity(table, row)) if row >= 0 else None


def name_of(item: Any) -> Named:
    """Only the name of something that a result tells more of."""
    return Named(ref=item.ref, uuid=item.uuid, name_label=item.name_label)


def label(item: Any) -> str:
    """What messages call an object of the inventory: its name, or its uuid or reference if it has none; printable."""
    text: str = item.name_label or item.uuid or item.ref
    return text if text.isprintable() else repr(text)


def listed(items: Sequence[str]) -> str:
    """The first few items, and how many there are beside them."""
    shown = ", ".join(items[:_NAMES_SHOWN])
    return shown if len(items) <= _NAMES_SHOWN else f"{shown} and {len(items) - _NAMES_SHOWN} more"


def labels(table: Table, rows: Sequence[int]) -> str:
    """The first few objects by name, and how many there are beside them."""
    shown = [table.label(row) for row in rows[:_NAMES_SHOWN]]
    return listed(shown + [""] * (len(rows) - len(shown)))


def refs(table: Table, rows: Iterable[int]) -> list[str]:
    """The references of rows."""
    return [table.ref[row] for row in rows]


def at(columns: Mapping[str, Sequence[int]], row: int) -> Amounts:
    """One row of columns by policy."""
    return Amounts(**{policy: columns[policy][row] for policy in POLICIES})


def total(amounts: Iterable[Amounts]) -> Amounts:
    """The sum of amounts, policy by policy."""
    rows = list(amounts)
    return Amounts(**{policy: sum(getattr(row, policy) for row in rows) for policy in POLICIES})


def exact_sum(amounts: Bytes) -> int:
    """The sum of amounts, which int64 need not hold."""
    return sum(amounts.tolist())


def known(amount: int) -> int | None:
    """A measured amount, None if it is unknown."""
    return amount if amount >= 0 else None


def known_totals(fleet: Fleet) -> Bools:
    """The hosts whose memory_total is known."""
    return is_known(fleet.hosts.memory_total)


def at_hosts(fleet: Fleet, amount: Bytes, which: Bools | None = None) -> Bytes:
    """Sum of an amount of each VM over those resident on a host and those scheduled there, without removing duplicates.

    Parameters
    ----------
    amount : shape (vms,), >= 0
    which : shape (vms,), the VMs to count; all by default

    Returns
    -------
    int64 array, shape (hosts,)

    Raises
    ------
    QuestionError : a sum is beyond any host
    """
    sums = np.zeros(len(fleet.hosts), dtype=np.int64)
    if not len(fleet.vms):
        return sums
    may_overflow = int(amount.max()) * 2 * len(amount) > _MAX_USED
    for rows in (fleet.vms.resident_on, fleet.vms.scheduled_to_be_resident_on):
        there = rows >= 0 if which is None else (rows >= 0) & which
        if may_overflow and (np.bincount(rows[there], weights=amount[there], minlength=len(sums)) > _MAX_USED).any():
            raise QuestionError(f"the VMs of a host take more than {format_size(_MAX_USED)}")
        np.add.at(sums, rows[there], amount[there])
    return sums


def overcommitted(fleet: Fleet, policy: str, overhead: Bytes | None = None, available: Bytes | None = None) -> Bytes:
    """By how much the VMs of each host exceed its memory, 0 where they do not or its memory is unknown.

    Parameters
    ----------
    overhead : shape (vms,); the stored one by default
    available : shape (hosts,), what there is for VMs; by default all but the host's own overhead
    """
    stored = fleet.vms.memory_overhead if overhead is None else overhead
    there = fleet.hosts.available if available is None else available
    excess = at_hosts(fleet, fleet.amount(policy) + stored) - there
    return np.where(known_totals(fleet), np.maximum(excess, 0), 0)


START_POLICY: Final = "dynamic_min"
HOLD_POLICY: Final = "static_max"
"""The rule for policies that nobody names: what starts or moves now counts as xapi's memory check does, with what VMs
can be squeezed to; what has to hold after host failures counts as its HA planner does, with all that VMs may take."""


def upgraded(fleet: Fleet, to: str) -> Fleet:
    """The fleet after its upgrade, once every VM has been started anew: its overheads, and those of the hosts.

    Parameters
    ----------
    to : a kernel model, a version of xapi or a product

    Raises
    ------
    QuestionError : it is none of these
    """
    try:
        model = kernel.model_name_for(to)
    except ValueError as error:
        raise QuestionError(str(error).removeprefix("version: ")) from None
    hosts = fleet.hosts
    return fleet.replace(
        vms=replace(fleet.vms, memory_overhead=fleet.overhead(model)),
        hosts=replace(
            hosts,
            memory_overhead=hosts.memory_overhead + fleet.host_overhead_growth(model),
            model=np.full(len(hosts), model, dtype=object),
        ),
        pools=replace(fleet.pools, model=np.full(len(fleet.pools), model, dtype=object)),
    )


def free_without(fleet: Fleet, vm: int) -> Bytes:
    """Free memory of each host for starting a VM: dynamic_min, the VM itself left out of those scheduled.

    Notes
    -----
    Source: xapi-project/xen-api, ocaml/xapi/memory_check.ml, ``host_compute_free_memory_with_maximum_compression``.
    """
    vms = fleet.vms
    scheduled: Rows = vms.scheduled_to_be_resident_on.copy()
    scheduled[vm] = -1
    return kernel.free_memory(
        fleet.hosts.available, fleet.amount("dynamic_min"), vms.memory_overhead, vms.resident_on, scheduled
    )


def find_vm(fleet: Fleet, name: str) -> int:
    """The row of the VM of this name, uuid or reference, or of the only one whose name or uuid begins so.

    Snapshots and templates count only where no VM has the name.

    Raises
    ------
    QuestionError : there is none, or there are several; lists them
    """
    rows = fleet.vms.find(name)
    if not len(rows):
        rows = _beginning(fleet.vms, name)
    vms = rows[~fleet.vms.is_a_template[rows]]
    return _only(fleet.vms, "VM", name, vms if len(vms) else rows)


def find_host(fleet: Fleet, name: str) -> int:
    """The row of the host of this name, hostname, uuid or reference, or of the only one whose name or uuid begins so.

    Raises
    ------
    QuestionError : there is none, or there are several; lists them
    """
    rows = fleet.hosts.find(name)
    if not len(rows):
        rows = np.flatnonzero(fleet.hosts.hostname == name)
    if not len(rows):
        rows = _beginning(fleet.hosts, name)
    return _only(fleet.hosts, "host", name, rows)


def _beginning(table: Table, name: str) -> NDArray[np.int64]:
    """The rows whose name or uuid begins with this text, which is not empty."""
    texts = zip(table.name_label, table.uuid, strict=True)
    return np.flatnonzero([bool(name) and any(text.startswith(name) for text in both) for both in texts])


def _only(table: Table, noun: str, name: str, rows: Any) -> int:
    if len(rows) == 1:
        return int(rows[0])
    if len(rows):
        begins = any(table.label(row) != table.label(rows[0]) for row in rows)
        candidates = ", ".join(table.label(row) if begins else table.uuid[row] or table.ref[row] for row in rows[:10])
        more = f" and {len(rows) - 10} more" if len(rows) > 10 else ""
        raise QuestionError(f"{noun} {name!r} is ambiguous: {candidates}{more}")
    folded = name.casefold()
    near = [row for row in range(len(table)) if folded and folded in table.name_label[row].casefold()]
    hint = f"; similar: {labels(table, near)}" if near else ""
    raise QuestionError(f"there is no {noun} {name!r} in the inventory{hint}")
