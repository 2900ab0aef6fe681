"""The small pool, and a session with it."""

from collections.abc import Callable
from typing import Any

import pytest
from small_pool import build_database, vm_row

from xenmem.xenapi import Clock, Pool, Session

START = 1_790_000_000.0


@pytest.fixture
def pool() -> Pool:
    return Pool(build_database(), clock=Clock(START))


@pytest.fixture
def session(pool: Pool) -> Session:
    session = Session(pool)
    session.login_with_password("root", "")
    return session


@pytest.fixture
def add_vm(pool: Pool) -> Callable[..., Any]:
    """Put a VM into the pool; give it `Running` and it is resident on h1."""

    def add(ref: str = "vm", **values: Any) -> Any:
        if values.get("power_state") in ("Running", "Paused"):
            values.setdefault("resident_on", "h1")
        vm = vm_row(pool.database, ref, **values)
        pool.database.load("VM", [vm])
        return vm

    return add
