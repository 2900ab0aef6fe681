"""The page while its fleet changes: the same document with a panel of questions, kept current by the page's script.

The work is done in a process beside, so that whoever serves the page goes on. Knows no socket: a server hands on what
was asked of which path, and sends what comes back. The paths are relative to where the page is.
"""

import asyncio
import io
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Final, NamedTuple

import msgspec

from xenmem.answers.naming import QuestionError
from xenmem.fleet import Fleet, read
from xenmem.page import what_if
from xenmem.page.document import content, document, resource, text

UPDATE: Final = "page.json"
"""Path of what has changed; its query is the version that the page has."""

WHAT_IF: Final = "what-if"
"""Path that questions are posted to."""

_SHARE: Final = 20
"""Reading the state anew takes at most so small a part of the time, whoever looks at the page."""

State = Fleet | bytes
"""A fleet, or an inventory that is read as one."""


class Reply(NamedTuple):
    """What a server sends: its status, type and bytes."""

    status: int
    content_type: str
    body: bytes


class Live:
    """The live page of something that changes.

    Parameters
    ----------
    state : what it is now; called in the event loop
    version : another text whenever the state is another
    """

    def __init__(self, state: Callable[[], State], version: Callable[[], str]) -> None:
        self._state = state
        self._version = version
        self._workers: ProcessPoolExecutor | None = None
        self._turn = asyncio.Lock()
        self._known = ""
        self._page = self._update = b""
        self._next = 0.0

    async def page(self) -> Reply:
        """The document."""
        await self._refresh()
        return Reply(200, "text/html; charset=utf-8", self._page)

    async def update(self, since: str) -> Reply:
        """What the page shows now, or that it is what it was.

        Parameters
        ----------
        since : the version that the page has
        """
        await self._refresh()
        same = msgspec.json.encode({"version": self._known})
        return Reply(200, "application/json", same if since == self._known else self._update)

    async def what_if(self, body: bytes) -> Reply:
        """The answer to a question, or why it has none."""
        await self._refresh()
        async with self._turn:
            status, told = await self._work(_ask, body)
        return Reply(status, "application/json", told)

    def close(self) -> None:
        """Let go of the process beside; what it is at is not awaited."""
        if self._workers is not None:
            self._workers.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            self._workers = None

    async def _refresh(self) -> None:
        async with self._turn:
            version = self._version()
            now = time.monotonic()
            if self._page and (version == self._known or now < self._next):
                return
            state = self._state()
            self._next = now + _SHARE * (time.monotonic() - now)
            self._page, self._update = await self._work(_load, state, version)
            self._known = version

    async def _work(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The result of a function in the process beside; one that was killed is begun anew, once."""
        for attempt in range(2):
            if self._workers is None:
                spawn = multiprocessing.get_context("spawn")
                self._workers = ProcessPoolExecutor(1, spawn, _begin)
                if function is not _load:  # it knows no fleet yet
                    await self._work(_load, self._state(), self._version())
            try:
                return await asyncio.get_running_loop().run_in_executor(self._workers, function, *arguments)
            except BrokenProcessPool:
                self._workers = None
                if attempt:
                    raise
        raise AssertionError


# ------------------------------------------------------------------------------------------------- in the other process

_fleet: Fleet | None = None


class _Inventory(io.BytesIO):
    """An inventory that is no file, with what the page calls it."""

    name = "what is served"


def _begin() -> None:
    """Ctrl-C is for the server; and where that is killed, this process ends as well."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _load(state: State, version: str) -> tuple[bytes, bytes]:
    """The page of a state and what an older page needs to become it."""
    global _fleet
    _fleet = read(_Inventory(state)) if isinstance(state, bytes) else state
    shown = content(_fleet)
    page = document(shown, panel(version), resource("live.js"))
    return page.encode(), msgspec.json.encode({"version": version, "summary": shown.summary, "tables": shown.tables})


def _ask(body: bytes) -> tuple[int, bytes]:
    try:
        assert _fleet is not None
        return 200, msgspec.json.encode(what_if.answer(_fleet, body))
    except QuestionError as error:
        return 400, msgspec.json.encode({"error": str(error)})


def panel(version: str) -> str:
    """The panel of questions; the script fills in the hosts."""
    return (
        f'<p id="live" class="note" role="status" data-version="{text(version)}">live</p>'
        '<section class="panel" aria-labelledby="what-if"><h2 id="what-if">What if</h2><div class="asked">'
        '<label>these hosts fail <select id="fail" multiple size="6"></select></label>'
        '<label>these are emptied <select id="empty" multiple size="6"></select></label>'
        '<div class="add"><label>VMs are added, memory <input id="memory" placeholder="16GiB" size="8"></label>'
        '<label>vCPUs <input id="vcpus" type="number" min="1" max="254" value="2"></label>'
        '<label>how many <input id="count" type="number" min="1" max="1000" value="1"></label></div>'
        '</div><p><button type="button" id="ask">Where does everything go?</button> '
        '<button type="button" id="clear">Clear</button></p>'
        '<p id="told" role="status"></p><div id="answer"></div></section>'
    )
