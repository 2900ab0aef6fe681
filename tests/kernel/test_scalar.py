"""The njit scalars: equal to the reference, alone and inlined into a user's own loop, and exact by construction."""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import arrays
import numba
import numpy as np
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core.dispatcher import Dispatcher
from twins import reference

import xenmem.kernel
from xenmem.kernel import MODELS, DomainType, scalar

MODEL = MODELS["26.3"]


def rows(function: str) -> Iterator[tuple[Any, ...]]:
    columns = arrays.arguments(function, 31, 300)
    yield from zip(*(columns[name].tolist() for name in arrays.ARGUMENTS[function]), strict=True)


def wanted(function: str, row: tuple[Any, ...], model: str) -> Any:
    answer = getattr(reference, function)(reference.DOMAIN_TYPES[row[0]], *row[1:], model=model)
    return tuple(answer) if isinstance(answer, tuple) else answer


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("function", arrays.ARGUMENTS)
def test_compiled(function: str, model: str) -> None:
    formula = getattr(scalar, function)
    for row in rows(function):
        assert formula(MODELS[model], *row) == wanted(function, row, model), row


@pytest.mark.parametrize("function", arrays.ARGUMENTS)
def test_python(function: str) -> None:
    """``py_func`` is the same formula, as plain Python over Python numbers."""
    formula = getattr(scalar, function).py_func
    for row in rows(function):
        assert formula(MODEL, *row) == wanted(function, row, "26.3"), row


@pytest.mark.parametrize("function", arrays.ARGUMENTS)
@settings(max_examples=50)
@given(data=st.data())
def test_any_row(function: str, data: st.DataObject) -> None:
    row = tuple(data.draw(strategies.ARGUMENTS[name]) for name in arrays.ARGUMENTS[function])
    assert getattr(scalar, function)(MODEL, *row) == wanted(function, row, "26.3")


def test_mib_used() -> None:
    for amount in arrays.AMOUNTS:
        assert scalar.mib_used(amount) == reference.mib_used(amount)


@numba.njit
def first_host(static_max, vcpus_max, free, placed):  # type: ignore[no-untyped-def]
    """A scheduler of a user: each VM on the first host with room for it."""
    for vm in range(len(static_max)):
        normal, shadow = scalar.required_memory(
            MODEL, DomainType.HVM, static_max[vm], static_max[vm], vcpus_max[vm], 1.5
        )
        placed[vm] = -1
        for host in range(len(free)):
            if free[host] >= normal + shadow:
                free[host] -= static_max[vm] + scalar.overhead(
                    MODEL, DomainType.HVM, static_max[vm], vcpus_max[vm], 1.5
                )
                placed[vm] = host
                break
    return scalar.maximise_memory(MODEL, DomainType.HVM, 2, 1.5, free[0])


def test_in_a_loop_of_a_user() -> None:
    rng = np.random.default_rng(4)
    static_max, vcpus = rng.integers(0, 1 << 36, 200), rng.integers(1, 33, 200)
    free = rng.integers(1 << 37, 1 << 39, 8)
    left, placed = free.copy(), np.zeros(200, np.int64)
    largest = first_host(static_max, vcpus, left, placed)

    by_hand, where = free.tolist(), []
    for size, count in zip(static_max.tolist(), vcpus.tolist(), strict=True):
        needed = sum(reference.required_memory("hvm", size, size, count, 1.5))
        hosts = [host for host, amount in enumerate(by_hand) if amount >= needed]
        where.append(hosts[0] if hosts else -1)
        if hosts:
            by_hand[hosts[0]] -= size + reference.overhead("hvm", size, count, 1.5)
    assert placed.tolist() == where
    assert left.tolist() == by_hand
    assert set(where) > {-1, 0}
    assert largest == reference.maximise_memory("hvm", 2, 1.5, by_hand[0])


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64])
def test_elements_of_narrow_arrays(dtype: type) -> None:
    """What numba hands on from an array of a narrow type must not overflow in that type."""

    @numba.njit
    def total(vcpus_max):  # type: ignore[no-untyped-def]
        answer = 0
        for n in range(len(vcpus_max)):
            answer += scalar.overhead(MODEL, 0, 1 << 40, vcpus_max[n], 2.0)
        return answer

    vcpus = [1, 100, 32767]
    assert total(np.array(vcpus, dtype)) == sum(reference.overhead("hvm", 1 << 40, count, 2.0) for count in vcpus)


def jitted() -> Iterator[tuple[str, Dispatcher]]:
    for module in pkgutil.iter_modules(xenmem.kernel.__path__, "xenmem.kernel."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, Dispatcher):
                yield f"{module.name}.{name}", value


def test_arithmetic_is_exact_everywhere() -> None:
    """No function of the kernel may be compiled with fast-math: the shadow term is one rounded product, truncated."""
    found = dict(jitted())
    assert {f"xenmem.kernel.scalar.{name}" for name in arrays.ARGUMENTS} <= set(found)
    assert {f"xenmem.kernel._numba.{name}" for name in (*arrays.ARGUMENTS, "used_memory")} <= set(found)
    for name, function in found.items():
        assert not function.targetoptions.get("fastmath", False), name
        assert function.targetoptions.get("nogil") is True, name
