"""Ballooning against the golden vectors: targets, iterations, and the whole loop in a simulated world."""

from collections.abc import Callable
from typing import Any

from balloon_simulator import OverallocatedError, TimeoutInSimulationError, World
from golden import golden

from xenmem.planning.xapi import balloon
from xenmem.planning.xapi.errors import CannotFreeError, DomainsRefusedError

CASES = golden("balloon.jsonl")


def of_kind(kind: str, count: int) -> list[dict[str, Any]]:
    cases = [case for case in CASES if case["kind"] == kind]
    assert len(cases) == count
    return cases


def host(case: dict[str, Any]) -> balloon.Host:
    return balloon.Host([balloon.Domain(*domain) for domain in case["domains"]], case["free_mem_kib"])


def lists(rows: Any) -> list[list[Any]]:
    return [list(row) for row in rows]


def test_targets() -> None:
    for case in of_kind("targets", 500):
        compensate = not case["disable_inaccuracy_compensation"]
        targets = balloon.compute_target_adjustments(
            host(case), case["host_target_kib"], compensate_inaccuracy=compensate
        )
        freeable = [[d.domid, balloon.min_freeable(d, compensate_inaccuracy=compensate)] for d in host(case).domains]
        assert (lists(targets), freeable) == (case["targets"], case["min_freeable"]), case["id"]


def action_record(action: balloon.Action) -> dict[str, Any]:
    match action:
        case balloon.Adjust(targets):
            return {"type": "adjust", "targets": lists(targets)}
        case balloon.Failed(domids):
            return {"type": "failed", "domids": list(domids)}
        case balloon.Success():
            return {"type": "success"}


def success_condition(case: dict[str, Any]) -> Callable[[int], bool]:
    condition = case["success"]
    if condition["kind"] == "free":
        return lambda free: bool(free >= condition["at_least_kib"])
    return lambda free: bool(free - case["host_target_kib"] < condition["tolerance_kib"])


def test_iterations() -> None:
    for case in of_kind("iteration", 160):
        squeezer = balloon.Squeezer()
        for number, step in enumerate(case["steps"]):
            found = squeezer.iterate(
                host(step),
                case["host_target_kib"],
                step["now"],
                success_condition(case),
                two_phases=not case["disable_two_phase"],
            )
            assert {
                "phase": str(found.phase),
                "inactive": sorted(found.inactive),
                "declared_active": list(found.declared_active),
                "declared_inactive": list(found.declared_inactive),
                "action": action_record(found.action),
            } == {
                "phase": step["phase"],
                "inactive": sorted(step["inactive"]),
                **{name: step[name] for name in ("declared_active", "declared_inactive", "action")},
            }, (case["id"], number)


class Run:
    """One request in a simulated world, in the words of the vectors."""

    def __init__(self, case: dict[str, Any]) -> None:
        self.world = World(case["world"], case["free_mem_kib"], case["dt"])
        self.trace: list[list[Any]] = []

    def watch(self, seen: balloon.Host, found: balloon.Iteration) -> None:
        targets = found.action.targets if isinstance(found.action, balloon.Adjust) else ()
        self.trace.append([found.phase[0], seen.free_mem_kib, lists(targets)])

    def outcome(self, request: Callable[[], None]) -> dict[str, Any]:
        try:
            request()
        except CannotFreeError as error:
            return {"type": "cannot_free", "needed_kib": error.needed_kib, "free_kib": error.free_kib}
        except DomainsRefusedError as error:
            return {"type": "refused", "domids": list(error.domids)}
        except TimeoutInSimulationError:
            return {"type": "timeout"}
        except OverallocatedError:
            return {"type": "overallocated", "domid": self.world.overallocated}
        return {"type": "success"}

    def record(self, request: Callable[[], None]) -> dict[str, Any]:
        return {
            "outcome": self.outcome(request),
            "iterations": len(self.trace),
            "final_free_kib": self.world.free_mem_kib,
            "final": lists(self.world.domains),
            "trace": self.trace[:20],
        }


def test_simulations() -> None:
    for case in of_kind("simulation", 170):
        run = Run(case)

        def request(run: Run = run, case: dict[str, Any] = case) -> None:
            if case["mode"] == "balance":
                assert case["required_kib"] == balloon.SLUSH_FUND_KIB
                balloon.balance_memory(run.world, watch=run.watch)
            else:
                wanted = case["required_kib"]
                balloon.change_host_free_memory(run.world, wanted, lambda free: free >= wanted, watch=run.watch)

        answer = run.record(request)
        assert answer == {name: case[name] for name in answer}, case["id"]


def test_ranges() -> None:
    for case in of_kind("free_memory_range", 120):
        run = Run(case)
        granted: list[int] = []

        def request(run: Run = run, case: dict[str, Any] = case, granted: list[int] = granted) -> None:
            granted.append(balloon.free_memory_range(run.world, case["min_kib"], case["max_kib"], watch=run.watch))

        ideal = balloon.ideal_kib(run.world.snapshot(), case["min_kib"], case["max_kib"])
        answer = run.record(request) | {"ideal_kib": ideal, "amount_kib": granted[0] if granted else None}
        assert answer == {name: case[name] for name in answer}, case["id"]


def test_unbalanced() -> None:
    for case in of_kind("unbalanced", 100):
        assert (case["host_target_kib"], case["tolerance_kib"]) == (balloon.SLUSH_FUND_KIB, balloon.TOLERANCE_KIB)
        assert balloon.is_host_memory_unbalanced(host(case)) == case["unbalanced"], case["id"]
