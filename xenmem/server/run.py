"""A server from its configuration to its end: sockets, signals, and what goes on in between.

SIGTERM and SIGINT finish what is under way, SIGHUP reads certificates and password file again.
"""

import asyncio
import contextlib
import gc
import ipaddress
import os
import secrets
import signal
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from xenmem.datamodel import Role
from xenmem.server import certificates, history, metrics, passwords, state
from xenmem.server.application import Application
from xenmem.server.clock import ServedClock
from xenmem.server.gate import Gate
from xenmem.server.http import Connection, Request, Traffic
from xenmem.server.logs import Log
from xenmem.server.members import Members, take_addresses
from xenmem.server.rpc import Endpoint
from xenmem.xenapi import Database, Pace, Pool, User
from xenmem.xenapi.world import roles

if TYPE_CHECKING:
    from xenmem.server.web import Web

BACKLOG: Final = 2048
DRAIN_SECONDS: Final = 30.0
"""What is under way when the server is told to end may take so long."""

SLOW_SECONDS: Final = 1.0
"""An answer that took longer is worth a line of the log."""


class ServeError(ValueError):
    """What was asked for cannot be served."""


@dataclass(frozen=True)
class Address:
    """Where a pool is served."""

    host: str
    port: int

    @classmethod
    def of(cls, text: str) -> "Address":
        """From ``ADDRESS:PORT``, an IPv6 address in brackets.

        Raises
        ------
        ServeError : it is none
        """
        host, _, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
        try:
            if not (port.isascii() and port.isdecimal()):
                raise ValueError
            made = cls("127.0.0.1" if host == "localhost" else str(ipaddress.ip_address(host)), int(port))
            if made.port > 65535:
                raise ValueError
        except ValueError:
            raise ServeError(f"{text!r} is not ADDRESS:PORT, such as 127.0.0.1:8443 or [::1]:8443") from None
        return made

    def following(self, count: int) -> list[str]:
        """This address and those after it."""
        first = ipaddress.ip_address(self.host)
        return [str(first + number) for number in range(count)]

    @property
    def is_loopback(self) -> bool:
        return ipaddress.ip_address(self.host).is_loopback


@dataclass(frozen=True)
class Configuration:
    """What is served, to whom, and how.

    Attributes
    ----------
    listen : where, one address for each pool
    user : the one who may log in; None for all of the password file
    password_file : None: a password is made, and told once
    certificate, key : files; None for one that is made, if `tls`
    tls : over TLS
    pace : of the pools' time
    read_only : every user's role is read-only
    members : each host of a pool has an address of its own
    state_file : of the one pool; None if it lives in memory
    web : the live page is at ``/``
    socket : of the one pool in the file system, where no password is asked; None for none
    """

    listen: Sequence[Address]
    user: str | None = None
    password_file: str | None = None
    certificate: str | None = None
    key: str | None = None
    tls: bool = False
    pace: Pace = Pace.REAL
    read_only: bool = False
    members: bool = False
    state_file: str | None = None
    web: bool = False
    socket: str | None = None

    @property
    def most(self) -> Role:
        """The highest role."""
        return Role.READ_ONLY if self.read_only else Role.POOL_ADMIN

    def check(self, pools: int) -> None:
        """Look whether this may and can be done.

        Raises
        ------
        ServeError : why not
        """
        if len(self.listen) != pools:
            raise ServeError(f"{pools} pools at {len(self.listen)} addresses: each needs one --listen")
        if (self.certificate is None) != (self.key is None):
            raise ServeError("--tls-cert and --tls-key need each other")
        if self.state_file is not None and pools != 1:
            raise ServeError("a state file is one pool's")
        if self.socket is not None and pools != 1:
            raise ServeError("a socket is one pool's")
        for address in self.listen:
            if not address.is_loopback and not (self.tls and self.password_file):
                raise ServeError(f"{address.host} is no loopback address: it takes TLS and a password file")

    def users(self) -> tuple[Mapping[str, User], str]:
        """Who may log in, and the password that was made, empty if there is a file.

        Raises
        ------
        PasswordFileError : the file cannot be used
        """
        if self.password_file is not None:
            return passwords.read(self.password_file, self.user, self.most), ""
        made = secrets.token_urlsafe(18)
        return {self.user or "root": User(made, self.most)}, made


