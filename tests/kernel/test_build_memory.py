"""kernel.build_memory against the reference: the quantities of a domain build."""

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
    engine.check("build_memory", arrays.MODELS[model])


@given(columns=strategies.columns("build_memory"), model=strategies.models)
def test_any_row_and_model(engine: Engine, columns: dict[str, np.ndarray], model: str | reference.Model) -> None:
    engine.check_rows("build_memory", columns, model, "drawn")


def test_video_beyond_the_guest(engine: Engine) -> None:
    """Video RAM larger than the guest gives negative amounts, as in xapi, and is no error."""
    build_max, build_start, xen_max, claim_pages = engine.ask("build_memory", 0, 10 * MIB, 4 * MIB, 16 * MIB)
    assert (build_max, build_start, xen_max, claim_pages) == (-6 * MIB, -12 * MIB, 11 * MIB, -12 * 256)
