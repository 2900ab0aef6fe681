"""A pool in memory that answers XenAPI's messages with xapi's checks, effects, results and error codes.

`connect` gives a client that is logged in; `Pool` is the pool itself, `Database` its rows. Amounts are bytes.
"""

from xenmem.datamodel import Role
from xenmem.datamodel.errors import Failure
from xenmem.xenapi.door.batch import Batch, TransactionError
from xenmem.xenapi.door.pool import Pool
from xenmem.xenapi.door.session import Session, connect
from xenmem.xenapi.store.database import Change, Database, Origin, Snapshot
from xenmem.xenapi.world.clock import Clock, Pace
from xenmem.xenapi.world.guests import BallooningGuests, Guests
from xenmem.xenapi.world.hooks import Hooks
from xenmem.xenapi.world.sessions import User

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
