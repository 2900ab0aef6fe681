"""Calls and answers as bytes: XML-RPC and JSON-RPC 1.0 and 2.0, as the server reads and writes them.

A server moves bytes and calls `answer_xml` or `answer_json`; WireError it answers with HTTP status 500. Bodies are
bounded, entities and document types refused. Source: docs/reference/messages.md, 9.1, 9.7 and 9.8 (mirage/ocaml-rpc,
src/lib/xmlrpc.ml, jsonrpc.ml; xapi-project/xen-api, ocaml/xapi/api_server.ml). Knows no socket and no HTTP.
"""

import base64
import binascii
import json
import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NoReturn
from xmlrpc.client import DateTime

import msgspec

from xenmem.datamodel.errors import INTERNAL_ERROR, Failure
from xenmem.datamodel.types import (
    FLOAT,
    INT,
    STRING,
    STRINGS,
    VOID,
    AnyType,
    FloatType,
    MapType,
    RecordType,
    RefType,
    SetType,
    Type,
)
from xenmem.inventory.xmlrpc import XMLRPCError, parse_call
from xenmem.xenapi.calls.message import MESSAGES, Message
from xenmem.xenapi.store.encoding import pieces_xml, value_xml

if TYPE_CHECKING:
    from xenmem.xenapi.door.pool import Pool

MAX_BODY: Final = 300 * 1024
"""Bytes of the longest request that is read (messages.md, 9.1 step 1)."""

_TASK: Final = RefType("task")


class WireError(ValueError):
    """The request is none: it gets HTTP status 500 and no answer of the API."""


# ------------------------------------------------------------------------------------------------------------- XML-RPC


def answer_xml(pool: "Pool", body: bytes) -> bytes:
    """Carry out an XML-RPC request, and give the answer's body.

    Raises
    ------
    WireError : the body is too long, or no call
    """
    return answer(pool, read_xml(body))


def read_xml(body: bytes) -> "Question":
    """The call of an XML-RPC request.

    Raises
    ------
    WireError : the body is too long, or no call
    """
    return Question(*decode_xml(body), encode_xml, encode_xml_failure, encode_bare_xml, ("xml",))


def decode_xml(body: bytes) -> tuple[str, list[Any]]:
    """The method and the parameters of an XML-RPC request.

    Returns
    -------
    Parameters as int, float, bool, str, bytes (base64), None, list, dict and xmlrpc.client.DateTime

    Raises
    ------
    WireError : the body is too long, or no call
    """
    _check_length(body)
    try:
        return parse_call(body, _xml_scalar)
    except XMLRPCError as error:
        raise WireError(str(error)) from None


def _xml_scalar(kind: str, text: str) -> Any:
    match kind:
        case "boolean":
            return text == "1"
        case "int" | "i4" | "i8":
            return _number(INT, text)
        case "double":
            return _number(FLOAT, text)
        case "dateTime.iso8601":
            return DateTime(text)
        case "base64":
            try:
                return base64.b64decode(text)
            except binascii.Error as error:
                raise WireError(f"not base64: {error}") from None
        case "nil":
            return None
        case _:
            return text


def _number(type: Type[Any], text: str) -> Any:
    try:
        return type.accept(text)
    except Failure as failure:
        raise WireError(f"{text[:40]!r} is no {type.name}: {failure.details[1]}") from None


def encode_xml(type: Type[Any], value: Any) -> bytes:
    """The answer of a call that succeeded.

    Parameters
    ----------
    type : of the result
    value : as rows hold it
    """
    status = "<member><name>Status</name><value>Success</value></member>"
    head, tail = f"<value><struct>{status}<member><name>Value</name>", "</member></struct></value>"
    return _xml_response(chain((head,), pieces_xml(type, value), (tail,)))


def encode_xml_failure(failure: Failure) -> bytes:
    """The answer of a call that failed."""
    status = "<member><name>Status</name><value>Failure</value></member>"
    details = f"<member><name>ErrorDescription</name>{value_xml(STRINGS, failure.details)}</member>"
    return _xml_response(("<value><struct>", status, details, "</struct></value>"))


def encode_bare_xml(type: Type[Any], value: Any) -> bytes:
    """The answer of system.listMethods: no envelope."""
    return _xml_response((value_xml(type, value),))


