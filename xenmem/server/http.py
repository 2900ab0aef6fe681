"""HTTP/1.0 and 1.1 on a connection: requests in, answers out in their order, within limits of size and time.

The parser is llhttp (httptools). Limits and statuses are those of xapi (xapi-project/xen-api,
ocaml/libs/http-lib/http_svr.ml: read_request_exn, handle_one), but for a header block of 16 KiB where that takes 1 KiB,
and the same times for every request of a connection. Knows no path and no message.
"""

import asyncio
import zlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from typing import Any, Final, cast
from urllib.parse import parse_qsl, unquote

import httptools

MAX_HEADERS: Final = 16 * 1024
"""Bytes of a request's line and headers."""

MAX_BODY: Final = 300 * 1024
"""Bytes of a request's body (xapi-consts/constants.ml: http_limit_max_rpc_size)."""

READ_SECONDS: Final = 10.0
"""Between two pieces of a request (xapi_globs.ml: conn_limit)."""

REQUEST_SECONDS: Final = 60.0
"""For a whole request, from its first byte; and from a connection to its first byte."""

IDLE_SECONDS: Final = 12 * 3600.0
"""Between two requests of a connection."""

WRITE_SECONDS: Final = 60.0
"""In which a client that reads must take something of a long answer."""

MAX_PIPELINED: Final = 64
"""Requests that a connection may send ahead of their answers."""

MIN_COMPRESSED: Final = 64 * 1024
"""Bytes from which an answer is compressed for who takes that."""

LOCAL: Final = "local"
"""The peer of a connection to a socket in the file system."""

REASONS: Final = {
    200: "OK",
    301: "Moved Permanently",
    302: "Found",
    400: "Bad Request",
    401: "Unauthorised",
    403: "Forbidden",
    404: "Not Found",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    500: "Internal Error",
    501: "Method not implemented",
    503: "Service Unavailable",
}
"""The reference's own words."""

CORS: Final = ("Access-Control-Allow-Origin: *", "Access-Control-Allow-Headers: X-Requested-With")


@dataclass(slots=True)
class Answer:
    """An answer.

    Attributes
    ----------
    status, content_type, body : the type literally as it is sent; none where there is no body
    headers : more lines, without line ends
    stream : sends the body piece by piece instead, without a length; the connection closes after it
    close : the connection closes after it
    compressible : may be sent compressed to who offers to take that
    """

    status: int = 200
    content_type: str = ""
    body: bytes = b""
    headers: tuple[str, ...] = ()
    stream: AsyncIterator[bytes] | None = None
    close: bool = False
    compressible: bool = False


def page(status: int, text: str, *headers: str, close: bool = True) -> Answer:
    """An answer for people: a status with an HTML page that says why."""
    title = escape(f"{status} {REASONS[status]}")
    body = f"<html><head><title>{title}</title></head><body><h1>{title}</h1>{escape(text)}</body></html>"
    return Answer(status, "text/html", body.encode("utf-8", "backslashreplace"), headers, close=close)


@dataclass
class Request:
    """A request that has been read.

    Attributes
    ----------
    method, path, query : the path percent-decoded, the query as it came
    version : 1.0 or 1.1
    headers : by name in lower case; of one that came twice the first
    body : bytes
    local, peer : address of this end and of the other
    is_tls : it came over TLS
    """

    method: str
    path: str
    query: str
    version: str
    headers: Mapping[str, str]
    local: str
    peer: str
    is_tls: bool
    body: bytes = b""
    refused: Answer | None = field(default=None, repr=False)

    @cached_property
    def parameters(self) -> list[tuple[str, str]]:
        """The query's entries in order, decoded; those of one name repeated."""
        return parse_qsl(self.query, keep_blank_values=True, errors="replace", max_num_fields=10_000)

    def parameter(self, name: str) -> str | None:
        """The first entry of a name in the query."""
        return next((value for key, value in self.parameters if key == name), None)

    @cached_property
    def cookies(self) -> Mapping[str, str]:
        """Cookies by name, separated by `;` or `&`, decoded."""
        pairs = (one.strip().partition("=") for one in self.headers.get("cookie", "").replace("&", ";").split(";"))
        return {unquote(name): unquote(value) for name, equals, value in pairs if equals}

    @property
    def keeps_alive(self) -> bool:
        """Whether the client would send more on the connection."""
        connection = self.headers.get("connection", "").lower()
        return connection == "keep-alive" if self.version == "1.0" else connection != "close"


