"""Arrays made to break kernels: one generator of arguments for every element-wise function, and one assert for all.

A case is a set of keyword arguments in some layout, byte order, dtype or shape; its values come from the edges of the
model (the byte before and after a MiB, the limits of the domain, multipliers near an integer product). What is expected
comes from twins/reference.py alone, row by row, and must be met bit for bit.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from twins import reference

MIB = 1 << 20
MAX_BYTES = 1 << 50
MAX_VCPUS = 65535

Array = npt.NDArray[Any]

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "overhead": ("domain_type", "static_max", "vcpus_max", "shadow_multiplier"),
    "required_memory": ("domain_type", "static_max", "target", "vcpus_max", "shadow_multiplier"),
    "maximise_memory": ("domain_type", "vcpus_max", "shadow_multiplier", "total"),
    "build_memory": ("domain_type", "static_max", "target", "video"),
}

AMOUNT_ARGUMENTS = ("static_max", "target", "total", "video")

# whole MiB at which a rounding, a shadow page, a MiB of shadow or the shim changes, or a machine word ends
EDGES_MIB = (
    0,
    1,
    2,
    48,
    49,
    50,
    63,
    64,
    89,
    90,
    91,
    127,
    128,
    129,
    179,
    180,
    256,
    4095,
    4096,
    1 << 20,
    (1 << 20) + 1,
    1 << 30,
)
AMOUNTS = tuple(
    sorted(
        {edge * MIB + by for edge in EDGES_MIB for by in (-1, 0, 1) if 0 <= edge * MIB + by <= MAX_BYTES}
        | {(1 << bits) + by for bits in (31, 32, 40, 49) for by in (-1, 0, 1)}
    )
)
VCPUS = (0, 1, 2, 6, 7, 8, 32, 64, 127, 128, 129, 255, 256, 32767, 32768, 65534, MAX_VCPUS)
MULTIPLIERS = (
    0.0,
    -0.0,
    5e-324,
    1e-9,
    0.1,
    1 / 3,
    0.9444444444444444,
    float(np.nextafter(1.0, 0.0)),
    1.0,
    float(np.nextafter(1.0, 2.0)),
    1.1,
    1.5,
    49 / 7 / 3,
    3.3,
    4.0,
    10.0,
    float(np.nextafter(1024.0, 0.0)),
    1024.0,
)
EDGES: dict[str, tuple[int, ...] | tuple[float, ...]] = {
    "domain_type": (0, 1, 2, 3),
    "vcpus_max": VCPUS,
    "shadow_multiplier": MULTIPLIERS,
    **dict.fromkeys(AMOUNT_ARGUMENTS, AMOUNTS),
}

# a model that no xapi had: odd pages, so that every remainder occurs, and a shim whose reciprocal is rounded down
ODD_MODEL = reference.Model(
    vcpu_shadow_pages=255,
    p2m_pages_per_mib=1,
    resident_pages_per_mib=0,
    min_shadow_mib=3,
    xen_pages_per_vcpu=37,
    extra_internal_mib=(0, 3, 1, 2),
    extra_external_mib=(1, 0, 2, 5),
    shim_base_mib=(7, 0, 23, 1),
    shim_divisor=(49, 3, 90, 0),
    required_at_unit_multiplier=(1, 0, 0, 1),
    has_shadow=(1, 1, 0, 1),
)
MODELS: dict[str, str | reference.Model] = {"26.3": "26.3", "pre-26.3": "pre-26.3", "odd": ODD_MODEL}

# 0 and 1, around the widths of vectors, around the blocks of a loop
LENGTHS = (0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 4095, 4096, 4097)

INTEGERS = tuple(np.dtype(code) for code in "bBhHiIlL")
REALS = (*INTEGERS, *(np.dtype(code) for code in "efd"))


class Case(NamedTuple):
    number: int
    label: str
    arguments: dict[str, Any]


def natural(name: str, values: Any) -> Array:
    """Values of an argument as the plainest array."""
    return np.array(values, np.float64 if name == "shadow_multiplier" else np.int64)


def draw(rng: np.random.Generator, name: str, count: int) -> Array:
    """Random values of an argument: half of them edges, half anything; small amounts as often as large ones."""
    edges = rng.choice(natural(name, EDGES[name]), count)
    if name == "domain_type":
        return edges
    if name == "vcpus_max":
        anything = rng.integers(0, 65, count)
    elif name == "shadow_multiplier":
        anything = rng.integers(1, 400, count) / rng.integers(1, 100, count)
    else:
        anything = rng.integers(0, MAX_BYTES, count, endpoint=True) >> rng.integers(0, 50, count)
    return np.where(rng.random(count) < 0.5, edges, anything)


# ---------------------------------------------------------------------------------------------------- layouts


def stepped(array: Array) -> Array:
    apart = np.zeros(3 * array.size, array.dtype)
    apart[1::3] = array
    return apart[1::3]


def reversed_(array: Array) -> Array:
    return array[::-1].copy()[::-1]


def sliced(array: Array) -> Array:
    return np.concatenate([array[:1], array, array[:1]])[min(1, array.size) : min(1, array.size) + array.size]


def unaligned(array: Array) -> Array:
    memory = np.zeros(array.nbytes + 1, np.uint8)
    answer = memory[1:].view(array.dtype)
    answer[:] = array
    assert array.size == 0 or array.itemsize == 1 or not answer.flags.aligned
    return answer


def read_only(array: Array) -> Array:
    answer = array.copy()
    answer.flags.writeable = False
    return answer


def byte_swapped(array: Array) -> Array:
    return array.astype(array.dtype.newbyteorder())


def field(array: Array) -> Array:
    """A column of a structured array, as a table in memory has it."""
    table = np.zeros(array.size, [("before", "i1"), ("it", array.dtype), ("after", "i2")])
    table["it"] = array
    return table["it"]


def as_list(array: Array) -> list[Any]:
    return array.tolist()  # type: ignore[no-any-return]


LAYOUTS: tuple[Callable[[Array], Any], ...] = (
    stepped,
    reversed_,
    sliced,
    unaligned,
    read_only,
    byte_swapped,
    field,
    as_list,
)


def square(array: Array) -> Array:
    return array[: array.size // 6 * 6].reshape(-1, 6)


def fortran(array: Array) -> Array:
    return np.asfortranarray(square(array))


def transposed(array: Array) -> Array:
    return square(array).T.copy().T


def backwards(array: Array) -> Array:
    return square(array)[::-1, ::-1].copy()[::-1, ::-1]


def spaced(array: Array) -> Array:
    table = np.zeros((square(array).shape[0], 12), array.dtype)
    table[:, ::2] = square(array)
    return table[:, ::2]


def deep(array: Array) -> Array:
    return square(array).reshape(-1, 2, 3, 1)


SHAPES: tuple[Callable[[Array], Array], ...] = (square, fortran, transposed, backwards, spaced, deep)


def holds(dtype: np.dtype[Any], array: Array) -> Array:
    """Which of the values a dtype holds exactly."""
    limits = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    within = (array >= float(limits.min)) & (array <= float(limits.max))
    safe = np.where(within, array, 0)
    return within & (safe.astype(dtype).astype(array.dtype) == array)


# ------------------------------------------------------------------------------------------------------ cases


def arguments(function: str, seed: int, count: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {name: draw(rng, name, count) for name in ARGUMENTS[function]}


def unnumbered(function: str) -> Iterator[tuple[str, dict[str, Any]]]:
    names = ARGUMENTS[function]
    for count in LENGTHS:
        yield f"length {count}", arguments(function, count, count)

    plain = arguments(function, 101, 37)
    for layout in LAYOUTS:
        yield f"all {layout.__name__}", {name: layout(plain[name]) for name in names}
        for name in names:
            yield f"{name} {layout.__name__}", {**plain, name: layout(plain[name])}
    for shape in SHAPES:
        yield f"all {shape.__name__}", {name: shape(plain[name]) for name in names}
        for name in names:
            yield (
                f"{name} {shape.__name__}, others contiguous",
                {**{other: shape(plain[other]).copy() for other in names}, name: shape(plain[name])},
            )

    for name in names:
        for dtype in REALS if name == "shadow_multiplier" else INTEGERS:
            values = draw(np.random.default_rng(102), name, 400)
            held = values[holds(dtype, values)][:33].astype(dtype)
            assert held.size > 0
            others = arguments(function, 103, held.size)
            yield f"{name} {dtype}", {**others, name: held}
            yield f"{name} {dtype} byte-swapped and reversed", {**others, name: byte_swapped(held)[::-1]}

    first = {name: plain[name][5] for name in names}
    yield "numpy scalars", first
    yield "Python scalars", {name: value.item() for name, value in first.items()}
    yield "0-d arrays", {name: np.array(value) for name, value in first.items()}
    yield "shape (1,)", {name: np.array([value]) for name, value in first.items()}
    for name in names:
        yield f"{name} array, others Python scalars", {**{k: v.item() for k, v in first.items()}, name: plain[name]}
        yield f"{name} Python scalar, others arrays", {**plain, name: first[name].item()}
        yield f"{name} 0-d, others arrays", {**plain, name: np.array(first[name])}
        yield f"{name} stride 0, others arrays", {**plain, name: np.broadcast_to(first[name], 37)}
        yield f"{name} column, others row", {**plain, name: plain[name][:5, np.newaxis]}
        yield f"{name} empty, others shape (1,)", {**{k: v[:1] for k, v in plain.items()}, name: plain[name][:0]}
    yield (
        "outer product",
        {
            name: draw(np.random.default_rng(k), name, 3).reshape([3 if axis == k else 1 for axis in range(len(names))])
            for k, name in enumerate(names)
        },
    )
    yield "empty, 2-d", {name: natural(name, []).reshape(0, 3) for name in names}


def all_edges(function: str) -> dict[str, Any]:
    """Every edge of every argument with every edge of the others, thinned out where they are many."""
    names = ARGUMENTS[function]
    thin = {name: natural(name, EDGES[name])[::step] for name, step in THINNING[function].items()}
    edges = [thin.get(name, natural(name, EDGES[name])) for name in names]
    return {name: grid.reshape(-1) for name, grid in zip(names, np.meshgrid(*edges, indexing="ij"), strict=True)}


THINNING = {
    "overhead": {},
    "required_memory": {"static_max": 3, "target": 5, "vcpus_max": 2},
    "maximise_memory": {"total": 3, "vcpus_max": 3, "shadow_multiplier": 2},
    "build_memory": {"target": 2, "video": 4},
}


@cache
def cases(function: str) -> tuple[Case, ...]:
    """The cases of an element-wise function; the same objects each time, so that expected values are computed once."""
    listed = [*unnumbered(function), ("all edges", all_edges(function))]
    return tuple(Case(number, label, given) for number, (label, given) in enumerate(listed))


# --------------------------------------------------------------------------------------------------- expected


def expected_rows(
    function: str, given: dict[str, Any], model: str | reference.Model, options: dict[str, Any]
) -> tuple[Array, ...]:
    """What the reference answers for broadcast arguments: one array for each output."""
    answer = getattr(reference, function)
    spread = np.broadcast_arrays(*(np.asarray(value) for value in given.values()))
    rows = zip(*(column.reshape(-1).tolist() for column in spread), strict=True)
    known: dict[Any, tuple[int, ...]] = {}
    outputs = []
    for row in rows:
        if row not in known:
            named = dict(zip(given, row, strict=True))
            named["domain_type"] = reference.DOMAIN_TYPES[named["domain_type"]]
            result = answer(**named, **options, model=model)
            known[row] = result if isinstance(result, tuple) else (result,)
        outputs.append(known[row])
    count = {"overhead": 1, "required_memory": 2, "maximise_memory": 1, "build_memory": 4}[function]
    columns = np.array(outputs, np.int64).reshape(-1, count).T
    return tuple(column.reshape(spread[0].shape) for column in columns)


@cache
def expected(function: str, number: int, model: str | reference.Model, **options: Any) -> tuple[Array, ...]:
    """What the reference answers to a numbered case."""
    return expected_rows(function, cases(function)[number].arguments, model, options)


def described(name: str, value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return f"  {name}: {type(value).__name__} {value!r}"
    order = "".join(
        letter
        for letter, there in zip("CF", (value.flags.c_contiguous, value.flags.f_contiguous), strict=True)
        if there
    )
    return f"  {name}: {value.dtype} {value.shape} order {order or 'none'} strides {value.strides}\n    {value!r}"


def assert_equal(function: str, case: Case, actual: Any, wanted: tuple[Array, ...], where: str = "") -> None:
    """Equality, bit for bit, of all outputs, and that each is a new C-contiguous int64 array of the broadcast shape."""
    outputs = actual if isinstance(actual, tuple) else (actual,)
    complaints = []
    if len(outputs) != len(wanted):
        complaints.append(f"{len(outputs)} outputs instead of {len(wanted)}")
    for place, (got, want) in enumerate(zip(outputs, wanted, strict=False)):
        if not isinstance(got, np.ndarray) or got.dtype != np.int64 or not got.flags.c_contiguous:
            complaints.append(f"output {place} is not a C-contiguous int64 array: {described('it', got)}")
        elif got.shape != want.shape:
            complaints.append(f"output {place} has shape {got.shape} instead of {want.shape}")
        elif not np.array_equal(got, want):
            differences = np.argwhere(np.atleast_1d(got != want))
            complaints.append(f"output {place} differs at {len(differences)} of {want.size} places:")
            spread = {name: np.broadcast_to(value, want.shape) for name, value in case.arguments.items()}
            for index in map(tuple, differences[:5]):
                at = index if want.shape else ()
                row = {name: value[at].item() for name, value in spread.items()}
                complaints.append(f"  at {index}: {got[at]} instead of {want[at]} for {row}")
    if complaints:
        with np.printoptions(threshold=200):
            shown = [described(name, value) for name, value in case.arguments.items()]
        raise AssertionError("\n".join([f"{function} {where}, case {case.number}: {case.label}", *complaints, *shown]))