def _xml_response(value: Iterable[str]) -> bytes:
    head, tail = b'<?xml version="1.0"?><methodResponse><params><param>', b"</param></params></methodResponse>"
    return b"".join([head, *(piece.encode("utf-8", "backslashreplace") for piece in value), tail])


# ------------------------------------------------------------------------------------------------------------ JSON-RPC


@dataclass(frozen=True, slots=True)
class JSONRequest:
    """A JSON-RPC request.

    Attributes
    ----------
    method, parameters : what is called with what
    id : to be repeated in the answer
    is_2 : of version 2.0
    """

    method: str
    parameters: Sequence[Any]
    id: int | str
    is_2: bool


def answer_json(pool: "Pool", body: bytes) -> bytes:
    """Carry out a JSON-RPC request, and give the answer's body.

    Raises
    ------
    WireError : the body is too long, or no call
    """
    return answer(pool, read_json(body))


def read_json(body: bytes) -> "Question":
    """The call of a JSON-RPC request.

    Raises
    ------
    WireError : the body is too long, or no call
    """
    request = decode_json(body)
    encode = partial(encode_json, request)
    spelling = ("json", request.is_2, request.id)
    return Question(request.method, request.parameters, encode, partial(encode_json_failure, request), encode, spelling)


def decode_json(body: bytes) -> JSONRequest:
    """A JSON-RPC request; the version is 2.0 if it says so.

    Raises
    ------
    WireError : the body is too long, or no call
    """
    _check_length(body)
    try:
        request = _read_json(body.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError) as error:
        raise WireError(f"not JSON: {error}") from None
    if not isinstance(request, dict):
        raise WireError("not a JSON-RPC request: no object")
    is_2 = "jsonrpc" in request
    if is_2 and request["jsonrpc"] != "2.0":
        raise WireError("jsonrpc: another version than 2.0")
    method, identity, given = request.get("method"), request.get("id"), request.get("params")
    if not isinstance(method, str):
        raise WireError("method: no text")
    if isinstance(identity, bool) or not isinstance(identity, (int, str)):
        raise WireError("id: neither integer nor text")
    if is_2 and isinstance(given, dict):
        given = [given]
    if given is None and is_2:
        given = []
    if not isinstance(given, list):
        raise WireError("params: no array")
    return JSONRequest(method, given, identity, is_2)


def _json_integer(text: str) -> int:
    number: int = _number(INT, text)
    return number


def _no_number(text: str) -> NoReturn:
    raise WireError(f"{text} is no JSON")


