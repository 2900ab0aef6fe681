"""The questions of the live page: what happens to every VM, on copies small enough to tell by hand."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page.documents import decoded

from xenmem import Fleet, read
from xenmem.answers import QuestionError
from xenmem.page import what_if

GIB = 1 << 30
FOUR_HOSTS = Path(__file__).resolve().parents[2] / "examples" / "four-hosts.json"


def fleet(**vms: Any) -> Fleet:
    """Three hosts of 32 GiB: two VMs of 12 GiB on the first, one of 20 GiB on the second, none on the third."""
    hosts = {"name": ["a", "b", "c"], "memory_total": [32 * GIB] * 3}
    return Fleet.from_columns(
        {
            "name": ["one", "two", "big"],
            "memory": [12 * GIB, 12 * GIB, 20 * GIB],
            "host": ["a", "a", "b"],
            **vms,
        },
        hosts,
    )


def asked(fleet: Fleet, **question: Any) -> tuple[str, list[tuple[Any, ...]]]:
    """The HTML of an answer, and for each VM its name, what is done, from where, to where."""
    told = what_if.answer(fleet, json.dumps(question).encode())
    (table,) = told["tables"]
    columns = {column["key"]: decoded(column) for column in table["columns"]}
    return told["html"], list(zip(*(columns[name] for name in ("name", "what", "from", "to")), strict=True))


pytestmark = pytest.mark.compiled


def test_a_host_fails_and_all_run_again() -> None:
    html, rows = asked(fleet(), fail=["a"])
    assert "If a fails, all 2 VMs of there run again." in html
    assert rows == [
        (
            "one",
            "restarts",
            "a",
            "c",
        ),
        ("two", "restarts", "a", "c"),
    ]


def test_two_hosts_fail_and_something_stays_down() -> None:
    """On the third there is room for 32 GiB less overheads: both small ones, or the big one and none of them."""
    html, rows = asked(fleet(), fail=["a", "b"])
    assert "If a, b fail, 1 of 3 VMs stay down." in html
    assert sorted(what for _, what, _, _ in rows) == ["restarts", "restarts", "stays down"]
    assert next(name for name, what, _, _ in rows if what == "stays down") == "big"


def test_a_host_is_emptied() -> None:
    """As the command `evacuate` tells it of the same pool."""
    html, rows = asked(read(FOUR_HOSTS), empty=["delta"])
    assert "delta can be emptied: 4 migrations." in html
    assert {what for _, what, _, _ in rows} == {"migrates"}
    assert len(rows) == 4
    assert "delta" not in {to for _, _, _, to in rows}


def test_what_cannot_leave_says_why() -> None:
    four = read(FOUR_HOSTS)
    blocked = four.vms.is_guest & (four.vms.resident_on == four.host("delta"))
    blocked &= np.cumsum(blocked) == 1
    name = four.vms.label(int(np.flatnonzero(blocked)[0]))
    told = what_if.answer(four.replace(vms=replace(four.vms, is_migration_blocked=blocked)), b'{"empty":["delta"]}')
    assert "delta cannot be emptied: 1 of 3 VMs cannot leave." in told["html"]
    columns = {column["key"]: decoded(column) for column in told["tables"][0]["columns"]}
    row = columns["name"].index(name)
    assert columns["what"][row] == "cannot leave"
    assert "blocked" in columns["why"][row]


def test_a_host_that_fails_takes_nothing_of_one_that_is_emptied() -> None:
    html, rows = asked(fleet(), fail=["c"], empty=["b"])
    assert "b cannot be emptied: 1 of 1 VM cannot leave." in html
    assert rows == [("big", "cannot leave", "b", "b")]


def test_vms_are_added_while_there_is_room() -> None:
    html, rows = asked(fleet(), add={"memory": "10GiB", "vcpus": 2, "count": 6})
    # c has room for three; b for one beside 20 GiB; a for none beside 24 GiB and the overheads
    assert "4 of 6 new VMs of 10GiB and 2 vCPUs have room." in html
    assert [what for _, what, _, _ in rows].count("starts") == 4
    assert {to for _, what, _, to in rows if what == "starts"} == {"b", "c"}


def test_the_fleet_stays_as_it_is() -> None:
    before = fleet()
    asked(before, fail=["a"], empty=["b"], add={"memory": "1GiB"})
    assert before.hosts.enabled.all()
    assert len(before.vms) == 3
    assert before.vms.resident_on.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("question", "problem"),
    [
        ({}, "nothing is asked"),
        ({"fail": ["nowhere"]}, "nowhere"),
        ({"fail": ["a"], "empty": ["a"]}, "host a is to fail and to be emptied: choose one"),
        ({"add": {"memory": "much"}}, "'much' is not a size such as 16GiB"),
        ({"add": {"memory": "1GiB", "count": 10**6}}, "<= 1000"),
        ({"add": {"memory": "1GiB", "vcpus": 0}}, ">= 1"),
        ({"fail": "a"}, "Expected `array`"),
        ({"script": "rm"}, "unknown field `script`"),
    ],
)
def test_bad_questions_say_what_is_wrong(question: dict[str, Any], problem: str) -> None:
    with pytest.raises(QuestionError, match=problem.replace("(", r"\(")):
        asked(fleet(), **question)


def test_what_is_no_json_is_no_question() -> None:
    with pytest.raises(QuestionError, match="the question is not understood: Input data was truncated"):
        what_if.answer(fleet(), b"{")


def test_names_are_escaped() -> None:
    nasty = "<script>alert(1)</script>"
    hosts = {"name": [nasty, "b"], "memory_total": [32 * GIB] * 2}
    one = Fleet.from_columns({"name": [nasty], "memory": [GIB], "host": [nasty]}, hosts)
    html, rows = asked(one, fail=[nasty])
    assert "<script" not in html
    assert rows == [(nasty, "restarts", nasty, "b")]
