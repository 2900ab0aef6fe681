"""What a script of messages would change in a pool: hosts before and after, fields, and the messages that failed.

The script runs against a pool in memory, never against a real one. Amounts are bytes.
"""

import itertools
import json
import os
import runpy
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from typing import IO, Any, Final

from xenmem.answers.naming import Amounts, Named, QuestionError, Result
from xenmem.datamodel import CLASSES
from xenmem.datamodel.types import RefType
from xenmem.xenapi import Failure, Pool, Session
from xenmem.xenapi.calls.message import Message, find
from xenmem.xenapi.store import accounting
from xenmem.xenapi.store.database import Change, Database

MAX_LINE: Final = 1 << 20
"""Longest line of a script of messages, in bytes."""

_POLICIES: Final = (accounting.STATIC_MAX, accounting.DYNAMIC_MAX, accounting.DYNAMIC_MIN)


class HostState(Result, frozen=True):
    """What there is of a host at one time.

    Attributes
    ----------
    vms : VMs that count there: resident, and scheduled to be
    free : what the server would answer
    """

    enabled: bool
    vms: int
    free: Amounts


class HostEffect(Named, frozen=True):
    """A host before and after."""

    before: HostState
    after: HostState

    @property
    def changes(self) -> bool:
        """Whether anything shown differs."""
        return self.before != self.after


class FieldEffect(Result, frozen=True):
    """A field that has another value afterwards.

    Attributes
    ----------
    class_name, ref, uuid, name_label : of which object; a VM_metrics has its VM's name
    field : its name; empty where the object itself was made or destroyed
    before, after : values as text; of an object, whether it is there
    """

    class_name: str
    ref: str
    uuid: str
    name_label: str
    field: str
    before: str
    after: str


class FailedMessage(Result, frozen=True):
    """A message that failed.

    Attributes
    ----------
    number : of the message, from 1
    line : of the script; None where it is Python
    message : its name
    code, parameters : what it answered
    """

    number: int
    line: int | None
    message: str
    code: str
    parameters: list[str]


class WhatIf(Named, frozen=True):
    """What a script would change.

    Attributes
    ----------
    ref, uuid, name_label : of the pool
    source, script : the inventory and the script
    messages : how many were sent
    failures : those that failed; what others changed stays
    stopped : the failure that ended a Python script early; empty where none did
    hosts : every host
    fields : of VMs and their metrics, then of the other classes; free memory follows from them
    """

    source: str
    script: str
    messages: int
    failures: list[FailedMessage]
    stopped: str
    hosts: list[HostEffect]
    fields: list[FieldEffect]


