"""The page of a report: what it shows is what the Fleet says, names never become markup, and it loads nothing."""

import base64
import hashlib
import re

import dumps
import pytest
from page.documents import Document

from xenmem import Fleet, answers, page
from xenmem.page.table import natural

GIB = dumps.GIB
NASTY = '<script>alert(1)</script><img src=x onerror="alert(2)">&amp;</style>\'"\u2028\u202e'


@pytest.fixture
def fleet() -> Fleet:
    """A host of 64 GiB with a guest that is called badly and runs there, and a halted one."""
    records = dumps.pool(name_label=NASTY, power_state="Running", resident_on=dumps.HOST)
    records["VM"][dumps.GUEST]["uuid"] = "0f0f0f0f-0000-4000-8000-000000000001"
    records["VM"]["OpaqueRef:second"] = dumps.vm("0f0f0f0f-0000-4000-8000-000000000002", name_label="web-10")
    records["VM"]["OpaqueRef:third"] = dumps.vm("0f0f0f0f-0000-4000-8000-000000000003", name_label="web-9")
    records["VM"][dumps.DOM0]["uuid"] = "0f0f0f0f-0000-4000-8000-000000000004"
    records["host"][dumps.HOST]["name_label"] = NASTY
    records["pool"][dumps.POOL]["name_label"] = NASTY
    return Fleet.from_records(records)


