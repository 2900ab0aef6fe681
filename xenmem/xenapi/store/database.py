"""The pool database: the rows as the API shows them, and all that follows from them kept in step, change by change.

Every change goes through `create`, `write` and `destroy`: what effects.py says, event generations and the journal
follow in O(1). A snapshot is a place in the journal; restoring undoes the changes since. `lock` is the server's
global lock: whoever checks and then reserves holds it. Amounts are bytes. Knows neither messages nor files.
"""

import random
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar, cast

from xenmem import kernel
from xenmem.datamodel import ClassSchema
from xenmem.datamodel.errors import HANDLE_INVALID, UUID_INVALID
from xenmem.datamodel.types import NULL
from xenmem.kernel import OverheadModel
from xenmem.rules.hosts import CURRENT, Model, model_name, pool_model
from xenmem.xenapi.store import rows
from xenmem.xenapi.store.effects import ARRIVALS, EFFECTS, RELATIONS, RELATIONS_FROM, Arrival, leave
from xenmem.xenapi.store.rows import ROW_CLASSES, Row, stored_fields

R = TypeVar("R", bound=Row)

MAX_JOURNAL: Final = 2_000_000
"""Writes that the journal keeps at most; the older half is forgotten when there are more. About 300 bytes each."""

MAX_JOURNAL_BYTES: Final = 1 << 29
"""Bytes of texts, sets and maps that the journal keeps at most; then, too, the older half is forgotten."""

_MAX_DELETED: Final = 512
_KEPT_DELETED: Final = 256


class Origin(NamedTuple):
    """Where a change comes from.

    Attributes
    ----------
    who : user name
    when : seconds since 1970
    message : its name, empty where none was called
    began : how many writes had been journaled when it began; negative where no message was called
    """

    who: str = ""
    when: float = 0.0
    message: str = ""
    began: int = -1


class Author(Protocol):
    """Who makes changes."""

    @property
    def origin(self) -> Origin:
        """What the journal says of them: always the same object."""


class _Nobody:
    def __init__(self) -> None:
        self.origin = Origin()


class Change(NamedTuple):
    """One change of the journal.

    Attributes
    ----------
    generation : of the database after it
    origin : who, when, by which message
    class_name, ref : the row
    field : its field; None if the row itself was made or destroyed
    old, new : values as rows hold them; of a row whether it was, and is, there
    """

    generation: int
    origin: Origin
    class_name: str
    ref: str
    field: str | None
    old: Any
    new: Any


class Snapshot(NamedTuple):
    """A state of the database that can be restored: a place in the journal."""

    position: int
    generation: int


_Field = tuple[str | None, Any, Any]
"""A field with the value that it had and the one that it got; None stands for the row itself."""

_Entry = tuple[int, Origin, Row, Sequence[_Field]]
"""One write of one row, as the journal keeps it."""

_MADE: Final = ((None, False, True),)
_DESTROYED: Final = ((None, True, False),)


_BYTES_OF_AN_ITEM: Final = 100


def weight(value: Any) -> int:
    """About how many bytes a value takes beside a number's."""
    kind = type(value)
    if kind is str:
        return len(value)
    if kind is dict:
        return sum(_BYTES_OF_AN_ITEM + len(str(key)) + weight(item) for key, item in value.items())
    if kind is tuple:
        return sum(_BYTES_OF_AN_ITEM + weight(item) for item in value)
    return 0


def weight_of_row(row: Row) -> int:
    """About how many bytes the values of a row take beside numbers'."""
    return sum(weight(getattr(row, name)) for name in stored_fields(row.table))


