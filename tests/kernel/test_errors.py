"""What bad arguments get: an error that names the argument, the first offending index and the value."""

import re
from typing import Any

import arrays
import numpy as np
import pytest
from engines import Engine

from xenmem import kernel

BELOW_ZERO = (-1, -(1 << 31), -(1 << 32), np.iinfo(np.int64).min)
BAD: dict[str, tuple[Any, ...]] = {
    "domain_type": (*BELOW_ZERO, 4, 127, 128, 255, 256, 1 << 32),
    "vcpus_max": (*BELOW_ZERO, arrays.MAX_VCPUS + 1, 1 << 31, 1 << 32, np.iinfo(np.int64).max),
    "shadow_multiplier": (-5e-324, -1.0, float(np.nextafter(1024.0, 2000.0)), 1e308, np.nan, np.inf, -np.inf),
    **dict.fromkeys(arrays.AMOUNT_ARGUMENTS, (*BELOW_ZERO, arrays.MAX_BYTES + 1, np.iinfo(np.int64).max)),
}
PARAMETERS = [(function, name) for function, names in arrays.ARGUMENTS.items() for name in names]


def plain(function: str, count: int) -> dict[str, Any]:
    """Arguments without fault, in the very dtypes that the kernels take, so that only the kernels check them."""
    dtypes = {"domain_type": np.uint8, "vcpus_max": np.int32, "shadow_multiplier": np.float64}
    given = arrays.arguments(function, 1, count)
    return {name: column.astype(dtypes.get(name, np.int64)) for name, column in given.items()}


def complaint(name: str, value: Any, where: str) -> str:
    return f"^{name}: {re.escape(str(value))}{re.escape(where)} is outside 0\\.\\.[0-9]+$"


@pytest.mark.parametrize(("function", "name"), PARAMETERS)
def test_out_of_range(engine: Engine, function: str, name: str) -> None:
    for value in BAD[name]:
        given = plain(function, 5)
        given[name] = arrays.natural(name, given[name])
        given[name][3] = value
        with pytest.raises(ValueError, match=complaint(name, value, " at index 3")):
            engine.ask(function, **given)


@pytest.mark.parametrize(("function", "name"), PARAMETERS)
def test_out_of_range_at_every_place(engine: Engine, function: str, name: str) -> None:
    """In each lane of a vector and in the rest of a loop; no element before or after it is blamed."""
    value = {"domain_type": 4, "vcpus_max": 65536, "shadow_multiplier": np.nan}.get(name, arrays.MAX_BYTES + 1)
    for count in (1, 2, 7, 8, 9, 17, 33):
        for place in range(count):
            given = plain(function, count)
            given[name][place] = value
            with pytest.raises(ValueError, match=complaint(name, value, f" at index {place}")):
                engine.ask(function, **given)


@pytest.mark.parametrize(("function", "name"), PARAMETERS)
def test_out_of_range_twice(engine: Engine, function: str, name: str, threads: None) -> None:
    """The first of several, also when different threads meet them."""
    count = 270_000
    kernel.set_threads(2)
    given = {key: np.resize(column, count) for key, column in plain(function, 100).items()}
    for place in (269_999, 200_000, 134_001, 5):
        given[name][place] = {"domain_type": 9, "vcpus_max": -7, "shadow_multiplier": -7.0}.get(name, -7)
        value = given[name][place].item()
        with pytest.raises(ValueError, match=complaint(name, value, f" at index {place}")):
            engine.ask(function, **given)


def test_two_arguments_out_of_range(engine: Engine) -> None:
    """Of arrays that need no conversion the smaller index counts; at the same index, the first argument."""
    given = {
        "domain_type": np.array([0, 0, 9], np.uint8),
        "static_max": np.array([1 << 30, -1, 1]),
        "vcpus_max": np.array([1, -2, 1], np.int32),
        "shadow_multiplier": np.ones(3),
    }
    with pytest.raises(ValueError, match=r"^static_max: -1 at index 1 "):
        engine.ask("overhead", **given)
    given["static_max"][1] = 1
    with pytest.raises(ValueError, match=r"^vcpus_max: -2 at index 1 "):
        engine.ask("overhead", **given)


@pytest.mark.parametrize(("function", "name"), PARAMETERS)
def test_out_of_range_scalar(engine: Engine, function: str, name: str) -> None:
    """A scalar has no index, whatever the shape of the others."""
    value = BAD[name][0]
    scalars = {key: column[0].item() for key, column in plain(function, 1).items()}
    for others in (scalars, plain(function, 4)):
        for scalar in (value, arrays.natural(name, value)):
            with pytest.raises(ValueError, match=complaint(name, value, "")):
                engine.ask(function, **{**others, name: scalar})


@pytest.mark.parametrize(("function", "name"), PARAMETERS)
def test_out_of_range_in_a_table(engine: Engine, function: str, name: str) -> None:
    value = BAD[name][0]
    given = {key: np.array(column).reshape(2, 3) for key, column in plain(function, 6).items()}
    given[name] = arrays.natural(name, given[name])
    given[name][1, 2] = value
    with pytest.raises(ValueError, match=complaint(name, value, " at index (1, 2)")):
        engine.ask(function, **given)


