"""Which VMs HA can restart anywhere, over columns: as the worked examples have it, and as the pool answers."""

import io
from pathlib import Path
from random import Random

import dumps
import pytest
from mobility_examples import AGILE, EXAMPLES, Example, tables_of
from mobility_pools import NULL, drawn

import xenmem
from xenmem.rules.mobility.guest import Agility
from xenmem.xenapi import Failure, connect

COARSER = {"71a": "HA_CONSTRAINT_VIOLATION_NETWORK_NOT_SHARED", "72b": "VM_HAS_SRIOV_VIF"}
"""What columns say where they tell less than rows."""


def codes(dump: bytes) -> dict[str, str]:
    """By VM the name of what keeps it from being agile."""
    fleet = xenmem.read(io.BytesIO(dump))
    return dict(zip(fleet.vms.ref, (Agility(code).name for code in fleet.agile_errors()), strict=True))


@pytest.mark.parametrize(
    "example", [one for one in EXAMPLES if one.question == AGILE], ids=lambda example: example.name
)
def test_example(example: Example) -> None:
    found = codes(dumps.dump(tables_of(example.changes)))["v"]
    expected = example.answer[0] if isinstance(example.answer, list) else "AGILE"
    assert found == COARSER.get(example.name, expected)


@pytest.mark.parametrize("seed", range(30))
def test_as_the_pool_in_memory(seed: int, tmp_path: Path) -> None:
    tables = drawn(Random(seed), 4, 12)
    for pif in tables["PIF"].values():
        if pif.get("bond_slave_of") not in tables.get("Bond", {}):
            pif["bond_slave_of"] = NULL
    dump = dumps.dump(tables)
    file = tmp_path / "pool.xml"
    file.write_bytes(dump)
    session = connect(str(file))
    for vm, code in codes(dump).items():
        suspended = tables["VM"][vm].get("power_state") == "Suspended"
        try:
            session.xenapi.VM.assert_agile(vm)
            assert code == "AGILE" or suspended
        except Failure as failure:
            if failure.details[0] in Agility.__members__:
                assert code != "AGILE"
