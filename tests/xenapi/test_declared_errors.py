"""Each failure that a message declares is answered by it, with its parameters; where it may, nothing has changed.

One situation per code, for whatever message declares it; what differs between messages stands in tables. A message
that declares another failure fails here until there is a situation for it.
"""

import copy
from collections.abc import Callable, Generator
from typing import Any

import pytest
from small_pool import (
    OTHER_VENDOR,
    build_database,
    disk,
    everything,
    functions,
    gpu,
    limits,
    network,
    other_cpu,
    row,
    storage,
    usb,
    vgpu,
    vif,
    vm_row,
)

from xenmem.datamodel.errors import CODES
from xenmem.datamodel.types import RefType
from xenmem.units import GIB, MIB
from xenmem.xenapi import Clock, Failure, Guests, Pace, Pool, Role, Session, User
from xenmem.xenapi.calls import tasks
from xenmem.xenapi.calls.message import MESSAGES, Message
from xenmem.xenapi.messages import devices, neutral
from xenmem.xenapi.rules.operations import allowed_power_states, shown
from xenmem.xenapi.world.hooks import Hooks

NULL = "OpaqueRef:NULL"
FEW, SOME, MANY, MORE = (str(size * GIB) for size in (1, 2, 3, 4))
DEST = {"SM": "", "host": "h2", "xenops": "", "session_id": "", "master": "http://192.0.2.1/"}
ON_H2 = ("VDI.pool_migrate",)
MOTIONS = ("VM.migrate_send", "VM.assert_can_migrate", "VDI.pool_migrate")
SENT: dict[str, tuple[Any, ...]] = {
    "VM.assert_can_boot_here": ("h2",),
    "VM.start": (False, False),
    "VM.start_on": ("h2", False, False),
    "VM.resume": (False, False),
    "VM.resume_on": ("h2", False, False),
    "VM.pool_migrate": ("h2", {}),
    "VM.maximise_memory": (MORE, False),
    "VM.set_memory": (SOME,),
    "VM.set_memory_limits": (FEW, MORE, SOME, MANY),
    "VM.set_memory_static_range": (FEW, MORE),
    "VM.set_memory_static_max": (MORE,),
    "VM.set_memory_static_min": (FEW,),
    "VM.set_memory_dynamic_range": (FEW, MANY),
    "VM.set_memory_dynamic_max": (MORE,),
    "VM.set_memory_dynamic_min": (FEW,),
    "VM.set_memory_target_live": (FEW,),
    "VM.clone": ("copy",),
    "VM.copy": ("copy", NULL),
    **dict.fromkeys(("VM.snapshot", "VM.checkpoint"), ("then",)),
    "VM.query_data_source": ("memory",),
    "host.query_data_source": ("memory_total_kib",),
    "pool.apply_edition": ("p", "free"),
    "VM.set_is_a_template": (True,),
    "VM.set_groups": (["g1"],),
    "VM.set_platform": ({},),
    "VM.add_to_platform": ("key", "value"),
    "VM.remove_from_platform": ("key",),
    "VM.set_blocked_operations": ({},),
    "VM.add_to_blocked_operations": ("start", "value"),
    "VM.remove_from_blocked_operations": ("start",),
    "VM.set_ha_restart_priority": ("restart",),
    "VM.set_VCPUs_max": ("4",),
    "VM.set_HVM_shadow_multiplier": (2.0,),
    "VM.set_shadow_multiplier_live": (2.0,),
    "VM.set_domain_type": ("pv",),
    "VM.set_HVM_boot_policy": ("",),
    **dict.fromkeys(("VM.set_order", "VM.set_start_delay", "VM.set_shutdown_delay"), ("1",)),
    **dict.fromkeys(("VM.set_VCPUs_at_startup", "VM.set_VCPUs_number_live"), ("1",)),
    "host.allocate_resources_for_vm": ("vm", True),
    "pool.ha_compute_hypothetical_max_host_failures_to_tolerate": ({"vm": "restart"},),
    "pool.ha_compute_vm_failover_plan": ([], ["vm"]),
    "pool.set_ha_host_failures_to_tolerate": ("p", "1"),
    "VM.assert_operation_valid": ("start",),
    "VM.set_actions_after_crash": ("destroy",),
    **dict.fromkeys(("VM.set_has_vendor_device", "VM.set_ha_always_run"), (True,)),
    "host.set_numa_affinity_policy": ("any",),
    "pool.enable_ha": ([], {}),
    "pool.designate_new_master": ("h2",),
    "pool.get_license_state": ("p",),
    "host.migrate_receive": ("net", {}),
    **dict.fromkeys(("VM.migrate_send", "VM.assert_can_migrate"), (DEST, True, {"vm-disk": "other"}, {}, {})),
    "VDI.pool_migrate": ("other", {}),
    "VGPU.create": ("vm", "gpus", "1"),
    "VUSB.create": ("vm", "usbs"),
    "PBD.create": ({"SR": "sr", "host": "h1", "device_config": {}},),
    "PGPU.get_remaining_capacity": ("h1-gpu", "nvidia"),
    "VM_group.create": ({"name_label": "g", "name_description": "", "placement": "anti_affinity"},),
    "event.from": ([], "", 0.0),
    "event.inject": ("VM", "vm"),
    "session.change_password": ("wrong", "new"),
    "session.login_with_password": ("root", "secret"),
    "session.slave_local_login_with_password": ("root", "secret"),
}
"""What is sent after the VM or the host that a message is about."""

STATES = {
    **dict.fromkeys(("VM.resume", "VM.resume_on", "VM.hard_shutdown", "VM.shutdown"), "Suspended"),
    "VM.unpause": "Paused",
    **dict.fromkeys(
        (
            "VM.suspend",
            "VM.pause",
            "VM.clean_shutdown",
            "VM.pool_migrate",
            "VM.set_memory_target_live",
            "VM.wait_memory_target_live",
            "VM.set_VCPUs_number_live",
            "VM.set_shadow_multiplier_live",
            "VM.set_ha_restart_priority",
            "VM.set_ha_always_run",
            "VM.clean_reboot",
            "VM.hard_reboot",
            "VM.get_boot_record",
            "VM.checkpoint",
            "VM.query_data_source",
            "host.evacuate",
            "host.assert_can_evacuate",
            *MOTIONS,
        ),
        "Running",
    ),
}
"""The power state in which the VM has to be, where it is not Halted."""

