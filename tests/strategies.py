"""Hypothesis strategies: rows of arguments of the element-wise functions, and models that no xapi ever had."""

from typing import Any

import arrays
from hypothesis import strategies as st
from twins import reference

amounts = st.one_of(
    st.sampled_from(arrays.AMOUNTS),
    st.integers(0, arrays.MAX_BYTES),
    st.integers(0, 1 << 14).flatmap(lambda mib: st.integers(-1, 1).map(lambda by: max(0, mib * arrays.MIB + by))),
)
vcpus = st.one_of(st.sampled_from(arrays.VCPUS), st.integers(0, 300), st.integers(0, arrays.MAX_VCPUS))
multipliers = st.one_of(
    st.sampled_from(arrays.MULTIPLIERS),
    st.floats(0.0, 1024.0),
    st.floats(0.0, 4.0),
    st.fractions(0, 16, max_denominator=200).map(float),
)
ARGUMENTS = {
    "domain_type": st.integers(0, 3),
    "vcpus_max": vcpus,
    "shadow_multiplier": multipliers,
    **dict.fromkeys(arrays.AMOUNT_ARGUMENTS, amounts),
}

constants = st.one_of(st.integers(0, 3), st.integers(0, 400), st.integers(0, 65536))
by_domain_type = st.tuples(*[constants] * 4)
models: st.SearchStrategy[str | reference.Model] = st.one_of(
    st.sampled_from(sorted(reference.MODELS)),
    st.builds(
        reference.Model,
        vcpu_shadow_pages=constants,
        p2m_pages_per_mib=st.just(1),
        resident_pages_per_mib=st.integers(0, 1),
        min_shadow_mib=st.integers(0, 64),
        xen_pages_per_vcpu=constants,
        extra_internal_mib=by_domain_type,
        extra_external_mib=by_domain_type,
        shim_base_mib=by_domain_type,
        shim_divisor=by_domain_type,
        required_at_unit_multiplier=st.tuples(*[st.integers(0, 1)] * 4),
        has_shadow=st.tuples(*[st.integers(0, 1)] * 4),
        host_reserve_mib=constants,
    ),
)


def columns(function: str, max_size: int = 40) -> st.SearchStrategy[dict[str, Any]]:
    """Arrays of one length for every argument of an element-wise function."""
    names = arrays.ARGUMENTS[function]
    rows = st.lists(st.tuples(*(ARGUMENTS[name] for name in names)), min_size=1, max_size=max_size)
    return rows.map(
        lambda drawn: {name: arrays.natural(name, [row[k] for row in drawn]) for k, name in enumerate(names)}
    )
