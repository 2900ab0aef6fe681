"""What the commands print: JSON equal to the naive inventory layer, CSV that parses back to it, tables that show it."""

import csv
import gzip
import html
import io
import json
import re
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dumps
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from twins import reference

Answer = Callable[..., str]
Command = Callable[..., "subprocess.CompletedProcess[str]"]
INVENTORIES = Path(__file__).parent.parent / "data" / "inventories"

inventories = pytest.mark.parametrize("name", sorted(path.name for path in INVENTORIES.iterdir()))


def parsed(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@inventories
def test_report_json_equals_the_reference(answer: Answer, name: str) -> None:
    path = INVENTORIES / name
    expected = reference.report(reference.read(path))
    (pool,) = json.loads(answer("report", str(path), "--vms", "--format", "json"))["pools"]
    assert pool["pool"]["model"] == expected.model
    assert {host["ref"]: host["free"] for host in pool["hosts"]} == expected.free
    for vm in pool["vms"]:
        assert vm["memory_overhead"] == expected.stored_overhead[vm["ref"]]
        assert vm["compute_memory_overhead"] == expected.overhead[vm["ref"]]
        assert vm["start_memory"] == expected.start_memory[vm["ref"]]
        assert vm["domain_type"] == expected.domain_type[vm["ref"]]


@inventories
def test_report_csv_equals_json(answer: Answer, name: str) -> None:
    path = str(INVENTORIES / name)
    (pool,) = json.loads(answer("report", path, "--format", "json"))["pools"]
    rows = parsed(answer("report", path, "--format", "csv"))
    assert [row["ref"] for row in rows] == [host["ref"] for host in pool["hosts"]]
    for row, host in zip(rows, pool["hosts"], strict=True):
        assert (row["pool_uuid"], row["pool_name_label"]) == (pool["pool"]["uuid"], pool["pool"]["name_label"])
        assert int(row["memory_total"]) == host["memory_total"]
        assert (row["enabled"], row["live"]) == (json.dumps(host["enabled"]), json.dumps(host["live"]))
        assert int(row["vms_count"]) == host["vms"]["count"]
        for policy in reference.POLICIES:
            assert int(row[f"free_{policy}"]) == host["free"][policy]
            assert int(row[f"vms_memory_{policy}"]) == host["vms"]["memory"][policy]


@inventories
def test_vm_csv_equals_json(answer: Answer, name: str) -> None:
    path = str(INVENTORIES / name)
    (pool,) = json.loads(answer("report", path, "--vms", "--format", "json"))["pools"]
    rows = parsed(answer("report", path, "--vms", "--format", "csv"))
    for row, vm in zip(rows, pool["vms"], strict=True):
        assert row["name_label"] == vm["name_label"]
        assert float(row["HVM_shadow_multiplier"]) == vm["HVM_shadow_multiplier"]
        assert row["resident_on_uuid"] == (vm["resident_on"]["uuid"] if vm["resident_on"] else "")
        assert row["memory_target"] == ("" if vm["memory_target"] is None else str(vm["memory_target"]))
        for policy in reference.POLICIES:
            assert int(row[f"start_memory_{policy}"]) == vm["start_memory"][policy]


@inventories
def test_report_openmetrics_equals_the_reference(answer: Answer, name: str) -> None:
    path = INVENTORIES / name
    expected = reference.report(reference.read(path))
    uuids = {
        host["ref"]: host["uuid"]
        for host in json.loads(answer("report", str(path), "--format", "json"))["pools"][0]["hosts"]
    }
    found = {}
    for family in text_string_to_metric_families(answer("report", str(path), "--format", "openmetrics")):
        found |= {(one.name, one.labels.get("uuid"), one.labels.get("policy")): one.value for one in family.samples}
    for ref, free in expected.free.items():
        for policy, amount in free.items():
            assert found.get(("xenmem_host_memory_free_bytes", uuids[ref] or ref, policy), 0) == amount
    assert found["xenmem_inventory_timestamp_seconds", None, None] == pytest.approx(path.stat().st_mtime, abs=1e-3)


def test_report_openmetrics_of_standard_input_was_read_now(xenmem: Command, small: str) -> None:
    before = time.time()
    process = xenmem("report", "-", "--format", "openmetrics", "--size", "1GiB:1", stdin=Path(small).read_bytes())
    (line,) = re.findall(r"^xenmem_inventory_timestamp_seconds.*} (.*)$", process.stdout, re.MULTILINE)
    assert before <= float(line) <= time.time()


def test_report_table_shows_the_pool(answer: Answer, small: str) -> None:
    table = answer("report", small, "--wide")
    assert table.startswith("3 hosts have 363.12GiB free for new VMs (263.12GiB if all VMs take their most);")
    assert '\nPool "26" (ams & more) (dcdca820-7712-820e-cff9-bbaa2bec5837)' in table
    assert "xapi 26.17.0, model 26.3, records from" in table
    (row,) = [line for line in table.splitlines() if line.startswith("xen03.par.example")]
    assert row.split()[1:] == [
        *("16", "255.97", "3.63", "8.08", "202.77", "4.81"),
        *("36.68", "36.68", "104.68", "88.21"),
    ]
    assert "1 VM is migrating" in table
    assert "Notes on reading" in table


def test_the_page_of_a_report(answer: Answer, small: str, tmp_path: Path) -> None:
    assert answer("report", small, "--html", "page.html") == ""
    page = (tmp_path / "page.html").read_text()
    verdict, names = answer("report", small).splitlines()[0], json.loads(answer("report", small, "--format", "json"))
    assert html.escape(verdict) in page
    assert all(html.escape(host["name_label"]) in page for host in names["pools"][0]["hosts"])
    assert re.search(r"made \d{4}-\d\d-\d\d \d\d:\d\d UTC", page)


def test_vm_table_replaces_the_host_table(answer: Answer, small: str) -> None:
    table = answer("report", "--vms", small, "--wide", "--all")
    assert re.search(r"Running +pvh +xen03\.par\.example", table)
    assert "\n3 hosts" not in table
    hosts_json = json.loads(answer("report", small, "--format", "json"))
    assert "vms" not in hosts_json["pools"][0]


def test_sort_has_short_names(answer: Answer, small: str) -> None:
    assert answer("report", small, "--sort", "free") == answer("report", small, "--sort", "free_dynamic_min")
    by_memory = answer("report", small, "--vms", "--sort", "memory")
    assert by_memory == answer("report", small, "--vms", "--sort", "memory_static_max")


@pytest.mark.parametrize(
    ("column", "largest_first"), [("free_dynamic_min", True), ("name_label", False), ("vms_count", True)]
)
def test_sort(answer: Answer, small: str, column: str, largest_first: bool) -> None:
    rows = parsed(answer("report", small, "--format", "csv", "--sort", column))
    values: list[Any] = [int(row[column]) if largest_first else row[column] for row in rows]
    assert values == sorted(values, reverse=largest_first)
    refs = [
        host["ref"]
        for host in json.loads(answer("report", small, "--format", "json", "--sort", column))["pools"][0]["hosts"]
    ]
    assert refs == [row["ref"] for row in rows]


def test_sort_of_vms_keeps_unknown_values_last(answer: Answer, small: str) -> None:
    rows = parsed(answer("report", "--vms", small, "--format", "csv", "--sort", "resident_on_name_label"))
    hosts = [row["resident_on_name_label"] for row in rows]
    resident = [host for host in hosts if host]
    assert hosts == [*sorted(resident), *[""] * (len(hosts) - len(resident))]


def test_model_changes_what_is_computed_and_not_what_is_free(answer: Answer, small: str) -> None:
    naive = reference.read(Path(small))
    (pool,) = json.loads(answer("report", small, "--vms", "--model", "pre-26.3", "--format", "json"))["pools"]
    for vm in pool["vms"]:
        assert vm["compute_memory_overhead"] == reference.vm_overhead(naive, vm["ref"], "pre-26.3")
    assert {host["ref"]: host["free"] for host in pool["hosts"]} == reference.report(naive).free
    assert "stored-overhead" in {warning["kind"] for warning in pool["warnings"]}


def test_several_inventories_are_several_pools(answer: Answer, small: str) -> None:
    other = str(INVENTORIES / "pool-65.statedb.xml")
    pools = json.loads(answer("report", small, other, "--format", "json"))["pools"]
    assert [pool["pool"]["source"] for pool in pools] == [small, other]
    assert {row["pool_uuid"] for row in parsed(answer("report", small, other, "--format", "csv"))} == {
        pool["pool"]["uuid"] for pool in pools
    }


@inventories
def test_standard_input_and_gzip_give_the_same_numbers(answer: Answer, name: str, tmp_path: Path) -> None:
    content = (INVENTORIES / name).read_bytes()
    packed = tmp_path / "inventory.gz"
    packed.write_bytes(gzip.compress(content, 1))
    from_file = answer("report", str(INVENTORIES / name), "--format", "csv")
    assert answer("report", "-", "--format", "csv", stdin=content) == from_file
    assert answer("report", "inventory.gz", "--format", "csv") == from_file


def test_lenient_skips_bad_rows_and_says_how_many(
    answer: Answer, complaint: Answer, small: str, tmp_path: Path
) -> None:
    records = json.loads(Path(small).read_text())
    ref = next(ref for ref, vm in records["VM"].items() if vm["power_state"] == "Halted")
    records["VM"][ref]["memory_static_max"] = "much"
    (tmp_path / "bad.json").write_text(json.dumps(records))
    assert ref in complaint("report", "bad.json")
    assert "much" in complaint("report", "bad.json")
    report = json.loads(answer("report", "bad.json", "--lenient", "--format", "json"))
    assert any("much" in note["text"] + note["example"] and note["count"] == 1 for note in report["notes"])


def test_explain_json_and_table_agree(answer: Answer, small: str) -> None:
    naive = reference.read(Path(small))
    explanation = json.loads(answer("explain", small, "lab-git-011", "--format", "json"))
    ref = explanation["ref"]
    assert explanation["overhead"]["total"] == reference.vm_overhead(naive, ref, "26.3")
    assert {policy: part["total"] for policy, part in explanation["required"].items()} == {
        policy: reference.start_memory(naive, ref, policy, "26.3") for policy in reference.POLICIES
    }
    table = answer("explain", small, "lab-git-011", "--wide")
    assert "256 vCPU + 4096 p2m + 4096 resident pages = 33MiB, times 1" in table
    assert re.search(r"overhead computed +36MiB +by model 26\.3", table)
    assert re.search(r"xen01\.par\.example +4\.04 +114\.52 +110\.48 +yes", table)
    assert re.search(r"xen03\.par\.example .* no: resident there already", table)
    assert "Not checked: licences" in table


def test_explain_accepts_a_uuid(answer: Answer, small: str) -> None:
    by_name = answer("explain", small, "lab-git-011")
    assert answer("explain", small, "a704fa54-bf17-eb7f-311c-9dc15dab3d8b") == by_name


def test_maximise(answer: Answer, small: str) -> None:
    result = json.loads(answer("maximise", small, "lab-git-011", "--format", "json"))
    for there in result["hosts"]:
        assert there["memory_static_max"] == reference.maximise_memory("pvh", 1, 1.0, there["total"])
    (row,) = parsed(answer("maximise", small, "lab-git-011", "--total", "64gib", "--format", "csv"))
    assert int(row["memory_static_max"]) == reference.maximise_memory("pvh", 1, 1.0, 64 << 30)
    (row,) = parsed(answer("maximise", small, "lab-git-011", "--approximate", "--total", "65536M", "--format", "csv"))
    assert int(row["memory_static_max"]) == reference.maximise_memory("pvh", 1, 1.0, 64 << 30, approximate=True)
    (row,) = parsed(answer("maximise", small, "lab-git-011", "--host", "xen02.stage.example", "--format", "csv"))
    assert row["name_label"] == "xen02.stage.example"


def test_maximise_warns_when_nothing_fits(xenmem: Command, small: str) -> None:
    done = xenmem("maximise", small, "lab-git-011", "--total", "3MiB")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("VM lab-git-011 does not start within 3MiB, however small.\n")
    assert "total: nothing fits" in done.stdout


def test_maximise_warns_when_the_approximate_answer_does_not_fit(xenmem: Command, small: str, tmp_path: Path) -> None:
    records = json.loads(Path(small).read_text())
    next(vm for vm in records["VM"].values() if vm["name_label"] == "stage-mail-018")["VCPUs_max"] = "128"
    (tmp_path / "large.json").write_text(json.dumps(records))
    done = xenmem("maximise", "large.json", "stage-mail-018", "--total", "64GiB", "--approximate")
    table = done.stdout
    assert done.returncode == 1
    assert "total: this does not fit: it needs 73MiB more than 64GiB" in table


def test_fit(answer: Answer, xenmem: Command, small: str) -> None:
    result = json.loads(answer("fit", small, "--memory", "16GiB", "--vcpus", "4", "--format", "json"))
    assert (result["memory"], result["wanted"], result["fits"]) == (16 << 30, None, True)
    assert [host["count"] for host in result["pools"][0]["hosts"]] == [7, 8, 6]
    rows = parsed(answer("fit", small, "--memory", "16GiB", "--vcpus", "4", "--count", "15", "--format", "csv"))
    assert [int(row["placed"]) for row in rows] == [5, 6, 4]
    done = xenmem("fit", small, "--memory", "16GiB", "--vcpus", "4", "--count", "30", "--domain-type", "pv-in-pvh")
    assert done.returncode == 1
    assert done.stdout.startswith("Only 21 of 30 pv_in_pvh VMs of 16GiB and 4 vCPUs fit: ")


def test_upgrade_check(answer: Answer, small: str) -> None:
    naive = reference.read(Path(small))
    result = json.loads(answer("upgrade-check", small, "--to", "25.1", "--format", "json"))
    assert (result["to"], result["to_model"]) == ("25.1", "pre-26.3")
    for host in result["pools"][0]["hosts"]:
        assert host["target"]["memory_overhead"] == sum(
            reference.vm_overhead(naive, ref, "pre-26.3")
            for ref, vm in naive["VM"].items()
            for place in (vm["resident_on"], vm["scheduled_to_be_resident_on"])
            if place == host["ref"]
        )
    rows = parsed(answer("upgrade-check", small, "--to", "25.1", "--format", "csv"))
    assert [int(row["target_memory_overhead"]) for row in rows] == [
        host["target"]["memory_overhead"] for host in result["pools"][0]["hosts"]
    ]
    old = str(INVENTORIES / "pool-65.statedb.xml")
    assert "Hosts overcommitted under 26.3" in answer("upgrade-check", old, "--to", "26.4.0")


def test_versions_and_products_name_a_model(answer: Answer, small: str) -> None:
    for named in ("xcp-ng-8.3", "8.3", "XenServer 8", "25.1"):
        assert answer("report", small, "--model", named) == answer("report", small, "--model", "pre-26.3")
    table = answer("upgrade-check", small, "--to", "xcp-ng-9")
    assert "to xcp-ng-9, taken as xapi 26.4.0, model 26.3\n" in table


def test_upgrade_check_without_hosts(answer: Answer, tmp_path: Path) -> None:
    path = tmp_path / "vms.json"
    path.write_text(json.dumps({"VM": dumps.pool()["VM"]}))
    assert "No hosts are known" in answer("upgrade-check", str(path), "--to", "26.3")
    assert json.loads(answer("upgrade-check", str(path), "--to", "26.3", "--format", "json"))["pools"][0]["hosts"] == []


def test_info_says_what_is_installed(answer: Answer) -> None:
    import numba
    import numpy

    from xenmem import kernel

    result = json.loads(answer("info", "--format", "json"))
    assert result["backends"] == list(kernel.backends())
    assert (result["packages"]["numpy"], result["packages"]["numba"]) == (numpy.__version__, numba.__version__)
    assert result["simd_supported"] == list(kernel.simd_levels())
    assert f"backends  {', '.join(kernel.backends())}" in answer("info")


def test_version_is_the_package_s(answer: Answer) -> None:
    from importlib.metadata import version

    assert answer("--version") == f"xenmem {version('xenmem')}\n"


def test_console_script_is_the_same_command(answer: Answer) -> None:
    script = shutil.which("xenmem", path=sysconfig.get_path("scripts"))
    assert script is not None
    done = subprocess.run([script, "info", "--format", "json"], capture_output=True, text=True, check=True)
    assert done.stdout == answer("info", "--format", "json")


@pytest.mark.parametrize("command", [[], ["report"], ["explain"], ["maximise"], ["fit"], ["upgrade-check"], ["info"]])
def test_help_is_there(answer: Answer, command: list[str]) -> None:
    assert answer(*command, "--help").startswith("Usage: xenmem")


COMMANDS = [
    ["report"],
    ["report", "--vms"],
    ["fit", "--memory", "16GiB", "--vcpus", "4"],
    ["upgrade-check", "--to", "26.3"],
]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("columns", [None, 60, 100])
def test_tables_fit_the_width(answer: Answer, small: str, command: list[str], columns: int | None) -> None:
    """80 columns in a pipe; what leaves is named, and --wide has it."""
    page = answer(*command, small, **({} if columns is None else {"COLUMNS": str(columns)}))
    lines = page.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("──"))
    table = [line for line in lines[first - 4 : lines.index("", first + 2)] if not line.startswith("Left out")]
    assert max(map(len, table)) <= (columns or 80)
    wide = answer(*command, small, "--wide")
    assert "Left out for width" not in wide
    for gone in re.findall(r"^Left out for width: (.*);", page, re.MULTILINE):
        assert len(gone.split(", ")) < 10


