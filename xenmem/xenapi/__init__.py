"""A pool in memory that answers XenAPI's messages with xapi's checks, effects, results and error codes.

`connect` gives a client that is logged in; `Pool` is the pool itself, `Database` its rows. Amounts are bytes.
"""

from xenmem.xenapi.batch import Batch, TransactionError
from xenmem.xenapi.clock import Clock, Pace
from xenmem.xenapi.database import Change, Database, Origin, Snapshot
from xenmem.xenapi.errors import Failure
from xenmem.xenapi.guests import BallooningGuests, Guests
from xenmem.xenapi.hooks import Hooks
from xenmem.xenapi.pool import Pool, User
from xenmem.xenapi.schema import Role
from xenmem.xenapi.session import Session, connect

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