class Table(Generic[R]):
    """The rows of one class.

    Attributes
    ----------
    schema : the class
    rows : by reference
    changed : generation of each row changed since it was loaded, the latest last
    deleted : of rows lately destroyed, the generations in which they were first made and last destroyed
    loaded : generation in which rows were last loaded
    version : counts the changes of the table: who keeps what follows from its rows compares it
    """

    __slots__ = (
        "_by_label",
        "_by_uuid",
        "_descending",
        "_first_made",
        "_has_label",
        "changed",
        "deleted",
        "loaded",
        "rows",
        "schema",
        "version",
    )

    def __init__(self, schema: ClassSchema) -> None:
        self.schema = schema
        self.version = 0
        self.rows: dict[str, R] = {}
        self.changed: dict[str, int] = {}
        self.deleted: dict[str, tuple[int, int]] = {}
        self.loaded = 0
        self._by_uuid: dict[str, str] = {}
        self._by_label: dict[str, dict[str, None]] = {}
        self._first_made: dict[str, int] = {}
        self._has_label = "name_label" in schema.fields
        self._descending: tuple[str, ...] | None = None

    def __getitem__(self, ref: str) -> R:
        """The row of a reference.

        Raises
        ------
        Failure : HANDLE_INVALID
        """
        row = self.rows.get(ref)
        if row is None:
            raise HANDLE_INVALID(self.schema.name, ref)
        return row

    def __iter__(self) -> Iterator[R]:
        return iter(self.rows.values())

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, ref: object) -> bool:
        return ref in self.rows

    def get(self, ref: str) -> R | None:
        """The row of a reference, None if there is none."""
        return self.rows.get(ref)

    def refs(self) -> tuple[str, ...]:
        """All references, in descending order of bytes as the server lists them (messages.md, 9.6)."""
        if self._descending is None:
            self._descending = tuple(sorted(self.rows, key=str.encode, reverse=True))
        return self._descending

    def by_uuid(self, uuid: str) -> R:
        """The row of a uuid.

        Raises
        ------
        Failure : UUID_INVALID
        """
        ref = self._by_uuid.get(uuid)
        if ref is None:
            raise UUID_INVALID(self.schema.name, uuid)
        return self.rows[ref]

    def by_name_label(self, label: str) -> list[str]:
        """References of the rows of a name, in the order of `refs`."""
        return sorted(self._by_label.get(label, ()), key=str.encode, reverse=True)

    def changed_since(self, generation: int) -> Iterator[R]:
        """The rows loaded, made or changed after a generation; if none was loaded after it, the latest first."""
        if generation < self.loaded:
            yield from (row for row in self.rows.values() if row.mtime > generation)
            return
        for ref, modified in reversed(self.changed.items()):
            if modified <= generation:
                return
            yield self.rows[ref]

    def destroyed_since(self, generation: int) -> bool:
        """Whether a row was destroyed after a generation."""
        return bool(self.deleted) and next(reversed(self.deleted.values()))[1] > generation

    def _index(self, row: R) -> None:
        ref = row.ref
        self.rows[ref] = row
        self._descending = None
        self.deleted.pop(ref, None)
        self._by_uuid[row.uuid] = ref  # type: ignore[attr-defined]
        if self._has_label:
            self._by_label.setdefault(row.name_label, {})[ref] = None  # type: ignore[attr-defined]

    def _unindex(self, row: R, generation: int) -> None:
        ref = row.ref
        del self.rows[ref]
        self.version += 1
        self._descending = None
        self.changed.pop(ref, None)
        self.deleted[ref] = self._first_made.pop(ref, row.ctime), generation
        if len(self.deleted) >= _MAX_DELETED:
            for forgotten in list(self.deleted)[: len(self.deleted) - _KEPT_DELETED]:
                del self.deleted[forgotten]
        self.reindex_uuid(row, row.uuid, None)  # type: ignore[attr-defined]
        if self._has_label:
            self.reindex_label(row, row.name_label, None)  # type: ignore[attr-defined]

    def reindex_uuid(self, row: Row, old: str, new: str | None) -> None:
        """A row has another uuid, or is gone."""
        if self._by_uuid.get(old) == row.ref:
            del self._by_uuid[old]
        if new is not None:
            self._by_uuid[new] = row.ref

    def reindex_label(self, row: Row, old: str, new: str | None) -> None:
        """A row has another name, or is gone."""
        labelled = self._by_label[old]
        del labelled[row.ref]
        if not labelled:
            del self._by_label[old]
        if new is not None:
            self._by_label.setdefault(new, {})[row.ref] = None