def serve(
    databases: Sequence[Callable[[], Database]], configuration: Configuration, tell: Callable[[str], None]
) -> None:
    """Serve pools until a signal ends it.

    Parameters
    ----------
    databases : each makes the database of a pool
    configuration : how
    tell : is given what whoever started the server must know, a line each

    Raises
    ------
    ServeError, PasswordFileError, CertificateError, StateError : before anything is served
    OSError : an address cannot be had
    """
    configuration.check(len(databases))
    try:
        import uvloop

        new_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    except ImportError:
        new_loop = asyncio.new_event_loop
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(Server(databases, configuration, tell).run())


class Server:
    """A server while it runs; parameters as of `serve`."""

    def __init__(
        self,
        databases: Sequence[Callable[[], Database]],
        configuration: Configuration,
        tell: Callable[[str], None],
        log: Log | None = None,
    ) -> None:
        self._databases = databases
        self._configuration = configuration
        self._tell = tell
        self._log = log or Log()
        self._traffic = Traffic(self._observe)
        self._applications: list[Application] = []
        self._keepers: list[state.StateFile] = []
        self._listening: list[asyncio.Server] = []
        self._at_path: asyncio.Server | None = None
        self._context: ssl.SSLContext | None = None
        self._certificate = ""
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Serve until a signal comes."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._failed)
        configuration = self._configuration
        users, made = configuration.users()
        gate = Gate(lambda user, peer, is_in: self._log("login" if is_in else "login failed", user=user, peer=peer))
        bound: list[tuple[socket.socket, Application]] = []
        with contextlib.ExitStack() as sockets:
            for make, address in zip(self._databases, configuration.listen, strict=True):
                database, keeper = self._open(make)
                count = len(database.host) if configuration.members else 1
                own = [sockets.enter_context(bind(Address(one, address.port))) for one in address.following(count)]
                addresses = [one.getsockname()[0] for one in own]
                members = take_addresses(database, addresses) if configuration.members else Members(database)
                clock = ServedClock(loop, configuration.pace)
                roles.load(database)
                pool = Pool(database, users=users, clock=clock)
                endpoint = Endpoint(pool, members, gate, keeper, User(None, configuration.most))
                web = _web(pool, gate) if configuration.web else None
                application = Application(endpoint, history.History(database, clock.now()), self._metrics, web)
                self._applications.append(application)
                bound += [(one, application) for one in own]
            if configuration.tls:
                self._context = self._make_context([one.getsockname()[0] for one, _ in bound])
            for one, application in bound:
                listening = await loop.create_server(
                    partial(Connection, application.handle, self._traffic),
                    sock=one,
                    ssl=self._context,
                    backlog=BACKLOG,
                    ssl_handshake_timeout=10 if self._context else None,
                )
                self._listening.append(listening)
            if configuration.socket is not None:
                at_path = sockets.enter_context(socket_at(configuration.socket))
                made_for = partial(Connection, self._applications[0].handle, self._traffic)
                self._at_path = await loop.create_unix_server(made_for, sock=at_path, backlog=BACKLOG)
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._ended.set)
            loop.add_signal_handler(signal.SIGHUP, self._reload)
            gc.collect()
            gc.freeze()  # what was loaded stays: the collector need not look at all of it again and again
            self._announce(made)
            measuring = loop.create_task(self._measure())
            await self._ended.wait()
            measuring.cancel()
            await self._drain()

    def _open(self, make: Callable[[], Database]) -> tuple[Database, "state.StateFile | None"]:
        if self._configuration.state_file is None:
            return make(), None
        keeper = state.StateFile(self._configuration.state_file)
        self._keepers.append(keeper)
        return keeper.open(make), keeper

    def _make_context(self, addresses: Sequence[str]) -> ssl.SSLContext:
        configuration = self._configuration
        if configuration.certificate is not None and configuration.key is not None:
            return certificates.context(configuration.certificate, configuration.key)
        context, self._certificate = certificates.for_a_trial(addresses)
        return context

    def _announce(self, made: str) -> None:
        scheme = "https" if self._context else "http"
        for application, address, listening in zip(
            self._applications, self._configuration.listen, self._listening[:: self._per_pool()], strict=False
        ):
            pool = application.endpoint.pool.database.the_pool
            port = listening.sockets[0].getsockname()[1]
            host = f"[{address.host}]" if ":" in address.host else address.host
            self._tell(f"{pool.name_label or 'a pool'} ({pool.uuid}) at {scheme}://{host}:{port}")
            self._log("serving", pool=pool.uuid, host=address.host, port=port, scheme=scheme)
        if self._configuration.socket is not None:
            self._tell(f"whoever may use {self._configuration.socket} logs in there without a password")
        if made:
            self._tell(f"user {self._configuration.user or 'root'}, password {made} (made now, and told only here)")
        if self._certificate:
            self._tell(f"the certificate, made now for {certificates.DAYS} days:\n{self._certificate.rstrip()}")
        if self._configuration.state_file is None:
            self._tell("changes live in memory: they are gone when the server ends (--state FILE keeps them)")
        else:
            self._tell(f"changes are kept in {self._configuration.state_file}")
        if self._configuration.web:
            self._tell("a browser shows the pool at / of each address, to whoever logs in")
        if self._configuration.read_only:
            self._tell("every change is refused (--read-only)")
        self._tell("ready")

    def _per_pool(self) -> int:
        return max(1, len(self._listening) // max(1, len(self._applications))) if self._configuration.members else 1

    def _metrics(self) -> str:
        return metrics.text(
            self._traffic,
            ((one.endpoint.pool.database.the_pool.uuid, one.endpoint) for one in self._applications),
        )

    async def _measure(self) -> None:
        while True:
            await asyncio.sleep(history.STEP)
            for application in self._applications:
                application.measured.look(application.endpoint.pool.clock.now())

    def _observe(self, request: Request, status: int, seconds: float) -> None:
        if status >= 400:
            self._log("refused", method=request.method, path=request.path[:200], status=status, peer=request.peer)
        elif seconds > SLOW_SECONDS and request.method != "POST":
            self._log("slow", method=request.method, path=request.path[:200], seconds=round(seconds, 3))

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, (ConnectionError, ssl.SSLError, TimeoutError)):
            self._log("connection failed", error=type(error).__name__)
            return
        import traceback

        where = traceback.format_exception(error) if isinstance(error, BaseException) else []
        self._log("error", message=context.get("message", ""), traceback="".join(where))

    def _reload(self) -> None:
        configuration = self._configuration
        try:
            if configuration.password_file is not None:
                users, _ = configuration.users()
                for application in self._applications:
                    application.endpoint.pool.sessions.admit(users)
            if self._context and configuration.certificate is not None and configuration.key is not None:
                certificates.load(self._context, configuration.certificate, configuration.key)
        except (passwords.PasswordFileError, certificates.CertificateError) as error:
            self._log("not reloaded", error=str(error))
        else:
            self._log("reloaded")

    async def _drain(self) -> None:
        """Take no more connections, answer what is under way, and see that all is kept."""
        self._log("draining", connections=len(self._traffic.connections))
        for listening in (*self._listening, *filter(None, [self._at_path])):
            listening.close()
        for application in self._applications:
            application.endpoint.hub.release()
            if application.web is not None:
                application.web.close()
        self._traffic.drain()
        end = asyncio.get_running_loop().time() + DRAIN_SECONDS
        while self._traffic.connections and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.02)
        kept: list[Awaitable[None]] = [keeper.close() for keeper in self._keepers]
        for one in kept:
            await one
        self._log("ended")


