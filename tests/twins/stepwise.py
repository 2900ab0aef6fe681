"""A rolling update carried out step by step, in plain Python: what a plan claims is counted afresh here."""

from collections import deque
from typing import Any


def carry_out(problem: Any, plan: Any) -> None:
    """Fail at the first step of the plan that cannot be done, or if somebody is not at home in the end."""
    capacity, need, asked = problem.capacity.tolist(), problem.need.tolist(), problem.asked.tolist()
    at, updated = problem.start.tolist(), problem.updated.tolist()
    copied, restarted = 0, []
    for number, step in enumerate(plan.steps):
        if step.action == "restart":
            assert step.host not in at, f"step {number}: host {step.host} is not empty"
            assert not updated[step.host], f"step {number}: host {step.host} is updated already"
            updated[step.host] = True
            restarted.append(step.host)
            continue
        assert step.action == "migrate"
        assert at[step.vm] == step.source != step.host, f"step {number}: VM {step.vm} is not on {step.source}"
        assert not is_older(problem, updated, step.host, step.source), (
            f"step {number}: VM {step.vm} goes to an older host"
        )
        if problem.allowed is not None:
            assert problem.allowed[step.vm, step.host], f"step {number}: VM {step.vm} may not run there"
        model = int(updated[step.host])
        there = sum(need[vm][model] for vm, host in enumerate(at) if host == step.host)
        room = capacity[step.host][model] - there
        assert asked[step.vm][model] <= room, f"step {number}: {asked[step.vm][model]} needed, {room} free"
        at[step.vm] = step.host
        copied += int(problem.copied[step.vm])
    assert at == problem.home.tolist()
    assert all(updated)
    assert copied == plan.copied
    assert tuple(restarted) == plan.order


def is_older(problem: Any, updated: Any, host: int, than: int) -> bool:
    """Restarted hosts are newer than all others."""
    return not updated[host] and bool(updated[than] or not problem.may_follow[than, host])


def least_copied(problem: Any, order: list[int] | None) -> int | None:
    """The fewest bytes of any plan, or None if there is none: all states are visited, the cheapest first relaxed."""
    capacity, need, asked, copied = (
        getattr(problem, name).tolist() for name in ("capacity", "need", "asked", "copied")
    )
    start = (tuple(problem.start.tolist()), tuple(problem.updated.tolist()))
    best = {start: 0}
    todo = deque([start])
    while todo:
        state = todo.popleft()
        at, updated = state
        following = []
        done = sum(updated) - int(problem.updated.sum())
        for host in range(len(capacity)):
            if not updated[host] and host not in at and (order is None or order[done] == host):
                following.append(((at, (*updated[:host], True, *updated[host + 1 :])), 0))
        for host in range(len(capacity)):
            model = int(updated[host])
            room = capacity[host][model] - sum(need[vm][model] for vm, there in enumerate(at) if there == host)
            for vm, source in enumerate(at):
                if source != host and asked[vm][model] <= room and not is_older(problem, updated, host, source):
                    following.append((((*at[:vm], host, *at[vm + 1 :]), updated), copied[vm]))
        for after, price in following:
            if best[state] + price < best.get(after, 1 << 62):
                best[after] = best[state] + price
                todo.append(after)
    return best.get((tuple(problem.home.tolist()), (True,) * len(capacity)))


def plain_evacuations(problem: Any, order: list[int]) -> int:
    """Bytes copied if each host is just emptied, largest VM first to the host with most room, and all go home after."""
    at, total = problem.start.tolist(), 0
    need, copied = problem.need[:, 0].tolist(), problem.copied.tolist()
    free = problem.capacity[:, 0].tolist()
    for vm, host in enumerate(at):
        free[host] -= need[vm]
    for host in order:
        for vm in sorted((vm for vm, there in enumerate(at) if there == host), key=lambda vm: -need[vm]):
            target = max((other for other in range(len(free)) if other != host), key=lambda other: free[other])
            free[host] += need[vm]
            free[target] -= need[vm]
            at[vm] = target
            total += copied[vm]
    return total + sum(copied[vm] for vm, host in enumerate(at) if host != problem.home[vm])
