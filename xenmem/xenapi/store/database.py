"""The pool database: the rows as the API shows them, and all that follows from them kept in step, change by change.

Every change goes through `create`, `write` and `destroy`: sums of memory per host, indexes, event generations and the
journal follow in O(1). A snapshot is a place in the journal; restoring undoes the changes since. `lock` is the server's
global lock: whoever checks and then reserves holds it. Amounts are bytes. Knows neither messages nor files.
"""

import random
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar, cast

from xenmem import kernel
from xenmem.datamodel import CLASSES, RELATIONS, ClassSchema
from xenmem.datamodel.errors import HANDLE_INVALID, UUID_INVALID
from xenmem.datamodel.types import NULL, SetType
from xenmem.kernel import OverheadModel
from xenmem.rules.hosts import CURRENT, Model, model_name, pool_model
from xenmem.xenapi.store import rows
from xenmem.xenapi.store.rows import ROW_CLASSES, Row, stored_fields

R = TypeVar("R", bound=Row)

MAX_JOURNAL: Final = 2_000_000
"""Writes that the journal keeps at most; the older half is forgotten when there are more. About 300 bytes each."""

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


class Table(Generic[R]):
    """The rows of one class.

    Attributes
    ----------
    schema : the class
    rows : by reference
    changed : generation of each row changed since it was loaded, the latest last
    deleted : of rows lately destroyed, the generations in which they were made and destroyed
    loaded : generation in which rows were last loaded
    """

    __slots__ = ("_by_label", "_by_uuid", "_descending", "_has_label", "changed", "deleted", "loaded", "rows", "schema")

    def __init__(self, schema: ClassSchema) -> None:
        self.schema = schema
        self.rows: dict[str, R] = {}
        self.changed: dict[str, int] = {}
        self.deleted: dict[str, tuple[int, int]] = {}
        self.loaded = 0
        self._by_uuid: dict[str, str] = {}
        self._by_label: dict[str, dict[str, None]] = {}
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
        """All references, in descending order of bytes as the server lists them (C.6)."""
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
        self._descending = None
        self.changed.pop(ref, None)
        self.deleted[ref] = row.ctime, generation
        if len(self.deleted) >= _MAX_DELETED:
            for forgotten in list(self.deleted)[: len(self.deleted) - _KEPT_DELETED]:
                del self.deleted[forgotten]
        self._reindex_uuid(row, row.uuid, None)  # type: ignore[attr-defined]
        if self._has_label:
            self._reindex_label(row, row.name_label, None)  # type: ignore[attr-defined]

    def _reindex_uuid(self, row: Row, old: str, new: str | None) -> None:
        if self._by_uuid.get(old) == row.ref:
            del self._by_uuid[old]
        if new is not None:
            self._by_uuid[new] = row.ref

    def _reindex_label(self, row: Row, old: str, new: str | None) -> None:
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

    Attributes
    ----------
    lock : held by whoever writes, and by whoever must see several rows in one state
    generation : counts the changes, from 1
    observers : called with `add`, `mod` or `del` and the row, after each change, the database locked
    recounts : counts the changes of what hosts have and what is used of it
    regroupings : counts the hosts and host metrics that came or went, and changes of the coordinator
    configured : generation in which a VM last came or got another other_config
    author : who makes the changes now being made; set by whoever holds the lock
    the_pool : the one row of its table
    tables : of every class, by its name; those that the server itself needs have attributes of their own
    unknown : tables that the data model does not know, as they came: by name, reference and column
    """

    def __init__(self, *, seed: int | None = None, max_journal: int = MAX_JOURNAL) -> None:
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
        self.VM: Final[Table[rows.VM]] = self.tables["VM"]
        self.VM_metrics: Final[Table[rows.VM_metrics]] = self.tables["VM_metrics"]
        self.VM_guest_metrics: Final[Table[rows.VM_guest_metrics]] = self.tables["VM_guest_metrics"]
        self.VM_group: Final[Table[rows.VM_group]] = self.tables["VM_group"]
        self.host: Final[Table[rows.host]] = self.tables["host"]
        self.host_metrics: Final[Table[rows.host_metrics]] = self.tables["host_metrics"]
        self.pool: Final[Table[rows.pool]] = self.tables["pool"]
        self.task: Final[Table[rows.task]] = self.tables["task"]
        self.session: Final[Table[rows.session]] = self.tables["session"]
        self._random = random.Random(seed) if seed is not None else random.SystemRandom()
        self._max_journal = max_journal
        self._journal: list[_Entry] = []
        self._forgotten = 0
        self._waiting: Final = threading.local()
        self._recounted: dict[str, int] = {}
        self._model: OverheadModel | None = None
        self._assumed = CURRENT
        self.the_pool: rows.pool

    # ------------------------------------------------------------------------------------------------------- reading

    @property
    def model(self) -> OverheadModel:
        """The overhead model that the coordinator computes with (inventory-formats, section 4).

        Where its version is unknown, that of the other hosts if they agree, else the one to `assume`.
        """
        if self._model is None:
            pool = next(iter(self.pool), None)
            master = self.host.get(pool.master) if pool is not None else None
            own = model_name(master.software_version) if master is not None else ""
            hosts = (model_name(host.software_version) for host in self.host)
            self._model = kernel.MODELS[pool_model(own, hosts, self._assumed).name]
        return self._model

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
        self._touch(row)
        effect = _EFFECTS[row.table].get(field)
        if effect is not None:
            effect(self, row, old, value)
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
            self._touch(row)
            self._remember(row, changes)
        else:
            self.generation -= 1

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
        _leave(self, vm, old)
        del host.scheduled[vm.ref]
        host.resident[vm.ref] = None  # it counted here, and goes on to do so: the sums stay
        self._touch(host)
        vm.resident_on, vm.scheduled_to_be_resident_on = new, NULL
        changes: list[_Field] = [("resident_on", old, new), ("scheduled_to_be_resident_on", new, NULL)]
        changes += self._assign(vm, values)
        self._touch(vm)
        self._remember(vm, changes)

    def touch(self, row: Row) -> None:
        """Let a row count as changed though it is not."""
        self.generation += 1
        self._touch(row)

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
                self._link(row, _ARRIVALS.get(class_name))
            table = self.tables[class_name]
            table.changed.clear()
            table.loaded = self.generation
        for relation in _RELATIONS:
            if relation.source in loaded or relation.target in loaded:
                relation.rebuild(self)

    def _remember(self, row: Row, changes: Sequence[_Field]) -> None:
        if not row.schema.persistent:
            return
        journal = self._journal
        journal.append((self.generation, self.author.origin, row, changes))
        if len(journal) > self._max_journal:
            kept = self._max_journal // 2
            self._forgotten += len(journal) - kept
            del journal[:-kept]

    def _assign(self, row: Row, values: Mapping[str, Any]) -> list[_Field]:
        """Set fields with what follows from them; those that changed."""
        changes: list[_Field] = []
        effects = _EFFECTS[row.table]
        for field, new in values.items():
            old = getattr(row, field)
            if old != new:
                setattr(row, field, new)
                changes.append((field, old, new))
                if field in effects:
                    effects[field](self, row, old, new)
        return changes

    def _touch(self, row: Row, operation: str = "mod") -> None:
        row.mtime = generation = self.generation
        changed = self.tables[row.table].changed
        changed.pop(row.ref, None)
        changed[row.ref] = generation
        if self.observers:
            self._tell(operation, row)

    def _tell(self, operation: str, row: Row) -> None:
        for observer in tuple(self.observers):
            observer(operation, row)

    def _recount(self, host: str) -> None:
        self.recounts += 1
        self._recounted.pop(host, None)
        self._recounted[host] = self.recounts

    def _take_in(self, row: Row) -> None:
        self._link(row, _ARRIVALS.get(row.table))
        for relation in _RELATIONS_FROM.get(row.table, ()):
            relation.change(self, row, (), relation.targets(row))

    def _link(self, row: Row, arrived: "_Arrival | None") -> None:
        row.ctime = self.generation
        self.tables[row.table]._index(row)
        self._touch(row, "add")
        if arrived is not None:
            arrived(self, row, 1)

    def _take_out(self, row: Row) -> None:
        self.tables[row.table]._unindex(row, self.generation)
        left = _ARRIVALS.get(row.table)
        if left is not None:
            left(self, row, -1)
        for relation in _RELATIONS_FROM.get(row.table, ()):
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
        while len(self._journal) > start:
            _, _, row, changes = self._journal.pop()
            self.generation += 1
            if changes is _MADE:
                self._take_out(row)
            elif changes is _DESTROYED:
                self._take_in(row)
            else:
                self._assign(row, {cast(str, field): old for field, old, _ in changes})
                self._touch(row)


# ------------------------------------------------------------------------------------------------ what follows a change


def _count(database: Database, host: rows.host, vm: rows.VM) -> None:
    overhead = vm.memory_overhead  # as accounting.used_memory, which would cost most of a start
    host.used_static_max += vm.memory_static_max + overhead
    host.used_dynamic_max += vm.memory_dynamic_max + overhead
    host.used_dynamic_min += vm.memory_dynamic_min + overhead
    database._recount(host.ref)


def _discount(database: Database, host: rows.host, vm: rows.VM) -> None:
    overhead = vm.memory_overhead
    host.used_static_max -= vm.memory_static_max + overhead
    host.used_dynamic_max -= vm.memory_dynamic_max + overhead
    host.used_dynamic_min -= vm.memory_dynamic_min + overhead
    database._recount(host.ref)


def _leave(database: Database, vm: rows.VM, old: str) -> None:
    host = database.host.rows.get(old)
    if host is not None:
        del host.resident[vm.ref]
        _discount(database, host, vm)
        database._touch(host)


def _move_resident(database: Database, vm: rows.VM, old: str, new: str) -> None:
    _leave(database, vm, old)
    host = database.host.rows.get(new)
    if host is not None:
        host.resident[vm.ref] = None
        _count(database, host, vm)
        database._touch(host)


def _move_scheduled(database: Database, vm: rows.VM, old: str, new: str) -> None:
    hosts = database.host.rows
    host = hosts.get(old)
    if host is not None:
        del host.scheduled[vm.ref]
        _discount(database, host, vm)
    host = hosts.get(new)
    if host is not None:
        host.scheduled[vm.ref] = None
        _count(database, host, vm)


def _configure(database: Database, vm: rows.VM, old: Mapping[str, str], new: Mapping[str, str]) -> None:
    database.configured = database.generation


def _grow(*sums: str) -> Callable[[Database, rows.VM, int, int], None]:
    def effect(database: Database, vm: rows.VM, old: int, new: int) -> None:
        for ref in (vm.resident_on, vm.scheduled_to_be_resident_on):
            host = database.host.get(ref)
            if host is not None:
                for name in sums:
                    setattr(host, name, getattr(host, name) + new - old)
                database._recount(ref)

    return effect


def _join_groups(database: Database, vm: rows.VM, old: tuple[str, ...], new: tuple[str, ...]) -> None:
    for ref in old:
        group = database.VM_group.get(ref)
        if group is not None:
            group.members.pop(vm.ref, None)
            database._touch(group)
    for ref in new:
        group = database.VM_group.get(ref)
        if group is not None:
            group.members[vm.ref] = None
            database._touch(group)


def _arrive_vm(database: Database, vm: rows.VM, sign: int) -> None:
    null = ""
    if sign > 0:
        database.configured = database.generation
        _move_resident(database, vm, null, vm.resident_on)
        _move_scheduled(database, vm, null, vm.scheduled_to_be_resident_on)
        _join_groups(database, vm, (), vm.groups)
    else:
        _move_resident(database, vm, vm.resident_on, null)
        _move_scheduled(database, vm, vm.scheduled_to_be_resident_on, null)
        _join_groups(database, vm, vm.groups, ())


def _arrive_host(database: Database, host: rows.host, sign: int) -> None:
    database._model = None
    database.regroupings += 1
    database._recount(host.ref)
    host.resident.clear()
    host.scheduled.clear()
    host.used_static_max = host.used_dynamic_max = host.used_dynamic_min = 0
    if sign > 0:
        for vm in database.VM:
            if vm.resident_on == host.ref:
                _move_resident(database, vm, "", host.ref)
            if vm.scheduled_to_be_resident_on == host.ref:
                _move_scheduled(database, vm, "", host.ref)


def _arrive_host_metrics(database: Database, metrics: rows.host_metrics, sign: int) -> None:
    database.regroupings += 1


def _arrive_group(database: Database, group: rows.VM_group, sign: int) -> None:
    group.members.clear()
    if sign > 0:
        group.members.update({vm.ref: None for vm in database.VM if group.ref in vm.groups})


def _measure(database: Database, metrics: rows.host_metrics, old: int, new: int) -> None:
    for host in database.host:
        if host.metrics == metrics.ref:
            database._recount(host.ref)


def _resize(database: Database, host: rows.host, old: Any, new: Any) -> None:
    database._recount(host.ref)


def _arrive_pool(database: Database, pool: rows.pool, sign: int) -> None:
    _choose_coordinator(database, pool, None, pool.master)
    if sign > 0:
        database.the_pool = pool


def _choose_coordinator(database: Database, pool: rows.pool, old: str | None, new: str) -> None:
    database._model = None
    database.regroupings += 1


def _forget_model(database: Database, row: Row, old: Any, new: Any) -> None:
    database._model = None


def _rename(database: Database, row: Row, old: str, new: str) -> None:
    database.tables[row.table]._reindex_label(row, old, new)


def _change_uuid(database: Database, row: Row, old: str, new: str) -> None:
    database.tables[row.table]._reindex_uuid(row, old, new)


_Effect = Callable[[Database, Any, Any, Any], None]
_Arrival = Callable[[Database, Any, int], None]


class _Relation:
    """References of one class to another, which lists the rows that point to each of its own.

    Parameters
    ----------
    source, field : the class and its field: a reference, or a set of them
    target, many : the class that it points to, and the field with the references of those who do, in ascending order
    """

    def __init__(self, source: str, field: str, target: str, many: str) -> None:
        self.source = source
        self.field = field
        self.target = target
        self.many = many
        self._is_set = isinstance(CLASSES[source].fields[field].type, SetType)

    def targets(self, row: Row) -> tuple[str, ...]:
        """What a row points to."""
        value = getattr(row, self.field)
        return value if self._is_set else (value,)

    def effect(self, database: Database, row: Row, old: Any, new: Any) -> None:
        """The field got another value."""
        self.change(database, row, *((old, new) if self._is_set else ((old,), (new,))))

    def change(self, database: Database, row: Row, old: tuple[str, ...], new: tuple[str, ...]) -> None:
        """A row points to others than before."""
        if old != new:
            for ref in old:
                self._list(database, ref, row.ref, False)
            for ref in new:
                self._list(database, ref, row.ref, True)

    def rebuild(self, database: Database) -> None:
        """List anew who points to each row; where nobody could, what an inventory says stands."""
        sources, many = database.tables[self.source], attrgetter(self.many)
        if not sources:
            return
        pointing: dict[str, list[str]] = {}
        for row in sources:
            for ref in self.targets(row):
                pointing.setdefault(ref, []).append(row.ref)
        for row in database.tables[self.target]:
            if (listed := pointing.get(row.ref)) is not None or many(row):
                setattr(row, self.many, tuple(sorted(listed or ())))

    def _list(self, database: Database, target: str, ref: str, belongs: bool) -> None:
        row = database.tables[self.target].get(target)
        if row is None:
            return
        listed: tuple[str, ...] = getattr(row, self.many)
        if belongs != (ref in listed):
            wanted = (*listed, ref) if belongs else (other for other in listed if other != ref)
            setattr(row, self.many, tuple(sorted(wanted)))
            database._touch(row)


_RELATIONS: Final = tuple(
    _Relation(*relation)
    for relation in RELATIONS
    if relation[:2] != relation[2:]
    and relation[3] in stored_fields(relation[2])
    and CLASSES[relation[2]].fields[relation[3]].inverse is not None
)
"""Those whose other side is held by rows; hosts and VM groups count who points to them by themselves."""

_RELATIONS_FROM: Final = {
    name: tuple(relation for relation in _RELATIONS if relation.source == name) for name in ROW_CLASSES
}

_EFFECTS: Final[dict[str, dict[str, _Effect]]] = {
    name: {"uuid": _change_uuid, "name_label": _rename}
    | {relation.field: relation.effect for relation in _RELATIONS_FROM[name]}
    for name in ROW_CLASSES
}
_EFFECTS["VM"] |= {
    "resident_on": _move_resident,
    "scheduled_to_be_resident_on": _move_scheduled,
    "other_config": _configure,
    "memory_static_max": _grow("used_static_max"),
    "memory_dynamic_max": _grow("used_dynamic_max"),
    "memory_dynamic_min": _grow("used_dynamic_min"),
    "memory_overhead": _grow("used_static_max", "used_dynamic_max", "used_dynamic_min"),
    "groups": _join_groups,
}
_EFFECTS["pool"]["master"] = _choose_coordinator
_EFFECTS["host"] |= {"software_version": _forget_model, "memory_overhead": _resize, "metrics": _resize}
_EFFECTS["host_metrics"]["memory_total"] = _measure

_ARRIVALS: Final = cast(
    dict[str, _Arrival],
    {
        "VM": _arrive_vm,
        "VM_group": _arrive_group,
        "host": _arrive_host,
        "host_metrics": _arrive_host_metrics,
        "pool": _arrive_pool,
    },
)