Handler = Callable[[Request], Answer | Awaitable[Answer]]
"""Answers a request at once, or when it is awaited; a connection that goes away cancels what is awaited."""


@dataclass
class Traffic:
    """What is under way and what has been.

    Attributes
    ----------
    connections : open ones
    answers : how many of each status
    draining : no further request is read
    observe : called with each request, its answer's status and how many seconds it took
    """

    observe: Callable[[Request, int, float], None]
    max_connections: int = 10_000
    connections: "set[Connection]" = field(default_factory=set)
    answers: dict[int, int] = field(default_factory=dict)
    draining: bool = False

    def drain(self) -> None:
        """Close each connection as soon as what it asked is answered."""
        self.draining = True
        for connection in tuple(self.connections):
            connection.close_if_idle()


class Connection(asyncio.Protocol):
    """One connection.

    Parameters
    ----------
    handle : answers
    traffic : is told
    """

    def __init__(self, handle: Handler, traffic: Traffic) -> None:
        self._handle = handle
        self._traffic = traffic
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._local = self._peer = ""
        self._is_tls = False
        self._waiting: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._busy: Request | None = None
        self._began = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._write_timer: asyncio.TimerHandle | None = None
        self._first_byte = 0.0
        self._reading = False
        self._in_headers = True
        self._header_bytes = 0
        self._body_bytes = 0
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._closing = False
        self._url = b""
        self._headers: dict[str, str] = {}
        self._length = 0
        self._request: Request | None = None
        self._whole: Request | None = None
        self._before: tuple[bytes, Request] | None = None
        self._body: list[bytes] = []

    # ------------------------------------------------------------------------------------------------------ transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._is_tls = transport.get_extra_info("sslcontext") is not None
        local, peer = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        self._local = local[0] if isinstance(local, tuple) else ""
        self._peer = peer[0] if isinstance(peer, tuple) else LOCAL
        self._traffic.connections.add(self)
        if len(self._traffic.connections) > self._traffic.max_connections or self._traffic.draining:
            self._refuse(page(503, "there are too many connections"))
            return
        self._deadline = self._loop.time() + REQUEST_SECONDS
        self._look_at(self._deadline)

    def connection_lost(self, error: Exception | None) -> None:
        self._closing = True
        self._traffic.connections.discard(self)
        self._waiting.clear()
        for timer in (self._timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        self._can_write.set()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._can_write.clear()
        self._watch_writing(self._transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        self._can_write.set()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        self._next()

    def _watch_writing(self, left: int) -> None:
        def look() -> None:
            size = self._transport.get_write_buffer_size()
            if size >= left:
                self._transport.abort()
            else:
                self._watch_writing(size)

        self._write_timer = self._loop.call_later(WRITE_SECONDS, look)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        if not self._reading:
            if self._is_as_before(data):
                return
            self._reading = True
            self._first_byte = self._loop.time()
        self._before = None
        if self._in_headers:
            self._header_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._finish_reading()
        except httptools.HttpParserCallbackError as error:
            raise error.__context__ or error from None
        except httptools.HttpParserError:
            self._refuse(page(400, "this is no HTTP request"))
        self._check_headers()
        self._watch_reading()
        whole = self._whole
        if whole is not None and not self._reading and data.endswith(whole.body):
            length = len(data) - len(whole.body)
            if data.find(b"\r\n\r\n") == length - 4:
                self._before = data[:length], whole
        self._whole = None

    def _is_as_before(self, data: bytes) -> bool:
        """Whether this is a request with the same line and headers, byte for byte, as the last: it is read as that."""
        if self._before is None or self._busy is not None or self._waiting:
            return False
        head, last = self._before
        if len(data) != len(head) + len(last.body) or not data.startswith(head):
            return False
        fields = (last.method, last.path, last.query, last.version, last.headers, last.local, last.peer, last.is_tls)
        self._queue(Request(*fields, body=data[len(head) :]))
        return True

    def _check_headers(self) -> None:
        if self._in_headers and self._header_bytes > MAX_HEADERS and not self._closing:
            self._refuse(page(431, f"more than {MAX_HEADERS} bytes of headers"))

    def eof_received(self) -> None:
        """A client that sends no more has gone away: what it waits for is waited for no longer."""

    def _watch_reading(self) -> None:
        """Set the time by which more must come: of a request under way, or of the next.

        One timer is enough, which looks again where the time was put off: no request that comes whole sets one.
        """
        if self._closing:
            return
        now = self._loop.time()
        if self._reading:
            self._deadline = min(now + READ_SECONDS, self._first_byte + REQUEST_SECONDS)
        else:
            self._deadline = now + IDLE_SECONDS
        if self._timer is None or self._timer.when() > self._deadline:
            self._look_at(self._deadline)

    def _look_at(self, moment: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(moment, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._closing or (self._busy is not None and not self._reading):
            return  # whoever answers sets the next time
        if self._loop.time() < self._deadline:
            self._look_at(self._deadline)
        elif self._reading:
            self._too_slow()
        else:
            self._transport.close()

    def _too_slow(self) -> None:
        if self._busy is None and not self._waiting:
            self._refuse(page(408, "the request did not come in time"))
        else:
            self._transport.abort()

    def _refuse(self, answer: Answer) -> None:
        """Answer after what is under way, and read no more."""
        self._reading = False
        self._request = None
        refused = Request("", "", "", "1.1", {}, self._local, self._peer, self._is_tls, refused=answer)
        answer.close = True
        self._closing = True
        self._queue(refused)

    # ------------------------------------------------------------------------------------------------------- llhttp

    def on_message_begin(self) -> None:
        if self._closing:
            return
        self._url = b""
        self._headers = {}
        self._length = 0
        self._body = []
        self._body_bytes = 0
        self._request = None
        self._in_headers = self._reading = True

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._length += len(name) + len(value) + 4
        self._headers.setdefault(name.decode("latin-1").lower(), value.decode("utf-8", "replace"))

    def on_headers_complete(self) -> None:
        if self._closing:
            return
        self._in_headers = False
        self._header_bytes = 0
        headers = self._headers
        if len(self._url) + self._length > MAX_HEADERS:
            self._refuse(page(431, f"more than {MAX_HEADERS} bytes of headers"))
            return
        method = self._parser.get_method().decode()
        path, query = _split(self._url)
        self._request = Request(
            method, path, query, self._parser.get_http_version(), headers, self._local, self._peer, self._is_tls
        )
        if method in ("POST", "PUT"):
            length = headers.get("content-length", "")
            if "transfer-encoding" in headers or not length.isdecimal():
                self._refuse_request(page(500, "a request without Content-Length"))
            elif method == "POST" and int(length) > MAX_BODY:
                self._refuse_request(page(500, f"a body of {length} bytes: {MAX_BODY} are read"))
            elif method == "PUT":
                self._finish_reading()  # whoever answers does so before the body
                self._closing = True
            elif headers.get("expect", "").lower() == "100-continue" and not self._busy and not self._waiting:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _refuse_request(self, answer: Answer) -> None:
        request, self._request = self._request, None
        if request is not None:
            request.refused, answer.close = answer, True
            self._reading, self._closing = False, True
            self._queue(request)

    def on_body(self, body: bytes) -> None:
        if self._request is not None and not self._closing:
            self._body.append(body)
            self._body_bytes += len(body)
            if self._body_bytes > MAX_BODY:
                self._refuse_request(page(500, f"more than {MAX_BODY} bytes of a body are not read"))

    def on_message_complete(self) -> None:
        if not self._closing:
            self._finish_reading()
            self._in_headers = True

    def _finish_reading(self) -> None:
        request, self._request = self._request, None
        self._reading = False
        if request is not None:
            request.body = b"".join(self._body)
            self._whole = request if request.method == "POST" else None
            self._queue(request)

    # ------------------------------------------------------------------------------------------------------ answering

    def _queue(self, request: Request) -> None:
        self._waiting.append(request)
        if len(self._waiting) > MAX_PIPELINED and not self._closing:
            self._waiting.pop()
            self._refuse(page(503, "too many requests ahead of their answers"))
        self._next()

    def _next(self) -> None:
        while self._busy is None and self._waiting and self._can_write.is_set() and not self._transport.is_closing():
            request = self._waiting.popleft()
            self._busy, self._began = request, self._loop.time()
            answer = request.refused or self._answer(request)
            if isinstance(answer, Answer) and answer.stream is None and not self._is_long(request, answer):
                self._send(request, answer, answer.body)
            else:
                self._task = self._loop.create_task(self._later(request, answer))

    def _answer(self, request: Request) -> Answer | Awaitable[Answer]:
        try:
            return self._handle(request)
        except Exception as error:
            self._loop.call_exception_handler({"message": "a request failed", "exception": error})
            return page(500, type(error).__name__)

    async def _later(self, request: Request, answer: Answer | Awaitable[Answer]) -> None:
        try:
            try:
                made = answer if isinstance(answer, Answer) else await answer
            except Exception as error:
                self._loop.call_exception_handler({"message": "a request failed", "exception": error})
                made = page(500, type(error).__name__)
            if made.stream is not None:
                await self._stream(request, made)
                return
            body = made.body
            if self._is_long(request, made):
                made.headers += ("content-encoding: gzip", "vary: accept-encoding")
                body = await self._loop.run_in_executor(None, _gzip, body)
            self._task = None
            self._send(request, made, body)
            self._next()
        finally:
            self._task = None

    @staticmethod
    def _is_long(request: Request, answer: Answer) -> bool:
        """Whether the answer is worth compressing, for a client that takes that."""
        return (
            answer.compressible
            and len(answer.body) >= MIN_COMPRESSED
            and "gzip" in request.headers.get("accept-encoding", "")
        )

    def _send(self, request: Request, answer: Answer, body: bytes) -> None:
        if self._transport.is_closing():
            return
        keeps_alive = request.keeps_alive and not (answer.close or self._traffic.draining)
        head = _head(request, answer, keeps_alive, len(body))
        if len(body) < MIN_COMPRESSED:
            self._transport.write(head + body if request.method != "HEAD" else head)
        else:
            self._transport.write(head)
            self._transport.write(body)
        self._done(request, answer, keeps_alive)

    async def _stream(self, request: Request, answer: Answer) -> None:
        self._transport.write(_head(request, answer, False, None))
        assert answer.stream is not None
        async for piece in answer.stream:
            await self._can_write.wait()
            if self._transport.is_closing():
                return
            self._transport.write(piece)
        self._done(request, answer, False)

    def _done(self, request: Request, answer: Answer, keeps_alive: bool) -> None:
        self._busy = None
        self._traffic.answers[answer.status] = self._traffic.answers.get(answer.status, 0) + 1
        self._traffic.observe(request, answer.status, self._loop.time() - self._began)
        if not keeps_alive:
            self._waiting.clear()
            self._closing = True
            self._transport.close()
        elif not self._reading and not self._waiting:
            self._watch_reading()

    def close_if_idle(self) -> None:
        """Close unless something is under way."""
        if self._busy is None and not self._waiting:
            self._closing = True
            self._transport.close()


_HEADS: dict[tuple[str, int, str, tuple[str, ...], bool], bytes] = {}


def _head(request: Request, answer: Answer, keeps_alive: bool, length: int | None) -> bytes:
    key = (request.version, answer.status, answer.content_type, answer.headers, keeps_alive)
    head = _HEADS.get(key)
    if head is None:
        version = "1.0" if request.version == "1.0" else "1.1"
        lines = [
            f"HTTP/{version} {answer.status} {REASONS[answer.status]}",
            f"connection: {'keep-alive' if keeps_alive else 'close'}",
            "cache-control: no-cache, no-store",
        ]
        if answer.content_type:
            lines.append(f"content-type: {answer.content_type}")
        head = "\r\n".join([*lines, *answer.headers]).encode("latin-1", "replace")
        if len(_HEADS) < 256:
            _HEADS[key] = head
    return head + b"\r\n\r\n" if length is None else b"%s\r\ncontent-length: %d\r\n\r\n" % (head, length)


def _split(url: bytes) -> tuple[str, str]:
    """Path, decoded, and query of what a request line asks for, which may be an absolute URI."""
    text = url.decode("utf-8", "replace").partition("#")[0]
    if "://" in text[:8]:
        text = "/" + text.partition("://")[2].partition("/")[2]
    path, _, query = text.partition("?")
    return (unquote(path) if "%" in path else path), query


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(1, wbits=31)
    return packer.compress(body) + packer.flush()


def lines(**values: Any) -> tuple[str, ...]:
    """Header lines of names, an underscore for the dash, without what could end a line."""
    return tuple(f"{name.replace('_', '-')}: {str(value).translate(_NO_LINE_ENDS)}" for name, value in values.items())


_NO_LINE_ENDS: Final = dict.fromkeys(range(32), " ")
