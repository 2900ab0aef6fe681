"""The live page of a pool in memory (`serve --web`): who may see it, and which paths are its own.

Whoever logs in as the pool's users do, by HTTP's Basic scheme, has a session in a cookie from then on. The page changes
nothing of the pool.
"""

import base64
import binascii
import io
from collections.abc import Awaitable
from typing import Final

from xenmem.page.live import Live
from xenmem.server import live
from xenmem.server.gate import Gate
from xenmem.server.http import Answer, Request, page
from xenmem.xenapi import Failure, Pool
from xenmem.xenapi.store import saving

COOKIE: Final = "xenmem_session"


class Web:
    """The page of one pool.

    Parameters
    ----------
    pool : which
    gate : checks passwords
    """

    def __init__(self, pool: Pool, gate: Gate) -> None:
        self._pool = pool
        self._gate = gate
        self._live = Live(self._inventory, lambda: str(pool.database.generation))

    def answer(self, request: Request) -> Awaitable[Answer] | None:
        """The answer to a request for the page; None if it is for something else."""
        return self._answer(request) if (request.method, request.path) in live.PATHS else None

    def close(self) -> None:
        """The server ends."""
        self._live.close()

    def _inventory(self) -> bytes:
        file = io.BytesIO()
        with self._pool.database.lock:
            saving.write(self._pool.database, file, "records")
        return file.getvalue()

    async def _answer(self, request: Request) -> Answer:
        session, cookie = await self._admit(request)
        if not session:
            return page(401, "the page of the pool", 'WWW-Authenticate: Basic realm="xenmem", charset="UTF-8"')
        return await live.answer(self._live, request, *cookie)

    async def _admit(self, request: Request) -> tuple[str, tuple[str, ...]]:
        """The session of whoever asks, empty if there is none, and the header that lets it be known again."""
        sessions = self._pool.sessions
        ref = request.cookies.get(COOKIE, "")
        try:
            return sessions.login(ref).ref, ()
        except Failure:
            pass
        kind, _, encoded = request.headers.get("authorization", "").partition(" ")
        try:
            user, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ()
        if kind.lower() != "basic" or not colon:
            return "", ()
        try:
            known = await self._gate.known(sessions, user, password, request.peer)
        except Failure:
            return "", ()
        ref = sessions.open(user, known)
        secure = "; Secure" if request.is_tls else ""
        return ref, (f"Set-Cookie: {COOKIE}={ref}; Path=/; HttpOnly; SameSite=Strict{secure}",)
