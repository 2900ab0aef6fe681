"""Inventories for the questions: the files of tests/data, and records that a test may edit before it asks."""

import json
from pathlib import Path
from typing import Any

import pytest

import xenmem

INVENTORIES = Path(__file__).parent.parent / "data" / "inventories"


@pytest.fixture(params=sorted(path.name for path in INVENTORIES.iterdir()))
def inventory(request: pytest.FixtureRequest) -> Path:
    """Each inventory in turn."""
    return INVENTORIES / request.param


@pytest.fixture
def records() -> dict[str, dict[str, dict[str, Any]]]:
    """The small pool, for a test to edit."""
    loaded: dict[str, dict[str, dict[str, Any]]] = json.loads((INVENTORIES / "pool-small.records.json").read_text())
    return loaded


@pytest.fixture
def small() -> xenmem.Fleet:
    """The small pool."""
    return xenmem.read(INVENTORIES / "pool-small.records.json")