class Database:
    """A pool's rows.

    Parameters
    ----------
    seed : makes the references and uuids that the database gives repeatable
    max_journal : writes that are kept; one write may change several fields of a row
    max_journal_bytes : what the values that were written may take, about

    Attributes
    ----------
    lock : held by whoever writes, and by whoever must see several rows in one state
    generation : counts the changes, from 1
    observers : called with `add`, `mod` or `del` and the row, after each change, the database locked
    recounts : counts the changes of what hosts have and what is used of it
    regroupings : counts the hosts and host metrics that came or went, and changes of the coordinator or of a CPU
    configured : generation in which a VM last came or got another other_config
    author : who makes the changes now being made; set by whoever holds the lock
    the_pool : the one row of its table
    tables : of every class, by its name; those that the server itself needs have attributes of their own
    unknown : tables that the data model does not know, as they came: by name, reference and column
    lacks : classes of which the inventory says nothing, which is not the same as that there are none
    has_internal_fields : the inventory has the fields that only a server's own database has
    """

    def __init__(
        self,
        *,
        seed: int | None = None,
        max_journal: int = MAX_JOURNAL,
        max_journal_bytes: int = MAX_JOURNAL_BYTES,
    ) -> None:
        self.lock: Final = threading.RLock()
        self.generation = 1
        self.observers: Final[list[Callable[[str, Row], None]]] = []
        self.recounts = 0
        self.regroupings = 0
        self.configured = 1
        self.author: Author = _Nobody()
        self.tables: Final[dict[str, Table[Any]]] = {
            name: Table(row_class.schema) for name, row_class in ROW_CLASSES.items()
        }
        self.unknown: dict[str, dict[str, dict[str, Any]]] = {}
        self.lacks: frozenset[str] = frozenset()
        self.has_internal_fields = True
        self.VM: Final[Table[rows.VM]] = self.tables["VM"]
        self.VM_metrics: Final[Table[rows.VM_metrics]] = self.tables["VM_metrics"]
        self.VM_guest_metrics: Final[Table[rows.VM_guest_metrics]] = self.tables["VM_guest_metrics"]
        self.VM_group: Final[Table[rows.VM_group]] = self.tables["VM_group"]
        self.host: Final[Table[rows.host]] = self.tables["host"]
        self.host_metrics: Final[Table[rows.host_metrics]] = self.tables["host_metrics"]
        self.pool: Final[Table[rows.pool]] = self.tables["pool"]
        self.SR: Final[Table[rows.SR]] = self.tables["SR"]
        self.VDI: Final[Table[rows.VDI]] = self.tables["VDI"]
        self.VBD: Final[Table[rows.VBD]] = self.tables["VBD"]
        self.VIF: Final[Table[rows.VIF]] = self.tables["VIF"]
        self.network: Final[Table[rows.network]] = self.tables["network"]
        self.task: Final[Table[rows.task]] = self.tables["task"]
        self.session: Final[Table[rows.session]] = self.tables["session"]
        self._random = random.Random(seed) if seed is not None else random.SystemRandom()
        self._max_journal = max_journal
        self._max_journal_bytes = max_journal_bytes
        self._journal_bytes = 0
        self._journal: list[_Entry] = []
        self._forgotten = 0
        self._is_undoing = False
        self._waiting: Final = threading.local()
        self._recounted: dict[str, int] = {}
        self._model: OverheadModel | None = None
        self._assumed = CURRENT
        self.the_pool: rows.pool

    # ------------------------------------------------------------------------------------------------------- reading

    @property
    def model(self) -> OverheadModel:
        """The overhead model that the coordinator computes with (inventories.md, 4.2).

        Where its version is unknown, that of the other hosts if they agree, else the one to `assume`.
        """
        if self._model is None:
            pool = next(iter(self.pool), None)
            master = self.host.get(pool.master) if pool is not None else None
            own = model_name(master.software_version) if master is not None else ""
            hosts = (model_name(host.software_version) for host in self.host)
            self._model = kernel.MODELS[pool_model(own, hosts, self._assumed).name]
        return self._model

    @property
    def software_version(self) -> Mapping[str, str]:
        """The coordinator's; nothing where it is unknown."""
        coordinator = self.host.rows.get(self.the_pool.master)
        return coordinator.software_version if coordinator is not None else {}

    def forget_model(self) -> None:
        """Hosts, their versions or the coordinator are others: the model is chosen anew."""
        self._model = None

    def assume(self, model: Model) -> None:
        """Take a model where no host tells its version."""
        self._assumed, self._model = model, None

    def recounted_since(self, recount: int) -> Iterator[str]:
        """Hosts whose memory, or what is used of it, changed after a recount, the latest first; some may be gone."""
        for ref, counted in reversed(self._recounted.items()):
            if counted <= recount:
                return
            yield ref

    def new_uuid(self) -> str:
        """A uuid that no row has."""
        digits = f"{self._random.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def new_ref(self) -> str:
        """A reference that no row has."""
        return f"OpaqueRef:{self.new_uuid()}"

    # ------------------------------------------------------------------------------------------------------- writing

    def new_row(self, class_name: str, **values: Any) -> Any:
        """A row with its defaults, a reference and a uuid, not yet in the database."""
        row = ROW_CLASSES[class_name](self.new_ref())
        values.setdefault("uuid", self.new_uuid())
        for name, value in values.items():
            setattr(row, name, value)
        return row

    def create(self, row: Row) -> None:
        """Take a row into the database."""
        self.generation += 1
        if row.schema.persistent:
            self._journal_bytes += weight_of_row(row)
        self._take_in(row)
        self._remember(row, _MADE)

    def destroy(self, row: Row) -> None:
        """Remove a row."""
        self.generation += 1
        self._take_out(row)
        self._remember(row, _DESTROYED)

    def write(self, row: Row, field: str, value: Any) -> None:
        """Set a field; setting it to what it is changes nothing.

        Parameters
        ----------
        row : of this database
        field : API name
        value : as rows hold it: text, int, float, bool, tuple or dict, never changed in place afterwards
        """
        old = getattr(row, field)
        if old == value:
            return
        self.generation += 1
        setattr(row, field, value)
        self.touched(row)
        effect = EFFECTS[row.table].get(field)
        if effect is not None:
            effect(self, row, old, value)
        kind = type(value)
        if kind is not int and kind is not bool:
            self._journal_bytes += len(value) if kind is str else weight(value)
        self._remember(row, ((field, old, value),))

    def update(self, row: Row, values: Mapping[str, Any]) -> None:
        """Set several fields of a row in one change; those that are what they are set to do not count.

        Parameters
        ----------
        row : of this database
        values : by API name, as of `write`
        """
        self.generation += 1
        changes = self._assign(row, values)
        if changes:
            self.touched(row)
            self._remember(row, changes)
        else:
            self.generation -= 1

    def write_flag(self, rows_of_a_class: Sequence[Row], field: str, value: bool) -> None:
        """Set a flag of several rows of one class, in one change; a flag from which nothing follows.

        Parameters
        ----------
        rows_of_a_class : of this database
        field, value : as of `write`
        """
        changed = [row for row in rows_of_a_class if getattr(row, field) is not value]
        if not changed:
            return
        self.generation = generation = self.generation + 1
        origin, journal, written = self.author.origin, self._journal, ((field, not value, value),)
        table = self.tables[changed[0].table]
        table.version += 1
        latest = table.changed
        for row in changed:
            setattr(row, field, value)
            row.mtime = generation
            latest.pop(row.ref, None)
            latest[row.ref] = generation
            journal.append((generation, origin, row, written))
        if len(journal) > self._max_journal:
            self._forget()
        if self.observers:
            for row in changed:
                self._tell("mod", row)

    def settle(self, vm: rows.VM, host: rows.host, values: Mapping[str, Any]) -> None:
        """Make a VM resident on a host and scheduled nowhere, in one change with other fields, as of `update`.

        Parameters
        ----------
        vm, host : of this database
        values : by API name, as of `write`
        """
        old, new = vm.resident_on, host.ref
        if old == new or vm.scheduled_to_be_resident_on != new:
            self.update(vm, {"resident_on": new, "scheduled_to_be_resident_on": NULL, **values})
            return
        self.generation += 1
        leave(self, vm, old)
        del host.scheduled[vm.ref]
        host.resident[vm.ref] = None  # it counted here, and goes on to do so: the sums stay
        self.touched(host)
        vm.resident_on, vm.scheduled_to_be_resident_on = new, NULL
        changes: list[_Field] = [("resident_on", old, new), ("scheduled_to_be_resident_on", new, NULL)]
        changes += self._assign(vm, values)
        self.touched(vm)
        self._remember(vm, changes)

    def touch(self, row: Row) -> None:
        """Let a row count as changed though it is not."""
        self.generation += 1
        self.touched(row)

    def load(self, class_name: str, loaded: Iterable[Row]) -> None:
        """Take rows of an inventory in, without journal."""
        self.load_all({class_name: loaded})

    def load_all(self, loaded: Mapping[str, Iterable[Row]]) -> None:
        """Take rows of several classes in, without journal.

        Of each relation the side that lists the others is made anew, if there are any others: the reference counts.

        Parameters
        ----------
        loaded : rows by class
        """
        for class_name, rows_of_class in loaded.items():
            for row in rows_of_class:
                self._link(row, ARRIVALS.get(class_name))
            table = self.tables[class_name]
            table.changed.clear()
            table.loaded = self.generation
        for relation in RELATIONS:
            if relation.source in loaded or relation.target in loaded:
                relation.rebuild(self)

    def _remember(self, row: Row, changes: Sequence[_Field]) -> None:
        if not row.schema.persistent:
            return
        journal = self._journal
        journal.append((self.generation, self.author.origin, row, changes))
        if len(journal) > self._max_journal or self._journal_bytes > self._max_journal_bytes:
            self._forget()

    def _forget(self) -> None:
        """Forget the older half of the journal by its number, or by what its values take, if it is too large.

        What `update` and `settle` write is small and not weighed; nor is what was undone taken off before it is needed.
        """
        journal = self._journal
        weights = [
            weight_of_row(row) if changes is _MADE else sum(weight(new) for _, _, new in changes)
            for _, _, row, changes in journal
        ]
        total = sum(weights)
        gone = len(journal) - self._max_journal // 2 if len(journal) > self._max_journal else 0
        total -= sum(weights[:gone])
        if total > self._max_journal_bytes:
            while total > self._max_journal_bytes // 2:
                total -= weights[gone]
                gone += 1
        self._journal_bytes = total
        self._forgotten += gone
        del journal[:gone]

    def _assign(self, row: Row, values: Mapping[str, Any]) -> list[_Field]:
        """Set fields with what follows from them; those that changed."""
        changes: list[_Field] = []
        effects = EFFECTS[row.table]
        for field, new in values.items():
            old = getattr(row, field)
            if old != new:
                setattr(row, field, new)
                changes.append((field, old, new))
                if field in effects:
                    effects[field](self, row, old, new)
        return changes

    def touched(self, row: Row, operation: str = "mod") -> None:
        """Let a row count as changed in this generation, and tell the observers."""
        row.mtime = generation = self.generation
        table = self.tables[row.table]
        table.version += 1
        changed = table.changed
        changed.pop(row.ref, None)
        changed[row.ref] = generation
        if self.observers:
            self._tell(operation, row)

    def followed(self, row: Row, field: str, old: Any, new: Any) -> None:
        """A field got another value since other rows did: undone with them, it is what it was to the order of items."""
        if not self._is_undoing:
            self._remember(row, ((field, old, new),))
        self.touched(row)

    def _tell(self, operation: str, row: Row) -> None:
        for observer in tuple(self.observers):
            observer(operation, row)

    def recount(self, host: str) -> None:
        """What a host has, or what is used of it, is another."""
        self.recounts += 1
        self._recounted.pop(host, None)
        self._recounted[host] = self.recounts

    def _take_in(self, row: Row) -> None:
        self._link(row, ARRIVALS.get(row.table))
        for relation in RELATIONS_FROM.get(row.table, ()):
            relation.change(self, row, (), relation.targets(row))

    def _link(self, row: Row, arrived: Arrival | None) -> None:
        table = self.tables[row.table]
        if row.ctime:  # it was there, and whoever knew it then must be told when it goes
            table._first_made[row.ref] = table.deleted.get(row.ref, (row.ctime, 0))[0]
        row.ctime = self.generation
        table._index(row)
        self.touched(row, "add")
        if arrived is not None:
            arrived(self, row, 1)

    def _take_out(self, row: Row) -> None:
        self.tables[row.table]._unindex(row, self.generation)
        left = ARRIVALS.get(row.table)
        if left is not None:
            left(self, row, -1)
        for relation in RELATIONS_FROM.get(row.table, ()):
            relation.change(self, row, relation.targets(row), ())
        if self.observers:
            self._tell("del", row)

    # ----------------------------------------------------------------------------------------- journal and snapshots

    def journal(self, since: Snapshot | None = None) -> list[Change]:
        """The changes since a snapshot, or all that are kept, the earliest first."""
        start = 0 if since is None else self._start(since)
        return [
            Change(generation, origin, row.table, row.ref, field, old, new)
            for generation, origin, row, changes in self._journal[start:]
            for field, old, new in changes
        ]

    @property
    def journaled(self) -> int:
        """How many writes were journaled since the database was made, less those undone."""
        return self._forgotten + len(self._journal)

    @contextmanager
    def waiting(self, author: Author) -> Iterator[None]:
        """Let what happens in this thread meanwhile, while a message waits, be undone with the message."""
        outer = self.awaited
        self._waiting.author = author
        try:
            yield
        finally:
            self._waiting.author = outer

    @property
    def awaited(self) -> Author | None:
        """Who waits in this thread for time to pass."""
        author: Author | None = getattr(self._waiting, "author", None)
        return author

    def snapshot(self) -> Snapshot:
        """The present state, to be restored later."""
        with self.lock:
            return Snapshot(self.journaled, self._last_generation(len(self._journal)))

    def restore(self, snapshot: Snapshot) -> None:
        """Undo every change since a snapshot; sessions and tasks stay.

        Raises
        ------
        ValueError : the journal does not reach back to it, or the state was undone since
        """
        with self.lock:
            self._undo_to(self._start(snapshot))

    def undo(self, messages: int = 1) -> None:
        """Undo the last messages that changed something: what one message changed is undone as a whole.

        Raises
        ------
        ValueError : the journal does not hold so many

        Notes
        -----
        With a message goes all that was changed since it began, also by guests and by others while it waited.
        """
        with self.lock:
            start = len(self._journal)
            for _ in range(messages):
                start = self._began(start) if start else -1
                if start < 0:
                    raise ValueError(f"messages: the journal does not hold {messages}")
            self._undo_to(start)

    def _began(self, end: int) -> int:
        """Where in the journal that began which ends here; negative if it is forgotten."""
        start = end - 1
        origin = self._journal[start][1]
        if origin.began >= 0:
            return min(origin.began - self._forgotten, start)
        while start and self._journal[start - 1][1] is origin:
            start -= 1
        return start

    def _start(self, snapshot: Snapshot) -> int:
        start = snapshot.position - self._forgotten
        if not 0 <= start <= len(self._journal) or self._last_generation(start) != snapshot.generation:
            raise ValueError("snapshot: the journal does not lead back to it")
        return start

    def _last_generation(self, length: int) -> int:
        return self._journal[length - 1][0] if length else 0

    def _undo_to(self, start: int) -> None:
        self._is_undoing = True
        try:
            while len(self._journal) > start:
                self._undo_one()
        finally:
            self._is_undoing = False

    def _undo_one(self) -> None:
        _, _, row, changes = self._journal.pop()
        self.generation += 1
        if changes is _MADE:
            self._take_out(row)
        elif changes is _DESTROYED:
            self._take_in(row)
        else:
            self._assign(row, {cast(str, field): old for field, old, _ in changes})
            self.touched(row)
