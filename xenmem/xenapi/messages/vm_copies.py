"""The messages that copy VMs: clones, copies, snapshots and checkpoints of the record and its memory, and going back.

A copy has rows of devices of its own, and so has a VM that goes back to a snapshot. Source:
docs/reference/messages.md, 5.2 (xapi-project/xen-api, ocaml/xapi/xapi_vm_clone.ml, xapi_vm_snapshot.ml, xapi_vm.ml,
message_forwarding.ml).
"""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final

from xenmem.datamodel import CLASSES, errors
from xenmem.datamodel.types import EPOCH, NULL, STRING_MAP, int64
from xenmem.xenapi.calls.call import Call
from xenmem.xenapi.calls.message import SRRef, String, VDIRefs, VMRef, message
from xenmem.xenapi.messages import vm_lifecycle, vm_records
from xenmem.xenapi.rules import boot, device_rows, lifecycle, operations
from xenmem.xenapi.store.effects import RELATIONS
from xenmem.xenapi.world.features import Feature, assert_enabled

if TYPE_CHECKING:
    from xenmem.xenapi.store import rows

_OPERATION: Final = (
    errors.HANDLE_INVALID,
    errors.OPERATION_BLOCKED,
    errors.VM_BAD_POWER_STATE,
    errors.OTHER_OPERATION_IN_PROGRESS,
    errors.OPERATION_NOT_ALLOWED,
)
_ANY_STATE: Final = tuple(code for code in _OPERATION if code is not errors.VM_BAD_POWER_STATE)
_TAKING: Final = (errors.VM_IS_TEMPLATE, errors.VM_IS_SNAPSHOT, errors.VM_HAS_VUSBS)
_NOT_COPIED: Final[dict[str, Any]] = {
    "uuid": None,
    "allowed_operations": (),
    "current_operations": {},
    "blocked_operations": {},
    "power_state": "Halted",
    "resident_on": NULL,
    "scheduled_to_be_resident_on": NULL,
    "domid": -1,
    "domarch": "",
    "guest_metrics": NULL,
    "is_default_template": False,
    "is_a_snapshot": False,
    "snapshot_of": NULL,
    "snapshots": (),
    "snapshot_time": EPOCH,
    "snapshot_info": {},
    "snapshot_metadata": "",
    "transportable_snapshot_id": "",
    "is_vmss_snapshot": False,
    "is_snapshot_from_vmpp": False,
    "snapshot_schedule": NULL,
    "protection_policy": NULL,
    "parent": NULL,
    "children": (),
    "ha_always_run": False,
    "order": 0,
    "start_delay": 0,
    "shutdown_delay": 0,
    "appliance": NULL,
    "groups": (),
    "requires_reboot": False,
    "pending_guidances": (),
    "pending_guidances_recommended": (),
    "pending_guidances_full": (),
    "suspend_VDI": NULL,
    "suspend_SR": NULL,
    "version": 0,
    "blobs": {},
    "VIFs": (),
    "VBDs": (),
    "VUSBs": (),
    "VGPUs": (),
    "VTPMs": (),
    "consoles": (),
    "crash_dumps": (),
    "attached_PCIs": (),
}
"""What a copy has of its own; its devices come after it (rules/devices.py)."""
_NOT_REVERTED: Final = frozenset(
    (
        *(
            "uuid",
            "suspend_VDI",
            "power_state",
            "parent",
            "current_operations",
            "allowed_operations",
            "metrics",
            "tags",
        ),
        *("guest_metrics", "resident_on", "domid", "protection_policy", "snapshot_schedule", "snapshots", "affinity"),
        *("scheduled_to_be_resident_on", "consoles", "VBDs", "VIFs", "VGPUs", "VUSBs", "attached_PCIs"),
    )
)
_NOT_REVERTED_WITHOUT_METADATA: Final = _NOT_REVERTED | {
    *("name_label", "is_a_snapshot", "is_a_template", "is_default_template", "snapshot_of", "snapshot_time"),
    *("transportable_snapshot_id", "children"),
}
_LISTED: Final = frozenset(relation.many for relation in RELATIONS if relation.target == "VM")
"""Fields that follow from what others point to."""
_INTERNAL: Final = "xensource_internal"
_ISO: Final = "Cannot copy a VM's disks to an ISO SR"


