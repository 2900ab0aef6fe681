"""The simulated host that the golden vectors of ballooning were computed against (see their README, balloon.jsonl)."""

import math
from collections.abc import Callable
from typing import Any

from xenmem.planning.xapi import balloon

MOST_TICKS = 150


class TimeoutInSimulationError(Exception):
    """The loop waited too often."""


class OverallocatedError(Exception):
    """A domain took more memory than the host has."""


class World:
    """Domains with drivers; time passes in ticks only while the loop waits."""

    def __init__(self, world: list[dict[str, Any]], free_mem_kib: int, dt: float) -> None:
        self.domains = [balloon.Domain(*there["domain"]) for there in world]
        self.deltas = [delta_of(there["driver"]) for there in world]
        self.free_mem_kib = free_mem_kib
        self.dt = dt
        self.ticks = 0
        self.updated = [0.0] * len(world)
        self.overallocated: int | None = None

    def now(self) -> float:
        return self.ticks * self.dt

    def snapshot(self) -> balloon.Host:
        return balloon.Host(tuple(self.domains), self.free_mem_kib)

    def set_maxmem(self, domid: int, kib: int) -> None:
        self.set_target(domid, kib)

    def set_target(self, domid: int, kib: int) -> None:
        for place, domain in enumerate(self.domains):
            if domain.domid == domid and domain.can_balloon:
                self.domains[place] = domain._replace(target_kib=kib, memory_max_kib=kib)
            elif domain.domid == domid and kib > domain.memory_max_kib:
                self.domains[place] = domain._replace(memory_max_kib=kib)

    def wait(self, seconds: float) -> None:
        assert seconds == 1.0
        self.ticks += 1
        if self.ticks > MOST_TICKS:
            raise TimeoutInSimulationError
        for place, domain in enumerate(self.domains):
            last, now = self.updated[place], self.now()
            delta = self.deltas[place](domain, last, now - last)
            if delta > self.free_mem_kib:
                self.overallocated = domain.domid
                raise OverallocatedError
            self.domains[place] = domain._replace(memory_actual_kib=domain.memory_actual_kib + delta)
            self.free_mem_kib -= delta
            self.updated[place] = now


Delta = Callable[[balloon.Domain, float, float], int]


def delta_of(driver: dict[str, Any]) -> Delta:
    """How much a domain moves in a time, by the model of its driver."""

    def base(domain: balloon.Domain, elapsed: float) -> int:
        sign = -1 if domain.memory_actual_kib > domain.target_kib else 1
        way = max(0, abs(domain.target_kib - domain.memory_actual_kib) - domain.inaccuracy_kib)
        return sign * min(way, int(elapsed * driver["rate"]))

    def ideal(domain: balloon.Domain, _last: float, elapsed: float) -> int:
        return base(domain, elapsed)

    def stuck(_domain: balloon.Domain, _last: float, _elapsed: float) -> int:
        return 0

    def min_limit(domain: balloon.Domain, _last: float, elapsed: float) -> int:
        there = domain.memory_actual_kib + base(domain, elapsed)
        free = there > domain.memory_actual_kib or there > driver["limit"]
        return base(domain, elapsed) if free else driver["limit"] - domain.memory_actual_kib

    def max_limit(domain: balloon.Domain, _last: float, elapsed: float) -> int:
        free = domain.memory_actual_kib + base(domain, elapsed) < driver["limit"]
        return base(domain, elapsed) if free else driver["limit"] - domain.memory_actual_kib

    def intermittent(domain: balloon.Domain, last: float, elapsed: float) -> int:
        periods = (math.floor(last / driver["interval"]), math.floor((last + elapsed) / driver["interval"]))
        return base(domain, elapsed if all(period % 2 == 0 for period in periods) else 0.0)

    models: dict[str, Delta] = {
        "ideal": ideal,
        "stuck": stuck,
        "min_limit": min_limit,
        "max_limit": max_limit,
        "intermittent": intermittent,
    }
    return models[driver["model"]]