class _RecordingPool(Pool):
    """A pool that remembers which messages were sent, and which of them failed."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.sent = 0
        self.line: int | None = None
        self.failures: list[FailedMessage] = []
        self._tasks: list[tuple[int, str, str]] = []

    def dispatch(self, method: str, sent: Sequence[Any]) -> tuple[Message, bool, Any]:
        if find(method)[0] is None:
            with self._recorded(method):
                return super().dispatch(method, sent)
        return super().dispatch(method, sent)

    def perform(self, message: Message, sent: Sequence[Any]) -> Any:
        with self._recorded(message.full_name):
            return super().perform(message, sent)

    def perform_async(self, message: Message, sent: Sequence[Any], method: str) -> str:
        with self._recorded(method) as number:
            task = super().perform_async(message, sent, method)
        row = self.database.task.get(task)
        if row is not None and row.error_info:
            self._fail(number, method, row.error_info)
        return task

    @contextmanager
    def _recorded(self, method: str) -> Iterator[int]:
        self.sent += 1
        number = self.sent
        try:
            yield number
        except Failure as failure:
            self._fail(number, method, failure.details)
            raise

    def _fail(self, number: int, method: str, details: Sequence[str]) -> None:
        code, *parameters = details
        self.failures.append(FailedMessage(number, self.line, method, code, parameters))


def what_if(inventory: str | IO[bytes], script: str, *, lenient: bool = False) -> WhatIf:
    """Run a script of messages against a pool in memory.

    Parameters
    ----------
    inventory : in any format that `xenmem.read` knows
    script : a path: Python where it ends in `.py`, which finds `session` among its names; else JSON lines, each an
        object with `method` and `params`; `-` is standard input
    lenient : skip bad rows of the inventory

    Raises
    ------
    InventoryError : the inventory cannot be read
    QuestionError : the script cannot
    """
    pool = _RecordingPool(inventory, lenient=lenient)
    database = pool.database
    session = Session(pool)
    session.login_with_password("root", "")
    before = {host.ref: _state(database, host) for host in database.host}
    start = database.snapshot()
    pool.sent = 0
    stopped = _run_python(script, session) if script.endswith(".py") else _run_lines(script, session)
    the_pool = database.the_pool
    return WhatIf(
        **_identity(the_pool),
        source=str(inventory),
        script=script,
        messages=pool.sent,
        failures=pool.failures,
        stopped=stopped,
        hosts=[
            HostEffect(**_identity(host), before=before[host.ref], after=_state(database, host))
            for host in sorted(database.host, key=lambda host: (host.name_label, host.ref))
        ],
        fields=_effects(database, database.journal(start)),
    )


def _identity(row: Any) -> dict[str, str]:
    return {"ref": row.ref, "uuid": row.uuid, "name_label": getattr(row, "name_label", "")}


def _state(database: Database, host: Any) -> HostState:
    metrics = database.host_metrics.get(host.metrics)
    free = (0 if metrics is None else accounting.free_memory(host, metrics, policy) for policy in _POLICIES)
    return HostState(host.enabled, len(host.resident.keys() | host.scheduled.keys()), Amounts(*free))


# ------------------------------------------------------------------------------------------------------------- scripts


def _run_python(script: str, session: Session) -> str:
    """Run a Python script; what it prints goes to standard error.

    Returns
    -------
    str : the failure that ended it; empty if it came to its end
    """
    if not os.access(script, os.R_OK):
        raise QuestionError(f"{script}: cannot be read")
    try:
        with redirect_stdout(sys.stderr):
            runpy.run_path(script, {"session": session}, "__main__")
    except Failure as failure:
        return str(failure)
    except SystemExit as end:
        if end.code:
            raise QuestionError(f"{script}: exited with {end.code}") from None
    except (Exception, GeneratorExit) as error:
        raise QuestionError(f"{script}{_place(script, error)}: {type(error).__name__}: {error}") from None
    return ""


def _place(script: str, error: BaseException) -> str:
    """The last line of the script on the way to an error, as `:17`."""
    if isinstance(error, SyntaxError):
        return f":{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    return next((f":{frame.lineno}" for frame in reversed(frames) if frame.filename == script), "")


def _run_lines(script: str, session: Session) -> str:
    """Send the messages of a script line by line; the next is sent whatever becomes of one."""
    pool = session.pool
    assert isinstance(pool, _RecordingPool)
    for number, line in _lines(script):
        pool.line = number
        method, parameters = _message(line, f"{_shown(script)}:{number}")
        sent = _resolved(pool.database, method, parameters, f"{_shown(script)}:{number}")
        with suppress(Failure):  # the pool has taken note
            pool.dispatch(method, sent if _is_login(method) else (session.handle, *sent))
    return ""


def _shown(script: str) -> str:
    return "<stdin>" if script == "-" else script or "''"


def _lines(script: str) -> Iterator[tuple[int, bytes]]:
    """The lines that hold something, by number."""
    try:
        with nullcontext(sys.stdin.buffer) if script == "-" else open(script, "rb") as file:  # noqa: PTH123 - '' is no folder
            for number in itertools.count(1):
                line = file.readline(MAX_LINE + 1)
                if not line:
                    return
                if len(line) > MAX_LINE:
                    raise QuestionError(f"{_shown(script)}:{number}: longer than {MAX_LINE} bytes")
                if line.strip():
                    yield number, line
    except OSError as error:
        raise QuestionError(f"{_shown(script)}: {error.strerror}") from None


def _message(line: bytes, place: str) -> tuple[str, list[Any]]:
    try:
        sent = json.loads(line)
    except (ValueError, RecursionError):
        raise QuestionError(f"{place}: is not JSON") from None
    if not isinstance(sent, dict) or not isinstance(method := sent.get("method"), str):
        raise QuestionError(f"{place}: is not an object with a method")
    parameters = sent.get("params", [])
    unknown = sent.keys() - {"method", "params"}
    if unknown or not isinstance(parameters, list):
        raise QuestionError(f"{place}: {f'unknown key {min(unknown)!r}' if unknown else 'params is not an array'}")
    return method, parameters


def _is_login(method: str) -> bool:
    message = find(method)[0]
    return message is not None and not message.has_session


def _resolved(database: Database, method: str, parameters: list[Any], place: str) -> list[Any]:
    """The parameters, with references for `{"uuid": ...}` and `{"name_label": ...}` where a reference is meant."""
    message = find(method)[0]
    if message is None:
        return parameters
    resolved = list(parameters)
    for number, (parameter, given) in enumerate(zip(message.parameters, parameters, strict=False)):
        if isinstance(parameter.type, RefType) and isinstance(given, dict):
            resolved[number] = _reference(database, parameter.type.target, given, place)
    return resolved


def _reference(database: Database, class_name: str, given: dict[str, Any], place: str) -> str:
    table = database.tables.get(class_name)
    match given:
        case {"uuid": str(uuid)} if table is not None and len(given) == 1:
            try:
                return str(table.by_uuid(uuid).ref)
            except Failure:
                raise QuestionError(f"{place}: there is no {class_name} {uuid!r}") from None
        case {"name_label": str(name)} if table is not None and len(given) == 1:
            refs = table.by_name_label(name)
            if len(refs) != 1:
                many = f"{len(refs)} {class_name} records are called" if refs else f"there is no {class_name}"
                raise QuestionError(f"{place}: {many} {name!r}")
            return str(refs[0])
        case _:
            raise QuestionError(f"{place}: a {class_name} is a reference, a uuid or a name_label")


# ------------------------------------------------------------------------------------------------------------- effects


def _effects(database: Database, journal: Iterable[Change]) -> list[FieldEffect]:
    """What the changes come to, field by field; of what was made or destroyed, only that."""
    first: dict[tuple[str, str, str | None], Any] = {}
    last: dict[tuple[str, str, str | None], Change] = {}
    for change in journal:
        key = change.class_name, change.ref, change.field
        first.setdefault(key, change.old)
        last[key] = change
    effects = []
    for (class_name, ref, field), change in last.items():
        before = first[class_name, ref, field]
        if before == change.new or (field is not None and (class_name, ref, None) in last):
            continue
        effects.append(_effect(database, change, before))
    order = list(CLASSES)
    order.sort(key=lambda name: (not name.startswith("VM"), name))
    effects.sort(key=lambda effect: (order.index(effect.class_name), effect.name_label, effect.ref, effect.field))
    return effects


def _effect(database: Database, change: Change, before: Any) -> FieldEffect:
    class_name, ref, field = change.class_name, change.ref, change.field
    row = database.tables[class_name].get(ref)
    named: Any = row
    if class_name in ("VM_metrics", "VM_guest_metrics"):
        link = "metrics" if class_name == "VM_metrics" else "guest_metrics"
        named = next((vm for vm in database.VM if getattr(vm, link) == ref), row)
    if field is None:
        values = [("present" if there else "absent") for there in (before, change.new)]
    else:
        text = CLASSES[class_name].fields[field].type.database_text
        values = [text(before), text(change.new)]
    return FieldEffect(
        class_name,
        ref,
        row.uuid if row is not None else "",
        getattr(named, "name_label", ""),
        field or "",
        *values,
    )
