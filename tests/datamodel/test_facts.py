"""The data model is the reference's: every class, field, message, error, enumeration and relation.

The reference's dump is compared itself where the folder of captures lies beside the checkout, and by digests always.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from datamodel.facts import digest, parts

CAPTURE = Path(__file__).resolve().parents[3] / "shared" / "spec" / "datamodel.json"


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    return parts()


def test_equals_the_dump_of_the_reference(facts: dict[str, Any], data: Path) -> None:
    if CAPTURE.exists():
        dump = json.loads(CAPTURE.read_text())
        expected = dump["classes"] | {name: part for name, part in dump.items() if name != "classes"}
        assert facts.keys() == expected.keys()
        for name, part in expected.items():
            assert facts[name] == part, name
    lines = (data / "datamodel.sha256").read_text().splitlines()
    assert {name: digest(part) for name, part in facts.items()} == {
        name: value for value, name in map(str.split, lines)
    }


def test_counts(facts: dict[str, Any]) -> None:
    assert len(facts) - 3 == 73
    assert (len(facts["enums"]), len(facts["errors"]), len(facts["relations"])) == (75, 605, 64)
