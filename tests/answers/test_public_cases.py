"""Situations that users reported in public, each as a pool of our own; the right answers are those of real servers.

Others stand where their subject is: pasted text of xe in inventory/test_formats.py, guests that are squeezed or do not
balloon in xenapi/world/test_guests.py, a balanced newcomer in test_balloon.py, plans in planning/.
"""

import io
import json
from typing import Any

import pytest
from dumps import DOM0, GIB, GUEST, HOST, METRICS, pool

import xenmem
from xenmem import answers, kernel
from xenmem.units import MIB
from xenmem.xenapi import Failure

Tables = dict[str, dict[str, dict[str, Any]]]


def read(tables: Tables) -> xenmem.Fleet:
    return xenmem.Fleet.from_records(tables)


def guest(fleet: xenmem.Fleet) -> int:
    return int(fleet.vms.name_label.tolist().index("vm guest"))


def test_the_shim_of_7_5_to_8_0() -> None:
    """Until 2019-09 a shim took 20 MiB and MiB/110: 8 GiB with 1 vCPU needed 161 MiB, 128 GiB 2,238 MiB."""
    for size, mib in ((8, 161), (128, 2238)):
        tables = pool(domain_type="pv_in_pvh", memory_static_max=str(size * GIB), VCPUs_max="1", VCPUs_at_startup="1")
        tables["host"][HOST]["software_version"] = {"xapi": "1.110", "xapi_build": "1.110.1"}
        fleet = read(tables)
        assert fleet.overhead()[guest(fleet)] == mib * MIB
    assert kernel.overhead(kernel.DomainType.PV_IN_PVH, 8 * GIB, 1, 1.0, model="pre-26.3") == 181 * MIB


class TestWhatIsNotThere:
    def test_hosts_alone(self) -> None:
        tables = pool()
        tables["VM"] = {}
        result = answers.fit(read(tables), GIB, 1)
        assert any("what runs on the hosts is not counted" in text for text in result.caveats)

    def test_a_host_without_control_domain(self) -> None:
        tables = pool()
        del tables["VM"][DOM0]
        result = answers.fit(read(tables), GIB, 1)
        assert any("no control domain in the inventory" in text for text in result.caveats)
        fleet = read(tables)
        assert answers.explain(fleet, guest(fleet)).caveats == result.caveats

    def test_nothing_is_amiss(self) -> None:
        tables = pool()
        tables["host_metrics"][METRICS]["memory_free"] = "0"
        tables["VM"][DOM0]["memory_dynamic_min"] = str(4 * GIB)
        fleet = read(tables)
        assert answers.fit(fleet, GIB, 1).caveats == answers.explain(fleet, guest(fleet)).caveats == []


class TestForcedStart:
    def start(self, tables: Tables) -> None:
        session = xenmem.connect(io.BytesIO(json.dumps(tables).encode()))
        session.xenapi.VM.start(GUEST, False, True)

    @pytest.mark.parametrize(
        ("value", "details"),
        [
            ("true", ["LICENCE_RESTRICTION", "Nested_virt"]),
            ("maybe", ["INVALID_VALUE", "platform:nested-virt", "maybe"]),
        ],
    )
    def test_force_skips_the_memory_alone(self, value: str, details: list[str]) -> None:
        tables = pool(platform={"nested-virt": value})
        tables["host"][HOST] |= {"capabilities": ["hvm-3.0-x86_64"]}
        with pytest.raises(Failure) as raised:
            self.start(tables)
        assert raised.value.details == details

    def test_a_pool_older_than_virtual_hardware(self) -> None:
        """Hosts that do not name their versions have xapi's default, [0]."""
        tables = pool(hardware_platform_version="0", has_vendor_device=False)
        tables["host"][HOST] |= {"capabilities": ["hvm-3.0-x86_64"], "software_version": {"xapi": "1.3"}}
        self.start(tables)


def test_a_reservation_that_a_halted_vm_holds() -> None:
    """Before xapi 25.31 a VM that came halted from another pool kept it; its memory counts, and the report says so."""
    tables = pool(scheduled_to_be_resident_on=HOST, name_label="left over")
    report = answers.report(read(tables)).pools[0]
    (warning,) = [one for one in report.warnings if one.kind == "halted-reservation"]
    assert (warning.vms, warning.memory) == ([GUEST], 2 * GIB + 38 * MIB)
    assert report.hosts[0].vms.memory.dynamic_min == 2 * GIB
    tables["VM"][GUEST]["current_operations"] = {"OpaqueRef:t": "start"}
    assert not [one for one in answers.report(read(tables)).pools[0].warnings if one.kind == "halted-reservation"]


class TestControlDomains:
    def test_one_that_has_a_range(self) -> None:
        """Whether squeezed may shrink it the records do not tell: both answers say what they rest on."""
        tables = pool()
        tables["host_metrics"][METRICS]["memory_free"] = "0"
        tables["VM"][DOM0] |= {"memory_dynamic_min": str(GIB), "memory_dynamic_max": str(4 * GIB)}
        fleet = read(tables)
        for result in (answers.explain(fleet, guest(fleet)), answers.balloon(fleet, guest(fleet), 0)):
            (text,) = result.caveats
            assert text.startswith("control domain vm dom0 has a range, 1GiB to 4GiB")

    def test_one_above_its_dynamic_max(self) -> None:
        """Domain 0 has 744 MiB where its dynamic_max is 393: the host has less than the records say."""
        tables = pool()
        low = str(393 * MIB)
        limits = {"memory_dynamic_min": low, "memory_dynamic_max": low, "memory_static_min": low}
        tables["VM"][DOM0] |= limits | {"memory_target": str(744 * MIB)}
        free = 64 * GIB - GIB - (393 + 38) * MIB
        for measured, is_told in ((free - 351 * MIB, True), (free, False), (free - 10 * MIB, False), (0, False)):
            tables["host_metrics"][METRICS]["memory_free"] = str(measured)
            fleet = read(tables)
            found = [one for one in answers.report(fleet).pools[0].warnings if one.kind == "measured-below"]
            assert bool(found) == is_told
            assert bool(answers.fit(fleet, GIB, 1).caveats) == is_told
            for one in found:
                assert one.memory == 351 * MIB
                assert "control domain vm dom0 has 744MiB, above its dynamic_max" in one.text