def test_it_is_well_formed_and_loads_nothing(fleet: Fleet) -> None:
    text = page.report(fleet)
    document = Document(text)
    assert document.open == []
    for tag, attributes in document.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form")
        assert not {"src", "href", "style", "srcset", "action"} & attributes.keys(), tag
        assert not any(name.startswith("on") for name in attributes)
    (policy,) = (a["content"] for _, a in document.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src ")
    assert "unsafe" not in policy
    for tag, kind in (("style", "style-src"), ("script", "script-src")):
        (inline,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.S)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy
        assert not re.search(r"https?:|@import|fetch\(|XMLHttpRequest|innerHTML|eval\(", inline)


def test_names_stay_text(fleet: Fleet) -> None:
    document = Document(page.report(fleet))
    assert [a for tag, a in document.elements if tag == "script"] == [{"type": "application/json", "id": "data"}, {}]
    shown = repr(NASTY)  # as messages call what would not print
    assert "".join(document.texts["h1"]) == f"Memory of {shown}"
    assert shown in document.texts["span"]
    assert shown in document.tables()["vms"]["name"]
    assert document.tables()["hosts"]["name"] == [shown]


def test_the_tables_say_what_the_fleet_says(fleet: Fleet) -> None:
    tables = Document(page.report(fleet)).tables()
    vms = tables["vms"]
    assert vms["name"][2:] == ["web-9", "web-10"]
    assert vms["state"] == ["running", "running", "halted", "halted"]
    assert vms["kind"].count("control domain") == 1
    assert vms["uuid"][2:] == ["0f0f0f0f00004000800000000000000" + digit for digit in "32"]
    assert vms["static_max"] == [4 * GIB] * 4
    assert vms["dynamic_min"] == [2 * GIB] * 4
    assert vms["overhead"] == [38 << 20] * 4
    hosts = tables["hosts"]
    assert hosts["total"] == [64 * GIB]
    assert hosts["hypervisor"] == [GIB]
    assert hosts["control"] == [4 * GIB + (38 << 20)]
    # 64 GiB less the host's own GiB and for each of two VMs dynamic_min, or static_max, and 38 MiB
    assert hosts["free_dynamic_min"] == [59 * GIB - (76 << 20)]
    assert hosts["free_static_max"] == [55 * GIB - (76 << 20)]
    assert hosts["measured"] == [32 * GIB]


def test_what_is_unknown_is_not_a_number() -> None:
    records = dumps.pool()
    records["host_metrics"] = {}
    tables = Document(page.report(Fleet.from_records(records))).tables()
    assert tables["hosts"]["total"] == [None]
    assert tables["hosts"]["measured"] == [None]


def test_warnings_come_first_and_bars_add_up() -> None:
    records = dumps.pool(power_state="Running", resident_on=dumps.HOST, memory_static_max=str(128 * GIB))
    text = page.report(Fleet.from_records(records))
    assert text.index("overcommitted under static_max") < text.index('<h2 id="pools">') < text.index("</main>")
    bar = re.search(r'<ul class="bars">(.*?)</ul>', text, re.S)
    assert bar is not None
    widths = {key: float(width) for key, width in re.findall(r'class="(\S+)" x="[\d.]+%" width="([\d.]+)%"', bar[1])}
    most = 1 + 4 + 128 + 76 / 1024
    assert widths.pop("beyond") == pytest.approx(100 * (most - 64) / most, abs=0.02)
    assert sum(widths.values()) == pytest.approx(100, abs=0.05)
    assert widths["hypervisor"] == pytest.approx(100 / most, abs=0.01)
    assert "69.07GiB too little of 64GiB" in bar[1]


def test_several_pools_have_a_table_of_pools() -> None:
    def pool(number: int) -> Fleet:
        records = dumps.pool()
        records["pool"][dumps.POOL]["uuid"] = f"pool-{number}"
        records["pool"][dumps.POOL]["name_label"] = f"lab {number}"
        records["host"][dumps.HOST]["uuid"] = f"host-{number}"
        return Fleet.from_records(records)

    document = Document(page.report(Fleet.concatenate([pool(10), pool(9)])))
    assert "".join(document.texts["h1"]) == "Memory of 2 pools"
    assert document.tables()["pools"]["name"] == ["lab 9", "lab 10"]
    assert document.tables()["vms"]["pool"] == ["lab 10", "lab 9"] * 2


def test_the_same_fleet_gives_the_same_page(fleet: Fleet) -> None:
    assert page.report(fleet) == page.report(fleet)


def test_many_hosts_have_one_picture() -> None:
    hosts = {"name": [f"host-{number}" for number in range(100)], "memory_total": [64 * GIB] * 100}
    vms = {"name": ["a"], "memory": [8 * GIB], "host": ["host-7"]}
    text = page.report(Fleet.from_columns(vms, hosts))
    assert text.count('<svg class="all"') == 1
    assert len(re.findall(r"<li[^>]*><span class=\"name\">", text)) == 10
    (path,) = re.findall(r'<path class="guests" d="([^"]*)"', text)
    assert path.startswith("M0 875V875H1V1000H2")  # 8 of 64 GiB of the first, nothing of the others


@pytest.mark.parametrize(
    ("names", "ordered"),
    [(["host-10", "host-2", "Host-1"], ["Host-1", "host-2", "host-10"]), (["b", "", "a9", "a"], ["", "a", "a9", "b"])],
)
def test_names_are_in_natural_order(names: list[str], ordered: list[str]) -> None:
    assert sorted(names, key=natural) == ordered


@pytest.mark.compiled
def test_advice_is_what_check_finds() -> None:
    records = dumps.pool(HVM_shadow_multiplier=0.5)
    fleet = Fleet.from_records(records)
    document = Document(page.report(fleet))
    found = [one for pool in answers.check(fleet).pools for one in pool.findings]
    told = [attributes.get("class") for tag, attributes in document.elements if tag == "details"]
    assert told.count("error") == len({one.rule for one in found if one.severity == "E"}) > 0
    assert told.count("warning") == len({one.rule for one in found if one.severity == "W"})
    assert any("shadow multiplier below 1" in text for text in document.texts["summary"])
    assert {one.remedy for one in found if one.rule == "M11"} <= set(document.texts["code"])


def test_advice_is_not_worked_out_for_very_many_vms() -> None:
    vms = {"name": ["a"] * 5001, "memory": [GIB] * 5001}
    document = Document(page.report(Fleet.from_columns(vms, {"name": ["h"], "memory_total": [64 * GIB]})))
    assert "xenmem check" in document.texts["code"]