@message("VM", errors=(*_OPERATION, errors.NO_HOSTS_AVAILABLE))
def clone(call: Call, vm: VMRef, new_name: String) -> VMRef:
    """A copy of a VM, template or snapshot, with another name.

    Notes
    -----
    The overhead is copied, even if it is stale. Protection by HA, delays, order and groups are not. A clone of a
    default template is none. Source: xapi_vm_clone.ml: copy_vm_record; xapi_vm.ml: clone.
    """
    source = call.db.VM[vm]
    operations.begin(call, source, "clone")
    _assert_storage(call, source)
    return _cloned(call, source, new_name)


@message("VM", errors=_OPERATION)
def copy(call: Call, vm: VMRef, new_name: String, sr: SRRef) -> VMRef:
    """A copy of a VM, template or snapshot, as clone; its disks would be copied in full. Source: xapi_vm.ml: copy."""
    source = call.db.VM[vm]
    operations.begin(call, source, "copy")
    storage = call.db.tables["SR"].get(sr)
    if storage is not None and storage.content_type == "iso":
        raise errors.OPERATION_NOT_ALLOWED(_ISO)
    made = _cloned(call, source, new_name)
    if storage is not None:
        for ref in call.db.VM[made].VBDs:
            disk = call.db.VBD[ref]
            image = call.db.VDI.get(disk.VDI)
            if image is not None and disk.type == "Disk":
                call.db.write(image, "SR", sr)
    return made


@message("VM", errors=(*_ANY_STATE, *_TAKING, errors.NO_HOSTS_AVAILABLE))
def snapshot(call: Call, vm: VMRef, new_name: String, ignore_vdis: VDIRefs = ()) -> VMRef:
    """A copy of a VM as it is now, without its memory, to go back to. Source: xapi_vm_snapshot.ml: snapshot."""
    source = call.db.VM[vm]
    operations.begin(call, source, "snapshot")
    _assert_storage(call, source)
    return _snapshot(call, source, new_name, {})


@message(
    "VM",
    errors=(
        *_OPERATION,
        *_TAKING,
        errors.LICENCE_RESTRICTION,
        errors.VM_IS_IMMOBILE,
        errors.VM_NON_SUSPENDABLE,
        errors.VM_LACKS_FEATURE,
        errors.VM_HAS_PCI_ATTACHED,
        errors.HOST_OFFLINE,
        errors.NO_HOSTS_AVAILABLE,
    ),
)
def checkpoint(call: Call, vm: VMRef, new_name: String) -> VMRef:
    """A copy of a VM as it is now, with its memory: a snapshot that is Suspended if the VM has memory.

    Notes
    -----
    A running VM is suspended and resumed where it is, and its memory is not given back in between. Source:
    xapi_vm_snapshot.ml: checkpoint.
    """
    source = call.db.VM[vm]
    operations.begin(call, source, "checkpoint")
    if source.power_state == "Running":
        boot.assert_reachable(call.db, source.resident_on)
    else:
        _assert_storage(call, source)
    assert_enabled(call.db, Feature.CHECKPOINT)
    values: dict[str, Any] = {}
    if source.power_state in ("Running", "Suspended"):
        values = {"power_state": "Suspended", "suspend_VDI": call.db.new_ref()}
    if source.power_state == "Running":
        values["last_booted_record"] = lifecycle.kept_while_suspended(call, source)
    made = _snapshot(call, source, new_name, values)
    if source.power_state == "Running":
        call.db.update(source, {"domid": call.world.new_domid(), "last_booted_record": values["last_booted_record"]})
    return made