def _web(pool: Pool, gate: Gate) -> "Web":
    """The live page, which brings much that a server without it does not need."""
    from xenmem.server.web import Web

    return Web(pool, gate)


def bind(address: Address) -> socket.socket:
    """A socket at an address, which does not listen yet.

    Raises
    ------
    ServeError : it cannot be had
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((address.host, address.port))
    except OSError as error:
        made.close()
        raise ServeError(f"{address.host}:{address.port}: {error.strerror}") from None
    made.setblocking(False)
    return made


@contextlib.contextmanager
def socket_at(path: str) -> Iterator[socket.socket]:
    """A socket in the file system that its owner alone may use; it is gone afterwards.

    Raises
    ------
    ServeError : it cannot be had, or another server answers there
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if Path(path).is_socket():
            _remove_left_over(path)
        before = os.umask(0o177)
        try:
            made.bind(path)
        finally:
            os.umask(before)
        made.setblocking(False)
    except OSError as error:
        made.close()
        raise ServeError(f"{path}: {error.strerror or error}") from None
    try:
        yield made
    finally:
        with contextlib.suppress(OSError):
            Path(path).unlink()


def _remove_left_over(path: str) -> None:
    """A socket that a server left when it was killed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as tried:
        try:
            tried.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
        else:
            raise ServeError(f"{path}: another server answers there")