OPERATIONS = {
    **dict.fromkeys(("VM.set_memory", "VM.set_memory_limits"), "changing_memory_limits"),
    **{f"VM.set_memory_static_{limit}": "changing_static_range" for limit in ("range", "max", "min")},
    **{f"VM.set_memory_dynamic_{limit}": "changing_dynamic_range" for limit in ("range", "max", "min")},
    "VM.set_memory_target_live": "changing_memory_live",
    "VM.wait_memory_target_live": "awaiting_memory_live",
    "VM.set_is_a_template": "make_into_template",
    "VM.set_VCPUs_max": "changing_VCPUs",
    "VM.set_VCPUs_number_live": "changing_VCPUs_live",
    "VM.set_HVM_shadow_multiplier": "changing_shadow_memory",
    "VM.set_shadow_multiplier_live": "changing_shadow_memory_live",
    "host.evacuate": "pool_migrate",
    "VDI.pool_migrate": "migrate_send",
    "VM.assert_operation_valid": "start",
}
FEATURES = {
    **dict.fromkeys(("VM.start", "VM.start_on", "VM.assert_can_boot_here"), ("VM_start", "restrict_vm_start")),
    **dict.fromkeys(("VM.pool_migrate", "host.evacuate"), ("Xen_motion", "restrict_xen_motion")),
    **dict.fromkeys(("VM.resume", "VM.resume_on"), ("VGPU", "restrict_vgpu")),
    **dict.fromkeys(MOTIONS, ("Storage_motion", "restrict_storage_xen_motion")),
    **dict.fromkeys(("VM.set_groups", "VM_group.create"), ("VM_groups", "restrict_vm_groups")),
    "VM.checkpoint": ("Checkpoint", "restrict_checkpoint"),
    "VM.set_has_vendor_device": ("PCI_device_for_auto_update", "restrict_pci_device_for_auto_update"),
    "VM.set_VCPUs_number_live": ("Live_set_vcpus", "restrict_set_vcpus_number_live"),
}
ASKED = {
    **dict.fromkeys(("VM_IS_IMMOBILE", "VM_NON_SUSPENDABLE", "VM_LACKS_FEATURE", "VM_HAS_PCI_ATTACHED"), "suspend"),
    "VM_HAS_VUSBS": "pool_migrate",
    "VM_IS_USING_NESTED_VIRT": "changing_dynamic_range",
    "VM_SNAPSHOT_WITH_QUIESCE_NOT_SUPPORTED": "snapshot_with_quiesce",
    "VTPM_MAX_AMOUNT_REACHED": "create_vtpm",
    "PROVISION_ONLY_ALLOWED_ON_TEMPLATE": "provision",
    "REVERT_ONLY_ALLOWED_ON_SNAPSHOT": "revert",
    "NOT_SUPPORTED_DURING_UPGRADE": "snapshot",
}
"""By code, the operation that VM.assert_operation_valid is asked about: of a running VM, but for the last four."""
CHANGES_MORE = frozenset(("VM_HAS_NO_SUSPEND_VDI", "TASK_CANCELLED", "HOST_OFFLINE", "VMS_FAILED_TO_COOPERATE"))
"""Failures after which a VM is halted, or a reservation given back that was there before."""


class Answering(Hooks):
    """Hooks of which one raises a failure."""

    def __init__(self, hook: str, *details: str) -> None:
        def fail(*_: Any) -> None:
            raise Failure(list(details))

        setattr(self, hook, fail)


class Granting(Hooks):
    """Hooks of a licence daemon."""

    def apply_edition(self, host: Any, edition: str) -> dict[str, str]:
        return {}


class Scene:
    """The small pool, a VM in it for which a message does what it should, and the message."""

    def __init__(self, message: Message) -> None:
        self.name = message.full_name
        self.database = database = build_database()
        users = {"root": User("", Role.POOL_ADMIN), "other": User("", Role.VM_OPERATOR)}
        self.pool = Pool(database, clock=Clock(1_790_000_000.0, Pace.JUMP), users=users, seed=1)
        self.session = Session(self.pool)
        self.session.login_with_password("root", "")
        self.handle = self.session.handle
        state = STATES.get(self.name, "Halted")
        self.vm = vm_row(
            database,
            "vm",
            power_state=state,
            resident_on=NULL if state not in ("Running", "Paused") else "h2" if self.name in ON_H2 else "h1",
            suspend_VDI="image",
            platform={"device-model": "m"},
        )
        database.load("VM", [self.vm])
        database.load("VM_group", [row(database, "VM_group", name) for name in ("g1", "g2")])
        self.metrics = database.VM_metrics["vmm"]
        self.metrics.current_domain_type = "unspecified" if state == "Halted" else "pvh"
        self.the_pool = database.the_pool
        features = (
            "dmc",
            "vm_groups",
            "nested_virt",
            "checkpoint",
            "set_vcpus_number_live",
            "pci_device_for_auto_update",
            "vgpu",
        )
        features = (*features, "storage_xen_motion")
        self.the_pool.restrictions = {f"restrict_{feature}": "false" for feature in features}
        self.h1, self.h2 = database.host["h1"], database.host["h2"]
        self.operation = OPERATIONS.get(self.name, message.name)
        self.method = self.name
        self.before: dict[str, Any] = {}
        subject = {"VM": ["vm"], "host": ["h1"]}.get(message.class_name, [])
        self.add_devices(message)
        if message.class_name in SUBJECTS and message.name not in ("create", "get_remaining_capacity"):
            subject = [SUBJECTS[message.class_name]]
        if self.name in MOTIONS:
            for sr in ("sr", "other"):
                storage(database, "h1", "h2", ref=sr)
            disk(database, "vm")
            able = {"VDI_SNAPSHOT": 1, "VDI_MIRROR": 1}
            database.load("SM", [row(database, "SM", "nfs", type="nfs", features=able)])
            subject = ["vm-disk"] if message.class_name == "VDI" else subject
        if self.name == "host.migrate_receive":
            network(database, "h1")
            database.tables["PIF"]["net-h1"].IP = "192.0.2.1"
        if message.class_name == "role":
            database.load("role", [row(database, "role", "role", name_label="read-only")])
            subject = ["role"] if message.parameters and isinstance(message.parameters[0].type, RefType) else subject
        if message.class_name == "PGPU":
            gpu(database, "h1", "nvidia")
        if self.name in ("host.power_on", "host.declare_dead", "host.destroy"):
            subject = ["h2"]
            self.kill("h2")
            self.h2.power_on_mode = "wake-on-lan"
        self.h1.enabled = self.h2.enabled = self.name not in ("host.reboot", "host.shutdown")
        if self.name == "pool.apply_edition":
            self.pool.hooks = Granting()
        self.vm.is_a_template = self.name in ("VM.provision", "VM.revert")
        if self.name == "VM.revert":
            database.load("VM", [vm_row(database, "of")])
            self.vm.is_a_snapshot, self.vm.snapshot_of = True, "of"
        if self.name == "VM_group.destroy":
            subject = ["g1"]
        self.the_pool.ha_enabled = self.name == "pool.disable_ha"
        if message.full_name == "VM.create":
            self.sent: list[Any] = [self.session.xenapi.VM.get_record("vm")]
        else:
            self.sent = [*subject, *copy.deepcopy(SENT.get(self.name, ()))]
        if message.class_name == "task":
            self.sent = ["a", "b"] if message.name == "create" else [self.session.xenapi.task.create("a", "b")]

    def add_devices(self, message: Message) -> None:
        """What the messages of a device's class are about."""
        database, name = self.database, message.class_name
        attached = message.name == "unplug"  # plugged, if it is to be unplugged
        if name in ("VBD", "PBD"):
            storage(database, *(("h1", "h2") if name == "VBD" else ("h2",)))
            database.tables["PBD"]["sr-h2"].currently_attached = name == "VBD" or attached
        if name == "VBD":
            disk(database, "vm")
        if name == "PIF":
            network(database, "h2")
        if name == "VGPU":
            gpu(database, "h1")
            if message.name == "destroy":
                vgpu(database, "vm")
        if name == "VUSB":
            usb(database, "vm", "h1")
            if message.name == "create":
                database.destroy(database.tables["VUSB"]["vm-vusb"])

    def send(self) -> Any:
        message = MESSAGES[self.name]
        return self.pool.dispatch(self.method, [self.handle, *self.sent] if message.has_session else self.sent)[2]

    def ask_about(self, operation: str) -> None:
        """Let the message be about an operation, and the VM in the state for it."""
        self.sent[-1] = operation
        if operation not in ("create_vtpm", "provision", "revert", "snapshot"):
            self.vm.power_state = "Running"
            self.metrics.current_domain_type = "pvh"

    def make_guests_wait(self, failure: list[str] | None = None) -> None:
        class Waiting(Guests):
            def start(self, vm: Any, host: Any) -> Generator[float, None, int]:
                yield 1.0
                if failure is not None:
                    raise Failure(failure)
                return int(vm.memory_dynamic_min)

        self.pool.guests = Waiting(self.database)

    def kill(self, host: str) -> None:
        self.database.host_metrics[f"{host}m"].live = False

    def move_to_h2(self) -> None:
        self.database.write(self.vm, "resident_on", "h2")


