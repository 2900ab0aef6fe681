"""Host choice against the golden vectors: sums, values, the hosts asked about and the one chosen."""

from typing import Any

import numpy as np
from golden import golden

from xenmem.planning.xapi import placement

SUMS = {
    "memory_static_min_sum": "static_min_sum",
    "memory_dynamic_min_sum": "dynamic_min_sum",
    "memory_dynamic_max_sum": "dynamic_max_sum",
    "memory_static_max_sum": "static_max_sum",
    "memory_available_sum": "available",
}


def guests(rows: list[list[int]]) -> placement.Guests:
    return placement.Guests(*np.array(rows, np.int64).reshape(-1, 5).T)


def answer(case: dict[str, Any]) -> dict[str, Any]:
    hosts = case["hosts"]
    ids = [host["id"] for host in hosts]
    there = [(place, guest) for place, host in enumerate(hosts) for guest in host["resident"] + host["scheduled"]]
    summary = placement.summarise(
        [host["memory_total"] for host in hosts],
        [host["memory_overhead"] for host in hosts],
        guests([guest for _, guest in there]),
        [place for place, _ in there],
        guests(case["extra_guests"]),
    )
    coordinator = [place for place, host in enumerate(hosts) if host["is_coordinator"]]
    values = placement.category_values(
        summary,
        [ids.index(host) for host in case["affinity"] if host in ids],
        coordinator if case["coordinator_bias"] else [],
    )
    validated = []

    def is_valid(host: int) -> bool:
        validated.append(ids[host])
        return ids[host] not in case["invalid_hosts"]

    chosen = placement.select_host(values, is_valid, lambda: float(case["random_value"]))
    return {
        "summary": [
            {
                "id": ids[place],
                "is_coordinator": hosts[place]["is_coordinator"],
                **{name: int(getattr(summary, column)[place]) for name, column in SUMS.items()},
            }
            for place in range(len(hosts))
        ],
        "category_values": np.array(values).T.tolist(),
        "validated": validated,
        "chosen": None if chosen is None else ids[chosen],
    }


def test_choice() -> None:
    cases = golden("placement.jsonl")
    assert len(cases) == 600
    for case in cases:
        given = answer(case)
        assert given == {name: case[name] for name in given}, case["id"]
