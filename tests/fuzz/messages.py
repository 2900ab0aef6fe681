"""Random messages to a pool in memory: each is answered by a value of its type or a failure that it declares.

After a failure nothing is changed but what the server changes, too; sums are right; undo and restore are exact.
"""

from random import Random
from typing import Any

from fuzz import calls
from small_pool import everything

from xenmem.datamodel.errors import CODES
from xenmem.xenapi import Failure

LIFE = 250
"""Messages that a pool gets."""
ANY_CALL = frozenset(
    (
        "MESSAGE_PARAMETER_COUNT_MISMATCH",
        "MESSAGE_REMOVED",
        "INTERNAL_ERROR",
        "INVALID_VALUE",
        "Fault",
        "SESSION_INVALID",
    )
)
MAY_CHANGE = frozenset(
    (
        *("VM.start", "VM.start_on", "VM.resume", "VM.resume_on", "VM.suspend", "VM.pool_migrate", "host.evacuate"),
        *("VM.set_memory_dynamic_range", "VM.set_memory_dynamic_min", "VM.set_memory_dynamic_max"),
        "VM.wait_memory_target_live",
    )
)
"""Messages that fail with something done: what they were able to do stays, as on the server, or guests went on."""


class Fuzzer:
    """Sends messages to one pool after the other."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def example(self) -> bytes:
        """What the last pool was sent."""
        return "\n".join(map(repr, self.sent)).encode("utf-8", "backslashreplace")

    def run(self, random: Random) -> int:
        """The life of a pool; how many messages it got."""
        pool = calls.pool(random)
        database, session = pool.database, pool.log_in("root", "")
        taken = database.snapshot(), everything(pool)
        self.sent = []
        generation = database.generation
        for number in range(LIFE):
            message, method, sent = calls.call(random, database)
            if random.random() < 0.002:
                sent = [*sent[:-1], random.choice(calls.NO_VALUES)]
            self.sent.append((method, sent))
            looks = random.random() < 0.08
            before, position = everything(pool) if looks else {}, database.journaled
            outcome = self.send(pool, message, method, [session, *sent] if message.has_session else sent)
            if outcome is not None and outcome.details[0] == "SESSION_INVALID":
                session = pool.log_in("root", "")  # a message waited for longer than a session lives
            after = everything(pool) if looks else {}
            if outcome is not None and message.full_name not in MAY_CHANGE:
                assert database.journaled == position or after == before, (method, outcome)
            if looks:
                calls.check_sums(database)
                self.check_rows(database, generation)
                generation = database.generation
                if database.journaled > position and random.random() < 0.5:
                    while database.journaled > position:
                        database.undo()
                    assert everything(pool) == before, "undone"
                    calls.check_sums(database)
            if number % 50 == 49:
                snapshot, state = taken
                if random.random() < 0.3:
                    database.restore(snapshot)
                    assert everything(pool) == state, "restored"
                else:
                    taken = database.snapshot(), everything(pool)
        return LIFE

    def send(self, pool: Any, message: Any, method: str, sent: list[Any]) -> Failure | None:
        """Send a message, and look at its answer; the failure, if it failed."""
        failure: Failure | None = None
        try:
            _, is_async, value = pool.dispatch(method, sent)
        except Failure as raised:
            failure = raised
        if failure is not None:
            code, *parameters = failure.details
            assert code in CODES, failure.details
            assert code in ANY_CALL or code in {one.name for one in message.errors}, (method, failure.details)
            assert all(type(one) is str and len(one) < 1_000_000 for one in parameters)
        elif not is_async:
            assert calls.is_of(message.result, value), value
            message.result.give(value)
        return failure

    def check_rows(self, database: Any, generation: int) -> None:
        """Every field of the rows that have changed since is of its type."""
        for name in ("VM", "host", "pool", "VM_metrics", "task"):
            for one in database.tables[name].changed_since(generation):
                for field, declared in one.schema.fields.items():
                    assert calls.is_of(declared.type, getattr(one, field)), (name, field, getattr(one, field))
