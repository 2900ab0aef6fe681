"""Fleets that hold the same: every column by value and type, every note, and what answers are made of them."""

import xenmem
from xenmem import answers
from xenmem.columns import TABLE_TYPES


def assert_alike(made: xenmem.Fleet, expected: xenmem.Fleet) -> None:
    """Every column, note and answer of one is that of the other."""
    for name in TABLE_TYPES:
        table, other = getattr(made, name), getattr(expected, name)
        assert len(table) == len(other), name
        for column, values in other.columns().items():
            found = getattr(table, column)
            assert found.dtype == values.dtype, (name, column)
            assert found.tolist() == values.tolist(), (name, column)
            assert list(map(type, found.tolist())) == list(map(type, values.tolist())), (name, column)
            assert not found.flags.writeable, (name, column)
    assert made.notes == expected.notes
    for ask in (answers.report, answers.matrix, lambda fleet: answers.upgrade_check(fleet, "26.3")):
        assert ask(made) == ask(expected)
    for policy in ("static_max", "dynamic_max", "dynamic_min"):
        assert made.free_memory(policy).tolist() == expected.free_memory(policy).tolist()
        assert made.start_memory(policy).tolist() == expected.start_memory(policy).tolist()
