"""The declaration of messages: a Python function with annotated parameters, and who may send it.

From the one declaration follow dispatch, the count and conversion of parameters, the documentation, the typed facade
with its stubs, and the wire. The body gets a Call and the parameters as rows hold values, and returns a value of the
result's type; a body that waits is a generator that yields seconds. Knows no database.
"""

import inspect
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin, get_type_hints

from xenmem.datamodel import CLASSES, KeyRoles, MessageSchema, Role, enum
from xenmem.datamodel.errors import MESSAGE_PARAMETER_COUNT_MISMATCH, ErrorCode
from xenmem.datamodel.types import (
    BOOL,
    DATETIME,
    FLOAT,
    INT,
    STRING,
    STRING_MAP,
    STRINGS,
    VOID,
    MapType,
    RecordType,
    RefType,
    SetType,
    Type,
)
from xenmem.text import documentation

Int = Annotated[int, INT]
Float = Annotated[float, FLOAT]
Bool = Annotated[bool, BOOL]
String = Annotated[str, STRING]
Date = Annotated[str, DATETIME]
Strings = Annotated[tuple[str, ...], STRINGS]
StringMap = Annotated[dict[str, str], STRING_MAP]
DomainTypeName = Annotated[str, enum("domain_type")]
VMRef = Annotated[str, RefType("VM")]
VMGroupRef = Annotated[str, RefType("VM_group")]
HostRef = Annotated[str, RefType("host")]
PoolRef = Annotated[str, RefType("pool")]
NetworkRef = Annotated[str, RefType("network")]
TaskRef = Annotated[str, RefType("task")]
SessionRef = Annotated[str, RefType("session")]
VMRefs = Annotated[tuple[str, ...], SetType(RefType("VM"))]
VMGroupRefs = Annotated[tuple[str, ...], SetType(RefType("VM_group"))]
HostRefs = Annotated[tuple[str, ...], SetType(RefType("host"))]
SRRef = Annotated[str, RefType("SR")]
VDIRefs = Annotated[tuple[str, ...], SetType(RefType("VDI"))]
SRRefs = Annotated[tuple[str, ...], SetType(RefType("SR"))]
VMRefToString = Annotated[dict[str, str], MapType(RefType("VM"), STRING)]
VMRefToStrings = Annotated[dict[str, tuple[str, ...]], MapType(RefType("VM"), STRINGS)]
VMRefToStringMap = Annotated[dict[str, dict[str, str]], MapType(RefType("VM"), STRING_MAP)]
VMRecord = Annotated[
    dict[str, Any],
    RecordType("VM", {field.name: field.type for field in CLASSES["VM"].fields.values() if not field.internal}),
]

REQUIRED: Final = inspect.Parameter.empty
"""The default of a parameter that has none."""

F = TypeVar("F", bound=Callable[..., Any])


