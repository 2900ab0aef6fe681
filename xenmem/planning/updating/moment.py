"""One moment of a rolling update: where every VM is, which hosts have been restarted, and how that came about.

Amounts are bytes. Moments are copied whenever a search goes on in more than one way.
"""

from __future__ import annotations

from xenmem.planning.updating.problem import UpdateProblem


class Moment:
    """Where everybody is at a moment, and how that came about."""

    __slots__ = ("at", "copied", "free", "history", "on", "problem", "updated")

    def __init__(self, problem: UpdateProblem) -> None:
        hosts = len(problem.hosts)
        self.problem = problem
        self.at: list[int] = problem.start.tolist()
        self.updated: list[bool] = problem.updated.tolist()
        self.on: list[set[int]] = [set() for _ in range(hosts)]
        self.free: list[int] = [int(problem.capacity[host, int(problem.updated[host])]) for host in range(hosts)]
        self.copied = 0
        self.history: tuple[object, tuple[int, int]] | None = None
        for vm, host in enumerate(self.at):
            self.on[host].add(vm)
            self.free[host] -= self.need(vm, host)

    def copy(self) -> Moment:
        """The same moment, to go on from differently."""
        other = object.__new__(Moment)
        other.problem = self.problem
        other.at, other.updated, other.free = list(self.at), list(self.updated), list(self.free)
        other.on = [set(vms) for vms in self.on]
        other.copied, other.history = self.copied, self.history
        return other

    def need(self, vm: int, host: int) -> int:
        """Bytes that the VM takes on the host as that is now."""
        return int(self.problem.need[vm, int(self.updated[host])])

    def lacking(self, vm: int, host: int) -> int:
        """Bytes that are missing for the VM to arrive there as things are now; <= 0 if it can."""
        return int(self.problem.asked[vm, int(self.updated[host])]) - self.free[host]

    def may_go(self, vm: int, host: int) -> bool:
        """Apart from memory."""
        allowed = self.problem.allowed
        source = self.at[vm]
        if host == source or self.is_older(host, source):
            return False
        return allowed is None or bool(allowed[vm, host])

    def is_older(self, host: int, than: int) -> bool:
        """The host runs an older version now: no VM migrates there from the other one."""
        if self.updated[host] or self.updated[than]:
            return not self.updated[host]
        return not self.problem.may_follow[than, host]

    def fits(self, vm: int, host: int) -> bool:
        """The VM can migrate there now."""
        return self.lacking(vm, host) <= 0 and self.may_go(vm, host)

    def migrate(self, vm: int, host: int) -> None:
        source = self.at[vm]
        self.free[source] += self.need(vm, source)
        self.free[host] -= self.need(vm, host)
        self.on[source].remove(vm)
        self.on[host].add(vm)
        self.at[vm] = host
        self.copied += int(self.problem.copied[vm])
        self.history = (self.history, (vm, host))

    def restart(self, host: int) -> None:
        self.updated[host] = True
        self.free[host] = int(self.problem.capacity[host, 1])
        self.history = (self.history, (-1, host))

    def moves(self) -> list[tuple[int, int]]:
        """(VM, host) for migrations and (-1, host) for restarts, in their order."""
        answer: list[tuple[int, int]] = []
        node: object = self.history
        while isinstance(node, tuple):
            node, move = node
            answer.append(move)
        return answer[::-1]

    def displaced(self) -> list[int]:
        """VMs that are not at home, those that copy most first."""
        home, copied = self.problem.home, self.problem.copied
        return sorted((vm for vm, host in enumerate(self.at) if host != home[vm]), key=lambda vm: (-copied[vm], vm))

    def become(self, other: Moment) -> None:
        """Be the other moment, which is not used any more."""
        for name in Moment.__slots__:
            setattr(self, name, getattr(other, name))
