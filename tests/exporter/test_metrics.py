"""The metrics of a fleet: against a naive twin on random pools, the letter of the exposition, and what is unknown."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pools
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed
from prometheus_client.parser import text_string_to_metric_families as parsed_as_text
from twins import metrics as twin

import xenmem
from xenmem import exposition, kernel
from xenmem.exporter.metrics import HELP, STAGES, Asked, Collection, Size, openmetrics
from xenmem.units import GIB, MIB

pytestmark = pytest.mark.compiled
EXAMPLES = Path(__file__).parents[2] / "examples"
SIZE = Size(300 * MIB, 2)
ASKED = Asked(sizes=(SIZE,), failures=(0, 1, 2))


def samples(text: str) -> twin.Values:
    """Every sample once, by its name and labels."""
    found: twin.Values = {}
    for family in parsed(text):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


def of(found: twin.Values, name: str) -> Iterator[tuple[dict[str, str], float]]:
    return ((dict(labels), value) for (own, labels), value in found.items() if own == f"xenmem_{name}")


def random_records(random: np.random.Generator, *, ballooning: bool) -> twin.Records:
    """A pool of up to four hosts, with control domains and protected VMs.

    Parameters
    ----------
    ballooning : VMs balloon, migrate, and may have more memory than their host; else they fit as they are
    """
    hosts, vms = int(random.integers(2, 5)), int(random.integers(1, 7))
    where = [None if random.random() < 0.2 else int(random.integers(hosts)) for _ in range(vms)]
    sizes = random.choice([60, 100, 200, 350, 500, 700, 900], vms).tolist()
    load = [sum(size for size, at in zip(sizes, where, strict=True) if at == host) for host in range(hosts)]
    room = random.integers(300, 2500, hosts) if ballooning else np.array(load) + random.integers(150, 900, hosts)
    made = pools.with_drivers(
        pools.records(
            room.tolist(),
            list(zip(sizes, where, strict=True)),
            disabled=[0] if random.random() < 0.3 else [],
            cpus=1 if random.random() < 0.1 else 64,
        )
    )
    made["pool"]["p-pool"] |= {"ha_host_failures_to_tolerate": "2", "ha_overcommitted": bool(random.random() < 0.5)}
    for ref, host in made["host"].items():
        host["memory_overhead"] = str(int(random.integers(0, 100)) * MIB + 1)
        made["host_metrics"][host["metrics"]] |= {"memory_free": str(int(random.integers(1, GIB)))}
        limits = {
            f"memory_{name}": str(50 * MIB) for name in ("static_max", "dynamic_max", "dynamic_min", "static_min")
        }
        dom0 = {
            "uuid": f"{ref}-0",
            "name_label": "dom0",
            "power_state": "Running",
            "resident_on": ref,
            "VCPUs_max": "1",
        }
        own = {"is_control_domain": True, "domain_type": "pv", "memory_overhead": str(MIB), "VCPUs_at_startup": "1"}
        made["VM"][f"{ref}-0"] = {**dom0, **limits, **own, "HVM_shadow_multiplier": 1.0}
        host["control_domain"] = f"{ref}-0"
    for number in range(vms):
        vm = made["VM"][f"p-v{number}"]
        if random.random() < 0.4:
            vm |= {"ha_always_run": True, "ha_restart_priority": "restart"}
        if ballooning:
            vm["memory_dynamic_min"] = str(int(vm["memory_dynamic_min"]) // int(random.integers(1, 4)))
            vm["memory_static_min"] = vm["memory_dynamic_min"]
            if where[number] is not None and random.random() < 0.3:
                vm["scheduled_to_be_resident_on"] = f"p-h{random.integers(hosts)}"
    return made


def fleet_of(records: twin.Records) -> xenmem.Fleet:
    return xenmem.Fleet.from_records(records)


@pytest.mark.parametrize("seed", range(20))
def test_a_random_pool_equals_its_twin(seed: int) -> None:
    records = random_records(np.random.default_rng(seed), ballooning=True)
    found = samples(openmetrics(fleet_of(records), 5, ASKED))
    expected = twin.accounted(records) | twin.fitting(records, *SIZE)
    assert {key: found.get(key) for key in expected} == expected
    names = {name for name, _ in expected} - {"xenmem_pool_vms_fit"}
    assert {key for key in found if key[0] in names} == {key for key in expected if key[0] in names}

    for ha in (False, True):
        protected = "ha" if ha else "all"
        for policy in ("static_max", "dynamic_max", "dynamic_min"):
            plain = twin.restarts(records, policy, ha=ha)
            values = [
                value
                for labels, value in of(found, "pool_failures_survivable")
                if labels["planner"] == "xenmem" and (labels["protected"], labels["policy"]) == (protected, policy)
            ]
            assert values == ([twin.survivable(plain)] if plain[0] and plain[1] else [])
    plain = twin.restarts(records, "static_max", ha=False)
    margins = {int(labels["failures"]): value for labels, value in of(found, "pool_margin_bytes")}
    asked = [n for n in (1, 2) if plain[1] and n <= len(plain[0])]
    assert margins == {n: least for n in asked if (least := twin.margin(plain, n)) is not None}
    beside = {
        int(labels["failures"]): value for labels, value in of(found, "pool_vms_fit") if labels["failures"] != "0"
    }
    required = SIZE.memory + int(kernel.overhead(kernel.DomainType.HVM, *SIZE, 1.0))
    expected_beside = {n: twin.fit_beside(plain, required, n) for n in (1, 2) if n <= len(plain[0])}
    assert beside == expected_beside


@pytest.mark.parametrize("seed", range(12))
def test_hosts_that_can_be_emptied_equal_enumeration(seed: int) -> None:
    records = random_records(np.random.default_rng(100 + seed), ballooning=False)
    found = samples(openmetrics(fleet_of(records), 5, ASKED))
    own = {labels["uuid"]: value for labels, value in of(found, "host_evacuable") if labels["planner"] == "xenmem"}
    assert own == {ref: twin.evacuable(records, host) for host, ref in enumerate(records["host"])}
    missing = {labels["uuid"]: value for labels, value in of(found, "host_evacuation_missing_bytes")}
    assert {ref: value == 0 for ref, value in missing.items()} == own


def example(**host: Any) -> xenmem.Fleet:
    """A host of 64 GiB before 26.3 with 1 GiB of overhead, a control domain of 4 GiB, and three VMs of 16 GiB."""
    records = pools.records([65536], [(16384 + 134, 0)] * 3, vcpus=4, builds=["24.19.2"])
    records["pool"] = {"p": {"uuid": "p", "name_label": 'lab "x"', "master": "p-h0"}}
    records["host"]["p-h0"] |= {"uuid": "h", "name_label": "h1", "memory_overhead": str(GIB), **host}
    for vm in records["VM"].values():
        vm |= {name: str(16 * GIB) for name in vm if name.startswith("memory_")} | {"memory_overhead": str(134 * MIB)}
    dom0 = {name: str(4 * GIB) for name in ("memory_static_max", "memory_dynamic_max", "memory_dynamic_min")}
    records["VM"]["dom0"] = records["VM"]["p-v0"] | dom0 | {"is_control_domain": True, "uuid": "dom0"}
    records["VM"]["dom0"] |= {"memory_static_min": str(GIB), "memory_overhead": str(24 * MIB), "domain_type": "pv"}
    return fleet_of(records)


def test_the_example_to_the_letter() -> None:
    lines = openmetrics(example(), 1_700_000_000.25, Asked(failures=(0,))).splitlines()
    labels = r'pool_uuid="p",pool_name="lab \"x\"",uuid="h",host_name="h1",policy="dynamic_min"'
    assert f"xenmem_host_memory_free_bytes{{{labels}}} 11364466688" in lines
    assert "# TYPE xenmem_host_memory_free_bytes gauge" in lines
    assert "# UNIT xenmem_host_memory_free_bytes bytes" in lines
    assert "# UNIT xenmem_inventory_timestamp_seconds seconds" in lines
    assert r'xenmem_inventory_timestamp_seconds{pool_uuid="p",pool_name="lab \"x\""} 1700000000.25' in lines
    assert lines[-1] == "# EOF"
    metadata = [line.split()[1:3] for line in lines if line.startswith("# ") and line != "# EOF"]
    assert len(metadata) == len(set(map(tuple, metadata)))


def test_what_the_pool_is() -> None:
    found = samples(openmetrics(example(), 5))
    ((info, one),) = of(found, "pool_info")
    assert (info["xapi_version"], info["model"], one) == ("24.19.2", "pre-26.3", 1)
    complete = {labels["class"]: value for labels, value in of(found, "inventory_complete")}
    assert complete["host"] == complete["pool"] == complete["VM"] == 1
    assert complete["VM_guest_metrics"] == complete["SR"] == 0


def test_every_metric_has_help_that_says_something() -> None:
    for name, about in HELP.items():
        assert name.startswith("xenmem_")
        assert 10 < len(about) < 120
        assert not set(about) & set('\n\\"')


def test_the_older_format_says_the_same() -> None:
    fleet = xenmem.read(EXAMPLES / "four-hosts.json")
    collection = Collection(fleet, Asked())
    for stage in STAGES.values():
        stage(collection)
    families = collection.families()
    older = exposition.text(families, openmetrics=False)
    assert "# UNIT" not in older
    assert "# EOF" not in older
    values = {(one.name, frozenset(one.labels.items())): one.value for f in parsed_as_text(older) for one in f.samples}
    assert values == samples(exposition.text(families))


def test_planners_differ_where_they_do() -> None:
    """Of the example, the pool itself finds no way to empty the host delta."""
    found = samples(openmetrics(xenmem.read(EXAMPLES / "four-hosts.json"), 5))
    evacuable = {(labels["host_name"], labels["planner"]): value for labels, value in of(found, "host_evacuable")}
    assert evacuable["delta", "xapi"] == 0
    assert evacuable["delta", "xenmem"] == 1
    survivable = {labels["planner"]: value for labels, value in of(found, "pool_failures_survivable")}
    assert set(survivable) == {"xapi", "xenmem"}


def test_what_is_unknown_has_no_sample() -> None:
    records = pools.records([4096, 4096], [(1024, 0)])
    records["host_metrics"]["p-h1-m"]["memory_total"] = "0"
    found = samples(openmetrics(fleet_of(records), 5, ASKED))
    for name in ("host_memory_total_bytes", "host_memory_free_bytes", "host_memory_overcommitted_bytes"):
        assert {labels["uuid"] for labels, _ in of(found, name)} == {"p-h0"}
    for name in ("pool_failures_survivable", "pool_margin_bytes", "host_memory_measured_free_bytes"):
        assert not list(of(found, name))
    assert {labels["planner"] for labels, _ in of(found, "host_evacuable")} == {"xapi"}


def test_a_pool_without_hosts_that_take_vms() -> None:
    found = samples(openmetrics(fleet_of(pools.records([4096], [], disabled=[0])), 5, ASKED))
    assert [value for _, value in of(found, "pool_memory_free_bytes")] == [0, 0, 0]
    assert [value for _, value in of(found, "host_largest_vm_bytes")] == [0]
    assert not list(of(found, "pool_failures_survivable"))


@pytest.mark.parametrize(
    ("boot_free_mem", "reserve"),
    [
        (65536 * MIB - GIB + 9 * MIB, 9 * MIB),
        (65536 * MIB - GIB + 72 * MIB, 72 * MIB),
        (65536 * MIB - GIB, 0),
        (5, None),
    ],
)
def test_the_reserve_is_told_by_the_memory_free_at_boot(boot_free_mem: int, reserve: int | None) -> None:
    fleet = example()
    hosts = xenmem.fleet.Hosts(**fleet.hosts.columns() | {"boot_free_mem": np.array([boot_free_mem])})
    found = samples(openmetrics(fleet.replace(hosts=hosts), 5))
    assert [value for _, value in of(found, "host_memory_reserve_bytes")] == ([] if reserve is None else [reserve])


def test_series_of_vms_are_asked_for() -> None:
    assert not list(of(samples(openmetrics(example(), 5)), "vm_memory_accounted_bytes"))
    found = samples(openmetrics(example(), 5, Asked(per_vm=True)))
    accounted = {
        (labels["uuid"], labels["vm_name"], labels["policy"]): value
        for labels, value in of(found, "vm_memory_accounted_bytes")
    }
    assert accounted["p-v1", "p-v1", "static_max"] == (16384 + 134) * MIB
    assert len(accounted) == 4 * 3
    overheads = {(labels["uuid"], labels["kind"]): value for labels, value in of(found, "vm_memory_overhead_bytes")}
    assert overheads["p-v1", "stored"] == overheads["p-v1", "computed"] == 134 * MIB


def test_several_pools_share_families() -> None:
    fleet = xenmem.Fleet.concatenate([pools.pool([4096, 4096], [(1024, 0)], name=name) for name in ("a", "b")])
    found = samples(openmetrics(fleet, 5, ASKED))
    for name in ("pool_info", "pool_margin_bytes", "pool_empty_hosts"):
        assert {labels["pool_uuid"] for labels, _ in of(found, name)} == {"a-pool", "b-pool"}


@pytest.mark.parametrize("name", ['a"b', "a\\", "a\nb", "é", "\ud800", "{}=,"])
def test_any_name_is_a_label(name: str) -> None:
    records = pools.records([4096], [])
    records["pool"]["p-pool"]["name_label"] = name
    ((labels, _),) = of(samples(openmetrics(fleet_of(records), 5, ASKED)), "pool_info")
    assert labels["pool_name"] == name.replace("\ud800", "?")


@pytest.mark.parametrize(
    ("accept", "openmetrics_wanted"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1", True),
        ("application/openmetrics-text;q=0.2, text/plain;q=0.8", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=x", False),
        ("APPLICATION/OPENMETRICS-TEXT", True),
    ],
)
def test_a_scraper_is_given_what_it_prefers(accept: str, openmetrics_wanted: bool) -> None:
    assert exposition.wants_openmetrics(accept) is openmetrics_wanted


def test_every_metric_is_documented_with_its_labels() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "metrics.md").read_text()
    rows = re.findall(r"^\| (`xenmem_.+?`) \| (.*?) \|", page, re.MULTILINE)
    documented = {
        name: set(re.findall(r"`(\w+)`", labels)) for names, labels in rows for name in re.findall(r"`(\w+)`", names)
    }
    found = samples(openmetrics(example(), 5, Asked(per_vm=True)))
    common = {"pool_uuid", "pool_name"}
    for name, labels in {(name, frozenset(dict(labels))) for name, labels in found}:
        of_host = {"uuid", "host_name"} if name.startswith("xenmem_host_") else set[str]()
        assert labels == common | of_host | documented[name], name
    assert set(HELP) <= set(documented)
