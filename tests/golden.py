"""The golden vectors of the planners, what the compiled code of xapi itself answered, and plain shapes to compare."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from xenmem.planning.xapi.binpack import Configuration, Plan

FOLDER = Path(__file__).parent / "data" / "golden"


def golden(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / name).read_text().splitlines()]


def pairs(left: Iterable[Any], right: Iterable[Any]) -> list[list[Any]]:
    """Two columns as the list of pairs that the vectors hold."""
    return [[a, b] for a, b in zip(list(left), list(right), strict=True)]


def plan_pairs(plan: Plan, vms: list[Any] | None = None, hosts: list[Any] | None = None) -> list[list[Any]]:
    """A plan as pairs: of rows, or of what the rows stand for."""
    return [
        [vm if vms is None else vms[vm], host if hosts is None else hosts[host]]
        for vm, host in zip(plan.vms.tolist(), plan.hosts.tolist(), strict=True)
    ]


def column(rows: list[list[Any]], place: int) -> list[Any]:
    return [row[place] for row in rows]


def configuration(case: dict[str, Any]) -> Configuration:
    return Configuration(
        column(case["hosts"], 0),
        column(case["hosts"], 1),
        column(case["vms"], 0),
        column(case["vms"], 1),
        column(case["placement"], 0),
        column(case["placement"], 1),
        case["total_hosts"],
        case["num_failures"],
    )
