"""A session at a pool, over HTTP: JSON-RPC where the server knows it, else XML-RPC; and no message that changes it.

What may be sent is a fixed list; whatever else is asked for never becomes a request. Answers are bounded in size and in
time, and one that is cut short is none. The session is that of the coordinator: members name it.
Source of how messages travel: docs/reference/messages.md, 9.
"""

import http.client
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, Self

import msgspec

from xenmem.inventory import xmlrpc
from xenmem.inventory.error import InventoryError, OutOfReachError, shown
from xenmem.inventory.live import trust
from xenmem.inventory.live.access import Access
from xenmem.inventory.live.address import Address

Progress = Callable[[int, int | None], None]

LOG_IN: Final = "session.login_with_password"
LOG_OUT: Final = "session.logout"
EVENT_FROM: Final = "event.from"
GET_ALL_RECORDS: Final = "get_all_records"

MAX_ANSWER_BYTES: Final = 1 << 29
"""Longest answer: that of a pool of 50,000 VMs."""

_MAX_HOPS: Final = 3
_PIECE: Final = 1 << 18
_GOODBYE_SECONDS: Final = 3.0
_UNKNOWN_MESSAGE: Final = "MESSAGE_METHOD_UNKNOWN"
_BOOTING: Final = ("HOST_STILL_BOOTING", "HOST_OFFLINE", "HOST_UNKNOWN_TO_MASTER")
_ORIGINATOR: Final = "xenmem"
_VERSION_OF_API: Final = "1.0"


def may_be_sent(message: str) -> bool:
    """Whether a message is one of the few: of a session, event.from, and get_all_records of a class."""
    class_name, _, name = message.partition(".")
    return message in (LOG_IN, LOG_OUT, EVENT_FROM) or (name == GET_ALL_RECORDS and class_name.isidentifier())


class RefusedError(InventoryError):
    """A server's failure.

    Attributes
    ----------
    code : such as ``SESSION_INVALID``
    parameters : what goes with it
    """

    def __init__(self, source: str, code: str, parameters: Sequence[str]) -> None:
        text = ", ".join(shown(one) for one in parameters if not one.startswith("OpaqueRef:"))
        super().__init__(source, "", f"answers {code}{f' ({text})' if text else ''}")
        self.code = code
        self.parameters = tuple(parameters)


class CutShortError(InventoryError):
    """An answer ended before its end."""


class NoXapiError(InventoryError):
    """What answers is no server of XenAPI."""


class Event(msgspec.Struct, gc=False):
    """What happened to a row; the snapshot is its record, as JSON text or, of XML-RPC, as a mapping."""

    operation: str
    ref: str
    class_name: str = msgspec.field(name="class")
    snapshot: msgspec.Raw = msgspec.Raw()


class Batch(msgspec.Struct):
    """An answer of event.from.

    Attributes
    ----------
    counts : rows of each class that the server has, by its name in lower case
    """

    events: list[Event]
    token: str
    counts: dict[str, int] = msgspec.field(name="valid_ref_counts")


class _Problem(msgspec.Struct):
    message: str
    data: list[str] = []


class _Envelope(msgspec.Struct):
    id: int
    result: msgspec.Raw = msgspec.Raw()
    error: _Problem | None = None


_ENVELOPES: Final = msgspec.json.Decoder(_Envelope)
_BATCHES: Final = msgspec.json.Decoder(Batch)
_RECORDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXTS: Final = msgspec.json.Decoder(str)


