"""VMs given as Python numbers: the answers, and the errors, of the same numbers in arrays."""

from typing import Any

import arrays
import numpy as np
import pytest
from engines import Engine

from xenmem import kernel

LIMITS = {"domain_type": 3, "vcpus_max": arrays.MAX_VCPUS, "shadow_multiplier": 1024.0}


def outputs(answer: Any) -> tuple[Any, ...]:
    return answer if isinstance(answer, tuple) else (answer,)


@pytest.mark.parametrize("function", arrays.ARGUMENTS)
@pytest.mark.parametrize("model", kernel.MODELS)
def test_answers(engine: Engine, function: str, model: str) -> None:
    given = arrays.arguments(function, 4, 200)
    wanted = outputs(engine.ask(function, **given, model=model))
    for row in range(200):
        numbers = {name: column[row].item() for name, column in given.items()}
        answers = outputs(engine.ask(function, **numbers, model=model))
        assert [answer[()] for answer in answers] == [column[row] for column in wanted]


@pytest.mark.parametrize("function", arrays.ARGUMENTS)
def test_kinds_of_numbers(engine: Engine, function: str) -> None:
    """A member of DomainType counts as its value, a whole multiplier as that float; NumPy's scalars as themselves."""
    given: dict[str, Any] = dict.fromkeys(arrays.ARGUMENTS[function], 1 << 30)
    given |= {name: 2 for name in ("domain_type", "vcpus_max", "shadow_multiplier") if name in given}
    wanted = outputs(engine.ask(function, **{name: np.array([value]) for name, value in given.items()}))
    kinds: dict[str, tuple[Any, ...]] = {"shadow_multiplier": (2, 2.0, np.float32(2), np.int8(2))}
    kinds["domain_type"] = (kernel.DomainType.PV_IN_PVH, np.uint8(2), np.array(2))
    for name, value in given.items():
        for kind in kinds.get(name, (value, np.int64(value), np.array(value))):
            answers = outputs(engine.ask(function, **{**given, name: kind}))
            assert all(
                answer.shape == () and answer == column[0] for answer, column in zip(answers, wanted, strict=True)
            )


@pytest.mark.parametrize("function", arrays.ARGUMENTS)
def test_ends_of_the_domain(engine: Engine, function: str) -> None:
    for end in (0, 1):
        numbers = {name: end * LIMITS.get(name, arrays.MAX_BYTES) for name in arrays.ARGUMENTS[function]}
        answers = outputs(engine.ask(function, **numbers))
        wanted = outputs(engine.ask(function, **{name: np.array([value]) for name, value in numbers.items()}))
        assert [answer[()] for answer in answers] == [column[0] for column in wanted]


@pytest.mark.parametrize("function", arrays.ARGUMENTS)
def test_one_bad_number(engine: Engine, function: str) -> None:
    """The same words whether the argument's C type could hold the number or not."""
    for name in arrays.ARGUMENTS[function]:
        for bad in (-1, 1 << 50 | 1, 1 << 63, 1 << 100, -(1 << 100)):
            with pytest.raises(ValueError, match=rf"^{name}: {bad} is outside"):
                engine.ask(function, **{**dict.fromkeys(arrays.ARGUMENTS[function], 1), name: bad})


@pytest.mark.parametrize("value", [True, 1.0, "1", None, 1j])
def test_no_integers(engine: Engine, value: Any) -> None:
    for name in ("static_max", "vcpus_max") if isinstance(value, str) else ("domain_type", "static_max", "vcpus_max"):
        given = {"domain_type": 0, "static_max": 1 << 30, "vcpus_max": 1, "shadow_multiplier": 1.0, name: value}
        with pytest.raises(TypeError, match=f"^{name}: integers are needed"):
            engine.ask("overhead", **given)


@pytest.mark.parametrize("function", arrays.ARGUMENTS)
def test_domain_types_by_name(engine: Engine, function: str) -> None:
    names = ["hvm", "pv", "pv_in_pvh", "pvh"]
    others = dict.fromkeys(arrays.ARGUMENTS[function], 3 << 20) | {"vcpus_max": 2, "shadow_multiplier": 1.5}
    given = {name: others[name] for name in arrays.ARGUMENTS[function]}
    by_number = engine.ask(function, **given | {"domain_type": [0, 1, 2, 3]})
    assert np.array_equal(engine.ask(function, **given | {"domain_type": names}), by_number)
    assert np.array_equal(engine.ask(function, **given | {"domain_type": "pv"}), np.asarray(by_number)[..., 1])
    for bad, where in (("HVM", ""), (["hvm", "hwm"], " at index 1")):
        name = bad if isinstance(bad, str) else bad[1]
        with pytest.raises(ValueError, match=f"^domain_type: '{name}'{where} is none of hvm, pv, pv_in_pvh, pvh$"):
            engine.ask(function, **given | {"domain_type": bad})
    with pytest.raises(
        ValueError, match="^vcpus_max: -1 is outside" if "vcpus_max" in given else "^target: -1 is outside"
    ):
        engine.ask(function, **given | {"domain_type": "hvm", "vcpus_max" if "vcpus_max" in given else "target": -1})
