"""What decides where VMs can run, as it is read: of every format, of old releases, and of files that are damaged."""

import io
import json
from collections.abc import Callable
from random import Random
from typing import Any

import dumps
import pytest
from mobility_pools import Tables, drawn

import xenmem
from xenmem import Fleet, InventoryError
from xenmem.columns import Unknown


def notes(fleet: Fleet) -> dict[str, str]:
    return {note.kind: str(note) for note in fleet.notes}


def test_records_and_dumps_agree() -> None:
    """But for internal columns, of which virtual functions are idle: records lack them, and say so."""
    for seed in range(12):
        tables = drawn(Random(seed), 4, 12)
        dumped = xenmem.read(io.BytesIO(dumps.dump(tables)))
        records = json.loads(json.dumps(tables))
        for pci in records["PCI"].values():
            del pci["physical_function"], pci["attached_VMs"], pci["scheduled_to_be_attached_to"]
        for vif in records["VIF"].values():
            del vif["reserved_pci"]
        read = xenmem.read(io.BytesIO(json.dumps(records).encode()))
        for name in ("needed_srs", "needed_networks", "usb_hosts", "cpu_features", "has_reset_disk"):
            assert getattr(read.vms, name).tolist() == getattr(dumped.vms, name).tolist()
        for name in ("attached_srs", "networks", "enslaved_networks", "hvm", "iommu", "cpu_info"):
            assert getattr(read.hosts, name).tolist() == getattr(dumped.hosts, name).tolist()
        sriov = {row for row, hosts in enumerate(dumped.vms.vf_hosts) if hosts is not None}
        undecided = {row for row, flags in enumerate(read.vms.undecided) if flags & Unknown.DEVICES}
        assert undecided == sriov
        assert ("no-virtual-functions" in notes(read)) == bool(sriov)


def test_xe_text_tells_what_it_lists() -> None:
    """Lists of SRs, PBDs, disks, networks and PIFs, in the parameters' own names; uuids for references."""
    uuid = "00000000-0000-4000-8000-0000000000{:02x}".format
    host, vm, sr, network = (uuid(number) for number in range(4))
    lists = [
        {"uuid": host, "name-label": "h", "hostname": "h", "software-version": "xapi: 26.17", "enabled": "true"},
        {
            "uuid": vm,
            "name-label": "v",
            "power-state": "running",
            "memory-static-max": "1073741824",
            "VCPUs-max": "1",
            "resident-on": host,
            "VBDs": uuid(8),
            "VIFs": uuid(9),
        },
        {"uuid": sr, "name-label": "nfs", "shared": "true", "type": "nfs"},
        {"uuid": uuid(5), "host-uuid": host, "sr-uuid": sr, "currently-attached": "true"},
        {"uuid": uuid(6), "name-label": "disk", "sr-uuid": sr, "sm-config": "on_boot: reset; caching: true"},
        {"uuid": uuid(8), "vm-uuid": vm, "vdi-uuid": uuid(6), "empty": "false"},
        {"uuid": uuid(9), "vm-uuid": vm, "network-uuid": network},
        {"uuid": network, "name-label": "lan", "PIF-uuids": uuid(10), "VIF-uuids": uuid(9), "managed": "true"},
        {
            "uuid": uuid(10),
            "physical": "true",
            "bond-slave-of": uuid(11),
            "network-uuid": network,
            "host-uuid": host,
            "vlan-master-of": "<not in database>",
        },
        {"uuid": uuid(11), "master": uuid(10), "slaves": uuid(10)},
    ]
    text = ""
    for record in lists:
        for name, value in record.items():
            label = f"{name} ( RO)"
            text += f"{label:<30}: {value}\n" if name == "uuid" else f"{label:>30}: {value}\n"
        text += "\n\n"
    fleet = xenmem.read(io.BytesIO(text.encode()))
    assert len(fleet.pools) == 1  # a bond has a master, too
    assert fleet.vms.needed_srs.tolist() == [(0,)]
    assert fleet.vms.needed_networks.tolist() == [(0,)]
    assert fleet.vms.has_reset_disk.tolist() == [True]
    assert fleet.hosts.attached_srs.tolist() == [(0,)]
    assert fleet.hosts.networks.tolist() == fleet.hosts.enslaved_networks.tolist() == [(0,)]
    assert fleet.networks.is_pinning.tolist() == [False]


def change(table: str, ref: str, **fields: Any) -> Callable[[Tables], None]:
    return lambda tables: tables[table][ref].update(fields)


def remove(table: str, ref: str) -> Callable[[Tables], None]:
    def removed(tables: Tables) -> None:
        del tables[table][ref]

    return removed