class Connection:
    """A session that is logged in; a context, which logs out at its end.

    Parameters
    ----------
    address : of any host of the pool
    access : how to get in
    progress : called after each piece of an answer with the bytes so far, and its length where that is told

    Raises
    ------
    OutOfReachError : nobody answers
    InventoryError : the certificate, the user or the password is wrong, or no xapi answers

    Attributes
    ----------
    address : of the coordinator
    """

    def __init__(self, address: Address, access: Access, progress: Progress | None = None) -> None:
        self.address = address
        self._access = access
        self._progress = progress
        self._http: http.client.HTTPConnection | None = None
        self._is_json = True
        self._number = 0
        self._session = ""
        self._is_there = True
        self._is_interrupted = False
        try:
            self._log_in(address.user or "root")
        except BaseException:
            self.hang_up()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def events(self, classes: Sequence[str], token: str, seconds: float) -> Batch:
        """What changed in some classes since a token; empty, everything there is.

        Parameters
        ----------
        seconds : how long the server waits for something to change
        """
        value = self._call(EVENT_FROM, (self._session, list(classes), token, float(seconds)), seconds)
        try:
            return _BATCHES.decode(value) if isinstance(value, msgspec.Raw) else _batch(value)
        except (msgspec.DecodeError, ValueError, KeyError, TypeError) as error:
            raise NoXapiError(str(self.address), EVENT_FROM, f"the answer is no batch of events: {error}") from None

    def records(self, class_name: str) -> Mapping[str, Any]:
        """All records of a class, by reference."""
        message = f"{class_name}.{GET_ALL_RECORDS}"
        value = self._call(message, (self._session,))
        try:
            return _RECORDS.decode(value) if isinstance(value, msgspec.Raw) else dict(value)
        except (msgspec.DecodeError, ValueError, TypeError) as error:
            raise NoXapiError(str(self.address), message, f"the answer is no map of records: {error}") from None

    def close(self) -> None:
        """Log out, as far as that can be had at once, and hang up."""
        if self._is_interrupted:
            self.hang_up()
        if self._session and self._is_there:
            self._access = replace(self._access, timeout=_GOODBYE_SECONDS, confirm=None)
            with suppress(InventoryError):
                self._call(LOG_OUT, (self._session,))
        self._session = ""
        self.hang_up()

    def hang_up(self) -> None:
        """Drop the connection; the session stays, and the next message connects again."""
        http, self._http = self._http, None
        if http is not None:
            http.close()

    def interrupt(self) -> None:
        """Let a call that waits in another thread fail at once."""
        self._is_interrupted = True
        http = self._http
        if http is not None and http.sock is not None:
            with suppress(OSError):
                socket.socket.shutdown(http.sock, socket.SHUT_RDWR)

    # ------------------------------------------------------------------------------------------------------- messages

    def _log_in(self, user: str) -> None:
        first = self.address
        for _ in range(_MAX_HOPS):
            self._connected()  # nobody is asked for a password of a server that is not trusted
            password = self._access.secret(first, user)
            try:
                self._session = self._open_session(user, password)
            except RefusedError as failure:
                if failure.code == "HOST_IS_SLAVE" and failure.parameters:
                    self.hang_up()
                    self.address = self.address.at(failure.parameters[0])
                    continue
                raise self._explained(failure, user) from None
            return
        raise InventoryError(str(first), "", f"no coordinator after {_MAX_HOPS} hosts that each name another one")

    def _open_session(self, user: str, password: str) -> str:
        try:
            value = self._call(LOG_IN, (user, password, _VERSION_OF_API, _ORIGINATOR))
        except RefusedError as failure:
            if failure.code != "MESSAGE_PARAMETER_COUNT_MISMATCH":
                raise
            value = self._call(LOG_IN, (user, password))
        if not isinstance(value, msgspec.Raw):
            return str(value)
        try:
            return _TEXTS.decode(value)
        except msgspec.DecodeError:  # of a server before JSON-RPC 2.0, which puts what XML-RPC answers into JSON
            self._is_json = False
            return self._open_session(user, password)

    def _explained(self, failure: RefusedError, user: str) -> InventoryError:
        if failure.code == "SESSION_AUTHENTICATION_FAILED":
            return InventoryError(str(self.address), "", f"the password, or the user {user}, is wrong")
        if failure.code in _BOOTING:
            return OutOfReachError(str(self.address), "", f"is not ready yet ({failure.code})")
        return failure

    def _call(self, message: str, parameters: Sequence[Any], wait: float = 0.0) -> Any:
        """The result of a message: JSON text of it, or what XML-RPC gave; a call that fails hangs up."""
        if not may_be_sent(message):
            raise ValueError(f"{message} is none of the messages that read")
        self._number += 1
        if self._is_json:
            body = {"id": self._number, "jsonrpc": "2.0", "method": message, "params": parameters}
            kind, answer = self._exchange("/jsonrpc", "application/json", msgspec.json.encode(body), wait)
            try:
                if kind == "application/json":
                    return self._json_result(answer)
                raise self._no_xapi(kind)
            except NoXapiError:
                if message != LOG_IN:
                    raise
            self._is_json = False  # a server before JSON-RPC 2.0, or none at all, which the next answer tells
        kind, answer = self._exchange("/", "text/xml", _xml(message, parameters), wait)
        if not kind.endswith("xml"):
            self._is_json = True
            raise self._no_xapi(kind)
        return self._xml_result(answer)

    def _no_xapi(self, kind: str) -> NoXapiError:
        self.hang_up()
        return NoXapiError(str(self.address), "", f"is no xapi: a message is answered with {shown(kind)}")

    def _json_result(self, answer: bytes) -> Any:
        try:
            envelope = _ENVELOPES.decode(answer)
        except msgspec.DecodeError as error:
            self.hang_up()
            raise NoXapiError(str(self.address), "", f"the answer is no JSON-RPC: {error}") from None
        if envelope.id != self._number:
            self.hang_up()
            raise CutShortError(
                str(self.address), "", f"the answer is that to call {envelope.id}, and not {self._number}"
            )
        if envelope.error is not None:
            raise RefusedError(str(self.address), envelope.error.message, envelope.error.data)
        return envelope.result

    def _xml_result(self, answer: bytes) -> Any:
        try:
            value = xmlrpc.parse_response(answer)
            if value["Status"] == "Success":
                return value["Value"]
            code, *parameters = map(str, value["ErrorDescription"])
        except (xmlrpc.XMLRPCError, KeyError, TypeError, ValueError) as error:
            self.hang_up()
            raise NoXapiError(str(self.address), "", f"is no xapi: the answer is none of XenAPI ({error})") from None
        raise RefusedError(str(self.address), code, parameters)

    # ----------------------------------------------------------------------------------------------------------- HTTP

    def _connected(self) -> http.client.HTTPConnection:
        """The connection, made anew where there is none, or the last answer has closed it."""
        if self._http is None or self._http.sock is None:
            connection = trust.connect(self.address, self._access)
            self._http = http.client.HTTPConnection(self.address.host, self.address.port)
            self._http.auto_open = 0
            self._http.sock = connection
        return self._http

    def _exchange(self, path: str, kind: str, body: bytes, wait: float) -> tuple[str, bytes]:
        """Type and body of the answer to a POST."""
        connection = self._connected()
        source, timeout = str(self.address), self._access.timeout + wait
        headers = {"Content-Type": kind, "Accept": kind, "User-Agent": _user_agent()}
        try:
            connection.sock.settimeout(timeout)
            connection.request("POST", path, body, headers)
            with connection.getresponse() as response:
                answered = (response.getheader("content-type") or "nothing").partition(";")[0].strip().lower()
                if response.status != 200:
                    answered = f"status {response.status}"
                whole = self._whole(response, time.monotonic() + timeout)
                self._is_there = True
                return answered, whole
        except TimeoutError:
            problem: InventoryError = OutOfReachError(source, "", f"no answer within {timeout:g} s")
        except http.client.IncompleteRead as error:
            wanted = "" if error.expected is None else f" of {error.expected + len(error.partial):,}"
            problem = CutShortError(source, "", f"the answer was cut short after {len(error.partial):,}{wanted} bytes")
        except (http.client.RemoteDisconnected, ConnectionError) as error:
            problem = OutOfReachError(source, "", f"ended the connection ({error.strerror or 'without an answer'})")
        except ssl.SSLError as error:
            problem = CutShortError(source, "", f"the answer was cut short: TLS: {error.reason or error}")
        except http.client.HTTPException as error:
            problem = NoXapiError(source, "", f"is no xapi: no HTTP there ({type(error).__name__})")
        except OSError as error:
            problem = OutOfReachError(source, "", error.strerror or str(error))
        except InventoryError as error:
            problem = error
        self._is_there = self._is_interrupted or not isinstance(problem, OutOfReachError)
        self.hang_up()
        raise problem

    def _whole(self, response: http.client.HTTPResponse, deadline: float) -> bytes:
        """The body of an answer, which goes on coming in time, and ends."""
        parts: list[bytes] = []
        length, total = 0, response.length
        while piece := response.read1(_PIECE):
            parts.append(piece)
            length += len(piece)
            if self._progress is not None:
                self._progress(length, total)
            if length > MAX_ANSWER_BYTES:
                raise InventoryError(str(self.address), "", f"an answer of more than {MAX_ANSWER_BYTES >> 20} MiB")
            if time.monotonic() > deadline + length / _SLOWEST:
                raise OutOfReachError(str(self.address), "", "the answer comes too slowly")
        if response.length:  # how much is still to come; read1 does not say
            raise http.client.IncompleteRead(b"".join(parts), response.length)
        return b"".join(parts)


_SLOWEST: Final = 1 << 14
"""Bytes in a second that an answer has to bring, once its time is over."""

_agent = ""


def _user_agent() -> str:
    global _agent
    if not _agent:
        from importlib.metadata import version

        _agent = f"xenmem/{version('xenmem')}"
    return _agent


def _batch(value: Any) -> Batch:
    """A batch as XML-RPC gives it."""
    events = [
        Event(one["operation"], one["ref"], one["class"], one.get("snapshot", msgspec.Raw())) for one in value["events"]
    ]
    return Batch(events, str(value["token"]), {name: int(count) for name, count in value["valid_ref_counts"].items()})


def _xml(message: str, parameters: Sequence[Any]) -> bytes:
    values = "".join(f"<param>{_value(one)}</param>" for one in parameters)
    text = f'<?xml version="1.0"?><methodCall><methodName>{message}</methodName><params>{values}</params></methodCall>'
    return text.encode()


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"<value><double>{value!r}</double></value>"
    if isinstance(value, str):
        escaped = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return f"<value><string>{escaped}</string></value>"
    return f"<value><array><data>{''.join(map(_value, value))}</data></array></value>"