SUBJECTS = {
    "VBD": "vm-vbd",
    "VGPU": "vm-vgpu",
    "VUSB": "vm-vusb",
    "PBD": "sr-h2",
    "PIF": "net-h2",
}
"""The row that a message of a device's class is about."""

Situation = Callable[[Scene], list[Any]]
SITUATIONS: dict[str, Situation] = {}
"""By code, what brings a scene into the situation, and answers the parameters; None is one that cannot be known."""


def situation(build: Situation) -> Situation:
    SITUATIONS[build.__name__.upper()] = build
    return build


@situation
def handle_invalid(scene: Scene) -> list[Any]:
    if scene.name == "event.inject":
        scene.sent[1] = "gone"
        return ["VM", "gone"]
    if scene.name.startswith("pool.ha_compute"):
        scene.sent[-1] = ["gone"] if "plan" in scene.name else {"gone": "restart"}
        return ["VM", "gone"]
    if scene.name == "PBD.create":
        scene.sent[0]["SR"] = "gone"
        return ["SR", "gone"]
    types = [parameter.type for parameter in MESSAGES[scene.name].parameters]
    places = [(place, type.target) for place, type in enumerate(types) if isinstance(type, RefType)]
    place, target = places[-1] if scene.name == "host.allocate_resources_for_vm" else places[0]
    scene.sent[place] = "gone"
    return [target, "gone"]


@situation
def operation_blocked(scene: Scene) -> list[Any]:
    scene.vm.blocked_operations = {scene.operation: "why"}
    return ["vm", "why"]


@situation
def vm_bad_power_state(scene: Scene) -> list[Any]:
    if scene.name == "VGPU.create":
        scene.vm.power_state = "Running"
        return ["vm", "halted", "running"]
    if scene.name == "VM.create":
        scene.sent[0] |= {"power_state": "Suspended", "last_booted_record": ""}
        return [None, "halted", "suspended"]
    if scene.name == "VM.set_has_vendor_device":
        scene.vm.power_state = "Suspended"
        return ["vm", "halted", "suspended"]
    if scene.name == "VM.query_data_source":
        scene.vm.power_state = "Halted"
        return ["vm", "running, paused", "halted"]
    allowed = allowed_power_states(scene.database, scene.vm, scene.operation)
    scene.vm.power_state = wrong = "Paused" if "Paused" not in allowed else "Halted"
    return ["vm", ", ".join(allowed).lower(), wrong.lower()]


@situation
def other_operation_in_progress(scene: Scene) -> list[Any]:
    if scene.name in ("host.enable", "host.reboot", "host.shutdown"):
        scene.h1.current_operations = {"t": "apply_updates"}
        return ["host", "h1", "apply_updates", "t"]
    if scene.name == "VBD.assert_attachable":
        scene.database.VBD["vm-vbd"].current_operations = {"t": "plug"}
        return ["VBD", "vm-vbd", "plug", "t"]
    scene.vm.current_operations = {"t": "hard_shutdown"}
    return ["VM", "vm", "hard_shutdown", "t"]


@situation
def vm_is_template(scene: Scene) -> list[Any]:
    if scene.name == "VM.revert":
        scene.database.VM["of"].is_a_template = True
        return ["of", "reverting"]
    scene.vm.is_a_template = scene.vm.is_default_template = True
    return ["vm", shown(scene.operation)]


@situation
def vm_is_snapshot(scene: Scene) -> list[Any]:
    scene.vm.is_a_snapshot = True
    return ["vm", shown(scene.operation)]


