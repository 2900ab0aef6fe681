"""What a call does to its surroundings: nothing. Inputs stay as they were, results are new unless ``out`` is given."""

import gc
import resource
import sys
from typing import Any

import arrays
import numpy as np
import pytest
from engines import Engine

FUNCTIONS: dict[str, dict[str, Any]] = {
    **{function: arrays.arguments(function, 9, 50) for function in arrays.ARGUMENTS},
    "free_memory": {
        "available": np.arange(5) << 40,
        "memory": np.arange(50) << 30,
        "overhead": np.arange(50) << 20,
        "resident_on": np.arange(50) % 6 - 1,
        "scheduled_on": np.full(50, -1),
    },
}


def native(function: str) -> dict[str, Any]:
    """The same in the dtypes that the kernels take: nothing has to be converted, so the kernels see these arrays."""
    dtypes = {"domain_type": np.uint8, **dict.fromkeys(("vcpus_max", "resident_on", "scheduled_on"), np.int32)}
    return {name: value.astype(dtypes.get(name, value.dtype)) for name, value in FUNCTIONS[function].items()}


def outputs(answer: Any) -> tuple[Any, ...]:
    return answer if isinstance(answer, tuple) else (answer,)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_inputs_stay_unchanged(engine: Engine, function: str) -> None:
    for given in (native(function), FUNCTIONS[function]):
        before = {
            name: (value.copy(), value.dtype, value.strides, value.flags.writeable) for name, value in given.items()
        }
        engine.ask(function, **given)
        for name, value in given.items():
            copied, dtype, strides, writeable = before[name]
            assert np.array_equal(value, copied), name
            assert (value.dtype, value.strides, value.flags.writeable) == (dtype, strides, writeable), name


@pytest.mark.parametrize("function", FUNCTIONS)
def test_results_are_new(engine: Engine, function: str) -> None:
    given = native(function)
    first, second = outputs(engine.ask(function, **given)), outputs(engine.ask(function, **given))
    everything = [*first, *second]
    for k, result in enumerate(everything):
        assert type(result) is np.ndarray
        assert result.dtype == np.int64
        assert result.dtype.isnative
        assert result.flags.c_contiguous
        assert result.flags.writeable
        others = everything[:k] + everything[k + 1 :] + list(given.values())
        assert not any(np.shares_memory(result, other) for other in others)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_lists_and_tuples(engine: Engine, function: str) -> None:
    given = FUNCTIONS[function]
    wanted = outputs(engine.ask(function, **given))
    for listed in (list, tuple):
        answer = outputs(engine.ask(function, **{name: listed(value.tolist()) for name, value in given.items()}))
        assert all(map(np.array_equal, answer, wanted))


@pytest.mark.parametrize("function", arrays.ARGUMENTS)
def test_scalars_give_a_0d_array(engine: Engine, function: str) -> None:
    for name, value in FUNCTIONS[function].items():
        assert value.shape == (50,), name
    answer = engine.ask(function, **{name: value[3].item() for name, value in FUNCTIONS[function].items()})
    for result in outputs(answer):
        assert type(result) is np.ndarray
        assert result.shape == ()
        assert result.dtype == np.int64


def test_out_is_filled_and_returned(engine: Engine) -> None:
    given = native("overhead")
    wanted = engine.ask("overhead", **given)
    for shape in ((50,), (5, 10)):
        shaped = {name: value.reshape(shape) for name, value in given.items()}
        for out in (
            np.full(shape, -1),
            np.asfortranarray(np.full(shape, -1)),
            np.full((*shape[:-1], shape[-1] * 2), -1)[..., ::2],
            np.full(shape, -1)[::-1],
            np.full(shape, -1, ">i8"),
            np.zeros(50 * 8 + 1, np.uint8)[1:].view(np.int64).reshape(shape),
        ):
            assert engine.ask("overhead", **shaped, out=out) is out
            assert np.array_equal(out, wanted.reshape(shape))


def test_out_beside_what_it_does_not_own(engine: Engine) -> None:
    """Elements of the array that ``out`` is a view of stay as they were."""
    given = native("overhead")
    memory = np.full(104, -1)
    engine.ask("overhead", **given, out=memory[2:102:2])
    assert (memory[3:102:2] == -1).all()
    assert (memory[[0, 1, 102, 103]] == -1).all()
    memory = np.full(60, -1)
    engine.ask("overhead", **given, out=memory[5:55])
    assert (memory[:5] == -1).all()
    assert (memory[55:] == -1).all()


@pytest.mark.parametrize("shift", [0, 1, 2, 8, 9, -1, -3])
def test_out_may_share_memory_with_an_argument(engine: Engine, shift: int) -> None:
    count = 40
    given = {name: value[:count] for name, value in native("overhead").items()}
    memory = np.zeros(count + 20, np.int64)
    static_max, out = memory[10 : 10 + count], memory[10 + shift : 10 + shift + count]
    static_max[:] = given["static_max"]
    wanted = engine.ask("overhead", **given)
    assert engine.ask("overhead", **{**given, "static_max": static_max}, out=out) is out
    assert np.array_equal(out, wanted)


def test_out_may_share_memory_with_another_argument(engine: Engine) -> None:
    given = native("overhead")
    wanted = engine.ask("overhead", **given)
    out = given["shadow_multiplier"].view(np.int64)
    assert np.array_equal(engine.ask("overhead", **given, out=out), wanted)


def test_out_of_no_use(engine: Engine) -> None:
    given = native("overhead")
    for wrong in (np.zeros(50), np.zeros(50, np.int32), np.zeros(50, np.uint64), [0] * 50, np.zeros(50, object)):
        with pytest.raises(TypeError, match=r"^out: "):
            engine.ask("overhead", **given, out=wrong)
    for shape in ((49,), (51,), (1, 50), (50, 1), ()):
        with pytest.raises(ValueError, match=r"^out: shape"):
            engine.ask("overhead", **given, out=np.zeros(shape, np.int64))
    with pytest.raises(ValueError, match=r"^out: .*read-only"):
        engine.ask("overhead", **given, out=arrays.read_only(np.zeros(50, np.int64)))
    with pytest.raises(ValueError, match=r"^out: "):
        engine.ask("overhead", **given, out=np.broadcast_to(np.zeros(1, np.int64), 50))
    memory = np.zeros(99, np.int64)
    with pytest.raises(ValueError, match=r"^out: two of the arrays share memory"):
        engine.ask("required_memory", **native("required_memory"), out=(memory[:50], memory[49:]))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_references_do_not_leak(engine: Engine, function: str) -> None:
    given = native(function)
    bad = {name: value.copy() for name, value in given.items()}
    for value in bad.values():
        if value.dtype == np.int64:
            value[-1] = np.iinfo(np.int64).min
    engine.ask(function, **given)
    before = [sys.getrefcount(value) for value in (*given.values(), *bad.values())]
    for _ in range(100):
        engine.ask(function, **given)
        with pytest.raises(ValueError, match="is outside"):
            engine.ask(function, **bad)
    gc.collect()
    assert [sys.getrefcount(value) for value in (*given.values(), *bad.values())] == before


@pytest.mark.parametrize("function", arrays.ARGUMENTS)
def test_memory_does_not_grow(engine: Engine, function: str) -> None:
    """A hundred results of half a MiB each; were one kept, or an argument's copy, 50 MiB would be missing."""
    given = {name: np.resize(value, 65536)[::-1] for name, value in FUNCTIONS[function].items()}
    for _ in range(3):
        engine.ask(function, **given)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(100):
        engine.ask(function, **given)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024