@message(
    "VM",
    errors=(
        *_ANY_STATE,
        errors.VM_IS_TEMPLATE,
        errors.REVERT_ONLY_ALLOWED_ON_SNAPSHOT,
        errors.HOST_OFFLINE,
        errors.VM_REVERT_FAILED,
        errors.NOT_SUPPORTED_DURING_UPGRADE,
    ),
)
def revert(call: Call, snapshot: VMRef) -> Generator[float, None, None]:
    """Make a VM what it was when a snapshot was taken: Halted, or Suspended if that has its memory.

    Notes
    -----
    A VM that is not halted is shut down first, for which it may sleep; one that is gone is made again. Tags and
    affinity stay; devices and images are those of the snapshot, copied. Source: message_forwarding.ml: VM.revert;
    xapi_vm_snapshot.ml: revert_vm_fields, update_vifs_vbds_vgpus_and_vusbs, revert.
    """
    database = call.db
    source = database.VM[snapshot]
    operations.begin(call, source, "revert")
    vm = database.VM.get(source.snapshot_of)
    if vm is None:
        vm = _made_again(call, source)
    operations.begin(call, vm, "reverting")
    if vm.power_state != "Halted":
        yield from vm_lifecycle.shut_down_hard(call, vm)
    database.update(vm, _reverted(source))
    device_rows.revert_devices(call, source, vm)
    if vm.generation_id:
        database.write(vm, "generation_id", _generation_id(call))
    lifecycle.forget_guest(call, vm)
    metrics = database.VM_metrics.get(vm.metrics)
    if metrics is not None:
        database.destroy(metrics)
    database.update(vm, {"parent": source.ref} | _copied_metrics(call, source))
    if source.power_state == "Suspended":
        database.update(vm, {"power_state": "Suspended", "suspend_VDI": database.new_ref()})


@message(
    "VM",
    errors=(*_OPERATION, errors.PROVISION_ONLY_ALLOWED_ON_TEMPLATE, errors.VM_IS_SNAPSHOT, errors.NO_HOSTS_AVAILABLE),
)
def provision(call: Call, vm: VMRef) -> None:
    """Make a template a VM; the disks that it asks for are not made. Source: xapi_vm.ml: provision."""
    row = call.db.VM[vm]
    operations.begin(call, row, "provision")
    _assert_storage(call, row)
    vm_records.set_is_a_template(call, vm, False)
    left = {key: value for key, value in row.other_config.items() if key not in _INSTALLING}
    call.db.write(row, "other_config", left)


_INSTALLING: Final = ("disks", "install-methods", "postinstall")
"""Keys of other_config that say how a template is installed (xapi_templates.ml: post_install)."""


def _assert_storage(call: Call, vm: "rows.VM") -> None:
    """message_forwarding.ml: forward_to_access_srs."""
    if not boot.some_live_host_has_storage(call, vm):
        raise errors.NO_HOSTS_AVAILABLE()


def _cloned(call: Call, source: "rows.VM", name: str) -> str:
    values: dict[str, Any] = {"other_config": _other_config(call, source, {"mac_seed": call.db.new_uuid()})}
    if source.power_state == "Suspended" and not source.is_a_snapshot:
        values |= {"power_state": "Suspended", "suspend_VDI": call.db.new_ref()}
    return _copied(call, source, name, values)


def _snapshot(call: Call, source: "rows.VM", name: str, values: dict[str, Any]) -> str:
    """A snapshot, which the VM has for its parent from now on (copy_vm_record)."""
    made = _copied(
        call,
        source,
        name,
        {
            "is_a_template": True,
            "is_a_snapshot": True,
            "snapshot_of": source.ref,
            "snapshot_time": call.clock.date(),
            "snapshot_info": {
                "disk-snapshot-type": "crash_consistent",
                "power-state-at-snapshot": source.power_state,
            },
            "snapshot_metadata": STRING_MAP.database_text(_as_database_text(source)),
            "parent": source.parent,
            "other_config": _other_config(call, source, {}),
        }
        | values,
        copied=device_rows.snapshot_image,
        keep_addresses=True,
    )
    call.db.write(source, "parent", made)
    return made


