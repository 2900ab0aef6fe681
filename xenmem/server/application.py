"""What each path answers: messages, statistics, dumps, refusals; who may ask for what beside messages.

Source of the admission: xapi-project/xen-api, ocaml/xapi/xapi_http.ml: assert_credentials_ok, with_context.
"""

import asyncio
import base64
import binascii
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from xenmem.datamodel import errors
from xenmem.server import history
from xenmem.server.http import CORS, Answer, Request, page
from xenmem.server.paths import Kind, Route, find
from xenmem.server.rpc import Endpoint
from xenmem.xenapi import Failure
from xenmem.xenapi.calls.tasks import end_of_client
from xenmem.xenapi.store import saving
from xenmem.xenapi.world.sessions import Login

if TYPE_CHECKING:
    from xenmem.server.web import Web

_PIECE: Final = 1 << 16


@dataclass
class Application:
    """The paths of one pool.

    Attributes
    ----------
    endpoint : its messages
    measured : what memory was
    metrics : the text of /metrics
    web : the live page, if there is one
    """

    endpoint: Endpoint
    measured: history.History
    metrics: Callable[[], str]
    web: "Web | None" = None

    def handle(self, request: Request) -> Answer | Awaitable[Answer]:
        """The answer to a request, now or later."""
        if self.web is not None and (shown := self.web.answer(request)) is not None:
            return shown
        try:
            route = find(request.method, request.path)
        except KeyError:
            return page(501, f"no path has the method {request.method}")
        if route is None:
            return page(403, f"{request.method} {request.path}")
        if route.kind is Kind.JSON:
            return self.endpoint.answer_json(request)
        if route.kind is Kind.XML:
            return self.endpoint.answer_xml(request)
        if route.role is not None:
            return self._admit(request, route)
        return self._open_to_all(request, route)

    def _open_to_all(self, request: Request, route: Route) -> Answer:
        match route.kind:
            case Kind.OPTIONS:
                asked = request.headers.get("access-control-request-headers", "")
                allowed = f"{asked}, X-Requested-With" if asked else "X-Requested-With"
                return Answer(
                    headers=(
                        "Access-Control-Allow-Origin: *",
                        f"Access-Control-Allow-Headers: {allowed.translate(_NO_CONTROLS)}",
                        "Access-Control-Allow-Methods: PUT",
                    )
                )
            case Kind.HEALTH:
                return Answer(200, "application/json", b'{"status":"ok"}')
            case Kind.METRICS:
                return Answer(200, "text/plain; version=0.0.4", self.metrics().encode(), compressible=True)
            case Kind.FILE if request.path in ("", "/"):
                return page(200, "This is a pool in memory, served by xenmem: XenAPI clients talk to it.", close=False)
            case Kind.NOT_IMPLEMENTED:
                return page(501, route.name)
            case Kind.FORBIDDEN:
                return page(403, route.name)
            case _:
                return page(404, request.path, close=request.method != "GET")

    # ------------------------------------------------------------------------------------------------------ admission

    def _admit(self, request: Request, route: Route) -> Answer | Awaitable[Answer]:
        session = request.cookies.get("session_id") or request.parameter("session_id")
        if session is not None:
            try:
                login = self.endpoint.pool.sessions.login(session)
            except Failure:
                return self._unauthorised(request, route)
            return self._with(request, route, login)
        kind, _, encoded = request.headers.get("authorization", "").partition(" ")
        if not kind:
            return self._unauthorised(request, route)
        try:
            user, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            colon = user = password = ""
        if kind.lower() != "basic" or not colon:
            return page(500, "Authorization is not Basic")
        return self._log_in(request, route, user, password)

    async def _log_in(self, request: Request, route: Route, user: str, password: str) -> Answer:
        """A session for this request alone."""
        sessions = self.endpoint.pool.sessions
        try:
            known = await self.endpoint.gate.known(sessions, user, password, request.peer)
        except Failure:
            return self._unauthorised(request, route)
        session = sessions.open(user, known)
        try:
            return self._with(request, route, sessions.login(session))
        finally:
            sessions.log_out(session)

    def _unauthorised(self, request: Request, route: Route) -> Answer:
        self._end_task(request, Failure([errors.SESSION_AUTHENTICATION_FAILED.name]))
        return page(401, route.name, f'WWW-Authenticate: Basic realm="{route.name}"')

    def _with(self, request: Request, route: Route, login: Login) -> Answer:
        if route.role is not None and login.role < route.role:
            permission = f"http/{route.name}"
            self._end_task(request, errors.RBAC_PERMISSION_DENIED(permission, "No permission in user session"))
            return page(403, permission)
        try:
            answer = self._answer(request, route)
        except Failure as failure:
            self._end_task(request, failure)
            return page(500, failure.details[0])
        if answer.status in (404, 501):
            self._end_task(request, errors.NOT_IMPLEMENTED(f"http/{route.name}"))
        elif answer.status == 200:
            self._end_task(request, None)
        return answer

    def _end_task(self, request: Request, failure: Failure | None) -> None:
        """A client's own task, which it named, is over."""
        task = request.cookies.get("task_id") or request.parameter("task_id")
        if task is not None:
            end_of_client(self.endpoint.pool, task, failure)

    # -------------------------------------------------------------------------------------------------------- handlers

    def _answer(self, request: Request, route: Route) -> Answer:
        match route.kind:
            case Kind.RRD_UPDATES:
                return self._updates(request)
            case Kind.HOST_RRD:
                host = self.endpoint.pool.database.host[self.endpoint.members.host(request.local)]
                return self._whole(request, "host", host.uuid)
            case Kind.VM_RRD:
                return self._vm(request)
            case Kind.DUMP:
                return self._dump()
            case Kind.AUDIT_LOG:
                return self._audit_log(request)
            case Kind.NO_WLB:
                raise errors.WLB_NOT_INITIALIZED()
            case Kind.NOT_IMPLEMENTED:
                return page(501, route.name)
            case Kind.CHECK_DUMP:
                return page(501, "a dump is not restored here")
            case Kind.NOT_FOUND:
                return page(404, route.name)
            case _:
                return page(403, route.name)

    def _updates(self, request: Request) -> Answer:
        start, interval = _number(request.parameter("start")), _number(request.parameter("interval") or "0")
        if start is None or interval is None or interval < 0:
            return Answer(400, close=True)
        if request.parameter("cf") not in (None, "AVERAGE"):
            return page(500, "there are AVERAGE archives only")
        database = self.endpoint.pool.database
        host = database.host[self.endpoint.members.host(request.local)]
        uuids = [value for name, value in request.parameters if name == "vm_uuid"]
        if not uuids:
            uuids = [database.VM[ref].uuid for ref in host.resident]
        sources = self.measured.sources("vm", uuids)
        if request.parameter("host") == "true":
            sources = self.measured.sources("host", [host.uuid]) + sources
        as_json = _wants_json(request)
        body = history.updates(self.measured, sources, start, int(interval), as_json=as_json)
        return Answer(200, _type(as_json), body, CORS, close=True, compressible=True)

    def _vm(self, request: Request) -> Answer:
        uuid = request.parameter("uuid")
        if uuid is None:
            return Answer(400, close=True)
        database = self.endpoint.pool.database
        vm = database.VM.by_uuid(uuid)
        here = self.endpoint.members.host(request.local)
        other = database.host.get(vm.resident_on)
        if other is not None and other.ref != here and other.ref in self.endpoint.members.hosts.values():
            port = request.headers.get("host", "").rpartition(":")[2]
            port = f":{port}" if port.isdecimal() else ""
            scheme = "https" if request.is_tls else "http"
            target = f"{scheme}://{other.address}{port}{request.path}?{request.query}"
            return Answer(302, headers=(f"location: {target.translate(_NO_CONTROLS)}",), close=True)
        return self._whole(request, "vm", uuid)

    def _whole(self, request: Request, kind: str, uuid: str) -> Answer:
        sources = self.measured.sources(kind, [uuid])
        if not sources:
            return page(404, uuid)
        request.version = "1.0"  # as the reference answers here: no length, and the connection closes
        as_json = _wants_json(request)
        body = history.whole(self.measured, sources, as_json=as_json)
        return Answer(200, _type(as_json), headers=CORS[:1], stream=_pieces(body), close=True)

    def _dump(self) -> Answer:
        database, file = self.endpoint.pool.database, io.BytesIO()
        with database.lock:
            saving.write(database, file, "statedb")
        return Answer(200, "application/octet-stream", stream=_pieces(file.getvalue()), close=True)

    def _audit_log(self, request: Request) -> Answer:
        since = request.parameter("since") or ""
        seen: set[int] = set()
        lines: list[str] = []
        for change in self.endpoint.pool.database.journal():
            origin = change.origin
            if id(origin) not in seen and origin.message:
                seen.add(id(origin))
                when = datetime.fromtimestamp(origin.when, UTC).strftime("%Y%m%dT%H:%M:%SZ")
                if when >= since:
                    lines.append(f"{when}|{origin.who!r}|{origin.message}|{change.class_name}|{change.ref}\n")
        return Answer(200, "text/plain", stream=_pieces("".join(lines).encode()), close=True)


_NO_CONTROLS: Final = dict.fromkeys((*range(32), 127))


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if abs(number) < 2**53 else None


def _wants_json(request: Request) -> bool:
    accept = request.headers.get("accept", "")
    for part in accept.split(","):
        kind = part.partition(";")[0].strip()
        if kind in ("application/json", "text/xml"):
            return kind == "application/json"
    return request.parameter("json") is not None


def _type(as_json: bool) -> str:
    return "application/json" if as_json else "text/xml"


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), _PIECE):
        yield body[start : start + _PIECE]
        await asyncio.sleep(0)
