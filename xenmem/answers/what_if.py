"""What a script of messages would change in a pool: hosts before and after, fields, and the messages that failed.

The script runs against a pool in memory, never against a real one: `XenAPI.Session` is that pool too, and a Python
script that reaches for the network or for another program is stopped unless it may. Amounts are bytes.
"""

import itertools
import json
import os
import runpy
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from typing import Any, Final

from xenmem.answers import xe_lines
from xenmem.answers.naming import Amounts, Answer, Named, QuestionError, Result
from xenmem.datamodel import CLASSES
from xenmem.datamodel.types import RefType
from xenmem.inventory.source import Source
from xenmem.text import counted
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
    subject : the object that it was about, as people call it: `VM web-1`; empty if it was about none
    code, parameters : what it answered
    text : the same with names for references
    """

    number: int
    line: int | None
    message: str
    subject: str
    code: str
    parameters: list[str]
    text: str


class WhatIf(Answer, frozen=True):
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

    ref: str
    uuid: str
    name_label: str
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
            with self._recorded(method, ""):
                return super().dispatch(method, sent)
        return super().dispatch(method, sent)

    def perform(self, message: Message, sent: Sequence[Any]) -> Any:
        with self._recorded(message.full_name, self._subject(message, sent)):
            return super().perform(message, sent)

    def perform_async(self, message: Message, sent: Sequence[Any], method: str) -> str:
        subject = self._subject(message, sent)
        with self._recorded(method, subject) as number:
            task = super().perform_async(message, sent, method)
        row = self.database.task.get(task)
        if row is not None and row.error_info:
            self._fail(number, method, subject, row.error_info)
        return task

    @contextmanager
    def _recorded(self, method: str, subject: str) -> Iterator[int]:
        self.sent += 1
        number = self.sent
        try:
            yield number
        except Failure as failure:
            self._fail(number, method, subject, failure.details)
            raise

    def _fail(self, number: int, method: str, subject: str, details: Sequence[str]) -> None:
        code, *parameters = details
        named = [called(self.database, parameter) for parameter in parameters]
        text = f"{code} ({', '.join(named)})" if named else code
        self.failures.append(FailedMessage(number, self.line, method, subject, code, parameters, text))

    def _subject(self, message: Message, sent: Sequence[Any]) -> str:
        """What the message is about: its first parameter, where that is a reference."""
        given = sent[1:] if message.has_session else sent
        if message.parameters and given and isinstance(message.parameters[0].type, RefType):
            return called(self.database, str(given[0]))
        return ""


def called(database: Database, text: str) -> str:
    """A parameter of an error as people read it: for a reference, or a uuid, class and name of its object."""
    for class_name, table in database.tables.items():
        row = table.get(text)
        if row is not None:
            name = getattr(row, "name_label", "") or getattr(row, "uuid", "") or text
            return f"{class_name} {name}"
    return text


def what_if(inventory: Source, script: str, *, lenient: bool = False, allow_network: bool = False) -> WhatIf:
    """Run a script of messages against a pool in memory.

    Parameters
    ----------
    inventory : in any format that `xenmem.read` knows
    script : a path: Python where it ends in `.py`, which finds `session` among its names, and gets the copy from
        `XenAPI.Session` too; else lines of xe, or JSON lines, each an object with `method` and `params`; `-` is
        standard input
    lenient : skip bad rows of the inventory
    allow_network : let a Python script reach the network and start programs

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
    stopped = _run_python(script, session, allow_network) if script.endswith(".py") else _run_lines(script, session)
    the_pool = database.the_pool
    hosts = [
        HostEffect(**_identity(host), before=before[host.ref], after=_state(database, host))
        for host in sorted(database.host, key=lambda host: (host.name_label, host.ref))
    ]
    fields = _effects(database, database.journal(start))
    return WhatIf(
        **_identity(the_pool),
        verdict=_verdict(pool, stopped, hosts, fields),
        outcome="no" if pool.failures or stopped else "yes",
        source=str(inventory),
        script=script,
        messages=pool.sent,
        failures=pool.failures,
        stopped=stopped,
        hosts=hosts,
        fields=fields,
    )