@situation
def operation_not_allowed(scene: Scene) -> list[Any]:
    tables = scene.database.tables
    match scene.name:
        case "PBD.destroy":
            tables["PBD"]["sr-h2"].currently_attached = True
            return ["PBD is currently attached"]
        case "VGPU.destroy":
            scene.vm.power_state = "Running"
            return ["vGPU currently attached to a running VM"]
        case "VUSB.destroy":
            tables["VUSB"]["vm-vusb"].currently_attached = True
            return [None]
        case "VUSB.create":
            scene.vm.ha_restart_priority = "restart"
            return [None]
    if scene.name == "VM.assert_can_migrate":
        scene.sent[4] = {"vif": "net"}
        return [None]
    if scene.name == "VM.assert_can_boot_here":
        usb(scene.database, "vm", "h1")
        return ["VUSB vm-vusb is not available on Host h2"]
    if scene.name == "VM.assert_operation_valid":
        scene.sent[1], scene.vm.is_control_domain = "provision", True
        scene.vm.is_a_template = True
        return ["This operation is not allowed on a control domain"]
    if scene.name == "VM.set_VCPUs_at_startup":
        scene.sent[0] = "h1dom0"
        return ["set_VCPUs_at_startup is not allowed on dom0"]
    if scene.name == "VM.set_groups":
        scene.vm.is_a_snapshot = True
        return ["Control domains, templates, and snapshots cannot be added to VM groups."]
    if scene.name == "VM.provision":
        scene.vm.is_control_domain = True
        return ["This operation is not allowed on a control domain"]
    if scene.operation in ("changing_VCPUs", "destroy"):
        scene.vm.is_control_domain = True
        scene.database.write(scene.vm, "resident_on", "h1")
        scene.h1.control_domain = "vm"
        return ["This operation is not allowed on dom0"]
    if scene.name == "VM.start_on":
        usb(scene.database, "vm", "h1")
        return ["VUSB vm-vusb is not available on Host h2"]
    scene.vm.is_control_domain = True
    return ["This operation is not allowed on a control domain"]


@situation
def no_hosts_available(scene: Scene) -> list[Any]:
    if scene.name == "host.evacuate":
        scene.h2.enabled = False
        return ["vm"]
    if scene.name in MOTIONS:
        scene.database.update(scene.vm, {"power_state": "Halted", "resident_on": NULL})
        for host in ("h1", "h2"):
            scene.database.write(scene.database.tables["PBD"][f"sr-{host}"], "currently_attached", False)
        return []
    if scene.name == "VM.checkpoint":
        scene.vm.power_state = "Suspended"
    scene.kill("h1")
    scene.kill("h2")
    return []


@situation
def ha_operation_would_break_failover_plan(scene: Scene) -> list[Any]:
    """One host may fail; there is room on the other for another protected VM, but not for this one as well."""
    protected = {"ha_restart_priority": "restart", "ha_always_run": True}
    values = {"power_state": "Running", "resident_on": "h1", **limits(40 * GIB), **protected}
    scene.database.load("VM", [vm_row(scene.database, "protected", **values)])
    size = 40 * GIB
    if scene.name in ON_H2:  # the VM is there already, so that it must be short, and the other host be full
        size = 20 * GIB
        filler = {"power_state": "Running", "resident_on": "h1", **limits(15 * GIB)}
        scene.database.load("VM", [vm_row(scene.database, "filler", **filler)])
    scene.database.update(scene.vm, {"memory_static_max": size, "memory_overhead": 200 * MIB})
    if scene.name not in ("VM.set_ha_restart_priority", "VM.set_ha_always_run"):
        scene.vm.ha_restart_priority = "restart"
    scene.the_pool.ha_enabled, scene.the_pool.ha_plan_exists_for = True, 1
    assert scene.session.xenapi.pool.ha_failover_plan_exists("1")
    if scene.name == "pool.set_ha_host_failures_to_tolerate":
        scene.sent[1] = "2"
    return []


@situation
def host_offline(scene: Scene) -> list[Any]:
    if scene.name.startswith(("host.", "pool.")):
        scene.sent[0] = "h2"
        scene.kill("h2")
    elif scene.name == "VM.revert":
        scene.database.VM["of"].power_state = "Running"
        scene.database.write(scene.database.VM["of"], "resident_on", "h2")
        scene.kill("h2")
    elif scene.name.startswith(("PBD.", "PIF.")):
        scene.kill("h2")
    elif scene.name in ("VM.start", "VM.resume"):
        scene.database.write(scene.vm, "scheduled_to_be_resident_on", "h2")
        scene.kill("h2")
    else:
        if scene.vm.power_state in ("Halted", "Suspended"):
            scene.vm.power_state = "Running"
            scene.vm.is_control_domain = "dynamic" not in scene.name and "set_memory" in scene.name
        scene.move_to_h2()
        scene.kill("h2")
        if scene.name == "VM.pool_migrate":
            scene.sent[1] = "h1"
    return ["h2"]


@situation
def host_not_enough_free_memory(scene: Scene) -> list[Any]:
    if scene.name in ("VM.start", "VM.resume"):
        scene.make_guests_wait(["HOST_NOT_ENOUGH_FREE_MEMORY", "2", "1"])
        return ["2", "1"]
    if "dynamic" in scene.name:
        scene.vm.power_state = "Running"
        scene.database.write(scene.vm, "memory_dynamic_min", 0)
        scene.database.write(scene.vm, "resident_on", "h1")
        scene.database.write(scene.vm, "memory_dynamic_max", 61 * GIB)
        growth = 61 * GIB
        if scene.name == "VM.set_memory_dynamic_max":  # its dynamic_min stays: only where the host is overcommitted
            return _overtaken(scene)
        scene.sent[1] = str(growth)
        return [str(growth >> 10), str((61 * GIB - 37 * MIB) >> 10)]
    if scene.name == "VM.set_shadow_multiplier_live":
        scene.sent[1] = 1e5
        return [str((3_400_000 - 34) * MIB), str(59 * GIB - 37 * MIB)]
    used = 2 * GIB + 37 * MIB if scene.name in ON_H2 else 0
    values = {"power_state": "Running", "resident_on": "h2", "memory_overhead": 0, **limits(61 * GIB - 1 - used)}
    scene.database.load("VM", [vm_row(scene.database, "big", **values)])
    if scene.name == "host.evacuate":
        return ["vm"]
    return [str(2 * GIB + 37 * MIB), "1"]


def _overtaken(scene: Scene) -> list[Any]:
    """Another message sets dynamic_min after this one has read it, so that this one would have it grow back."""
    scene.database.write(scene.vm, "memory_dynamic_min", 60 * GIB)
    values = {"power_state": "Running", "resident_on": "h1", "memory_overhead": 0, **limits(GIB)}

    def overtake(seconds: float) -> None:
        del scene.pool.clock.wait  # type: ignore[method-assign]
        scene.database.write(scene.vm, "memory_dynamic_min", 0)
        scene.database.load("VM", [vm_row(scene.database, "other", **values)])
        scene.before = everything(scene.pool)

    scene.pool.clock.wait = overtake  # type: ignore[method-assign]
    return [str(60 * GIB >> 10), str((60 * GIB - 37 * MIB) >> 10)]


