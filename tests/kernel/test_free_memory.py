"""kernel.free_memory against the reference: what the VMs leave of each host."""

from collections.abc import Callable
from typing import Any

import arrays
import numpy as np
import pytest
from engines import Engine
from hypothesis import given
from hypothesis import strategies as st
from twins import reference

from xenmem import kernel

NAMES = ("available", "memory", "overhead", "resident_on", "scheduled_on")


def check(engine: Engine, label: str, *given: Any) -> None:
    """One case; its arguments may be anything that broadcasts to the VMs."""
    arguments = dict(zip(NAMES, given, strict=True))
    vms = np.broadcast_shapes(*(np.shape(value) for value in given[1:]))
    spread = [np.broadcast_to(value, vms).tolist() for value in given[1:]]
    wanted = np.array(reference.free_memory(np.asarray(given[0]).tolist(), *spread), np.int64)
    answer = engine.ask("free_memory", *given)
    complaint = f"{engine}, {label}: {arguments}\n{answer!r} instead of {wanted!r}"
    assert isinstance(answer, np.ndarray), complaint
    assert answer.dtype == np.int64, complaint
    assert answer.shape == wanted.shape, complaint
    assert np.array_equal(answer, wanted), complaint


def draw(seed: int, hosts: int, vms: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [
        rng.integers(-(1 << 30), 1 << 42, hosts),
        arrays.draw(rng, "target", vms) >> 12,
        rng.integers(0, 1 << 30, vms),
        rng.integers(-1, hosts, vms),
        np.where(rng.random(vms) < 0.8, -1, rng.integers(-1, hosts, vms)),
    ]


@pytest.mark.parametrize("hosts", [0, 1, 2, 3, 64, 1000])
def test_lengths(engine: Engine, hosts: int) -> None:
    for vms in arrays.LENGTHS:
        if vms <= 100 or hosts <= 3:
            check(engine, f"{hosts} hosts, {vms} VMs", *draw(vms, hosts, vms))


@pytest.mark.parametrize("layout", arrays.LAYOUTS)
def test_layouts(engine: Engine, layout: Callable[[np.ndarray], Any]) -> None:
    plain = draw(7, 5, 33)
    check(engine, f"all {layout.__name__}", *map(layout, plain))
    for k in range(len(plain)):
        check(engine, f"{NAMES[k]} {layout.__name__}", *plain[:k], layout(plain[k]), *plain[k + 1 :])


@pytest.mark.parametrize("dtype", arrays.INTEGERS)
def test_dtypes(engine: Engine, dtype: np.dtype[Any]) -> None:
    rng = np.random.default_rng(3)
    rows = rng.integers(0 if dtype.kind == "u" else -1, 5, (2, 20)).astype(dtype)
    amounts = rng.integers(0, 100, (2, 20)).astype(dtype)
    check(engine, str(dtype), np.arange(5, dtype=dtype) * 25, *amounts, *rows)


def test_scalars_broadcast(engine: Engine) -> None:
    memory = [5, 6, 7]
    check(engine, "overhead and reservations are scalars", [100, 100], memory, 1, [0, 1, 1], -1)
    check(engine, "all VMs on one host", [100, 100], memory, 1, 0, -1)


def test_resident_and_scheduled_counts_twice(engine: Engine) -> None:
    assert engine.ask("free_memory", [100], [10], [1], [0], [0]).tolist() == [78]


def test_migrating_counts_on_both(engine: Engine) -> None:
    assert engine.ask("free_memory", [100, 100, 100], [10], [1], [0], [2]).tolist() == [89, 100, 89]


def test_never_below_zero(engine: Engine) -> None:
    assert engine.ask("free_memory", [10, 11, 12, -5], [11] * 3, [0] * 3, [0, 1, 2], [-1] * 3).tolist() == [0, 0, 1, 0]


def test_sums_beyond_64_bits(engine: Engine, threads: None) -> None:
    """Enough of the largest VMs on one host to overflow int64 sixteen times over."""
    vms = 1 << 17
    everything = np.full(vms, arrays.MAX_BYTES)
    for count in (1, 3):
        kernel.set_threads(count)
        free = engine.ask("free_memory", [arrays.MAX_BYTES, 7], everything, everything, np.zeros(vms, int), [-1] * vms)
        assert free.tolist() == [0, 7]


@pytest.mark.parametrize("scheduled", [False, True])
def test_sums_that_would_wrap_around(engine: Engine, scheduled: bool) -> None:
    """2**14 VMs of 2**50 bytes make 2**64, which is 0 in 64 bits."""
    rows, nowhere = np.zeros(1 << 14, np.int32), np.full(1 << 14, -1, np.int32)
    placed = (nowhere, rows) if scheduled else (rows, nowhere)
    assert engine.ask("free_memory", [1 << 40], 1 << 50, 0, *placed).tolist() == [0]


def test_sum_that_just_fits(engine: Engine) -> None:
    free = engine.ask("free_memory", [arrays.MAX_BYTES], [arrays.MAX_BYTES - 1], [1], [0], [-1])
    assert free.tolist() == [0]
    free = engine.ask("free_memory", [arrays.MAX_BYTES], [arrays.MAX_BYTES - 1], [0], [0], [-1])
    assert free.tolist() == [1]


@given(
    available=st.lists(st.integers(-arrays.MAX_BYTES, arrays.MAX_BYTES), min_size=1, max_size=6),
    vms=st.lists(
        st.tuples(st.integers(0, arrays.MAX_BYTES), st.integers(0, 1 << 40), st.integers(-1, 5), st.integers(-1, 5)),
        max_size=20,
    ),
)
def test_any_hosts_and_vms(engine: Engine, available: list[int], vms: list[tuple[int, ...]]) -> None:
    table = np.array(vms, np.int64).reshape(-1, 4)
    last = len(available) - 1
    check(engine, "drawn", available, table[:, 0], table[:, 1], *np.minimum(table[:, 2:], last).T)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_large(engine: Engine, threads: None, count: int) -> None:
    """As many VMs as are split over threads, on hosts in random order; the sums are also NumPy's."""
    kernel.set_threads(count)
    _, memory, overhead, resident_on, scheduled_on = draw(11, 10_000, 700_001)
    used = np.zeros(10_000, np.int64)
    for rows in (resident_on, scheduled_on):
        np.add.at(used, rows[rows >= 0], (memory + overhead)[rows >= 0])
    available = used + np.random.default_rng(12).integers(-(1 << 20), 1 << 40, 10_000)
    free = engine.ask("free_memory", available, memory, overhead, resident_on, scheduled_on)
    assert np.array_equal(free, np.maximum(available - used, 0))


@pytest.mark.parametrize(
    ("k", "row", "value"),
    [
        (0, 1, arrays.MAX_BYTES + 1),
        (0, 1, -arrays.MAX_BYTES - 1),
        (1, 2, -1),
        (1, 2, arrays.MAX_BYTES + 1),
        (2, 0, -1),
        (2, 3, np.iinfo(np.int64).min),
        (3, 2, -2),
        (3, 2, 2),
        (3, 0, 1 << 32),
        (4, 1, -2),
        (4, 3, 2),
        (4, 3, -(1 << 32)),
    ],
)
def test_out_of_range(engine: Engine, k: int, row: int, value: int) -> None:
    given = [[100, 100], [1, 2, 3, 4], [1, 1, 1, 1], [0, 1, -1, 0], [-1, -1, 1, -1]]
    given[k][row] = value
    columns = [np.array(column) for column in given]
    with pytest.raises(ValueError, match=rf"^{NAMES[k]}: {value} at index {row} is outside "):
        engine.ask("free_memory", *columns)


def test_no_host_has_rows(engine: Engine) -> None:
    with pytest.raises(ValueError, match=r"^resident_on: 0 at index 0 is outside"):
        engine.ask("free_memory", [], [1], [1], [0], [-1])


@pytest.mark.parametrize("k", range(5))
def test_not_integers(engine: Engine, k: int) -> None:
    given = [[100], [1], [1], [0], [-1]]
    given[k] = [float(given[k][0])]
    with pytest.raises(TypeError, match=f"^{NAMES[k]}: "):
        engine.ask("free_memory", *given)


def test_shapes(engine: Engine) -> None:
    with pytest.raises(ValueError, match=r"\(3,\).*\(2,\)"):
        engine.ask("free_memory", [1], [1, 2, 3], [1, 2], 0, -1)
    with pytest.raises(ValueError, match="one dimension"):
        engine.ask("free_memory", [[1]], [1], [1], [0], [-1])
    with pytest.raises(ValueError, match="one dimension"):
        engine.ask("free_memory", [1], [[1]], [1], [0], [-1])