def _verdict(pool: _RecordingPool, stopped: str, hosts: Sequence[HostEffect], fields: Sequence[FieldEffect]) -> str:
    changes = sum(host.changes for host in hosts)
    effect = f"{counted(changes, 'host')} and {counted(len(fields), 'field')} change"
    if not pool.failures:
        end = f", and then the script ends early: {stopped}" if stopped else ""
        return f"All of {counted(pool.sent, 'message')} go through: {effect}{end}."
    first = pool.failures[0]
    about = f" of {first.subject}" if first.subject else ""
    fail = f"{len(pool.failures)} of {counted(pool.sent, 'message')} {'fails' if len(pool.failures) == 1 else 'fail'}"
    return f"{fail}, first {first.message}{about}: {first.text}; {effect}."


def _identity(row: Any) -> dict[str, str]:
    return {"ref": row.ref, "uuid": row.uuid, "name_label": getattr(row, "name_label", "")}


def _state(database: Database, host: Any) -> HostState:
    metrics = database.host_metrics.get(host.metrics)
    free = (0 if metrics is None else accounting.free_memory(host, metrics, policy) for policy in _POLICIES)
    return HostState(host.enabled, len(host.resident.keys() | host.scheduled.keys()), Amounts(*free))


# ------------------------------------------------------------------------------------------------------------- scripts


def _run_python(script: str, session: Session, allow_network: bool) -> str:
    """Run a Python script; what it prints goes to standard error.

    Returns
    -------
    str : the failure that ended it; empty if it came to its end
    """
    if not os.access(script, os.R_OK):
        raise QuestionError(f"{script}: cannot be read")
    try:
        with redirect_stdout(sys.stderr), _as_xenapi(session.pool), _alone(allow_network):
            runpy.run_path(script, {"session": session}, "__main__")
    except Failure as failure:
        return str(failure)
    except SystemExit as end:
        if end.code:
            raise QuestionError(f"{script}: exited with {end.code}") from None
    except (Exception, GeneratorExit) as error:
        raise QuestionError(f"{script}{_place(script, error)}: {type(error).__name__}: {error}") from None
    return ""


@contextmanager
def _as_xenapi(pool: Pool) -> Iterator[None]:
    """While the context is open, sessions of the module XenAPI talk to this pool, whatever address they are given."""
    import XenAPI

    class Copy(Session):
        """What XenAPI.Session is for the script."""

        def __init__(self, uri: str = "", *_arguments: Any, **_options: Any) -> None:
            sys.stderr.write(f"xenmem: XenAPI.Session({uri!r}) is the copy in memory: no server is reached\n")
            super().__init__(pool)

    before = XenAPI.Session, XenAPI.xapi_local
    XenAPI.Session, XenAPI.xapi_local = Copy, lambda: Copy("local")
    try:
        yield
    finally:
        XenAPI.Session, XenAPI.xapi_local = before


_REACHING: Final = (
    "socket.connect",
    "socket.sendto",
    "socket.sendmsg",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "pty.spawn",
)
"""What a script does, in the words of Python's audit events, to reach anything but the copy."""

_alone_now = False
_is_watched = False


@contextmanager
def _alone(allow_network: bool) -> Iterator[None]:
    """While the context is open, what reaches for the network or another program is refused, unless it is allowed.

    This keeps a script from the real pool by mistake; it is no wall against one that wants out.
    """
    global _alone_now, _is_watched
    if not _is_watched:
        sys.addaudithook(_refuse)  # stays for the life of the process
        _is_watched = True
    _alone_now = not allow_network
    try:
        yield
    finally:
        _alone_now = False


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if _alone_now and event in _REACHING:
        wanted = next((repr(one) for one in arguments if isinstance(one, (str, tuple, list, bytes))), "")
        raise PermissionError(f"{event}({wanted}) is refused: what-if reaches nothing but the copy (--allow-network)")


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
    for number, method, parameters in _messages(script):
        pool.line = number
        sent = _resolved(pool.database, method, parameters, f"{_shown(script)}:{number}")
        with suppress(Failure):  # the pool has taken note
            pool.dispatch(method, sent if _is_login(method) else (session.handle, *sent))
    return ""


def _messages(script: str) -> Iterator[tuple[int, str, list[Any]]]:
    """The messages of a script, by line: of JSON, or of xe."""
    lines = _lines(script)
    first = next(lines, None)
    if first is None:
        return
    all_lines = itertools.chain([first], lines)
    if xe_lines.is_xe(first[1]):
        yield from xe_lines.messages_of(all_lines, _shown(script))
        return
    for number, line in all_lines:
        yield number, *_message(line, f"{_shown(script)}:{number}")


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