@situation
def vms_failed_to_cooperate(scene: Scene) -> list[Any]:
    scene.make_guests_wait(["VMS_FAILED_TO_COOPERATE", "a", "b"])
    return ["a", "b"]


@situation
def task_cancelled(scene: Scene) -> list[Any]:
    scene.make_guests_wait()
    scene.vm.shutdown_delay = 5
    if scene.name in ("VM.hard_shutdown", "VM.shutdown"):
        scene.vm.power_state = "Running"
        scene.database.write(scene.vm, "resident_on", "h1")
    scene.vm.memory_target = 9 * GIB
    scene.method = f"Async.{scene.name}"
    scene.pool.clock.pace = Pace.DRIVEN
    return [None]


@situation
def vm_memory_target_wait_timeout(scene: Scene) -> list[Any]:
    scene.vm.memory_target = 9 * GIB
    return [None]


@situation
def licence_restriction(scene: Scene) -> list[Any]:
    if scene.name in ("VM.resume", "VM.resume_on"):
        gpu(scene.database, "h2", "nvidia")
        vgpu(scene.database, "vm", "nvidia")
    feature, restriction = FEATURES[scene.name]
    scene.the_pool.restrictions = {**scene.the_pool.restrictions, restriction: "true"}
    return [feature]


@situation
def memory_constraint_violation_maxpin(scene: Scene) -> list[Any]:
    if "start" in scene.name:
        scene.vm.platform = {**scene.vm.platform, "nested-virt": "true"}
        return ["nested virt"]
    if scene.name == "VM.set_memory":
        scene.vm.memory_static_min = 9 * GIB
    scene.the_pool.restrictions = {}
    return ["DMC disabled"]


@situation
def memory_constraint_violation_order(scene: Scene) -> list[Any]:
    if scene.name == "VM.set_memory_limits":
        scene.sent[1] = MORE
    else:
        scene.vm.memory_static_min = scene.vm.memory_static_max = 9 * GIB
        scene.vm.memory_dynamic_min = 0
    return []


@situation
def memory_constraint_violation(scene: Scene) -> list[Any]:
    scene.vm.memory_static_max = 0
    return []


@situation
def invalid_value(scene: Scene) -> list[Any]:
    satisfy = "VCPU values must satisfy: 0 < VCPUs_at_startup ≤ VCPUs_max"
    bad: dict[str, tuple[Any, list[str]]] = {
        "VM.create": (scene.sent[0], ["HVM_shadow_multiplier", "inf"]),
        "VM.set_ha_restart_priority": ("x", ["ha_restart_priority", "x"]),
        "VM.set_VCPUs_max": ("0", [satisfy, "0"]),
        "VM.set_VCPUs_at_startup": ("0", [satisfy, "0"]),
        "VM.set_VCPUs_number_live": ("3", ["VCPU values must satisfy: 0 < VCPUs ≤ VCPUs_max", "2"]),
        "VM.set_domain_type": ("unspecified", ["domain_type", "unspecified"]),
        "VM.set_HVM_shadow_multiplier": (0.5, ["multiplier", "0.5"]),
        "VM.set_shadow_multiplier_live": (0.5, ["multiplier", "0.5"]),
        "pool.set_ha_host_failures_to_tolerate": ("-1", ["ha_host_failures_to_tolerate", "-1"]),
        "pool.ha_compute_hypothetical_max_host_failures_to_tolerate": ({"vm": "x"}, ["ha_restart_priority", "x"]),
        **{
            f"VM.set_{field}": ("-1", [f"{field} must be non-negative", "-1"])
            for field in ("order", "start_delay", "shutdown_delay")
        },
    }
    if scene.name in bad:
        scene.sent[-1], parameters = bad[scene.name]
        if scene.name == "VM.create":
            scene.sent[0]["HVM_shadow_multiplier"] = float("inf")
        return parameters
    if scene.name == "VM.start":
        scene.vm.platform = {**scene.vm.platform, "nested-virt": "maybe"}
        return ["platform:nested-virt", "maybe"]
    scene.vm.VCPUs_max = 0
    return ["VCPUs_max", "0"]


@situation
def value_not_supported(scene: Scene) -> list[Any]:
    if scene.name == "VM.set_actions_after_crash":
        scene.sent[1] = "rename_restart"
        return ["VM.actions_after_crash", "rename_restart", None]
    scene.vm.VCPUs_at_startup = 3
    return ["VCPUs-at-startup", "3", "value greater than VCPUs-max"]


@situation
def host_not_live(scene: Scene) -> list[Any]:
    scene.kill("h2")
    return []


@situation
def host_disabled(scene: Scene) -> list[Any]:
    scene.h2.enabled = False
    return ["h2"]


@situation
def vm_host_incompatible_version(scene: Scene) -> list[Any]:
    scene.the_pool.other_config = {"rolling_upgrade_in_progress": ""}
    scene.h2.software_version = {"xapi": "99.1"}
    return ["h2", "vm"]


@situation
def vm_host_incompatible_virtual_hardware_platform_version(scene: Scene) -> list[Any]:
    scene.vm.hardware_platform_version = 3
    return ["h2", "[0]", "vm", "3"]


@situation
def vm_hvm_required(scene: Scene) -> list[Any]:
    scene.h2.capabilities = ()
    return ["vm"]


@situation
def host_not_enough_pcpus(scene: Scene) -> list[Any]:
    scene.h2.cpu_info = {"cpu_count": "1"}
    return ["2", "1"]


@situation
def vm_incompatible_with_this_host(scene: Scene) -> list[Any]:
    scene.vm.power_state = "Suspended" if scene.vm.power_state == "Halted" else scene.vm.power_state
    scene.metrics.current_domain_type = "pvh"
    other_cpu(scene.database, scene.vm)
    return ["vm", "h2", OTHER_VENDOR]


@situation
def vgpu_type_no_longer_supported(scene: Scene) -> list[Any]:
    class Newer(Hooks):
        def supports_gvt_g(self) -> bool:
            return False

    scene.pool.hooks = Newer()
    gpu(scene.database, "h2", "gvt_g")
    vgpu(scene.database, "vm", "gvt_g")
    return ["V: M"]