def _copied(call: Call, source: "rows.VM", name: str, values: dict[str, Any], **devices: Any) -> str:
    database = call.db
    if source.generation_id:
        values["generation_id"] = _generation_id(call)
    of_its_own = {"uuid": database.new_uuid(), "name_label": name}
    made = database.new_row("VM", **lifecycle.stored(source) | _NOT_COPIED | of_its_own | values)
    for field, ref in _copied_metrics(call, source).items():
        setattr(made, field, ref)
    if made.power_state == "Halted":
        database.VM_metrics[made.metrics].current_domain_type = "unspecified"
    database.create(made)
    device_rows.copy_devices(call, source, made, **devices)
    return str(made.ref)


def _copied_metrics(call: Call, source: "rows.VM") -> dict[str, str]:
    """References of copies of what is measured of a VM, and of what its guest reported."""
    database = call.db
    metrics, guest = database.VM_metrics.get(source.metrics), database.VM_guest_metrics.get(source.guest_metrics)
    return {
        "metrics": lifecycle.copied(call, database.new_row("VM_metrics") if metrics is None else metrics),
        "guest_metrics": NULL if guest is None else lifecycle.copied(call, guest),
    }


def _other_config(call: Call, source: "rows.VM", more: dict[str, str]) -> dict[str, str]:
    own = {key: value for key, value in source.other_config.items() if key not in ("default_template", _INTERNAL)}
    if operations.is_default_template(source):
        own["base_template_name"] = source.name_label
    return own | more


def _generation_id(call: Call) -> str:
    """Two integers of 64 bits, by which a guest learns that it is another (xapi_vm_helpers.ml: fresh_genid)."""
    digits = call.db.new_uuid().replace("-", "")
    return ":".join(str(int64(int(half, 16))) for half in (digits[:16], digits[16:]))


def _as_database_text(vm: "rows.VM") -> dict[str, str]:
    """A row, as the database keeps it (helpers.ml: vm_to_string)."""
    return {
        field.database: field.type.database_text(getattr(vm, field.name)) for field in CLASSES["VM"].fields.values()
    }


def _reverted(snapshot: "rows.VM") -> dict[str, Any]:
    """The fields that a VM gets back from a snapshot; one from before 5.6 tells only what it has itself."""
    kept, unchanged = _metadata(snapshot), _NOT_REVERTED
    if not kept:
        kept, unchanged = _as_database_text(snapshot), _NOT_REVERTED_WITHOUT_METADATA
    try:
        values = {
            field.name: field.type.load(kept[field.database])
            for field in CLASSES["VM"].fields.values()
            if field.database in kept and field.name not in unchanged | _LISTED
        }
    except (ValueError, TypeError):
        raise errors.VM_REVERT_FAILED(snapshot.ref, snapshot.snapshot_of) from None
    if values.get("domain_type", "unspecified") == "unspecified":
        policy = values.get("HVM_boot_policy", snapshot.HVM_boot_policy)
        values["domain_type"] = lifecycle.derived_domain_type(policy)
    return values | {"ha_always_run": False}


def _metadata(snapshot: "rows.VM") -> dict[str, str]:
    """What snapshot_metadata holds, by column."""
    try:
        return STRING_MAP.load(snapshot.snapshot_metadata) if snapshot.snapshot_metadata else {}
    except (ValueError, TypeError):
        raise errors.VM_REVERT_FAILED(snapshot.ref, snapshot.snapshot_of) from None


def _made_again(call: Call, snapshot: "rows.VM") -> "rows.VM":
    """The VM of a snapshot that has outlived it, with its uuid (create_vm_from_snapshot)."""
    database, lost = call.db, snapshot.snapshot_of
    uuid = _metadata(snapshot).get("uuid")
    if uuid is None:
        raise errors.VM_REVERT_FAILED(snapshot.ref, lost)
    vm: rows.VM = database.new_row("VM", uuid=uuid)
    for name, value in _reverted(snapshot).items():
        setattr(vm, name, value)
    database.create(vm)
    for other in list(database.VM):
        if other.snapshot_of == lost:
            database.write(other, "snapshot_of", vm.ref)
    return vm
