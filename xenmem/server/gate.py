"""Who logs in, one password at a time: hashing happens beside the event loop, and who fails waits.

Source of the failure: xapi_session.ml. xapi answers a wrong password at once; here each further one from an address
is answered later than the one before, right or wrong alike as long as another answer is due there.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from xenmem.xenapi import Failure, User

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from xenmem.xenapi.world.sessions import Sessions

FIRST_DELAY: Final = 0.5
"""Seconds until the first wrong password of an address is answered; each further one takes twice as long."""

MAX_DELAY: Final = 8.0
FORGIVEN_SECONDS: Final = 300.0
"""After so long without a failure an address begins anew."""

MAX_ADDRESSES: Final = 10_000


@dataclass
class _Address:
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    failures: int = 0
    last: float = 0.0


class Gate:
    """Checks passwords.

    Parameters
    ----------
    told : called with each attempt: user, address, and whether they may come in
    """

    def __init__(self, told: Callable[[str, str, bool], None]) -> None:
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._hashing = ThreadPoolExecutor(1, "xenmem passwords")
        self._addresses: dict[str, _Address] = {}

    async def known(self, sessions: "Sessions", user: str, password: str, peer: str) -> User:
        """Who may log in by a name and a password.

        Raises
        ------
        Failure : SESSION_AUTHENTICATION_FAILED, after a delay
        """
        async with self._turn(peer) as address:
            began = self._loop.time()
            try:
                known = await self._loop.run_in_executor(self._hashing, sessions.known, user, password)
            except Failure:
                address.failures += 1
                address.last = began
                delay = min(MAX_DELAY, FIRST_DELAY * 2.0 ** min(address.failures - 1, 10))
                self._told(user, peer, False)
                await asyncio.sleep(max(0.0, began + delay - self._loop.time()))
                raise
            self._told(user, peer, True)
            return known

    @asynccontextmanager
    async def _turn(self, peer: str) -> "AsyncIterator[_Address]":
        """Wait while another wrong password of the address is being answered."""
        now = self._loop.time()
        address = self._addresses.setdefault(peer, _Address())
        if now - address.last > FORGIVEN_SECONDS:
            address.failures = 0
        if len(self._addresses) > MAX_ADDRESSES:
            self._addresses = {
                peer: one
                for peer, one in self._addresses.items()
                if one.turn.locked() or now - one.last < FORGIVEN_SECONDS / 10
            }
        async with address.turn:
            yield address