@situation
def pbd_exists(scene: Scene) -> list[Any]:
    scene.sent[0]["host"] = "h2"
    return ["sr", "h2", "sr-h2"]


@situation
def sr_not_sharable(scene: Scene) -> list[Any]:
    scene.database.SR["sr"].shared = False
    pbd = row(scene.database, "PBD", "sr-h1", SR="sr", host="h1", currently_attached=True)
    scene.database.load("PBD", [pbd])
    return ["sr", "h1"]


@situation
def invalid_device(scene: Scene) -> list[Any]:
    scene.sent[2] = "x"
    return ["x"]


@situation
def device_already_exists(scene: Scene) -> list[Any]:
    vgpu(scene.database, "vm", device="1")
    return ["1"]


@situation
def usb_group_conflict(scene: Scene) -> list[Any]:
    usb(scene.database, "h1dom0", "h1")
    return ["usbs"]


@situation
def too_many_vusbs(scene: Scene) -> list[Any]:
    scene.vm.VUSBs = tuple("abcdef")
    return ["6"]


@situation
def cannot_plug_bond_slave(scene: Scene) -> list[Any]:
    scene.database.load("Bond", [row(scene.database, "Bond", "bond")])
    scene.database.tables["PIF"]["net-h2"].bond_slave_of = "bond"
    return ["net-h2"]


@situation
def pif_is_management_interface(scene: Scene) -> list[Any]:
    scene.database.tables["PIF"]["net-h2"].management = True
    return ["net-h2"]


@situation
def pif_does_not_allow_unplug(scene: Scene) -> list[Any]:
    scene.database.tables["PIF"]["net-h2"].disallow_unplug = True
    return ["net-h2"]


@situation
def cannot_contact_host(scene: Scene) -> list[Any]:
    scene.sent[1] = DEST | {"host": "elsewhere"}
    return ["http://192.0.2.1/"]


@situation
def vdi_not_in_map(scene: Scene) -> list[Any]:
    scene.sent[3] = {}
    return ["vm-disk"]


@situation
def sr_does_not_support_migration(scene: Scene) -> list[Any]:
    scene.database.tables["SM"]["nfs"].features = {"VDI_SNAPSHOT": 1}
    return ["sr", "VDI_MIRROR"]


@situation
def vdi_cbt_enabled(scene: Scene) -> list[Any]:
    scene.database.VDI["vm-disk"].cbt_enabled = True
    return ["vm-disk"]


@situation
def vdi_is_encrypted(scene: Scene) -> list[Any]:
    scene.database.VDI["vm-disk"].sm_config = {"key_hash": "x"}
    return ["vm-disk"]


@situation
def vdi_incompatible_type(scene: Scene) -> list[Any]:
    scene.database.VDI["vm-disk"].type = "cbt_metadata"
    return ["vm-disk", "cbt_metadata"]


@situation
def vdi_needs_vm_for_migrate(scene: Scene) -> list[Any]:
    scene.database.destroy(scene.database.VBD["vm-vbd"])
    return ["vm-disk"]


@situation
def too_many_storage_migrates(scene: Scene) -> list[Any]:
    for number in range(3):
        values = {"power_state": "Running", "resident_on": "h1", "current_operations": {"t": "migrate_send"}}
        scene.database.load("VM", [vm_row(scene.database, f"other{number}", **values)])
    return ["3"]


@situation
def vm_requires_sr(scene: Scene) -> list[Any]:
    if scene.name in MOTIONS:
        scene.database.write(scene.database.tables["PBD"]["sr-h2"], "currently_attached", False)
    else:
        storage(scene.database, "h1")
        disk(scene.database, "vm")
    return ["vm", "sr"]


@situation
def vm_requires_network(scene: Scene) -> list[Any]:
    network(scene.database, "h1")
    vif(scene.database, "vm")
    return ["vm", "net"]


@situation
def host_cannot_attach_network(scene: Scene) -> list[Any]:
    network(scene.database, "h1", "h2")
    scene.database.tables["PIF"]["net-h2"].bond_slave_of = "bond"
    vif(scene.database, "vm")
    return ["h2", "net"]


@situation
def vm_requires_iommu(scene: Scene) -> list[Any]:
    gpu(scene.database, "h1", "nvidia_sriov")
    vgpu(scene.database, "vm", "nvidia_sriov", resident_on="h1-gpu")
    scene.database.tables["PGPU"]["h1-gpu"].compatibility_metadata = {"nvidia": "x"}
    scene.database.write(scene.h2, "chipset_info", {"iommu": "false"})
    return ["h2"]


@situation
def vm_requires_gpu(scene: Scene) -> list[Any]:
    gpu(scene.database, "h1")
    vgpu(scene.database, "vm")
    return ["vm", "gpus"]


@situation
def vm_requires_vgpu(scene: Scene) -> list[Any]:
    kind = "nvidia"
    gpu(scene.database, "h1", kind)
    vgpu(scene.database, "vm", kind, resident_on="h1-gpu")
    scene.database.tables["PGPU"]["h1-gpu"].compatibility_metadata = {"nvidia": "x"}
    return ["vm", "gpus", kind]


@situation
def feature_requires_hvm(scene: Scene) -> list[Any]:
    vm_requires_vgpu(scene)
    gpu(scene.database, "h2", "nvidia")
    scene.vm.domain_type = "pv"
    return ["vGPU- and GPU-passthrough needs HVM"]


@situation
def nvidia_tools_error(scene: Scene) -> list[Any]:
    vm_requires_vgpu(scene)
    gpu(scene.database, "h2", "nvidia")
    return ["h2"]


@situation
def network_sriov_insufficient_capacity(scene: Scene) -> list[Any]:
    functions(scene.database, "h2", 0)
    vif(scene.database, "vm", "sriov")
    return ["sriov"]


@situation
def vdi_not_managed(scene: Scene) -> list[Any]:
    storage(scene.database, "h1", "h2")
    disk(scene.database, "vm")
    disk(scene.database, "h1dom0")
    scene.database.VDI["vm-disk"].managed = False
    return ["vm-vbd"]


@situation
def vdi_in_use(scene: Scene) -> list[Any]:
    if scene.name == "PBD.unplug":
        disk(scene.database, "vm", currently_attached=True)
        scene.vm.power_state = "Running"
        scene.move_to_h2()
        return ["vm-disk"]
    storage(scene.database, "h1", "h2")
    disk(scene.database, "vm")
    other = {"VM": "other", "VDI": "vm-disk", "currently_attached": True}
    scene.database.load("VM", [vm_row(scene.database, "other", power_state="Running", resident_on="h1")])
    scene.database.load("VBD", [row(scene.database, "VBD", "other-vbd", mode="RO", **other)])
    return ["vm-disk"]


