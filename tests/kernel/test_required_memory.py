"""kernel.required_memory against the reference: what a VM needs to start, resume or arrive."""

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
    engine.check("required_memory", arrays.MODELS[model])


@given(columns=strategies.columns("required_memory"), model=strategies.models)
def test_any_row_and_model(engine: Engine, columns: dict[str, np.ndarray], model: str | reference.Model) -> None:
    engine.check_rows("required_memory", columns, model, "drawn")


def test_pv_ignores_its_multiplier(engine: Engine) -> None:
    """A PV guest is admitted with multiplier 1.0 and then counted with its own (64 GiB, 4 vCPUs, multiplier 4)."""
    static_max = 65536 * MIB
    normal, shadow = engine.ask("required_memory", 1, static_max, static_max, 4, 4.0)
    assert normal + shadow == 69_262_639_104
    assert static_max + engine.ask("overhead", 1, static_max, 4, 4.0) == 70_885_834_752


def test_sum_is_target_and_overhead(engine: Engine) -> None:
    """For all types but PV the requirement is the rounded target and the overhead."""
    normal, shadow = engine.ask("required_memory", [0, 2, 3], 4096 * MIB, 1000 * MIB + 1, 3, 1.7)
    overhead = engine.ask("overhead", [0, 2, 3], 4096 * MIB, 3, 1.7)
    assert (normal + shadow).tolist() == (overhead + 1001 * MIB).tolist()