def _first_ones(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; of a member that is given twice the first counts."""
    made = dict(members)
    return made if len(made) == len(members) else {**made, **dict(reversed(members))}


_read_json: Final = json.JSONDecoder(
    object_pairs_hook=_first_ones, parse_int=_json_integer, parse_constant=_no_number
).decode


def encode_json(request: JSONRequest, type: Type[Any], value: Any) -> bytes:
    """The answer of a call that succeeded.

    Parameters
    ----------
    request : what is answered
    type : of the result
    value : as rows hold it
    """
    result = value_json(type, value)
    if request.is_2:
        return _json({"jsonrpc": "2.0", "result": result, "id": request.id})
    return _json({"result": result, "error": None, "id": request.id})


def encode_json_failure(request: JSONRequest, failure: Failure) -> bytes:
    """The answer of a call that failed."""
    if request.is_2:
        code, *parameters = failure.details
        error = {"code": 1, "message": code, "data": parameters}
        return _json({"jsonrpc": "2.0", "error": error, "id": request.id})
    return _json({"result": None, "error": failure.details, "id": request.id})


def value_json(type: Type[Any], value: Any) -> Any:
    """A value as JSON has it: integers are numbers, dates and references are text.

    Parameters
    ----------
    type : of the value
    value : as rows hold it
    """
    if _is_as_json(type):
        return value
    if type is VOID:
        return ""
    if isinstance(type, FloatType):
        if not math.isfinite(value):
            raise INTERNAL_ERROR(f"{value} is no number of JSON")
        return value
    if isinstance(type, SetType):
        return [value_json(type.of, item) for item in value]
    if isinstance(type, MapType):
        return {name: value_json(type.value, item) for name, item in value.items()}
    if isinstance(type, RecordType):
        return _record_json(type, value)
    return value_json(*value)


def _record_json(type: RecordType, value: dict[str, Any]) -> dict[str, Any]:
    """A record of which no more is copied than has to be: floats are looked at, what may hold any type is made anew."""
    floats, others = _apart(type)
    for name in floats:
        if not math.isfinite(value[name]):
            raise INTERNAL_ERROR(f"{name}: {value[name]} is no number of JSON")
    if not others:
        return value
    return {name: value_json(type.fields[name], item) if name in others else item for name, item in value.items()}


@cache
def _apart(type: RecordType) -> tuple[tuple[str, ...], frozenset[str]]:
    """Of a record's fields the floats, and the others that are not as JSON has them."""
    apart = {name: of for name, of in type.fields.items() if not _is_as_json(of)}
    floats = tuple(name for name, of in apart.items() if isinstance(of, FloatType))
    return floats, frozenset(apart.keys() - set(floats))


@cache
def _is_as_json(type: Type[Any]) -> bool:
    """Whether rows hold values of a type as an encoder of JSON takes them."""
    if type is VOID:
        return False
    match type:
        case FloatType() | AnyType():
            return False
        case SetType():
            return _is_as_json(type.of)
        case MapType():
            return _is_as_json(type.value)
        case RecordType():
            return all(map(_is_as_json, type.fields.values()))
    return True


def _json(answer: dict[str, Any]) -> bytes:
    try:
        return _write_json(answer)
    except UnicodeEncodeError:  # a lone surrogate becomes JSON's own escape
        text = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "backslashreplace")


_write_json: Final = msgspec.json.Encoder().encode


# ---------------------------------------------------------------------------------------------------------------- both

Encode = Callable[[Type[Any], Any], bytes]


@dataclass(frozen=True, slots=True)
class Question:
    """A call as it came, and how its answer is spelled.

    Attributes
    ----------
    method, parameters : what is called with what
    encode, encode_failure : make the answer's body of a result, with its type, and of a failure
    encode_bare : makes it of a result that goes without envelope
    spelling : equal where the same result makes the same body
    """

    method: str
    parameters: Sequence[Any]
    encode: Encode
    encode_failure: Callable[[Failure], bytes]
    encode_bare: Encode
    spelling: Hashable


def answer(pool: "Pool", question: Question) -> bytes:
    """Carry out a call, and give the answer's body."""
    try:
        if (known := answer_without_pool(question)) is not None:
            return known
        message, is_async, value = pool.dispatch(question.method, question.parameters)
        return encode_result(question, message, is_async, value)
    except Exception as error:
        return question.encode_failure(as_failure(error))


def answer_without_pool(question: Question) -> bytes | None:
    """The answer's body where no session is needed for it: system.listMethods and system.isAlive; else None.

    Raises
    ------
    Failure : a text is not valid UTF-8
    """
    _check_text(question.parameters)
    if question.method == "system.listMethods":
        return question.encode_bare(STRINGS, sorted(MESSAGES))
    if question.method.startswith("system.isAlive:") and question.parameters:
        return question.encode(STRING, STRING.accept(question.parameters[0]))
    return None


def encode_result(question: Question, message: Message, is_async: bool, value: Any) -> bytes:
    """The answer's body of what `Pool.dispatch` answered."""
    return question.encode(_TASK if is_async else message.result, value)


def as_failure(error: Exception) -> Failure:
    """What the API answers where this was raised."""
    return error if isinstance(error, Failure) else INTERNAL_ERROR(f"{type(error).__name__}: {error}")


def _check_length(body: bytes) -> None:
    if len(body) > MAX_BODY:
        raise WireError(f"a body of {len(body)} bytes: {MAX_BODY} are read")


def _check_text(parameters: Sequence[Any]) -> None:
    """messages.md, 9.1 step 2: every text is valid UTF-8."""
    unseen: list[Any] = list(parameters)
    while unseen:
        match unseen.pop():
            case str() as text:
                STRING.accept(text)
            case list() as items:
                unseen += items
            case dict() as members:
                unseen += members
                unseen += members.values()