@situation
def vdi_readonly(scene: Scene) -> list[Any]:
    storage(scene.database, "h1", "h2")
    disk(scene.database, "vm")
    scene.database.VDI["vm-disk"].read_only = True
    return ["vm-disk"]


@situation
def vdi_on_boot_mode_incompatible_with_operation(scene: Scene) -> list[Any]:
    storage(scene.database, "h1", "h2")
    disk(scene.database, "vm")
    if scene.name in MOTIONS:
        scene.database.VDI["vm-disk"].on_boot = "reset"
    scene.database.VDI["vm-disk"].sm_config = {"on_boot": "reset", "caching": "true"}
    return []


@situation
def vm_has_pci_attached(scene: Scene) -> list[Any]:
    scene.vm.attached_PCIs = ("pci",)
    return ["vm"]


@situation
def vm_has_vgpu(scene: Scene) -> list[Any]:
    scene.vm.VGPUs = ("gone",)
    return ["vm"]


@situation
def vm_no_suspend_sr(scene: Scene) -> list[Any]:
    storage(scene.database, "h1", "h2")
    return ["vm"]


@situation
def ha_constraint_violation_sr_not_shared(scene: Scene) -> list[Any]:
    if scene.name == "PBD.unplug":
        disk(scene.database, "vm")
        scene.vm.ha_always_run, scene.vm.ha_restart_priority = True, "restart"
        scene.the_pool.ha_enabled = True
        return ["sr"]
    storage(scene.database, "h1")
    disk(scene.database, "vm")
    return ["sr"]


@situation
def ha_constraint_violation_network_not_shared(scene: Scene) -> list[Any]:
    network(scene.database, "h1")
    vif(scene.database, "vm")
    return ["net"]


@situation
def vm_has_sriov_vif(scene: Scene) -> list[Any]:
    functions(scene.database, "h1", 1)
    scene.h2.enabled = False
    scene.database.tables["network_sriov"]["sriov-row"].configuration_mode = "sysfs"
    vif(scene.database, "vm", "sriov")
    return ["vm"]


@situation
def pif_not_present(scene: Scene) -> list[Any]:
    _over_a_network(scene)
    return ["h2", "net"]


@situation
def required_pif_is_unplugged(scene: Scene) -> list[Any]:
    _over_a_network(scene, "h2")
    scene.database.tables["PIF"]["net-h2"].currently_attached = False
    return ["net-h2"]


@situation
def interface_has_no_ip(scene: Scene) -> list[Any]:
    _over_a_network(scene, "h2")
    return ["net-h2"]


def _over_a_network(scene: Scene, *hosts: str) -> None:
    network(scene.database, "h1", *hosts)
    if scene.name == "host.migrate_receive":
        scene.sent[0] = "h2"
        return
    if scene.name == "host.evacuate":
        scene.sent.append("net")
    else:
        scene.sent[-1] = {"network": "net"}


HOOKS = {
    "VM_FAILED_SHUTDOWN_ACKNOWLEDGMENT": "shut_down_guest",
    "VM_SHUTDOWN_TIMEOUT": "shut_down_guest",
    "HOST_STILL_BOOTING": "assert_host_ready",
    "HOST_DISABLED_UNTIL_REBOOT": "assert_safe_to_reenable",
}


def _answered(scene: Scene, hook: str, code: str) -> list[Any]:
    scene.h1.enabled = scene.name != "host.enable"
    parameters = list(CODES[code].parameters)
    scene.pool.hooks = Answering(hook, code, *parameters)
    return parameters


for _code, _hook in HOOKS.items():
    SITUATIONS[_code] = lambda scene, code=_code, hook=_hook: _answered(scene, hook, code)  # type: ignore[misc]


@situation
def not_supported_during_upgrade(scene: Scene) -> list[Any]:
    scene.the_pool.other_config = {"rolling_upgrade_in_progress": ""}
    scene.h2.software_version = {"xapi_build": "1.0.0", "xapi": "1.0"}
    return []


@situation
def host_evacuate_in_progress(scene: Scene) -> list[Any]:
    scene.h2.current_operations = {"t": "evacuate"}
    return ["h2"]


@situation
def host_evacuate_vm_not_ha_protected(scene: Scene) -> list[Any]:
    scene.the_pool.ha_enabled = True
    return ["vm"]


@situation
def host_pending_mandatory_guidance_not_empty(scene: Scene) -> list[Any]:
    scene.h1.enabled, scene.h1.pending_guidances = False, ("reboot_host",)
    return ["h1"]


@situation
def cannot_evacuate_host(scene: Scene) -> list[Any]:
    """Every reason, in no particular order: here both are the same but for the VM."""
    database = scene.database
    other = vm_row(database, "other", power_state="Running", resident_on="h1")
    database.load("VM", [other])
    database.VM_metrics["otherm"].current_domain_type = "pvh"
    other.is_a_snapshot = scene.vm.is_a_snapshot = True
    failures = [f"VM_IS_SNAPSHOT,{vm},pool_migrate" for vm in scene.h1.resident_VMs if vm in ("vm", "other")]
    return ["|".join(failures)]


@situation
def vm_has_no_suspend_vdi(scene: Scene) -> list[Any]:
    scene.vm.suspend_VDI = NULL
    return ["VM", "vm"]


@situation
def vm_is_immobile(scene: Scene) -> list[Any]:
    scene.metrics.nomigrate = True
    return ["vm"]


@situation
def vm_lacks_feature(scene: Scene) -> list[Any]:
    scene.metrics.current_domain_type = "hvm"
    return ["vm"]


@situation
def vm_non_suspendable(scene: Scene) -> list[Any]:
    guest = row(scene.database, "VM_guest_metrics", "guest", other={"data-cant-suspend-reason": "busy"})
    scene.database.load("VM_guest_metrics", [guest])
    scene.vm.guest_metrics = "guest"
    return ["vm", "busy"]


@situation
def vm_is_using_nested_virt(scene: Scene) -> list[Any]:
    scene.metrics.nested_virt = True
    return ["vm"]


@situation
def vm_cannot_delete_default_template(scene: Scene) -> list[Any]:
    scene.vm.other_config = {"default_template": "true"}
    return []


@situation
def vm_is_protected(scene: Scene) -> list[Any]:
    scene.the_pool.ha_enabled = True
    scene.vm.ha_restart_priority, scene.vm.ha_always_run = "restart", True
    return ["vm"]