@pytest.mark.parametrize(("function", "name"), [pair for pair in PARAMETERS if pair[1] != "shadow_multiplier"])
@pytest.mark.parametrize("value", [1 << 63, (1 << 64) - 1, 1 << 64, -(1 << 63) - 1, 1 << 100])
def test_beyond_64_bits(function: str, name: str, value: int) -> None:
    given = plain(function, 2)
    with pytest.raises(ValueError, match=complaint(name, value, "")):
        getattr(kernel, function)(**{**given, name: value})
    with pytest.raises(ValueError, match=complaint(name, value, " at index 1")):
        getattr(kernel, function)(**{**given, name: [1, value]})


@pytest.mark.parametrize(("function", "name"), PARAMETERS)
def test_not_numbers(function: str, name: str) -> None:
    """Integers are not read out of floats, nor numbers out of anything else."""
    wrong: list[Any] = [[None, None], [1j, 2j], np.zeros(2, "M8[s]"), np.zeros(2, "m8[s]"), [b"1", b"2"]]
    wrong.append(np.zeros(2, [("field", int)]))
    if name != "domain_type":  # which has names
        wrong.append(["a", "b"])
    if name != "shadow_multiplier":
        wrong += [[1.0, 2.0], np.zeros(2, np.float32), np.array([1.5, np.nan]), 1.0]
    for value in wrong:
        with pytest.raises(TypeError, match=f"^{name}: "):
            getattr(kernel, function)(**{**plain(function, 2), name: value})


@pytest.mark.parametrize(("function", "name"), PARAMETERS)
def test_ragged_list(function: str, name: str) -> None:
    with pytest.raises((TypeError, ValueError)):
        getattr(kernel, function)(**{**plain(function, 2), name: [[1, 2], [3]]})


@pytest.mark.parametrize(("function", "name"), PARAMETERS)
def test_unequal_lengths(function: str, name: str) -> None:
    given = {**plain(function, 5), name: plain(function, 4)[name]}
    with pytest.raises(ValueError, match=rf"{name} \(4,\)"):
        getattr(kernel, function)(**given)


@pytest.mark.parametrize("function", arrays.ARGUMENTS)
def test_unknown_names(function: str) -> None:
    given = plain(function, 2)
    with pytest.raises(ValueError, match=r"^model: '26\.2' .*26\.3, pre-26\.3"):
        getattr(kernel, function)(**given, model="26.2")
    with pytest.raises(ValueError, match=f"^backend: 'cuda' .*{', '.join(kernel.backends())}"):
        getattr(kernel, function)(**given, backend="cuda")


def test_unknown_backend_of_free_memory() -> None:
    with pytest.raises(ValueError, match=r"^backend: 'cuda' "):
        kernel.free_memory([1], [1], [1], [0], [-1], backend="cuda")


BAD_CONSTANTS: list[tuple[str, Any]] = [
    ("vcpu_shadow_pages", -1),
    ("vcpu_shadow_pages", 65537),
    ("xen_pages_per_vcpu", 1 << 63),
    ("extra_internal_mib", (1, 0, -1, 1)),
    ("shim_base_mib", (0, 0, 65537, 0)),
    ("shim_divisor", (0, 0, -90, 0)),
]


@pytest.mark.parametrize(("constant", "value"), BAD_CONSTANTS)
def test_model_out_of_range(engine: Engine, constant: str, value: Any) -> None:
    model = kernel.MODELS["26.3"]._replace(**{constant: value})
    offending = value if isinstance(value, int) else next(v for v in value if not 0 <= v <= 65536)
    with pytest.raises(ValueError, match=f"^model: {constant} {offending} is outside 0"):
        engine.ask("overhead", 0, 1 << 30, 1, 1.0, model=model)


@pytest.mark.parametrize("constant", ["required_at_unit_multiplier", "has_shadow"])
def test_model_flags(engine: Engine, constant: str) -> None:
    model = kernel.MODELS["26.3"]._replace(**{constant: (0, 1, 2, 1)})
    with pytest.raises(ValueError, match=f"^model: {constant} .* others than 0 and 1"):
        engine.ask("overhead", 0, 1 << 30, 1, 1.0, model=model)


@pytest.mark.parametrize("constant", ["xen_pages_per_vcpu", "min_shadow_mib"])
def test_model_of_floats(engine: Engine, constant: str) -> None:
    """Constants are integers: a fraction would be truncated by one backend and not by the other."""
    model = kernel.MODELS["26.3"]._replace(**{constant: 38.5})
    with pytest.raises((TypeError, ValueError), match=constant):
        engine.ask("overhead", 0, 1 << 30, 1, 1.0, model=model)


@pytest.mark.parametrize("count", [0, -1])
def test_threads_out_of_range(count: int) -> None:
    before = kernel.threads()
    with pytest.raises(ValueError, match=f"{count}"):
        kernel.set_threads(count)
    assert kernel.threads() == before


def test_simd_level_unknown() -> None:
    before = kernel.simd()
    with pytest.raises(ValueError, match=f"'sse9'.*{', '.join(kernel.simd_levels())}"):
        kernel.set_simd("sse9")
    assert kernel.simd() == before


def test_a_failed_call_leaves_the_next_alone(engine: Engine) -> None:
    with pytest.raises(ValueError, match="static_max"):
        engine.ask("overhead", 0, [1, -1], 1, 1.0)
    assert engine.ask("overhead", 0, 1 << 30, 1, 1.0) == 12 << 20
