"""kernel.overhead against the reference: what VM.compute_memory_overhead answers."""

import arrays
import numpy as np
import pytest
import strategies
from engines import Engine
from hypothesis import given
from twins import reference
from twins.reference import MIB

from xenmem import kernel


@pytest.mark.parametrize("model", arrays.MODELS)
def test_adversarial(engine: Engine, model: str) -> None:
    engine.check("overhead", arrays.MODELS[model])


@given(columns=strategies.columns("overhead"), model=strategies.models)
def test_any_row_and_model(engine: Engine, columns: dict[str, np.ndarray], model: str | reference.Model) -> None:
    engine.check_rows("overhead", columns, model, "drawn")


def test_default_model(engine: Engine) -> None:
    columns = {"domain_type": 0, "static_max": 4096 * MIB, "vcpus_max": 7, "shadow_multiplier": 1.0}
    assert engine.ask("overhead", **columns) == engine.ask("overhead", **columns, model="26.3")
    assert engine.ask("overhead", **columns) != engine.ask("overhead", **columns, model="pre-26.3")


def test_domain_type_members(engine: Engine) -> None:
    members = list(kernel.DomainType)
    answer = engine.ask("overhead", members, 1024 * MIB, 1, 1.0)
    assert (answer // MIB).tolist() == [12, 11, 46, 12]
    assert [engine.ask("overhead", member, 1024 * MIB, 1, 1.0) // MIB for member in members] == [12, 11, 46, 12]


def test_shadow_is_one_rounded_product(engine: Engine) -> None:
    """Products that come out below, at and above a whole number: fused or extended arithmetic would tell them apart."""
    unscaled = np.arange(1, 2001)
    for denominator in (3, 7, 10, 49, 1000):
        multiplier = np.arange(1, 2001) / denominator
        columns = {
            "domain_type": np.zeros(2000, np.int64),
            "static_max": unscaled * 128 * MIB,
            "vcpus_max": np.zeros(2000, np.int64),
            "shadow_multiplier": np.minimum(multiplier, 1024.0),
        }
        engine.check_rows("overhead", columns, "26.3", f"n / {denominator}")
        inverse = {**columns, "shadow_multiplier": denominator / unscaled}
        engine.check_rows("overhead", inverse, "26.3", f"{denominator} / n")