@situation
def too_many_groups(scene: Scene) -> list[Any]:
    scene.sent[1] = ["g1", "g2"]
    return []


@situation
def map_duplicate_key(scene: Scene) -> list[Any]:
    field = scene.name.removeprefix("VM.add_to_")
    setattr(scene.vm, field, {scene.sent[1]: "value"})
    return ["VM", field, "vm", scene.sent[1]]


@situation
def internal_error(scene: Scene) -> list[Any]:
    if scene.name == "VM.set_actions_after_crash":
        scene.sent[1] = "coredump_and_destroy"
        scene.vm.domain_type = scene.metrics.current_domain_type = "unspecified"
        return ["unspecified domain type"]
    if scene.name.endswith("query_data_source"):
        scene.sent[1] = "cpu0"
        return ["Not_found"]
    if scene.name == "PBD.create":
        del scene.sent[0]["device_config"]
    elif scene.name == "VM_group.create":
        scene.sent[0] = {"placement": 5}
    else:
        del scene.sent[0]["platform"]
    return [None]


@situation
def session_invalid(scene: Scene) -> list[Any]:
    scene.handle = "gone"
    return ["gone"]


@situation
def session_authentication_failed(scene: Scene) -> list[Any]:
    return ["root", None]


@situation
def rbac_permission_denied(scene: Scene) -> list[Any]:
    scene.handle = scene.pool.log_in("other", "")
    return ["task.destroy/any", None]


@situation
def event_from_token_parse_failure(scene: Scene) -> list[Any]:
    scene.sent[1] = "x"
    return ["x"]


@situation
def vm_has_vusbs(scene: Scene) -> list[Any]:
    scene.vm.VUSBs = ("usb",)
    return ["vm"]


@situation
def vtpm_max_amount_reached(scene: Scene) -> list[Any]:
    scene.vm.VTPMs = ("vtpm",)
    return ["1"]


@situation
def vm_snapshot_with_quiesce_not_supported(scene: Scene) -> list[Any]:
    return ["vm", ""]


@situation
def provision_only_allowed_on_template(scene: Scene) -> list[Any]:
    scene.vm.is_a_template = False
    return []


@situation
def revert_only_allowed_on_snapshot(scene: Scene) -> list[Any]:
    scene.vm.is_a_snapshot = scene.vm.is_a_template = False
    return []


@situation
def vm_revert_failed(scene: Scene) -> list[Any]:
    scene.vm.snapshot_of = "gone"
    return ["vm", "gone"]


@situation
def v6d_failure(scene: Scene) -> list[Any]:
    scene.pool.hooks = Hooks()
    return []


@situation
def host_is_live(scene: Scene) -> list[Any]:
    if scene.name == "VM.power_state_reset":
        scene.vm.power_state = "Running"
        scene.database.write(scene.vm, "resident_on", "h2")
        return ["h2"]
    scene.database.host_metrics["h2m"].live = True
    return ["h2"]


@situation
def host_power_on_mode_disabled(scene: Scene) -> list[Any]:
    scene.h2.power_on_mode = ""
    return []


@situation
def host_not_disabled(scene: Scene) -> list[Any]:
    scene.h1.enabled = True
    return []


@situation
def host_cannot_destroy_self(scene: Scene) -> list[Any]:
    scene.database.write(scene.the_pool, "master", "h2")
    return ["h2"]


@situation
def ha_is_enabled(scene: Scene) -> list[Any]:
    scene.the_pool.ha_enabled = True
    return []


@situation
def ha_not_enabled(scene: Scene) -> list[Any]:
    scene.the_pool.ha_enabled = False
    return []


@situation
def host_has_resident_vms(scene: Scene) -> list[Any]:
    scene.vm.power_state = "Running"
    scene.database.write(scene.vm, "resident_on", "h2")
    return ["h2"]


@situation
def too_many_pending_tasks(scene: Scene) -> list[Any]:
    scene.pool.made._bytes = tasks.MAX_BYTES
    return []


@situation
def session_not_registered(scene: Scene) -> list[Any]:
    return [None]


@situation
def events_lost(scene: Scene) -> list[Any]:
    scene.session.xenapi.event.register(["VM"])
    scene.pool.events._max_length = 0
    scene.session.xenapi.VM.set_name_label("vm", "x")
    return []


DECLARED = [
    (message.full_name, code.name)
    for message in MESSAGES.values()
    if not message.generated and message.body.__module__ not in (devices.__name__, neutral.__name__)
    for code in message.errors
]
"""But for those that have files of their own: messages/test_devices.py, messages/test_remaining.py."""


@pytest.mark.parametrize(("name", "code"), DECLARED, ids=lambda value: value)
def test_is_answered(name: str, code: str) -> None:
    scene = Scene(MESSAGES[name])
    if name == "VM.assert_operation_valid" and code in ASKED:
        scene.ask_about(ASKED[code])
    parameters = SITUATIONS[code](scene)
    if name in ("VM.start", "VM.start_on"):  # stores its overhead before it looks for a host
        scene.vm.memory_overhead = scene.session.api.VM.compute_memory_overhead("vm")
    scene.before = everything(scene.pool)
    if code == "TASK_CANCELLED":
        task = scene.send()
        scene.session.xenapi.task.cancel(task)
        scene.pool.clock.advance(10)
        details = scene.session.xenapi.task.get_error_info(task)
    else:
        with pytest.raises(Failure) as raised:
            scene.send()
        details = raised.value.details
    assert details[0] == code
    assert [
        None if known is None else given for known, given in zip(parameters, details[1:], strict=True)
    ] == parameters
    assert all(type(detail) is str for detail in details)
    if code in CHANGES_MORE:
        assert (scene.vm.current_operations, scene.vm.scheduled_to_be_resident_on) == ({}, NULL)
    else:
        assert everything(scene.pool) == scene.before


@pytest.mark.parametrize("name", sorted({name for name, _ in DECLARED}))
def test_nothing_else_is_in_the_way(name: str) -> None:
    """In the scene alone, each message is carried out, so that its failures come from the situations."""
    scene = Scene(MESSAGES[name])
    if name in ("session.login_with_password", "session.slave_local_login_with_password"):
        scene.sent[1] = ""
    if name == "session.change_password":
        scene.sent[0] = ""
    if name == "event.next":
        scene.session.xenapi.event.register(["VM"])
        scene.session.xenapi.VM.set_name_label("vm", "x")
    scene.metrics.memory_actual = scene.vm.memory_target
    scene.send()