def test_no_escape_codes_in_a_pipe(answer: Answer, small: str) -> None:
    assert "\x1b" not in answer("report", "--vms", small, FORCE_COLOR="1", TERM="xterm-256color")


def test_names_cannot_steer_the_terminal(answer: Answer, small: str, tmp_path: Path) -> None:
    records = json.loads(Path(small).read_text())
    vm = next(vm for vm in records["VM"].values() if vm["power_state"] == "Running")
    vm["name_label"] = "evil\x1b[2J[bold]\r\nname"
    (tmp_path / "evil.json").write_text(json.dumps(records))
    table = answer("report", "--vms", "evil.json", "--wide", "--all")
    assert "\x1b" not in table
    assert "evil\\x1b[2J[bold]\\r\\nname" in table


NASTY = {
    '=HYPERLINK("http://x")': '\'=HYPERLINK("http://x")',
    "+1": "'+1",
    "-1+1": "'-1+1",
    "@SUM(1)": "'@SUM(1)",
    "\uff1d1": "'\uff1d1",
    "\x1b[31mred\x1b]0;title\x07": "\\x1b[31mred\\x1b]0;title\\x07",
    "\x9b31mC1": "\\x9b31mC1",
    "\u202ertl": "\\u202ertl",
    "a\r\nb": "a\\r\\nb",
    "\t=1": "\\t=1",
    "\x7f": "\\x7f",
    "\U000e0041": "\\U000e0041",
    "caf\xe9 \U0001f600": "caf\xe9 \U0001f600",
    "a=b": "a=b",
}
"""Names of VMs, and the cells of CSV that they become."""


