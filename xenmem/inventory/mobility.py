"""What decides, beside memory, where VMs can run: rows of storage, networks and devices to columns of VMs and hosts.

A VM whose needs the inventory has no records of is `not_told`; one whose records contradict each other, `undecided`:
neither is ever taken for a VM without needs. Knows no format. Rules: docs/reference/inventories.md, 4.6.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, pairwise
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from xenmem.columns import Bools, Codes, Objects, PowerState, Rows, Unknown
from xenmem.inventory.error import named, shown
from xenmem.inventory.table import RawTable, gather
from xenmem.rules.mobility import devices, guest, networks, platform, storage
from xenmem.rules.mobility.cpu import FEATURES, VENDOR, Levelling, features_of

Columns = dict[str, NDArray[Any]]

STORAGE_CLASSES: Final = ("SR", "PBD", "VDI", "VBD")
NETWORK_CLASSES: Final = ("VIF", "network", "PIF")
GPU_CLASSES: Final = ("PGPU", "GPU_group", "VGPU", "VGPU_type")
USB_CLASSES: Final = ("VUSB", "PUSB", "USB_group")
_BESIDES: Final = ("Bond", "VLAN", "network_sriov", "PCI", "PIF_metrics")
CLASSES: Final = frozenset((*STORAGE_CLASSES, *NETWORK_CLASSES, *GPU_CLASSES, *USB_CLASSES, *_BESIDES))
"""All that is read for the sake of mobility and of networks; what they lack is said here."""
_NEEDED: Final = {
    "PBD": ("SR", "host", "currently_attached"),
    "VDI": ("SR",),
    "VBD": ("VM", "VDI", "empty"),
    "VIF": ("VM", "network"),
    "PIF": ("network", "host", "bond_slave_of"),
    "VUSB": ("VM", "USB_group"),
    "PUSB": ("host", "USB_group"),
    "VGPU": ("VM", "GPU_group", "type", "resident_on"),
    "VGPU_type": ("implementation",),
    "PGPU": ("host", "GPU_group", "supported_VGPU_types", "enabled_VGPU_types"),
    "PCI": ("physical_function", "scheduled_to_be_attached_to"),
}
"""Columns without which a class does not tell what it is read for."""
_WITH_DOMAIN: Final = (PowerState.PAUSED, PowerState.RUNNING, PowerState.SUSPENDED)
_LAST: Final = 1 << 40


class Assembler(Protocol):
    """What the tables of an inventory are looked up with."""

    @property
    def tables(self) -> Mapping[str, RawTable]:
        """By class, as read."""

    @property
    def columns(self) -> Mapping[str, Columns]:
        """Of each table, by name."""

    def resolve(self, table: str, column: str, keep: NDArray[np.int32] | None = None) -> Rows:
        """Rows of the target of a reference column; -1 for none, below that where the target is not there."""

    def note(self, kind: str, text: str, count: int, example: str = "") -> None:
        """Say what was assumed."""


class Mobility:
    """The columns of VMs and hosts that the tables of storage, networks and devices give.

    Parameters
    ----------
    assembler : with the tables
    vms, hosts : columns of those that are kept; they are given the new ones
    vms_map, hosts_map : their rows by row as read
    server : how the coordinator compares CPUs
    """

    def __init__(
        self,
        assembler: Assembler,
        vms: Columns,
        hosts: Columns,
        vms_map: NDArray[np.int32],
        hosts_map: NDArray[np.int32],
        server: Levelling,
    ) -> None:
        self.assembler = assembler
        self.tables, self.columns = assembler.tables, assembler.columns
        self.vms, self.hosts = vms, hosts
        self.vms_map, self.hosts_map = vms_map, hosts_map
        self.compared = {FEATURES} if server is Levelling.MASKED else {"features_hvm", "features_pv"}
        self.not_told: Codes = np.zeros(len(vms["ref"]), np.uint8)
        self.undecided: Codes = np.zeros(len(vms["ref"]), np.uint8)

    def fill(self) -> None:
        """Add the columns."""
        self._storage()
        self._networks()
        self._cpus()
        self._platforms()
        self._devices()
        self._guests()
        for name in ("VUSBs", "VGPUs", "attached_PCIs"):
            self.vms[name] = np.fromiter(map(len, self.vms[name]), np.int32, len(self.vms[name]))
        self.vms["not_told"], self.vms["undecided"] = self.not_told, self.undecided

    # ----------------------------------------------------------------------------------------------- what is there

    def _told(self, names: Iterable[str]) -> bool:
        """Whether the inventory has these classes, and of each row what decides."""
        tables = [self.tables[name] for name in names]
        return all(
            table.given and table.missing.keys().isdisjoint(_NEEDED.get(table.schema.name, ())) for table in tables
        )

    def _not_told(self, kind: str, names: Sequence[str], concerned: Bools, unknown: Unknown, what: str) -> None:
        """Say that some classes are not there, if there are VMs that may have need of them."""
        self.not_told[concerned] |= np.uint8(unknown)
        if len(self.hosts["ref"]):
            missing = [name for name in names if not self._told((name,))]
            text = (
                f"no {' and '.join((', '.join(missing[:-1]), missing[-1]) if missing[1:] else missing)} records: {what}"
            )
            self.assembler.note(kind, f"{text} is not known, and taken to be no obstacle", int(concerned.sum()))

    def _resolve(self, table: str, column: str, keep: NDArray[np.int32] | None = None, *, null: bool = False) -> Rows:
        """Rows of the target; those whose end is missing, or none where there must be one, are said and are below 0."""
        rows = self.assembler.resolve(table, column, keep)
        lost = (rows < -1) | (rows == -1 if null else False)
        if lost.any():
            raw, row = self.tables[table], int(lost.argmax())
            code = int(self.columns[table][column][row])
            value = raw.references(column)[code] if code >= 0 else "none"
            count = int(lost.sum())
            text = f"{count} {table} {'row has' if count == 1 else 'rows have'} a {column} that is not in the inventory"
            example = f"{raw.named(self.columns[table]['ref'][row])}: {column}: {shown(value)}"
            self.assembler.note(f"dangling-{table}", text, count, example)
        return rows

    def _positions(self, table: str, column: str, unknown: Unknown) -> NDArray[np.int64]:
        """For each row of a table its place in the VM's list of such, in which the VM asks."""
        rows = self.tables[table].rows
        position = np.full(len(rows), _LAST, np.int64) + np.arange(len(rows))
        lists: Objects = self.vms[column]
        flat = [rows.get(ref, -1) for ref in chain.from_iterable(filter(None, lists))]
        listed = np.array(flat, np.int64)
        position[listed[listed >= 0]] = np.flatnonzero(listed >= 0)
        lost = [vm for vm, refs in enumerate(lists) if refs and not rows.keys() >= set(refs)] if -1 in flat else []
        if lost:
            self.undecided[lost] |= np.uint8(unknown)
            ref = next(ref for ref in lists[lost[0]] if ref not in rows)
            count = flat.count(-1)
            text = f"{count} {table} {'row' if count == 1 else 'rows'} that VMs list {'is' if count == 1 else 'are'}"
            example = f"{named('VM', self.vms['ref'][lost[0]])}: {column}: {shown(ref)}"
            self.assembler.note(f"dangling-{table}", f"{text} not in the inventory", count, example)
        return position

    # ---------------------------------------------------------------------------------------------------- storage

    def _storage(self) -> None:
        vms, count = self.vms, len(self.vms["ref"])
        vms["has_reset_disk"] = np.zeros(count, np.bool_)
        if not self._told(STORAGE_CLASSES):
            concerned = np.fromiter((refs != () for refs in vms["VBDs"]), np.bool_, count)
            what = "which hosts see the disks"
            self._not_told("no-storage", STORAGE_CLASSES, concerned, Unknown.STORAGE, what)
            vms["needed_srs"] = grouped(np.zeros(0, np.int64), np.zeros(0, np.int64), count)
            self.hosts["attached_srs"] = grouped(np.zeros(0, np.int64), np.zeros(0, np.int64), len(self.hosts["ref"]))
            return
        sr_of = self._resolve("VDI", "SR", null=True)
        owner, vdi = self._resolve("VBD", "VM", self.vms_map), self.assembler.resolve("VBD", "VDI")
        needs = (owner >= 0) & ~self.columns["VBD"]["empty"]  # storage.needs_disk
        sr = gather(sr_of, vdi, -1)
        self._note_lost_disks(needs & (vdi < 0))
        self.undecided[owner[needs & (sr < 0)]] |= np.uint8(Unknown.STORAGE)
        position = self._positions("VBD", "VBDs", Unknown.STORAGE)
        used = needs & (sr >= 0)
        image = self.assembler.resolve("VM", "suspend_VDI")[self.vms_map >= 0]
        suspended = np.zeros(count, np.bool_)
        for row in np.flatnonzero(image != -1).tolist():
            state = PowerState(vms["power_state"][row]).name.capitalize()
            suspended[row] = storage.needs_suspend_image(state, has_suspend_vdi=True)
        image_sr = gather(sr_of, image, -1)
        self.undecided[suspended & (image_sr < 0)] |= np.uint8(Unknown.STORAGE)
        saved = np.flatnonzero(suspended & (image_sr >= 0))
        vms["needed_srs"] = grouped(
            np.concatenate([owner[used], saved]),
            np.concatenate([sr[used], image_sr[saved]]),
            count,
            np.concatenate([position[used], np.full(len(saved), np.iinfo(np.int64).max)]),
        )
        vdis = self.columns["VDI"]
        reset = np.zeros(len(vdis["ref"]), np.bool_)
        for row in np.flatnonzero(vdis["caching"] != None).tolist():  # noqa: E711 - compared one by one
            config = {"caching": vdis["caching"][row], "on_boot": vdis["on_boot"][row]}
            reset[row] = storage.resets_with_cache(config)
        vms["has_reset_disk"][owner[(owner >= 0) & gather(reset, vdi, False)]] = True
        host, there = self._resolve("PBD", "host", self.hosts_map), self._resolve("PBD", "SR")
        attached = self.columns["PBD"]["currently_attached"] & (host >= 0) & (there >= 0)
        self.hosts["attached_srs"] = grouped(host[attached], there[attached], len(self.hosts["ref"]))

    def _note_lost_disks(self, lost: Bools) -> None:
        if lost.any():
            raw, row, number = self.tables["VBD"], int(lost.argmax()), int(lost.sum())
            code = int(self.columns["VBD"]["VDI"][row])
            value = raw.references("VDI")[code] if code >= 0 else "none"
            text = f"{number} VBD {'row that is' if number == 1 else 'rows that are'} not empty"
            example = f"{raw.named(self.columns['VBD']['ref'][row])}: VDI: {shown(value)}"
            self.assembler.note("dangling-VBD", f"{text} without a VDI in the inventory", number, example)

    # --------------------------------------------------------------------------------------------------- networks

    def _networks(self) -> None:
        vms, hosts = self.vms, self.hosts
        table = self.columns["network"]
        count = len(table["ref"])
        for name in ("has_pifs", "is_sriov", "is_management"):
            table[name] = np.zeros(count, np.bool_)
        table["speed"] = np.zeros(count, np.int64)
        nothing = np.zeros(0, np.int64)
        if not self._told(NETWORK_CLASSES):
            concerned = np.fromiter((refs != () for refs in vms["VIFs"]), np.bool_, len(vms["ref"]))
            what = "which hosts have the networks"
            self._not_told("no-networks", NETWORK_CLASSES, concerned, Unknown.NETWORKS, what)
            vms["needed_networks"] = grouped(nothing, nothing, len(vms["ref"]))
            hosts["networks"] = hosts["enslaved_networks"] = grouped(nothing, nothing, len(hosts["ref"]))
            table["is_pinning"] = np.zeros(count, np.bool_)
            return
        owner, network = self._resolve("VIF", "VM", self.vms_map), self._resolve("VIF", "network", null=True)
        self.undecided[owner[(owner >= 0) & (network < 0)]] |= np.uint8(Unknown.NETWORKS)
        position = self._positions("VIF", "VIFs", Unknown.NETWORKS)
        used = (owner >= 0) & (network >= 0)
        vms["needed_networks"] = grouped(owner[used], network[used], len(vms["ref"]), position[used])
        host, of = self._resolve("PIF", "host", self.hosts_map), self._resolve("PIF", "network")
        here = (host >= 0) & (of >= 0)
        hosts["networks"] = grouped(host[here], of[here], len(hosts["ref"]))
        slave = here & (self._resolve("PIF", "bond_slave_of") != -1)  # a bond that is missing counts as well
        hosts["enslaved_networks"] = grouped(host[slave], of[slave], len(hosts["ref"]))
        table["has_pifs"][of[here]] = True
        table["is_management"][of[here & self.columns["PIF"]["management"]]] = True
        speed = gather(self.columns["PIF_metrics"]["speed"], self.assembler.resolve("PIF", "metrics"), 0)
        measured = here & (speed > 0)
        slowest = np.full(count, np.iinfo(np.int64).max)
        np.minimum.at(slowest, of[measured], speed[measured])
        table["speed"] = np.where(np.bincount(of[measured], minlength=count) > 0, slowest, 0)
        table["is_pinning"] = np.fromiter(
            map(networks.is_pinning, table["has_pifs"], table["shared_by_flag"] == "true", table["managed"]),
            np.bool_,
            count,
        )

    # ------------------------------------------------------------------------------------------- CPUs and platforms

    def _cpus(self) -> None:
        hosts, vms = self.hosts, self.vms
        keys = (VENDOR, FEATURES, "features_hvm", "features_pv")
        known: dict[tuple[str | None, ...], dict[str, str]] = {}
        for values in zip(*(hosts[f"cpu_{key}"] for key in keys), strict=True):
            known.setdefault(values, {key: value for key, value in zip(keys, values, strict=True) if value is not None})
        rows = [known[values] for values in zip(*(hosts[f"cpu_{key}"] for key in keys), strict=True)]
        hosts["cpu_info"] = np.fromiter(rows, object, len(rows))
        live = np.isin(vms["power_state"], _WITH_DOMAIN)
        if len(rows) and not any(info.keys() & self.compared for info in known.values()):
            self.not_told[live] |= np.uint8(Unknown.CPU)
            text = "no host tells the features of its CPU: whether VMs that run find theirs elsewhere"
            self.assembler.note("no-cpu-features", f"{text} is not known, and taken to be no obstacle", len(rows), "")
        texts = [("VM", "last_boot_CPU_flags: features", vms["ref"], vms["cpu_features"])]
        texts += [("host", f"cpu_info: {key}", hosts["ref"], hosts[f"cpu_{key}"]) for key in keys[1:]]
        bad = {text for *_, column in texts for text in set(column) if text is not None and not _is_feature_set(text)}
        found = [
            (f"{named(table, refs[row])}: {field}", column[row])
            for table, field, refs, column in texts
            if bad
            for row in np.flatnonzero(np.isin(column.astype(str), list(bad))).tolist()
            if column[row] in bad
        ]
        if found:
            number = len(found)
            text = f"{number} {'set' if number == 1 else 'sets'} of CPU features"
            example = f"{found[0][0]}: {shown(found[0][1])}"
            text += f" that {'is' if number == 1 else 'are'} no words of hexadecimal digits"
            self.assembler.note("bad-cpu-features", text, number, example)

    def _platforms(self) -> None:
        hosts = self.hosts
        capabilities = hosts["capabilities"]
        hvm = {found: -1 if found is None else int(platform.has_hvm(found)) for found in set(capabilities)}
        hosts["hvm"] = np.fromiter(map(hvm.__getitem__, capabilities), np.int8, len(capabilities))
        iommu = map(platform.has_iommu, hosts["iommu"])
        hosts["iommu"] = np.fromiter((-1 if has is None else int(has) for has in iommu), np.int8, len(capabilities))
        offered = hosts["virtual_hardware_platform_versions"]
        numbers = {texts: tuple(sorted({int(text) for text in texts if text.isdecimal()})) for texts in set(offered)}
        hosts["virtual_hardware_platform_versions"] = np.fromiter(
            map(numbers.__getitem__, offered), object, len(offered)
        )
        unknown = hosts["hvm"] < 0
        if unknown.any():
            number = int(unknown.sum())
            text = f"{number} {'host tells' if number == 1 else 'hosts tell'} no capabilities: whether HVM guests run"
            example = named("host", hosts["ref"][unknown.argmax()])
            self.assembler.note("no-capabilities", f"{text} there is not known, and taken to be so", number, example)

    def _guests(self) -> None:
        live = np.isin(self.vms["power_state"], _WITH_DOMAIN) & ~self.vms["is_control_domain"]
        if not self.tables["VM_guest_metrics"].given and live.any():
            self.not_told[live] |= np.uint8(Unknown.GUEST)
            text = "no VM_guest_metrics records: whether guests can be migrated is not known, and taken to be so"
            self.assembler.note("no-guest-metrics", text, int(live.sum()))

    # ---------------------------------------------------------------------------------------------------- devices

    def _devices(self) -> None:
        vms, count = self.vms, len(self.vms["ref"])
        names: dict[int, list[str]] = defaultdict(list)
        for column in ("usb_hosts", "gpu_hosts", "vf_hosts", "device_names"):
            vms[column] = np.full(count, None, object)
        vms["needs_iommu"] = np.zeros(count, np.bool_)
        vms["has_foreign_pci"] = np.fromiter(map(bool, vms["attached_PCIs"]), np.bool_, count)
        vms["has_pinned_vgpu"] = np.fromiter(map(bool, vms["VGPUs"]), np.bool_, count)
        self._usb(names)
        self._gpus(names)
        self._virtual_functions(names)
        for vm, texts in names.items():
            vms["device_names"][vm] = tuple(texts)

    def _usb(self, names: dict[int, list[str]]) -> None:
        has = np.fromiter(map(bool, self.vms["VUSBs"]), np.bool_, len(self.vms["ref"]))
        if not self._told(USB_CLASSES):
            if has.any():
                what = "where the USB devices are"
                self._not_told("no-usb", USB_CLASSES, has, Unknown.DEVICES, what)
                self.undecided[has] |= np.uint8(Unknown.DEVICES)
            return
        groups, rows = self.columns["USB_group"], self.tables["PUSB"].rows
        group_of, host_of = self.assembler.resolve("PUSB", "USB_group"), self._resolve("PUSB", "host", self.hosts_map)
        listed = [[rows[ref] for ref in refs if ref in rows] for refs in groups["PUSBs"]]
        owner, group = self._resolve("VUSB", "VM", self.vms_map), self._resolve("VUSB", "USB_group")
        shared: dict[int, int] = {}
        for vm, number, ref in zip(owner.tolist(), group.tolist(), self.columns["VUSB"]["ref"], strict=True):
            if vm < 0:
                continue
            members = [pusb for pusb in listed[number] if group_of[pusb] == number] if number >= 0 else []
            here = devices.usb_host([int(host_of[pusb]) for pusb in members])
            hosts = () if here is None or here < 0 else (here,)
            before = self.vms["usb_hosts"][vm]
            self.vms["usb_hosts"][vm] = hosts if before in (None, hosts) else ()
            label = groups["name_label"][number] if number >= 0 else ""
            names[vm].append(f"the USB device {label or ref}")
            if shared.setdefault(number, vm) != vm and number >= 0:
                both = [named("VM", self.vms["ref"][one]) for one in (shared[number], vm)]
                example = f"{named('VUSB', ref)}: USB_group: {' and '.join(both)}"
                self.assembler.note("shared-device", "a USB device belongs to two VMs", 1, example)

    def _gpus(self, names: dict[int, list[str]]) -> None:
        vms = self.vms
        has = np.fromiter(map(bool, vms["VGPUs"]), np.bool_, len(vms["ref"]))
        told = self._told(GPU_CLASSES) and not (self.columns["VGPU_type"]["implementation"] == "").any()
        if not told:
            if has.any():
                what = "where there is room for the vGPUs"
                self._not_told("no-gpus", GPU_CLASSES, has, Unknown.DEVICES, what)
                self.undecided[has] |= np.uint8(Unknown.DEVICES)
            return
        columns = self.columns["VGPU"]
        owner = self._resolve("VGPU", "VM", self.vms_map)
        if not (owner >= 0).any():
            return
        kinds = self._gpu_types()
        kind, group = self._resolve("VGPU", "type"), self._resolve("VGPU", "GPU_group", null=True)
        resident = self._resolve("VGPU", "resident_on")
        scheduled = self.assembler.resolve("VGPU", "scheduled_to_be_resident_on")
        position = self._positions("VGPU", "VGPUs", Unknown.DEVICES)
        types = [kinds[row] if row >= 0 else _WHOLE for row in kind.tolist()]
        by_host = self._gpus_by_host(types, resident, scheduled)
        metadata = self.columns["PGPU"]["nvidia"]
        outcome: dict[tuple[tuple[str, devices.GPUType], ...], tuple[int, ...]] = {}
        of_vm: dict[int, list[int]] = defaultdict(list)
        for row in np.argsort(position, kind="stable").tolist():
            if owner[row] >= 0:
                of_vm[int(owner[row])].append(row)
        group_refs = [*self.tables["GPU_group"].rows]
        for vm, rows in of_vm.items():
            if (group[rows] < 0).any() or (kind[rows] < -1).any():
                self.undecided[vm] |= np.uint8(Unknown.DEVICES)
                continue
            wanted = tuple((group_refs[group[row]], types[row]) for row in rows)
            if wanted not in outcome:
                outcome[wanted] = tuple(
                    host for host, groups in by_host.items() if devices.allocate(wanted, groups).failed < 0
                )
            vms["gpu_hosts"][vm] = outcome[wanted]
            vms["needs_iommu"][vm] = any(devices.passes_function(types[row].implementation) for row in rows)
            live = [
                guest.LiveGPU(
                    types[row].implementation,
                    columns["PCI"][row],
                    bool(resident[row] >= 0 and metadata[resident[row]] is not None),
                )
                for row in rows
            ]
            vms["has_foreign_pci"][vm] = guest.has_foreign_pci(vms["attached_PCIs"][vm], live)
            vms["has_pinned_vgpu"][vm] = guest.has_pinned_vgpu(live)
            table = self.columns["VGPU_type"]
            model = table["model_name"][kind[rows[0]]] if kind[rows[0]] >= 0 else "a whole GPU"
            label = self.columns["GPU_group"]["name_label"][group[rows[0]]] or wanted[0][0]
            names[vm].append(f"the vGPU {model} of {label}")

    def _gpu_types(self) -> list[devices.GPUType]:
        """What each row of VGPU_type is; where its size is not told, from how many of it fit on a GPU."""
        table = self.columns["VGPU_type"]
        most: dict[str, int] = {}
        for capacities in self.columns["PGPU"]["supported_VGPU_max_capacities"]:
            for ref, number in capacities.items():
                most[ref] = int(number) if str(number).isdecimal() and len(str(number)) < 8 else 0
        return [
            devices.GPUType(
                ref,
                implementation,
                int(size) if size >= 0 else devices.size_for(most.get(ref, 0)),
                devices.compatible_types(ref, implementation) if compatible is None else frozenset(compatible),
            )
            for ref, implementation, size, compatible in zip(
                table["ref"], table["implementation"], table["size"], table["compatible_types_on_pgpu"], strict=True
            )
        ]

    def _gpus_by_host(
        self, types: Sequence[devices.GPUType], resident: Rows, scheduled: Rows
    ) -> dict[int, dict[str, tuple[list[devices.GPU], str]]]:
        """By host and group: its GPUs in the group's order, and how the group gives them away."""
        table, groups = self.columns["PGPU"], self.columns["GPU_group"]
        host, group = self._resolve("PGPU", "host", self.hosts_map), self.assembler.resolve("PGPU", "GPU_group")
        pci = self.assembler.resolve("PGPU", "PCI")
        attached = self.columns["PCI"]["attached_VMs"]
        carries: dict[int, list[devices.GPUType]] = defaultdict(list)
        comes: dict[int, list[devices.GPUType]] = defaultdict(list)
        for kind, here, there in zip(types, resident.tolist(), scheduled.tolist(), strict=True):
            carries[here].append(kind)
            comes[there].append(kind)
        rows = self.tables["PGPU"].rows
        found: dict[int, dict[str, tuple[list[devices.GPU], str]]] = {
            at: {
                ref: ([], algorithm)
                for ref, algorithm in zip(groups["ref"], groups["allocation_algorithm"], strict=True)
            }
            for at in range(len(self.hosts["ref"]))
        }
        for number, ref in enumerate(groups["ref"]):
            for row in [rows[pgpu] for pgpu in groups["PGPUs"][number] if pgpu in rows]:
                if host[row] >= 0 and group[row] == number:
                    found[int(host[row])][ref][0].append(
                        devices.GPU(
                            table["ref"][row],
                            int(table["size"][row]),
                            table["supported_VGPU_types"][row],
                            table["enabled_VGPU_types"][row],
                            carries[row],
                            comes[row],
                            pci[row] >= 0 and bool(attached[pci[row]]),
                        )
                    )
        return found

    def _virtual_functions(self, names: dict[int, list[str]]) -> None:
        """Where VMs find idle virtual functions for their VIFs on SR-IOV networks."""
        if not len(self.tables["network_sriov"]) or not self._told(NETWORK_CLASSES):
            return
        owner, network = self.assembler.resolve("VIF", "VM", self.vms_map), self.assembler.resolve("VIF", "network")
        idle = self._idle_functions()
        is_sriov: Bools = self.columns["network"]["is_sriov"]
        is_sriov[sorted({net for net, _ in idle})] = True
        concerned = (owner >= 0) & gather(is_sriov, network, False)
        # a database has the internal columns that other formats lack, and whatever a row of it lacks is the default
        whole = self.tables["PCI"].codec.format == "statedb"
        told = whole or (self._told(("PCI",)) and "reserved_pci" not in self.tables["VIF"].missing)
        if not told:
            vms = np.zeros(len(self.vms["ref"]), np.bool_)
            vms[owner[concerned]] = True
            if vms.any():
                self.undecided[vms] |= np.uint8(Unknown.DEVICES)
                text = "which virtual functions are idle is not in the inventory: VMs on SR-IOV networks stay"
                self.assembler.note("no-virtual-functions", text, int(vms.sum()))
            return
        reserved = self._resolve("VIF", "reserved_pci")
        needs: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
        for row in np.flatnonzero(concerned & (reserved < 0)).tolist():
            needs[int(owner[row])][int(network[row])] += 1
        labels = self.columns["network"]["name_label"]
        for vm, wanted in needs.items():
            hosts = []
            for host in range(len(self.hosts["ref"])):
                local = {net: number for net, number in wanted.items() if (net, host) in idle}
                if devices.short_of_functions(local, {net: idle[net, host] for net in local}) is None:
                    hosts.append(host)
            self.vms["vf_hosts"][vm] = tuple(hosts)
            names[vm].append(f"virtual functions of network {labels[next(iter(wanted))]}")

    def _idle_functions(self) -> dict[tuple[int, int], int]:
        """By network and host, how many virtual functions of the SR-IOV PIF below it nobody has."""
        logical = self._resolve("network_sriov", "logical_PIF", null=True)
        physical = self._resolve("network_sriov", "physical_PIF", null=True)
        below = {top: base for top, base in zip(logical.tolist(), physical.tolist(), strict=True) if top >= 0}
        host, net = self.assembler.resolve("PIF", "host", self.hosts_map), self.assembler.resolve("PIF", "network")
        vlan, tagged = self._resolve("PIF", "VLAN_master_of"), self._resolve("VLAN", "tagged_PIF")
        function_of = self.assembler.resolve("PCI", "physical_function")
        waiting = self.columns["PCI"]["scheduled_to_be_attached_to"] >= 0
        taken = np.fromiter(map(bool, self.columns["PCI"]["attached_VMs"]), np.bool_, len(waiting))
        free = np.bincount(function_of[(function_of >= 0) & ~taken & ~waiting], minlength=len(waiting))
        pci = self._resolve("PIF", "PCI")
        idle = {}
        for row, (at, network) in enumerate(zip(host.tolist(), net.tolist(), strict=True)):
            top = int(tagged[vlan[row]]) if vlan[row] >= 0 else row
            if top in below and at >= 0 and network >= 0:
                base = below[top]
                idle[network, at] = int(free[pci[base]]) if base >= 0 and pci[base] >= 0 else 0
        return idle


_WHOLE: Final = devices.GPUType("", devices.PASSTHROUGH, 0, frozenset())


def grouped(owner: NDArray[Any], item: NDArray[Any], count: int, position: NDArray[np.int64] | None = None) -> Objects:
    """For each owner its items, each once, in order of position, or ascending: tuples, equal ones the same object."""
    groups = np.full(count, None, object)
    empty: tuple[int, ...] = ()
    groups[:] = [empty] * count if count else []
    if not len(owner):
        return groups
    order = np.lexsort((item if position is None else position, owner))
    owner, items = owner[order], item[order].tolist()
    starts = [0, *(np.flatnonzero(np.diff(owner)) + 1).tolist(), len(items)]
    known: dict[tuple[int, ...], tuple[int, ...]] = {}
    for row, (first, end) in zip(owner[starts[:-1]].tolist(), pairwise(starts), strict=True):
        own = tuple(items[first:end]) if end == first + 1 else tuple(dict.fromkeys(items[first:end]))
        groups[row] = known.setdefault(own, own)
    return groups


def _is_feature_set(text: str) -> bool:
    try:
        features_of(text)
    except ValueError:
        return False
    return True
