"""What old records mean, and by how much a host's own overhead grows."""

import numpy as np
import pytest

from xenmem.rules import upgrade
from xenmem.units import GIB, MIB


@pytest.mark.parametrize(
    ("schema", "lacks", "is_old"),
    [(93, False, True), (93, True, True), (94, True, False), (None, True, True), (None, False, False)],
)
def test_up_to_7_0(schema: int | None, lacks: bool, is_old: bool) -> None:
    assert upgrade.is_up_to_7_0(schema, lacks) is is_old
    assert upgrade.is_up_to_7_0(schema, np.array([lacks] * 2)).tolist() == [is_old] * 2


def test_derived_domain_types() -> None:
    assert upgrade.derives_hvm(True, False) is True
    assert upgrade.derives_hvm(True, True) is False
    columns = np.array([True, True, False, False]), np.array([False, True, False, True])
    assert upgrade.derives_hvm(*columns).tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    ("text", "is_set"), [("true", True), ("TRUE", True), ("1", True), ("yes", False), ("", False), (None, False)]
)
def test_flags_in_platform(text: str | None, is_set: bool) -> None:
    assert upgrade.is_truthy(text) is is_set


@pytest.mark.parametrize(
    ("present", "target", "reserve_mib", "growth_mib"),
    [
        ("pre-26.3", "26.3", 9, 63),
        ("pre-26.3", "26.3", None, 63),
        ("pre-26.3", "26.3", 10, 63),  # neither reserve: something else was sampled since
        ("pre-26.3", "26.3", 0, 72),  # squeezed did not answer
        ("pre-26.3", "26.3", 72, 0),  # updated, and not restarted
        ("26.3", "26.3", 72, 0),
        ("26.3", "pre-26.3", 72, -63),
        ("26.3", "pre-8.1", None, -63),
        ("pre-6.0", "pre-26.3", 9, 0),
    ],
)
def test_growth_of_a_hosts_overhead(present: str, target: str, reserve_mib: int | None, growth_mib: int) -> None:
    total, overhead = np.array([64 * GIB]), np.array([1 * GIB])
    at_boot = np.array([0]) if reserve_mib is None else total - overhead + reserve_mib * MIB
    growth = upgrade.overhead_growth(total, overhead, at_boot, [present], target)
    assert growth.tolist() == [growth_mib * MIB]
