"""Pools that run, held in memory and kept current: a Fleet that is always that of now."""

from xenmem.mirror.changes import Change
from xenmem.mirror.mirror import Mirror, PoolState

__all__ = ["Change", "Mirror", "PoolState"]
