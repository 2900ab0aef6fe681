"""The page in headless Chromium: functions, console, accessibility, light and dark, on a phone and on a desk."""

from pathlib import Path

import dumps
import pytest
from clients_at import Node

from xenmem import Fleet, page, read

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "pool.xml.gz"

pytestmark = [pytest.mark.slow, pytest.mark.client("Chromium, axe-core", "Debian's, 4.14.1")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", ["360", "1280"])
def test_the_report_of_the_example(node: Node, tmp_path: Path, scheme: str, width: str) -> None:
    file = tmp_path / "report.html"
    fleet = read(EXAMPLE)
    file.write_text(page.report(fleet))
    told = node("page.mjs", file.as_uri(), scheme, width)
    assert told["console"] == []
    assert told["requests"] == 1
    assert told["hosts"] == ["xen01.par.example", "xen02.stage.example", "xen03.lab.example", "xen04.lon.example"]
    assert told["largest"][:3] == ["128.00", "64.00", "64.00"]
    assert told["sort"] == "descending"
    smallest = [float(amount) for amount in told["smallest"]]
    assert smallest == sorted(smallest)
    above = (fleet.vms.memory_static_max > 16 << 30) & (fleet.vms.power_state == 2) & ~fleet.vms.is_a_template
    assert told["filtered"] == f"{above.sum()} of {told['rows'] and int(told['rows']) - 1} VMs"
    assert told["states"] == ["running"]
    assert all(float(amount) > 16 for amount in told["amounts"])
    assert told["none"] == []
    assert told["last"] == "128.00"
    assert told["printed"] == int(told["rows"]) - 1
    assert told["wide"] <= 0
    assert told["violations"] == []
    assert told["passes"] > 20


def test_names_of_the_inventory_run_nothing(node: Node, tmp_path: Path) -> None:
    nasty = "</script><script>alert(1)</script><img src=x onerror=alert(2)><!--"
    records = dumps.pool(name_label=nasty, power_state="Running", resident_on=dumps.HOST)
    for name, ref in (("host", dumps.HOST), ("pool", dumps.POOL)):
        records[name][ref]["name_label"] = nasty
    file = tmp_path / "report.html"
    file.write_text(page.report(Fleet.from_records(records)))
    told = node("page.mjs", file.as_uri(), "light", "1280")
    assert told["console"] == []
    assert told["requests"] == 1
    assert told["scripts"] == 2
    assert told["heading"] == f"Memory of {nasty}"
    assert told["hosts"] == [nasty]
    assert told["violations"] == []


def test_fifty_thousand_vms_keep_few_rows_in_the_document(node: Node, tmp_path: Path) -> None:
    count = 50_000
    vms = {
        "name": [f"vm-{number}" for number in range(count)],
        "memory": [(1 + number * 7919 % 64) << 30 for number in range(count)],
        "host": [f"host-{number % 1000}" for number in range(count)],
    }
    hosts = {"name": [f"host-{number}" for number in range(1000)], "memory_total": [4 << 40] * 1000}
    file = tmp_path / "report.html"
    file.write_text(page.report(Fleet.from_columns(vms, hosts)))
    told = node("page.mjs", file.as_uri(), "light", "1280")
    assert told["console"] == []
    assert told["rows"] == str(count + 1)
    assert told["inDocument"] < 80
    assert told["last"] == "64.00"
    assert told["printed"] == 1000
    assert told["violations"] == []
