"""The array API against the golden vectors: what the compiled code of xapi itself answered."""

from typing import Any

import numpy as np
import pytest
from engines import Engine
from golden import golden
from twins import reference
from twins.reference import MIB

from xenmem import kernel
from xenmem.kernel import checks

MEMORY = golden("memory.jsonl")
HOST_FREE = golden("host_free.jsonl")


class Vectors:
    """The cases of one model as columns."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.cases = [case for case in MEMORY if case["model"] == model]
        assert len(self.cases) == 1000
        self.domain_type = [kernel.DomainType[case["domain_type"].upper()] for case in self.cases]
        self.static_max = self["memory_static_max"]
        self.vcpus_max = self["vcpus_max"]
        self.shadow_multiplier = self["shadow_multiplier"]

    def __getitem__(self, name: str) -> list[Any]:
        return [case[name] for case in self.cases]


@pytest.fixture(params=["26.3", "pre-26.3"], scope="module")
def vectors(request: pytest.FixtureRequest) -> Vectors:
    return Vectors(request.param)


def test_overhead(engine: Engine, vectors: Vectors) -> None:
    answer = engine.ask(
        "overhead",
        vectors.domain_type,
        vectors.static_max,
        vectors.vcpus_max,
        vectors.shadow_multiplier,
        model=vectors.model,
    )
    assert answer.tolist() == vectors["overhead"]


@pytest.mark.parametrize("policy", reference.POLICIES)
def test_required_memory(engine: Engine, vectors: Vectors, policy: str) -> None:
    normal, shadow = engine.ask(
        "required_memory",
        vectors.domain_type,
        vectors.static_max,
        vectors[f"memory_{policy}"],
        vectors.vcpus_max,
        vectors.shadow_multiplier,
        model=vectors.model,
    )
    assert np.stack([normal, shadow], axis=1).tolist() == vectors[f"start_{policy}"]


@pytest.mark.parametrize(("approximate", "name"), [(False, "maximise_exact"), (True, "maximise_approximate")])
def test_maximise(engine: Engine, vectors: Vectors, approximate: bool, name: str) -> None:
    answer = engine.ask(
        "maximise_memory",
        vectors.domain_type,
        vectors.vcpus_max,
        vectors.shadow_multiplier,
        vectors["total"],
        approximate=approximate,
        model=vectors.model,
    )
    assert answer.tolist() == vectors[name]


def test_build_memory(engine: Engine, vectors: Vectors) -> None:
    build = vectors["build"]
    build_max, build_start, xen_max, claim_pages = engine.ask(
        "build_memory",
        vectors.domain_type,
        vectors.static_max,
        vectors["memory_dynamic_min"],
        [expected["video_mib"] * MIB for expected in build],
        model=vectors.model,
    )
    assert (build_max // MIB).tolist() == [expected["build_max_mib"] for expected in build]
    assert (build_start // MIB).tolist() == [expected["build_start_mib"] for expected in build]
    assert (xen_max // MIB).tolist() == [expected["xen_max_mib"] for expected in build]
    known = [k for k, expected in enumerate(build) if expected["build_claim_pages"] is not None]
    assert len(known) == (1000 if vectors.model == "26.3" else 0)
    assert claim_pages[known].tolist() == [build[k]["build_claim_pages"] for k in known]


@pytest.mark.parametrize("policy", reference.POLICIES)
def test_free_memory(engine: Engine, policy: str) -> None:
    rows = {"h": 0, "other": 1, None: -1}
    for case in HOST_FREE:
        vms = case["vms"]
        resident_on = [rows[vm["resident_on"]] for vm in vms]
        scheduled_on = [rows[vm["scheduled_to_be_resident_on"]] for vm in vms]
        available = [case["memory_total"] - case["memory_overhead"], 0]
        memory = [vm[f"memory_{policy}"] for vm in vms]
        overhead = [vm["memory_overhead"] for vm in vms]
        free = engine.ask("free_memory", available, memory, overhead, resident_on, scheduled_on)
        assert free[0] == case[f"free_{policy}"], case
        if policy == "dynamic_min":
            others = [-1 if vm["ref"] == "cand" else row for vm, row in zip(vms, scheduled_on, strict=True)]
            free = engine.ask("free_memory", available, memory, overhead, resident_on, others)
            assert free[0] == case["free_maximum_compression_ignoring_cand"], case


def test_limits() -> None:
    """Which memory limits may be stored together, ballooning or not."""
    cases = golden("constraints.jsonl")
    assert len(cases) == 1500
    names = ("static_min", "static_max", "dynamic_min", "dynamic_max")
    limits = [[case["constraints"][name] for case in cases] for name in names]
    assert checks.limits_valid(*limits).tolist() == [case["are_valid"] for case in cases]
    pinned = [case["are_valid_and_pinned_at_static_max"] for case in cases]
    assert checks.limits_valid(*limits, pinned=True).tolist() == pinned
