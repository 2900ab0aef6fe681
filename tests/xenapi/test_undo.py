"""Undo and restore for every message that the pool answers, also for those that wait: all is exactly what it was."""

import io
import json
from random import Random
from typing import Any

import pytest
from fuzz import calls
from small_pool import everything

from xenmem.xenapi import Failure, Pool
from xenmem.xenapi.calls.message import MESSAGES, Message
from xenmem.xenapi.store import saving

EVERY = [message for _, message in sorted(MESSAGES.items()) if not message.removed]
WITHOUT_END = ("event.from", "event.next")
"""They wait for what others do, which is undone with them (test_guests.py)."""
TRIES = 12


def saved(pool: Pool) -> bytes:
    """The pool as its file has it, to the order of items."""
    file = io.BytesIO()
    saving.write(pool.database, file, "records")
    return file.getvalue()


def send(pool: Pool, message: Message, random: Random) -> bool:
    """Send a message with parameters that fit; whether it succeeded."""
    sent: list[Any] = [calls.fitting(random, pool.database, one.type, one.name) for one in message.parameters]
    method = f"Async.{message.full_name}" if message.is_async and random.random() < 0.3 else message.full_name
    try:
        pool.dispatch(method, [pool.log_in("root", ""), *sent] if message.has_session else sent)
    except Failure:
        return False
    return True


@pytest.mark.parametrize(
    "message", [one for one in EVERY if one.full_name not in WITHOUT_END], ids=lambda one: one.full_name
)
def test_every_message_is_undone(message: Message) -> None:
    random = Random(message.full_name)
    reads = message.name.startswith("get_") and message.generated
    pool = calls.pool(random)
    for _ in range(1 if reads else TRIES):
        database = pool.database
        before, file, start, position = everything(pool), saved(pool), database.snapshot(), database.journaled
        send(pool, message, random)
        if database.journaled == position:
            assert everything(pool) == before
            continue
        while database.journaled > position:
            database.undo()
        assert everything(pool) == before
        assert json.loads(saved(pool)) == json.loads(file)
        send(pool, message, random)
        send(pool, message, random)
        database.restore(start)
        assert everything(pool) == before
        calls.check_sums(database)