def base() -> Tables:
    """One host, one VM with a disk and a VIF."""
    tables = drawn(Random(0), 1, 0)
    for name in ("SR", "PBD", "VDI", "VBD", "network", "PIF", "VIF", "network_sriov", "PCI", "Bond"):
        tables[name].clear()
    tables["SR"]["s"] = {"uuid": "s", "name_label": "nfs", "shared": True, "type": "nfs"}
    tables["PBD"]["p"] = {"SR": "s", "host": "h0", "currently_attached": True}
    tables["network"]["n"] = {"uuid": "n", "name_label": "lan", "managed": True, "other_config": {}}
    tables["PIF"]["f"] = {"network": "n", "host": "h0", "bond_slave_of": dumps.NULL, "VLAN_master_of": dumps.NULL}
    tables["VDI"]["d"] = {"SR": "s", "sm_config": {}}
    tables["VBD"]["b"] = {"VM": "v", "VDI": "d", "empty": False}
    tables["VIF"]["i"] = {"VM": "v", "network": "n", "reserved_pci": dumps.NULL}
    tables["VM"]["v"] = dumps.vm("v", VBDs=["b"], VIFs=["i"], last_boot_CPU_flags={})
    return tables


@pytest.mark.parametrize(
    ("damage", "kind", "named", "undecided"),
    [
        (change("VBD", "b", VDI="gone"), "dangling-VBD", "VBD b: VDI: 'gone'", Unknown.STORAGE),
        (change("VDI", "d", SR="gone"), "dangling-VDI", "VDI d: SR: 'gone'", Unknown.STORAGE),
        (change("VDI", "d", SR=dumps.NULL), "dangling-VDI", "VDI d: SR: 'none'", Unknown.STORAGE),
        (remove("VBD", "b"), "dangling-VBD", "VM v: VBDs: 'b'", Unknown.STORAGE),
        (change("PBD", "p", SR="gone"), "dangling-PBD", "PBD p: SR: 'gone'", 0),
        (change("PBD", "p", host="gone"), "dangling-PBD", "PBD p: host: 'gone'", 0),
        (change("VIF", "i", network="gone"), "dangling-VIF", "VIF i: network: 'gone'", Unknown.NETWORKS),
        (change("VIF", "i", VM="gone"), "dangling-VIF", "VIF i: VM: 'gone'", 0),
        (change("PIF", "f", network="gone"), "dangling-PIF", "PIF f: network: 'gone'", 0),
        (change("PIF", "f", bond_slave_of="gone"), "dangling-PIF", "PIF f: bond_slave_of: 'gone'", 0),
    ],
)
def test_what_dangles_is_named(damage: Callable[[Tables], None], kind: str, named: str, undecided: int) -> None:
    tables = base()
    damage(tables)
    fleet = xenmem.read(io.BytesIO(dumps.dump(tables)))
    assert named in notes(fleet)[kind]
    assert fleet.vms.undecided.tolist() == [undecided]


def test_features_that_are_none_are_named() -> None:
    tables = base()
    tables["host"]["h0"]["cpu_info"]["features_hvm"] = "17cbfbff-"
    tables["VM"]["v"] |= {"power_state": "Suspended", "last_boot_CPU_flags": {"features": "123456789"}}
    told = notes(xenmem.read(io.BytesIO(dumps.dump(tables))))["bad-cpu-features"]
    assert "2 sets of CPU features" in told
    assert "VM v: last_boot_CPU_flags: features: '123456789'" in told


def test_bonds_that_go_round_in_a_circle_are_bonds() -> None:
    tables = base()
    tables["Bond"] = {"one": {"master": "f", "slaves": ["f"]}}
    tables["PIF"]["f"]["bond_slave_of"] = "one"
    assert xenmem.read(io.BytesIO(dumps.dump(tables))).hosts.enslaved_networks.tolist() == [(0,)]


def test_a_usb_device_of_two_vms_is_said() -> None:
    tables = base()
    tables["VM"]["w"] = dumps.vm("w", VBDs=[], VIFs=[], VUSBs=["wu"])
    tables["VM"]["v"]["VUSBs"] = ["vu"]
    tables["VUSB"] = {"vu": {"VM": "v", "USB_group": "g"}, "wu": {"VM": "w", "USB_group": "g"}}
    tables["USB_group"] = {"g": {"uuid": "g", "name_label": "stick", "PUSBs": ["u"], "VUSBs": []}}
    tables["PUSB"] = {"u": {"USB_group": "g", "host": "h0"}}
    assert "VUSB wu: USB_group: VM v and VM w" in notes(xenmem.read(io.BytesIO(dumps.dump(tables))))["shared-device"]


def test_a_negative_capacity_is_refused() -> None:
    tables = base()
    tables["PGPU"]["g"] = {"host": "h0", "GPU_group": "x", "size": "-5"}
    with pytest.raises(InventoryError, match=r"PGPU g: size: -5 is outside 0\.\.1048576"):
        xenmem.read(io.BytesIO(dumps.dump(tables)))


def test_without_disks_and_vifs_nothing_is_missing() -> None:
    """A record that lists none needs none, whatever classes the file has."""
    fleet = Fleet.from_records(dumps.pool(VBDs=[], VIFs=[]))
    assert fleet.vms.not_told[1] == 0
    assert Fleet.from_records(dumps.pool()).vms.not_told[1] == Unknown.STORAGE | Unknown.NETWORKS