@pytest.fixture
def nasty(small: str, tmp_path: Path) -> str:
    records = json.loads(Path(small).read_text())
    vms = [vm for vm in records["VM"].values() if vm["power_state"] == "Running"]
    for vm, name in zip(vms, NASTY, strict=False):
        vm["name_label"] = name
    (tmp_path / "nasty.json").write_text(json.dumps(records))
    return "nasty.json"


def test_cells_are_neither_formulas_nor_control_sequences(answer: Answer, xenmem: Command, nasty: str) -> None:
    text = answer("report", nasty, "--vms", "--format", "csv")
    assert set(NASTY.values()) <= {row["name_label"] for row in parsed(text)}
    assert text.replace("\n", "").isprintable()
    maximum = xenmem("maximise", nasty, "a=b", "--total", "0", "--format", "csv")
    assert maximum.returncode == 1
    assert int(parsed(maximum.stdout)[0]["spare"]) < 0, "an amount stays an amount"


def test_json_holds_every_name_and_steers_no_terminal(answer: Answer, nasty: str) -> None:
    text = answer("report", nasty, "--vms", "--format", "json")
    assert text.replace("\n", "").isprintable()
    assert set(NASTY) <= {vm["name_label"] for vm in json.loads(text)["pools"][0]["vms"]}
    assert "caf\xe9 \U0001f600" in text


def test_output_encoding_that_lacks_characters_is_no_error(answer: Answer, small: str) -> None:
    table = answer("report", "--vms", small, PYTHONIOENCODING="ascii")
    assert table.isascii()
    assert "-" * 60 in table
