"""The worked examples of mobility: one pool, what each example changes of it, what is asked, and what is answered.

The pool is the tables of a database dump, internal columns included, so that every reader of inventories takes it. The
answers are the server's: a failure as its code and parameters, None for none, or a value. Amounts are bytes.
Source: xapi-project/xen-api, ocaml/xapi/xapi_vm_helpers.ml and the files that the rules name.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import dumps

GIB = 1 << 30
NULL = "OpaqueRef:NULL"
HOSTS = ("h1", "h2", "h3")
F = "0000000f-00000003"
MORE = "0000001f-00000003"
START_MEMORY = 4333764608
"""Of v: 4 GiB pinned, 2 vCPUs, hvm, under the current model."""

OTHER_VENDOR = "VM last booted on a host which had a CPU from a different vendor."
LACKS_FEATURES = "VM last booted on a CPU with features this host's CPU does not have."
NO_KEYS = "Host does not have new leveling feature keys - not comparing VM's flags"
NO_COREDUMP = "cannot invoke a coredump of an HVM, PVH or PV-in-PVH domain"
NOT_IN_POOL = "VIF mapping is not allowed for intra-pool migration -all VIFs must be on the same network"


class World:
    """The tables of the pool of the examples, to be changed.

    Attributes
    ----------
    tables : by class and reference, fields as API records spell them
    """

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in TABLES}
        features = {"vendor": "GenuineIntel", "features_hvm": F, "features_pv": F}
        common = {"features_hvm_host": F, "features_pv_host": F}
        restrictions = ("dmc", "vm_groups", "vgpu", "network_sriov", "storage_xen_motion", "nested_virt")
        self.add(
            "pool",
            "p",
            master="h1",
            restrictions={f"restrict_{name}": "false" for name in restrictions},
            cpu_info={"vendor": "GenuineIntel", **common},
            coordinator_bias=True,
            other_config={},
        )
        for host in HOSTS:
            self.add("host_metrics", f"{host}m", memory_total=str(64 * GIB), memory_free="0", live=True)
            self.add(
                "host",
                host,
                name_label=host,
                metrics=f"{host}m",
                enabled=True,
                memory_overhead="0",
                capabilities=["xen-3.0-x86_64", "hvm-3.0-x86_64"],
                virtual_hardware_platform_versions=["0", "1", "2"],
                chipset_info={"iommu": "true"},
                cpu_info={"cpu_count": "16", **features, **common},
                software_version=versions("26.17.0", "4.17.5-6"),
            )
        self.add("SR", "S", name_label="S", shared=True, type="nfs")
        self.add("SR", "L1", name_label="L1", shared=False, type="lvm")
        for host in HOSTS:
            self.add("PBD", f"S-{host}", SR="S", host=host, currently_attached=True)
        self.add("PBD", "L1-h1", SR="L1", host="h1", currently_attached=True)
        self.add("network", "N", name_label="N", managed=True, other_config={})
        self.add("network", "I", name_label="I", managed=True, other_config={})
        for host in HOSTS:
            self.pif(f"N-{host}", "N", host)
        self.vm("v")
        self.disk("v-disk", "v", "S")
        self.vif("v-vif", "v", "N")

    def add(self, table: str, ref: str, **fields: Any) -> dict[str, Any]:
        record = self.tables[table][ref] = {"uuid": ref, **fields}
        return record

    def vm(self, ref: str, **fields: Any) -> None:
        self.add("VM_metrics", f"{ref}m", current_domain_type="unspecified", nomigrate=False, nested_virt=False)
        limits = dict.fromkeys(
            (f"memory_{limit}" for limit in ("static_min", "dynamic_min", "dynamic_max", "static_max", "target")),
            str(4 * GIB),
        )
        self.tables["VM"][ref] = dumps.vm(ref, metrics=f"{ref}m", **limits) | {
            "memory_overhead": str(START_MEMORY - 4 * GIB),
            "hardware_platform_version": "0",
            "platform": {"device-model": "qemu-upstream-compat"},
            **fields,
        }

    def running(self, ref: str = "v", host: str = "h1", **fields: Any) -> None:
        """Let a VM run, with drivers."""
        self.of("VM", ref).update(
            power_state="Running",
            resident_on=host,
            last_boot_CPU_flags={"vendor": "GenuineIntel", "features": F},
            guest_metrics=f"{ref}g",
            domid="7",
            **fields,
        )
        self.of("VM_metrics", f"{ref}m")["current_domain_type"] = "hvm"
        self.add("VM_guest_metrics", f"{ref}g", PV_drivers_version={"major": "9", "minor": "4"}, other={})

    def suspended(self, ref: str = "v", **flags: str) -> None:
        self.of("VM", ref).update(
            power_state="Suspended", last_boot_CPU_flags={"vendor": "GenuineIntel", "features": F, **flags}
        )
        self.of("VM_metrics", f"{ref}m")["current_domain_type"] = "hvm"
        self.add("VDI", f"{ref}-image", SR="S", managed=True, type="suspend", sm_config={})
        self.of("VM", ref)["suspend_VDI"] = f"{ref}-image"

    def of(self, table: str, ref: str) -> dict[str, Any]:
        return self.tables[table][ref]

    def set(self, table: str, ref: str, **fields: Any) -> None:
        self.of(table, ref).update(fields)

    def list(self, table: str, ref: str, field: str, item: str) -> None:
        """Put a reference in front of what a row lists."""
        record = self.of(table, ref)
        record[field] = [item, *record.get(field, [])]

    def disk(self, ref: str, vm: str, sr: str, **fields: Any) -> None:
        """A disk on an SR, with its VBD; the newest of the VM."""
        self.add("VDI", ref, SR=sr, managed=True, sharable=False, read_only=False, sm_config={}, type="user")
        self.vbd(f"{ref}-vbd", vm, ref, **fields)

    def vbd(self, ref: str, vm: str, vdi: str, **fields: Any) -> None:
        values = {"type": "Disk", "mode": "RW", "empty": False, "currently_attached": False, "reserved": False}
        self.add("VBD", ref, VM=vm, VDI=vdi, **values | fields)
        self.list("VM", vm, "VBDs", ref)

    def vif(self, ref: str, vm: str, network: str, **fields: Any) -> None:
        self.add("VIF", ref, VM=vm, network=network, MAC=f"02:00:00:00:00:{len(self.tables['VIF']):02x}", **fields)
        self.list("VM", vm, "VIFs", ref)

    def pif(self, ref: str, network: str, host: str, **fields: Any) -> None:
        values = {"physical": True, "currently_attached": True, "bond_slave_of": NULL, "VLAN_master_of": NULL}
        values["IP"] = "192.0.2.1"
        self.add("PIF", ref, network=network, host=host, **values | fields)
        self.list("network", network, "PIFs", ref)

    # ------------------------------------------------------------------------------------------------------- devices

    def gpus(self, *hosts: str, group: str = "G") -> None:
        """GPU types K, Q and P, a group, and a GPU called after each host, or after a host with more behind."""
        for kind, implementation, size in (("K", "nvidia", 131072), ("Q", "nvidia", 262144), ("P", "passthrough", 0)):
            compatible = [] if kind == "P" else [kind]
            values = {"implementation": implementation, "size": str(size), "compatible_types_on_pgpu": compatible}
            self.add("VGPU_type", kind, vendor_name="V", model_name=kind, **values)
        self.add("GPU_group", group, allocation_algorithm="depth_first", PGPUs=[])
        for gpu in reversed(hosts):
            host, types = gpu[:2], ["K", "Q", "P"]
            self.add("PCI", f"pci-{gpu}", host=host, attached_VMs=[], physical_function=NULL, pci_id="0000:01:00.0")
            self.add(
                "PGPU",
                f"gpu-{gpu}",
                host=host,
                GPU_group=group,
                PCI=f"pci-{gpu}",
                size="1048576",
                supported_VGPU_types=types,
                enabled_VGPU_types=types,
                compatibility_metadata={"nvidia": "x"},
            )
            self.list("GPU_group", group, "PGPUs", f"gpu-{gpu}")

    def vgpu(self, ref: str, vm: str, kind: str, on: str = NULL, scheduled: str = NULL) -> None:
        values = {"resident_on": on, "scheduled_to_be_resident_on": scheduled, "PCI": NULL}
        self.add("VGPU", ref, VM=vm, GPU_group="G", type=kind, compatibility_metadata={}, **values)
        self.list("VM", vm, "VGPUs", ref)

    def fill(self, gpu: str, kind: str, count: int) -> None:
        """Let other VMs have vGPUs on a GPU."""
        for number in range(count):
            vm = f"{gpu}-vm{number}"
            self.vm(vm)
            self.running(vm, self.of("PGPU", gpu)["host"])
            self.vgpu(f"{gpu}-vgpu{number}", vm, kind, on=gpu)

    def sriov(self, network: str, host: str, functions: int, attached: int = 0, **fields: Any) -> None:
        """An SR-IOV network on a host, with so many virtual functions."""
        if network not in self.tables["network"]:
            self.add("network", network, name_label=network, managed=True, other_config={}, PIFs=[])
            self.add("network", f"{network}-below", managed=True, other_config={}, PIFs=[])
        name = f"{network}-{host}"
        self.add("PCI", f"{name}-pf", host=host, attached_VMs=[], physical_function=NULL, pci_id="0000:02:00.0")
        self.pif(f"{name}-physical", f"{network}-below", host, PCI=f"{name}-pf")
        logical = {"physical": False, "sriov_logical_PIF_of": [f"{name}-sriov"], **fields}
        mode = logical.pop("configuration_mode", "modprobe")
        self.pif(f"{name}-logical", network, host, **logical)
        pifs = {"physical_PIF": f"{name}-physical", "logical_PIF": f"{name}-logical"}
        self.add("network_sriov", f"{name}-sriov", configuration_mode=mode, **pifs)
        for number in range(functions):
            values = {"physical_function": f"{name}-pf", "scheduled_to_be_attached_to": NULL}
            taken = ["other"] if number < attached else []
            self.add(
                "PCI", f"{name}-vf{number}", host=host, attached_VMs=taken, pci_id=f"0000:02:01.{number}", **values
            )

    def small(self, *hosts: str, free: int = GIB) -> None:
        """Leave so much memory on hosts."""
        for host in hosts:
            used = sum(START_MEMORY for vm in self.tables["VM"].values() if vm["resident_on"] == host)
            self.of("host_metrics", f"{host}m")["memory_total"] = str(used + free)

    def protect(self, ref: str = "v", failures: str = "0") -> None:
        self.set("VM", ref, ha_always_run=True, ha_restart_priority="restart")
        self.set("pool", "p", ha_enabled=True, ha_host_failures_to_tolerate=failures, ha_plan_exists_for=failures)


TABLES = (
    *("pool", "host", "host_metrics", "VM", "VM_metrics", "VM_guest_metrics", "VM_group", "SR", "PBD", "VDI", "VBD"),
    *("network", "VIF", "PIF", "Bond", "VLAN", "tunnel", "network_sriov", "PCI", "PGPU", "GPU_group", "VGPU"),
    *("VGPU_type", "PUSB", "VUSB", "USB_group", "SM", "Cluster", "Cluster_host", "task"),
)


def versions(xapi: str, xen: str, platform: str = "3.4.0") -> dict[str, str]:
    return {"platform_version": platform, "xapi_build": xapi, "xapi": xapi.rpartition(".")[0], "xen": xen}


Change = Callable[[World], None]


class Example(NamedTuple):
    """One question of an example.

    Attributes
    ----------
    name : the example's number, and a letter if there are several questions
    changes : what is changed, in order
    question : its kind and parameters
    answer : a failure as a list, None for none, or a value that is no list
    """

    name: str
    changes: tuple[Change, ...]
    question: tuple[Any, ...]
    answer: Any


EXAMPLES: list[Example] = []


def example(name: str, changes: Any, *asked: tuple[tuple[Any, ...], Any]) -> None:
    """Add the questions of an example, each with its answer."""
    whole = changes if isinstance(changes, tuple) else (changes,)
    for place, (question, answer) in enumerate(asked):
        EXAMPLES.append(Example(name + ("abcdefgh"[place] if len(asked) > 1 else ""), whole, question, answer))


def boot(vm: str, host: str) -> tuple[Any, ...]:
    """VM.assert_can_boot_here."""
    return "boot", vm, host


def mig(vm: str, host: str, **options: str) -> tuple[Any, ...]:
    """VM.pool_migrate."""
    return "mig", vm, host, options


def why(vm: str, host: str = "h1") -> tuple[Any, ...]:
    """What host.get_vms_which_prevent_evacuation says of a VM."""
    return "why", host, vm


def requires(sr: str) -> list[str]:
    return ["VM_REQUIRES_SR", "v", sr]


def nothing(world: World) -> None:
    """The pool as it is."""


def running(world: World) -> None:
    world.running()


def local(world: World) -> None:
    world.set("VDI", "v-disk", SR="L1")


def internal(world: World) -> None:
    world.set("VIF", "v-vif", network="I")


def with_member(world: World) -> None:
    """w runs on h2 with an unattached VIF on I."""
    internal(world)
    world.vm("w")
    world.running("w", "h2")
    world.vif("w-vif", "w", "I", currently_attached=False)


def many(*changes: Change) -> Change:
    def change(world: World) -> None:
        for one in changes:
            one(world)

    return change


def setting(table: str, ref: str, **fields: Any) -> Change:
    return lambda world: world.set(table, ref, **fields)


def entry(table: str, ref: str, field: str, **items: str) -> Change:
    """Set entries of a map."""
    return lambda world: world.set(table, ref, **{field: {**world.of(table, ref).get(field, {}), **items}})


def without(table: str, ref: str, field: str, key: str) -> Change:
    def change(world: World) -> None:
        del world.of(table, ref)[field][key]

    return change


def flags(**values: str) -> Change:
    return setting("VM", "v", last_boot_CPU_flags=values)


def feature(**items: str) -> Change:
    """The guest of v has no drivers, and says something."""
    return setting("VM_guest_metrics", "vg", PV_drivers_version={}, other=items)


# -------------------------------------------------------------------------------------------------------------- storage

example("1", local, (boot("v", "h2"), requires("L1")), (boot("v", "h1"), None))
example(
    "2",
    setting("PBD", "S-h2", currently_attached=False),
    (boot("v", "h2"), requires("S")),
    (boot("v", "h3"), None),
)
example("3", lambda world: world.vbd("cd", "v", NULL, type="CD", mode="RO", empty=True), (boot("v", "h2"), None))


def with_dvd(world: World) -> None:
    world.add("SR", "D", shared=False, type="udev")
    world.add("PBD", "D-h1", SR="D", host="h1", currently_attached=True)
    world.add("VDI", "iso", SR="D", managed=True, sm_config={})
    world.vbd("cd", "v", "iso", type="CD", mode="RO")


example("4", with_dvd, (boot("v", "h3"), requires("D")))
example(
    "5",
    (lambda world: world.disk("b1", "v", "L1"), setting("PBD", "S-h2", currently_attached=False)),
    (boot("v", "h2"), requires("L1")),
)
example("6", (running, lambda world: world.disk("b1", "v", "L1")), (mig("v", "h2"), requires("L1")))
example(
    "7a",
    (lambda world: world.suspended(), setting("VDI", "v-image", SR="L1")),
    (("resume_on", "v", "h2"), requires("L1")),
)
example(
    "7b",
    (lambda world: world.suspended(), setting("VDI", "v-image", SR="L1"), setting("VM", "v", power_state="Halted")),
    (boot("v", "h2"), None),
)


def bare(world: World) -> None:
    world.tables["VBD"].clear()
    world.tables["VIF"].clear()
    world.set("VM", "v", VBDs=[], VIFs=[])


example("8", bare, *((boot("v", host), None) for host in HOSTS))
example(
    "9",
    setting("VBD", "v-disk-vbd", VDI="gone"),
    (boot("v", "h1"), ["HANDLE_INVALID", "VDI", "gone"]),
    (("possible", "v"), ()),
)

# ------------------------------------------------------------------------------------------------------------- networks


def no_link(world: World) -> None:
    del world.tables["PIF"]["N-h3"]
    world.set("network", "N", PIFs=["N-h2", "N-h1"])


example("10", no_link, (boot("v", "h3"), ["VM_REQUIRES_NETWORK", "v", "N"]))


def enslaved(world: World) -> None:
    world.add("Bond", "bond", master=NULL)
    world.set("PIF", "N-h3", bond_slave_of="bond")


example("11", enslaved, (boot("v", "h3"), ["HOST_CANNOT_ATTACH_NETWORK", "h3", "N"]))
example("12", setting("PIF", "N-h3", currently_attached=False), (boot("v", "h3"), None))


def two_networks(world: World) -> None:
    world.add("network", "M", managed=True, other_config={})
    world.pif("M-h3", "M", "h3", bond_slave_of="bond")
    world.vif("m-vif", "v", "M")


example("13", (two_networks, no_link), (boot("v", "h3"), ["VM_REQUIRES_NETWORK", "v", "N"]))
example("14", internal, *((boot("v", host), None) for host in HOSTS))
NEEDS_I = ["VM_REQUIRES_NETWORK", "v", "I"]
example("15", with_member, (boot("v", "h1"), NEEDS_I), (boot("v", "h2"), None))
example("16", (with_member, setting("VM", "w", power_state="Paused")), (boot("v", "h1"), None))


def third_member(world: World) -> None:
    world.vm("x")
    world.running("x", "h3")
    world.vif("x-vif", "x", "I")


example("17", (with_member, third_member), (boot("v", "h3"), None), (boot("v", "h1"), NEEDS_I))
example(
    "18a",
    (with_member, entry("network", "I", "other_config", assume_network_is_shared="true")),
    (boot("v", "h1"), None),
)
example(
    "18b",
    (with_member, entry("network", "I", "other_config", assume_network_is_shared="True")),
    (boot("v", "h1"), NEEDS_I),
)
example("19", (with_member, setting("network", "I", managed=False)), (boot("v", "h1"), None))
example("20", (running, internal), (mig("v", "h2"), NEEDS_I), (mig("v", "h1"), None))

# ------------------------------------------------------------------------------------------------------------------ CPU


def incompatible(host: str, reason: str) -> list[str]:
    return ["VM_INCOMPATIBLE_WITH_THIS_HOST", "v", host, reason]


example("21", flags(vendor="AuthenticAMD", features=F), (boot("v", "h2"), None))
example("22", lambda world: world.suspended(vendor="AuthenticAMD"), (boot("v", "h2"), incompatible("h2", OTHER_VENDOR)))
example(
    "23",
    (running, entry("VM", "v", "last_boot_CPU_flags", features=MORE)),
    (mig("v", "h2"), incompatible("h2", LACKS_FEATURES)),
    (("possible", "v"), ("h3", "h2", "h1")),
)
example("24a", (running, entry("VM", "v", "last_boot_CPU_flags", features="0000000f")), (mig("v", "h2"), None))
example("24b", (running, entry("VM", "v", "last_boot_CPU_flags", features=f"{F}-00000000")), (mig("v", "h2"), None))
example("25", (running, entry("VM", "v", "last_boot_CPU_flags", features=f"{F}-00000001")), (mig("v", "h2"), None))
keyless = (running, flags(), without("host", "h2", "cpu_info", "features_hvm"))
example("26a", keyless, (mig("v", "h2"), incompatible("h2", NO_KEYS)))
example("26b", (*keyless, setting("VM_metrics", "vm", current_domain_type="pv")), (mig("v", "h2"), None))
example(
    "27",
    lambda world: world.suspended(vendor="AuthenticAMD", features=MORE),
    (("resume", "v", True), ["NO_HOSTS_AVAILABLE"]),
    (("resume_on", "v", "h2", True), None),
)

# ------------------------------------------------------------------------------------------------- versions, the record

mixed = many(
    lambda world: [world.tables[table].pop(f"h3{end}") for table, end in (("host", ""), ("host_metrics", "m"))],  # type: ignore[arg-type,return-value]
    lambda world: [world.tables["PBD"].pop("S-h3"), world.tables["PIF"].pop("N-h3")],  # type: ignore[arg-type,return-value]
    setting("network", "N", PIFs=["N-h2", "N-h1"]),
    setting("host", "h1", software_version=versions("26.17.0", "4.17.5-6")),
    setting("host", "h2", software_version=versions("26.18.0", "4.17.5-5")),
)
example("29a", (running, mixed), (why("v"), ["NO_HOSTS_AVAILABLE", "v"]), (mig("v", "h2"), None))
example("29b", (lambda world: world.running("v", "h2"), mixed), (why("v", "h2"), ["NO_HOSTS_AVAILABLE", "v"]))
upgrading = entry("pool", "p", "other_config", rolling_upgrade_in_progress="true")
example("30", (running, mixed, upgrading), (mig("v", "h2"), ["NOT_SUPPORTED_DURING_UPGRADE"]))
example(
    "31",
    setting("VM", "v", hardware_platform_version="3"),
    (boot("v", "h2"), ["VM_HOST_INCOMPATIBLE_VIRTUAL_HARDWARE_PLATFORM_VERSION", "h2", "[0; 1; 2]", "v", "3"]),
)
disabled = setting("host", "h2", enabled=False)
example("32a", (local, disabled), (boot("v", "h2"), ["HOST_DISABLED", "h2"]))
example("32b", (disabled, setting("host_metrics", "h2m", live=False)), (boot("v", "h2"), ["HOST_NOT_LIVE"]))
no_hvm = setting("host", "h2", capabilities=["xen-3.0-x86_64"])
example("33a", no_hvm, (boot("v", "h2"), ["VM_HVM_REQUIRED", "v"]))
example("33b", (no_hvm, setting("VM", "v", domain_type="pv")), (boot("v", "h2"), None))
wide = setting("VM", "v", VCPUs_max="17")
example("34a", wide, (boot("v", "h2"), ["HOST_NOT_ENOUGH_PCPUS", "17", "16"]))
example("34b", (wide, entry("VM", "v", "platform", **{"vcpu-unrestricted": "1"})), (boot("v", "h2"), None))
example(
    "34c", (wide, lambda world: world.small("h2")), (boot("v", "h2"), ["HOST_NOT_ENOUGH_FREE_MEMORY", ..., str(GIB)])
)
example(
    "35",
    setting("VM", "v", domain_type="pv_in_pvh", actions__after_crash="coredump_and_restart"),
    (
        boot("v", "h2"),
        ["VALUE_NOT_SUPPORTED", "VM.actions_after_crash", "coredump_and_restart", NO_COREDUMP],
    ),
)

# ----------------------------------------------------------------------------------------------------------------- GPUs


def one_gpu(world: World) -> None:
    world.gpus("h2")


def capacity(kind: str, gpu: str = "gpu-h2") -> tuple[Any, ...]:
    """PGPU.get_remaining_capacity."""
    return "capacity", gpu, kind


def capacities(*of: int) -> list[tuple[tuple[Any, ...], Any]]:
    return [(capacity(kind), number) for kind, number in zip("KQP", of, strict=True)]


example("36", one_gpu, *capacities(8, 4, 1))
example("37x", (one_gpu, lambda world: world.fill("gpu-h2", "K", 2)), *capacities(6, 0, 0))
example("37y", (one_gpu, lambda world: world.vgpu("g", "v", "K", scheduled="gpu-h2")), *capacities(7, 0, 0))


def passed(world: World) -> None:
    world.fill("gpu-h2", "P", 1)
    world.set("PCI", "pci-h2", attached_VMs=["gpu-h2-vm0"])


example("38", (one_gpu, passed), (capacity("K"), 0), (capacity("P"), 0))
example(
    "39",
    (one_gpu, setting("VGPU_type", "K", size="149796"), lambda world: world.fill("gpu-h2", "K", 6)),
    (capacity("K"), 1),
)


def two_gpus(world: World) -> None:
    world.gpus("h2a", "h2b")
    world.fill("gpu-h2a", "K", 7)
    world.vgpu("g1", "v", "K")
    world.vgpu("g0", "v", "K")


example("40a", two_gpus, (("picks", "v", "h2"), ("gpu-h2a", "gpu-h2b")))
breadth = setting("GPU_group", "G", allocation_algorithm="breadth_first")
example("40b", (two_gpus, breadth), (("picks", "v", "h2"), ("gpu-h2b", "gpu-h2b")))


def with_vgpu(kind: str, *hosts: str, on: str = NULL) -> Change:
    def change(world: World) -> None:
        world.gpus(*hosts)
        world.vgpu("g", "v", kind, on=on)

    return change


NEEDS_K = ["VM_REQUIRES_VGPU", "v", "G", "K"]
example("41a", with_vgpu("K", "h2"), (boot("v", "h3"), NEEDS_K))
example("41b", with_vgpu("P", "h2"), (boot("v", "h3"), ["VM_REQUIRES_GPU", "v", "G"]))
example(
    "42",
    (with_vgpu("P", "h2"), setting("host", "h2", chipset_info={"iommu": "false"})),
    (boot("v", "h2"), ["VM_REQUIRES_IOMMU", "h2"]),
)
example(
    "43", (with_vgpu("K", "h2"), setting("PGPU", "gpu-h2", enabled_VGPU_types=["Q", "P"])), (boot("v", "h2"), NEEDS_K)
)
full = (running, with_vgpu("K", "h1", on="gpu-h1"), lambda world: world.fill("gpu-h1", "K", 7))
example("44", full, (mig("v", "h1"), NEEDS_K), (("vdi", "v-disk", "L1"), NEEDS_K))


def ranked(world: World) -> None:
    world.gpus("h1", "h2", "h3")
    world.vgpu("g", "v", "K")
    world.fill("gpu-h1", "K", 8)
    world.fill("gpu-h2", "K", 5)
    world.set("VM", "v", affinity="h3")


example("45a", ranked, (("start", "v"), "h2"))
example("45b", (ranked, breadth), (("start", "v"), "h3"))
taken = [lambda world, host=host: world.fill(f"gpu-{host}", "K", 8) for host in HOSTS]
example("46", (with_vgpu("K", *HOSTS), *taken), (("start", "v"), ["NO_HOSTS_AVAILABLE"]))

# ------------------------------------------------------------------------------------------------------- USB and SR-IOV


def with_usb(world: World) -> None:
    world.add("USB_group", "U", PUSBs=["usb"])
    world.add("PUSB", "usb", host="h1", USB_group="U")
    world.add("VUSB", "vusb", VM="v", USB_group="U", currently_attached=False)
    world.set("VM", "v", VUSBs=["vusb"])


example("47", with_usb, (boot("v", "h2"), ["OPERATION_NOT_ALLOWED", "VUSB vusb is not available on Host h2"]))


def with_functions(world: World) -> None:
    world.sriov("V", "h2", 8, attached=7)
    world.set("VIF", "v-vif", network="V")


SHORT_OF_V = ["NETWORK_SRIOV_INSUFFICIENT_CAPACITY", "V"]
example("48a", (with_functions, lambda world: world.vif("second", "v", "V")), (boot("v", "h2"), SHORT_OF_V))
example("48b", with_functions, (boot("v", "h2"), None))


def with_vlan(world: World) -> None:
    world.add("network", "W", managed=True, other_config={})
    world.add("VLAN", "vlan", tagged_PIF="V-h2-logical", untagged_PIF="W-h2")
    world.pif("W-h2", "W", "h2", VLAN_master_of="vlan", physical=False)
    world.vif("second", "v", "W")


example(
    "49",
    (with_functions, with_vlan),
    (boot("v", "h2"), None),
    (("start_on", "v", "h2"), ["INTERNAL_ERROR", "No free virtual function found"]),
)
example(
    "50",
    (with_vgpu("K", *HOSTS), setting("VM", "v", domain_type="pv")),
    (boot("v", "h2"), None),
    (("start_on", "v", "h2"), ["FEATURE_REQUIRES_HVM", "vGPU- and GPU-passthrough needs HVM"]),
)

# --------------------------------------------------------------------------------------------------- leaving one's host

LACKS = ["VM_LACKS_FEATURE", "v"]
no_guest = setting("VM", "v", guest_metrics=NULL)
example("51", (running, no_guest), (mig("v", "h2"), LACKS), (mig("v", "h2", force="true"), None))
example("52a", (running, feature(**{"feature-suspend": "1"})), (mig("v", "h2"), None))
example("52b", (running, feature(**{"feature-suspend": "0"})), (mig("v", "h2"), LACKS))
example(
    "53",
    (running, setting("VM_guest_metrics", "vg", PV_drivers_version={"major": "9", "minor": "x"})),
    (mig("v", "h2"), LACKS),
)
busy = entry("VM_guest_metrics", "vg", "other", **{"data-cant-suspend-reason": "busy"})
BUSY = ["VM_NON_SUSPENDABLE", "v", "busy"]
example("54", (running, busy), (mig("v", "h2"), BUSY), (mig("v", "h2", force="true"), BUSY))
IMMOBILE = ["VM_IS_IMMOBILE", "v"]
pinned = setting("VM_metrics", "vm", nomigrate=True)
example("55x", (running, pinned), (mig("v", "h2"), IMMOBILE), (mig("v", "h2", force="true"), None))
example(
    "55y",
    (running, setting("VM", "v", metrics=NULL), entry("VM", "v", "platform", nomigrate="1")),
    (mig("v", "h2"), IMMOBILE),
)


def with_function(world: World) -> None:
    world.add("PCI", "vf", host="h1", attached_VMs=["v"], physical_function=NULL, pci_id="0000:03:00.0")
    world.set("VM", "v", attached_PCIs=["vf"])


HELD = ["VM_HAS_PCI_ATTACHED", "v"]
example("56", (running, with_function), (mig("v", "h2"), HELD), (mig("v", "h2", force="true"), HELD))
HAS_VGPU = ["VM_HAS_VGPU", "v"]
on_gpu = with_vgpu("K", "h1", "h2", on="gpu-h1")
example("57a", (running, on_gpu), (mig("v", "h2"), None), (mig("v", "h3"), NEEDS_K))
example("57b", (running, on_gpu, setting("PGPU", "gpu-h1", compatibility_metadata={})), (mig("v", "h2"), HAS_VGPU))
example("57c", (running, on_gpu, setting("VGPU_type", "K", implementation="gvt_g")), (mig("v", "h2"), HAS_VGPU))
HAS_USB = ["VM_HAS_VUSBS", "v"]
example("58", (running, with_usb), (mig("v", "h2"), HAS_USB))
example("59a", (running, setting("VDI", "v-disk", sm_config={"on_boot": "reset"})), (mig("v", "h2"), None))
example(
    "59b",
    (running, setting("VDI", "v-disk", sm_config={"on_boot": "reset", "caching": "true"})),
    (mig("v", "h2"), ["VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION"]),
)
blocked = setting("VM", "v", blocked_operations={"pool_migrate": "no"})
example("60a", (running, blocked), (mig("v", "h2"), ["OPERATION_BLOCKED", "v", "no"]))
example(
    "60b",
    (running, blocked, entry("VM", "v", "last_boot_CPU_flags", features=MORE)),
    (mig("v", "h2"), incompatible("h2", LACKS_FEATURES)),
)
PAUSED = ["VM_BAD_POWER_STATE", "v", "running", "paused"]
paused = setting("VM", "v", power_state="Paused")
example("61", (running, paused), (mig("v", "h2"), PAUSED))
example(
    "62", running, (("mig while evacuated", "v", "h2"), ["OTHER_OPERATION_IN_PROGRESS", "host", "h2", "evacuate", "t"])
)

# ------------------------------------------------------------------------------------------------------- storage motion

SHORT = ["HOST_NOT_ENOUGH_FREE_MEMORY", str(START_MEMORY), str(4 * GIB)]


def drivers(**features: list[str]) -> Change:
    """What the drivers of types can do, and an SR S2 of another type than S that all hosts see."""

    def change(world: World) -> None:
        world.add("SR", "S2", shared=True, type="other")
        for host in HOSTS:
            world.add("PBD", f"S2-{host}", SR="S2", host=host, currently_attached=True)
        for kind, names in features.items():
            world.add("SM", kind, type=kind, features=dict.fromkeys(names, "1"))

    return change


ABLE = ["VDI_SNAPSHOT", "VDI_MIRROR"]
able = drivers(nfs=ABLE, other=ABLE)
example("63", (running, able, lambda world: world.small("h1", free=4 * GIB)), (("vdi", "v-disk", "S2"), SHORT))
example(
    "64",
    (able, lambda world: world.small("h2", free=4 * GIB)),
    (("send", "v", "h2", {"v-disk": "S2"}), SHORT),
)
example(
    "65",
    (running, able),
    (("can send", "v", "h2", {}), ["VDI_NOT_IN_MAP", "v-disk"]),
    (("can send", "v", "h2", {"v-disk": "S2"}, {"v-vif": "N"}), ["OPERATION_NOT_ALLOWED", NOT_IN_POOL]),
)
example(
    "66a",
    (running, drivers(nfs=["VDI_SNAPSHOT"], other=[])),
    (("can send", "v", "h2", {"v-disk": "S2"}), ["SR_DOES_NOT_SUPPORT_MIGRATION", "S", "VDI_MIRROR"]),
)
example(
    "66b",
    (running, drivers(nfs=ABLE, other=[])),
    (("can send", "v", "h2", {"v-disk": "S2"}), ["SR_DOES_NOT_SUPPORT_MIGRATION", "S2", "VDI_SNAPSHOT;VDI_MIRROR_IN"]),
)
older = setting("host", "h2", software_version=versions("26.17.0", "4.17.5-5"))
example(
    "67",
    (running, able, older),
    (mig("v", "h2"), None),
    (("send", "v", "h2", {"v-disk": "S2"}), ["NOT_SUPPORTED_DURING_UPGRADE"]),
)

# ------------------------------------------------------------------------------------------------------- agility and HA

AGILE = ("agile", "v")


def unshared(kind: str, ref: str) -> list[str]:
    return [f"HA_CONSTRAINT_VIOLATION_{kind}_NOT_SHARED", ref]


example("68a", local, (AGILE, unshared("SR", "L1")))
example("68b", (local, with_vgpu("K", "h1")), (AGILE, HAS_VGPU))
detached = setting("PBD", "S-h3", currently_attached=False)
example("69a", detached, (AGILE, unshared("SR", "S")))
example("69b", (detached, setting("host", "h3", enabled=False)), (AGILE, None))
dead = setting("host_metrics", "h3m", live=False)
example("69c", (detached, dead), (AGILE, unshared("SR", "S")))
flagged = (internal, entry("network", "I", "other_config", assume_network_is_shared="true"))
example("70", flagged, (AGILE, unshared("NETWORK", "I")), *((boot("v", host), None) for host in HOSTS))
example(
    "71",
    setting("PIF", "N-h3", bond_slave_of="gone"),
    (AGILE, None),
    (boot("v", "h3"), ["HOST_CANNOT_ATTACH_NETWORK", "h3", "N"]),
)


def sriov_everywhere(attached: bool, functions: int) -> Change:
    def change(world: World) -> None:
        for host in HOSTS:
            there = attached or host != "h3"
            world.sriov("V", host, 8 if there else functions, currently_attached=there)
        world.set("VIF", "v-vif", network="V")

    return change


example("72a", sriov_everywhere(True, 8), (AGILE, ["VM_HAS_SRIOV_VIF", "v"]))
example("72b", sriov_everywhere(False, 0), (AGILE, unshared("NETWORK", "V")))
example("73", (local, lambda world: world.protect()), (("plan exists", 0), False))
example(
    "74x",
    (running, entry("VM", "v", "last_boot_CPU_flags", features=MORE)),
    (AGILE, None),
    (why("v"), incompatible("h3", LACKS_FEATURES)),
)
example(
    "74y",
    (running, entry("VM", "v", "last_boot_CPU_flags", features=MORE), lambda world: world.protect()),
    (("plan exists", 1), True),
)

# ----------------------------------------------------------------------------------------------------------- evacuation

example("75", (running, detached), (why("v"), requires("S")))
example("76", (running, dead), (why("v"), ["HOST_NOT_LIVE"]))
example("77", (running, dead, setting("host", "h3", enabled=False)), (("evacuate", "h1", "v"), "h2"))


def roomy(world: World) -> None:
    world.set("VM", "v", VCPUs_max="20")
    entry("host", "h2", "cpu_info", cpu_count="24")(world)


example("78", (running, roomy), (why("v"), ["HOST_NOT_ENOUGH_PCPUS", "20", "16"]))
with_ha = setting("pool", "p", ha_enabled=True, ha_allow_overcommit=True)
example("79a", (running, with_ha), (why("v"), ["HOST_EVACUATE_VM_NOT_HA_PROTECTED", "v"]))
example("79b", (running, with_ha, with_usb), (why("v"), HAS_USB))
example(
    "80a",
    (running, busy, lambda world: world.small("h2", "h3")),
    (why("v"), ["HOST_NOT_ENOUGH_FREE_MEMORY", "v"]),
)
example("80b", (running, busy), (why("v"), BUSY))
example("81", (running, paused), (why("v"), PAUSED))


def with_dangling(world: World) -> None:
    world.vm("w")
    world.running("w", "h1")
    world.vbd("w-vbd", "w", "gone")


example("82", (running, with_dangling), (why("v"), ["HANDLE_INVALID", "VDI", "gone"]))
newer = setting("host", "h1", software_version=versions("26.18.0", "4.17.5-6"))
example("83", (running, newer), (why("v"), ["NO_HOSTS_AVAILABLE", "v"]))
example("84", (running, internal), (why("v"), NEEDS_I))


def tables_of(changes: tuple[Change, ...]) -> dict[str, dict[str, dict[str, Any]]]:
    """The tables of the pool, changed."""
    world = World()
    for change in changes:
        change(world)
    return world.tables
