"""kernel.maximise_memory against the reference, which bisects as xapi does."""

from functools import cache

import arrays
import numpy as np
import pytest
import strategies
from engines import Engine
from hypothesis import given
from twins import reference
from twins.reference import MIB


@pytest.mark.parametrize("model", arrays.MODELS)
def test_adversarial(engine: Engine, model: str) -> None:
    engine.check("maximise_memory", arrays.MODELS[model])


def test_approximate(engine: Engine) -> None:
    """64 vCPUs whatever the VM has."""
    engine.check("maximise_memory", only="length", approximate=True)
    engine.check("maximise_memory", only="vcpus_max", approximate=True)


@given(columns=strategies.columns("maximise_memory", max_size=8), model=strategies.models)
def test_any_row_and_model(engine: Engine, columns: dict[str, np.ndarray], model: str | reference.Model) -> None:
    engine.check_rows("maximise_memory", columns, model, "drawn")


@cache
def totals_at_the_edge_of_fitting(domain_type: int) -> tuple[arrays.Case, tuple[np.ndarray, ...]]:
    """The totals at which one more MiB starts to fit, and the bytes around them."""
    rows = []
    for vcpus, multiplier in ((1, 1.0), (3, 0.3), (64, 2.5), (1, 300.0)):
        for static_max in range(0, 300 * MIB, MIB):
            kind = reference.DOMAIN_TYPES[domain_type]
            needed = sum(reference.required_memory(kind, static_max, static_max, vcpus, multiplier))
            rows += [(vcpus, multiplier, total) for total in (needed - 1, needed, needed + 1)]
    vcpus_max, shadow_multiplier, total = zip(*rows, strict=True)
    given = {"domain_type": domain_type, "vcpus_max": vcpus_max, "shadow_multiplier": shadow_multiplier, "total": total}
    case = arrays.Case(domain_type, "edges of fitting", {name: np.array(value) for name, value in given.items()})
    return case, arrays.expected_rows("maximise_memory", case.arguments, "26.3", {})


@pytest.mark.parametrize("domain_type", range(4))
def test_every_total_near_the_edge_of_fitting(engine: Engine, domain_type: int) -> None:
    case, wanted = totals_at_the_edge_of_fitting(domain_type)
    arrays.assert_equal("maximise_memory", case, engine.ask("maximise_memory", **case.arguments), wanted, str(engine))


def test_answer_fits_and_one_more_mib_does_not(engine: Engine) -> None:
    rng = np.random.default_rng(5)
    domain_type, vcpus = rng.integers(0, 4, 20000), rng.integers(0, 129, 20000)
    multiplier = rng.uniform(0.0, 16.0, 20000)
    total = rng.integers(0, 1 << 50, 20000, endpoint=True) >> rng.integers(0, 32, 20000)
    answer = engine.ask("maximise_memory", domain_type, vcpus, multiplier, total)

    def required(static_max: np.ndarray) -> np.ndarray:
        normal, shadow = engine.ask("required_memory", domain_type, static_max, static_max, vcpus, multiplier)
        return np.asarray(normal + shadow)

    assert (answer % MIB == 0).all()
    assert ((required(answer) <= total) | (answer == 0)).all()
    assert (required(np.minimum(answer + MIB, 1 << 50)) > total).all()


def test_zero_when_nothing_fits(engine: Engine) -> None:
    assert engine.ask("maximise_memory", 0, 1, 1.0, 0) == 0
    assert engine.ask("maximise_memory", 2, 65535, 1024.0, 10 * MIB) == 0
