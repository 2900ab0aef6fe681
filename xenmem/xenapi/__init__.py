"""A pool in memory that answers XenAPI's messages with xapi's checks, effects, results and error codes.

`connect` gives a client that is logged in; `Pool` is the pool itself, `Database` its rows. Amounts are bytes.
A batch is imported when it is first used: it alone needs numba, which takes as long to import as all the rest.
"""

from typing import TYPE_CHECKING

from xenmem._lazy import attach
from xenmem.datamodel import Role
from xenmem.datamodel.errors import Failure
from xenmem.xenapi.door.pool import Pool
from xenmem.xenapi.door.session import Session, connect
from xenmem.xenapi.store.database import Change, Database, Origin, Snapshot
from xenmem.xenapi.world.clock import Clock, Pace
from xenmem.xenapi.world.guests import BallooningGuests, Guests
from xenmem.xenapi.world.hooks import Hooks
from xenmem.xenapi.world.sessions import User

if TYPE_CHECKING:
    from xenmem.xenapi.door.batch import Batch, TransactionError

__all__ = [
    "BallooningGuests",
    "Batch",
    "Change",
    "Clock",
    "Database",
    "Failure",
    "Guests",
    "Hooks",
    "Origin",
    "Pace",
    "Pool",
    "Role",
    "Session",
    "Snapshot",
    "TransactionError",
    "User",
    "connect",
]

__getattr__, __dir__ = attach(__name__, {"door.batch": "Batch TransactionError"})