class Standing(Enum):
    """How far a message does what the reference's does.

    Attributes
    ----------
    FULL : as documented
    RECORD : it keeps what it is told in rows, without what else the reference does
    NEUTRAL : it answers without effect, as a pool that has nothing to say
    REFUSED : it answers NOT_IMPLEMENTED
    INTERNAL : for hosts among themselves: clients are refused
    REMOVED : it answers MESSAGE_REMOVED
    """

    FULL = "answered"
    RECORD = "answered, as record only"
    NEUTRAL = "answered, without effect"
    REFUSED = "refused: NOT_IMPLEMENTED"
    INTERNAL = "refused: INTERNAL_ERROR, for hosts among themselves"
    REMOVED = "refused: MESSAGE_REMOVED"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a message, without the session."""

    name: str
    type: Type[Any]
    default: Any = REQUIRED


class Message:
    """One message.

    Attributes
    ----------
    class_name, name : as in `VM.set_memory`
    parameters : without the session
    result : type of the answer
    role : who may send it
    key_roles : who may set single keys of a map; the key is the parameter `key`
    is_async : there is an Async form, and the message runs in a task
    errors : the codes that it may answer itself, beside those of every call
    doc : first line a summary
    since : release of xapi that brought it, empty if it was always there
    body : what is called; `waits` if it is a generator
    locked : the body is called with the database locked
    has_session : the first thing sent is a session
    removed : known, but answers MESSAGE_REMOVED
    generated : follows from the schema
    standing : how far it does what the reference's does
    """

    __slots__ = (
        "_accepts",
        "_least",
        "body",
        "class_name",
        "doc",
        "errors",
        "full_name",
        "gate",
        "generated",
        "has_session",
        "is_async",
        "key_roles",
        "locked",
        "name",
        "parameters",
        "removed",
        "result",
        "role",
        "sent",
        "since",
        "standing",
        "waits",
    )

    def __init__(
        self,
        class_name: str,
        name: str,
        parameters: Sequence[Parameter],
        result: Type[Any],
        body: Callable[..., Any],
        *,
        role: Role,
        doc: str,
        errors: Sequence[ErrorCode] = (),
        is_async: bool = False,
        since: str = "",
        locked: bool = True,
        has_session: bool = True,
        removed: bool = False,
        generated: bool = False,
        key_roles: KeyRoles | None = None,
        standing: Standing = Standing.FULL,
    ) -> None:
        self.class_name = class_name
        self.name = name
        self.full_name: Final = f"{class_name}.{name}"
        self.parameters = tuple(parameters)
        self.result = result
        self.body = body
        self.role = role
        self.doc = doc
        self.errors = tuple(errors)
        self.is_async = is_async
        self.since = since
        self.locked = locked
        self.has_session = has_session
        self.removed = removed
        self.generated = generated
        self.standing = Standing.REMOVED if removed else standing
        self.key_roles = key_roles
        self.gate: int = role if key_roles is None else len(Role)
        """What a role must reach to pass without a further question."""
        self.waits = inspect.isgeneratorfunction(body)
        self._accepts = tuple(parameter.type.accept for parameter in self.parameters)
        self._least = sum(parameter.default is REQUIRED for parameter in self.parameters)
        self.sent = len(self.parameters) + has_session
        """Things that a client sends if it gives every parameter."""

    @classmethod
    def of_schema(
        cls,
        class_name: str,
        schema: MessageSchema,
        parameters: Sequence[Parameter],
        result: Type[Any],
        body: Callable[..., Any],
        **more: Any,
    ) -> "Message":
        """A message of the data model: who may send it and how is said there.

        Parameters
        ----------
        class_name : see Message
        schema : what the data model says
        parameters, result, body, more : see Message
        """
        return cls(
            class_name,
            schema.name,
            parameters,
            result,
            body,
            role=Role.POOL_ADMIN if schema.role is None else schema.role,  # root, who alone may, is one here
            key_roles=schema.key_roles,
            is_async=schema.is_async,
            since="" if schema.since == "rio" else schema.since,
            has_session=schema.has_session,
            removed=bool(schema.removed),
            **more,
        )

    def __repr__(self) -> str:
        return f"<Message {self.full_name}>"

    def accept(self, sent: Sequence[Any]) -> list[Any]:
        """What a client sent, the session checked to be text and taken off, as values for the body.

        Raises
        ------
        Failure : the count is wrong, or the first value that is of a wrong type
        """
        if len(sent) != self.sent:
            self._check_count(len(sent))
        if self.has_session:
            if type(sent[0]) is not str:
                STRING.accept(sent[0])
            if len(sent) == 2 == self.sent:
                return [self._accepts[0](sent[1])]
            sent = sent[1:]
        values = list(map(operator.call, self._accepts, sent))  # surplus is ignored
        if len(values) < len(self.parameters):
            values += [parameter.default for parameter in self.parameters[len(values) :]]
        return values

    def _check_count(self, sent: int) -> None:
        received = sent - self.has_session
        has_defaults = self._least < len(self.parameters)
        if received < self._least or (received > self._least and not has_defaults):
            raise MESSAGE_PARAMETER_COUNT_MISMATCH(self.full_name, self._least, received)


MESSAGES: Final[dict[str, Message]] = {}
"""Every message by its full name; complete once xenmem.xenapi.messages is imported."""


def register(message: Message) -> None:
    """Make a message known; one that does more than what follows from the fields takes the place of one that does that.

    Raises
    ------
    ValueError : there already is one of this name
    """
    other = MESSAGES.get(message.full_name)
    if other is not None and message.generated == other.generated:
        raise ValueError(f"{message.full_name} is declared twice")
    if other is None or other.generated:
        MESSAGES[message.full_name] = message


def message(
    class_name: str,
    *,
    errors: Sequence[ErrorCode] = (),
    name: str = "",
    locked: bool = True,
    standing: Standing = Standing.FULL,
) -> Callable[[F], F]:
    """Declare the decorated function as a message of the data model, which says who may send it and how.

    Parameters
    ----------
    class_name, errors : see Message
    name : of the message, where the function cannot be called so
    locked, standing : see Message

    Raises
    ------
    ValueError : the data model has no such message
    """

    def declare(body: F) -> F:
        hints = get_type_hints(body, include_extras=True)
        _, *declared = inspect.signature(body).parameters.values()
        parameters = [Parameter(one.name, _type_of(hints[one.name]), one.default) for one in declared]
        result = hints["return"]
        if inspect.isgeneratorfunction(body):
            result = get_args(result)[2]
        called = name or body.__name__
        schema = CLASSES[class_name].messages.get(called)
        if schema is None:
            raise ValueError(f"{class_name}.{called}: the data model has no such message")
        register(
            Message.of_schema(
                class_name,
                schema,
                parameters,
                VOID if result in (None, type(None)) else _type_of(result),
                body,
                doc=documentation(body),
                errors=errors,
                locked=locked,
                standing=standing,
            )
        )
        return body

    return declare


def _type_of(hint: Any) -> Type[Any]:
    if get_origin(hint) is not Annotated:
        raise TypeError(f"{hint} does not say which type of the API it is")
    declared: Type[Any] = get_args(hint)[1]
    return declared


def find(method: str) -> tuple[Message | None, bool, str]:
    """The message of a method's name, whether its asynchronous form is asked for, and the name without prefix.

    Parameters
    ----------
    method : as sent: `VM.start`, `VM_start`, `Async.VM.start`, `InternalAsync.VM.start`
    """
    name = method
    for prefix in ("Async.", "InternalAsync."):
        name = name.removeprefix(prefix)
    found = MESSAGES.get(name)
    if found is None:
        found = _spellings().get(name)
    return found, name != method, name


_by_spelling: dict[str, Message] = {}


def _spellings() -> dict[str, Message]:
    """Messages by the other spelling, an underscore for the dot."""
    if len(_by_spelling) != len(MESSAGES):
        _by_spelling.update({name.replace(".", "_", 1): message for name, message in MESSAGES.items()})
    return _by_spelling


def of_class(class_name: str) -> Iterator[Message]:
    """The messages of a class, those that do more than read or set a field first."""
    mine = [message for message in MESSAGES.values() if message.class_name == class_name]
    yield from sorted(mine, key=lambda message: (message.generated, message.name))
