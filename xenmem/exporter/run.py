"""The exporter from its start to its end: the paths that it answers, over HTTP of xenmem.server, and signals."""

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import msgspec

from xenmem import exposition
from xenmem.exporter.worker import Computed, Source, Worker
from xenmem.fleet import Fleet
from xenmem.page.live import Live
from xenmem.server import live
from xenmem.server.http import Answer, Connection, Request, Traffic
from xenmem.server.http import page as notice
from xenmem.server.logs import Log
from xenmem.server.run import Address, bind

BACKLOG: Final = 128
MOST_CONNECTIONS: Final = 512
DRAIN_SECONDS: Final = 5.0
"""What is under way when the exporter is told to end may take so long."""


def export(mirror: Source, worker: Worker, listen: Address, tell: Callable[[str], None], log: Log) -> None:
    """Answer scrapes until a signal ends it.

    Parameters
    ----------
    mirror, worker : what is measured, and what computes
    listen : where
    tell : is given what whoever started the exporter must know, a line each
    log : for who operates it

    Raises
    ------
    ServeError : the address cannot be had
    """
    with bind(listen) as bound:
        asyncio.run(_run(mirror, worker, bound, tell))
    worker.close()
    log("ended")


async def _run(mirror: Source, worker: Worker, bound: socket.socket, tell: Callable[[str], None]) -> None:
    loop, ended, paths = asyncio.get_running_loop(), asyncio.Event(), Paths(mirror, worker)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    traffic = Traffic(lambda request, status, seconds: None, max_connections=MOST_CONNECTIONS)
    listening = await loop.create_server(partial(Connection, paths.handle, traffic), sock=bound, backlog=BACKLOG)
    host, port = bound.getsockname()[:2]
    tell(f"metrics at http://{f'[{host}]' if ':' in host else host}:{port}/metrics")
    tell("ready")
    await ended.wait()
    listening.close()
    paths.close()
    traffic.drain()
    until = loop.time() + DRAIN_SECONDS
    while traffic.connections and loop.time() < until:
        await asyncio.sleep(0.02)


class Paths:
    """What each path answers.

    Parameters
    ----------
    mirror, worker : what is measured, and what computes
    """

    def __init__(self, mirror: Source, worker: Worker) -> None:
        self._mirror, self._worker = mirror, worker
        self._live = Live(self._fleet, lambda: str(max(self._computed().read_at.values(), default=0.0)))

    def handle(self, request: Request) -> Answer | Awaitable[Answer]:
        """The answer to a request, now or later."""
        method = "GET" if request.method == "HEAD" else request.method
        if (method, request.path) in live.PATHS:
            return self._page(request)
        if request.method not in ("GET", "HEAD"):
            return notice(501, f"{request.method} {request.path}")
        match request.path:
            case "/metrics":
                return self._metrics(request)
            case "/health":
                return self._health()
            case _:
                return notice(404, request.path, close=False)

    def _metrics(self, request: Request) -> Answer:
        openmetrics = exposition.wants_openmetrics(request.headers.get("accept", ""))
        text = self._worker.text(openmetrics=openmetrics)
        if not text:
            return notice(503, "nothing has been computed yet", close=False)
        kind = exposition.OPENMETRICS if openmetrics else exposition.PROMETHEUS
        return Answer(200, kind, text, compressible=True)

    def _health(self) -> Answer:
        pools = [
            {
                "name": pool.name,
                "uuid": pool.uuid,
                "age": None if pool.age == float("inf") else pool.age,
                "error": pool.error,
            }
            for pool in self._mirror.pools
        ]
        is_well = self._worker.computed is not None and not any(pool["error"] for pool in pools)
        body = {"status": "ok" if is_well else "not ok", "pools": pools}
        return Answer(200 if is_well else 503, "application/json", msgspec.json.encode(body))

    def close(self) -> None:
        """The exporter ends."""
        self._live.close()

    async def _page(self, request: Request) -> Answer:
        """The live page of what was computed last."""
        if self._worker.computed is None:
            return notice(503, "nothing has been computed yet", close=False)
        return await live.answer(self._live, request)

    def _computed(self) -> Computed:
        assert self._worker.computed is not None
        return self._worker.computed

    def _fleet(self) -> Fleet:
        return self._computed().fleet
