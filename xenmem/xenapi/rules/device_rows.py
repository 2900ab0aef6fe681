"""Disks, interfaces and images as rows: what is made with a VM's copy, and what goes with the VM. No storage behind.

Source: xapi-project/xen-api, ocaml/xapi/xapi_vm_clone.ml, xapi_vif_helpers.ml, xapi_vm_helpers.ml.
"""

from typing import TYPE_CHECKING, Any, Final

from xenmem.datamodel import Qualifier, errors
from xenmem.datamodel.types import NULL

if TYPE_CHECKING:
    from collections.abc import Callable

    from xenmem.xenapi.calls.call import Call
    from xenmem.xenapi.store import rows
    from xenmem.xenapi.store.rows import Row

MAX_VBDS: Final = 255
MAX_VIFS: Final = 7

_RUNTIME: Final = {
    "currently_attached": False,
    "current_operations": {},
    "allowed_operations": (),
    "reserved": False,
    "resident_on": NULL,
    "scheduled_to_be_resident_on": NULL,
    "PCI": NULL,
}
"""What a copied row does not have of its source's."""


def constructed(call: "Call", class_name: str, args: dict[str, Any]) -> dict[str, Any]:
    """What a constructor takes of a struct: fields that clients set, the others are ignored.

    Raises
    ------
    Failure : INTERNAL_ERROR, a field without a default is missing
    """
    values = {}
    for field in call.db.tables[class_name].schema.fields.values():
        if field.qualifier is Qualifier.DYNAMIC:
            continue
        if field.name in args:
            values[field.name] = field.type.accept(args[field.name])
        elif field.required:
            raise errors.INTERNAL_ERROR(f'Failure("The field {field.name} is missing")')
    values.pop("uuid", None)
    return values


def new_mac(call: "Call") -> str:
    """A locally administered address that no interface is likely to have (xapi_vif_helpers.ml: gen_mac)."""
    digits = call.db.new_uuid().replace("-", "")[:12]
    first = (int(digits[:2], 16) & 0xFE) | 0x02
    return ":".join([f"{first:02x}", *(digits[place : place + 2] for place in range(2, 12, 2))])


def free_numbers(taken: "list[str]", count: int) -> tuple[str, ...]:
    """Device numbers below `count` that are not taken."""
    return tuple(number for number in map(str, range(count)) if number not in taken)


def row_of(row: "Row", **changes: Any) -> dict[str, Any]:
    """The values of a row's stored fields but its uuid, with changes."""
    from xenmem.xenapi.store.rows import stored_fields

    values = {name: getattr(row, name) for name in stored_fields(row.table) if name != "uuid"}
    fields = row.schema.fields
    return values | {name: value for name, value in _RUNTIME.items() if name in fields} | changes


def copy_image(call: "Call", image: "rows.VDI", **changes: Any) -> str:
    """A copy of an image, answered by its reference; of storage there is only what its rows say."""
    back = {name: () for name in ("VBDs", "snapshots", "crash_dumps") if name in image.schema.fields}
    changes = {"is_a_snapshot": False, "snapshot_of": NULL, "location": call.db.new_uuid()} | changes
    made = call.db.new_row("VDI", **row_of(image, **back, **changes))
    call.db.create(made)
    account(call, made, made.virtual_size)
    return str(made.ref)


def account(call: "Call", image: "rows.VDI", size: int) -> None:
    """What a storage repository says that it holds grows by so many bytes, or shrinks."""
    repository: Any = call.db.tables["SR"].get(image.SR)
    if repository is not None:
        for name in ("virtual_allocation", "physical_utilisation"):
            call.db.write(repository, name, max(0, getattr(repository, name) + size))


def copy_devices(
    call: "Call",
    source: "rows.VM",
    made: "rows.VM",
    *,
    copied: "Callable[[Call, rows.VDI], str]" = copy_image,
    keep_addresses: bool = False,
) -> None:
    """Give a copy of a VM devices of its own; a disc in a drive is the same disc, USB devices are not copied.

    Parameters
    ----------
    copied : makes the image of a disk, answered by its reference
    keep_addresses : its interfaces have the MAC addresses of the source's

    Notes
    -----
    Source: xapi_vm_clone.ml: clone; xapi_vif_helpers.ml, xapi_vgpu.ml, xapi_vtpm.ml: copy.
    """
    for disk in devices(call, source, "VBD"):
        image: Any = call.db.tables["VDI"].get(disk.VDI)
        vdi = disk.VDI
        if image is not None and disk.type == "Disk":
            vdi = copied(call, image)
        call.db.create(call.db.new_row("VBD", **row_of(disk, VM=made.ref, VDI=vdi, metrics=NULL)))
    for interface in devices(call, source, "VIF"):
        address = interface.MAC if keep_addresses else new_mac(call)
        call.db.create(call.db.new_row("VIF", **row_of(interface, VM=made.ref, metrics=NULL, MAC=address)))
    for class_name in ("VGPU", "VTPM"):
        for device in devices(call, source, class_name):
            call.db.create(call.db.new_row(class_name, **row_of(device, VM=made.ref)))


def revert_devices(call: "Call", snapshot: "rows.VM", vm: "rows.VM") -> None:
    """Give a VM copies of a snapshot's devices for its own; images that the snapshot has go with them.

    Source: xapi_vm_snapshot.ml: update_vifs_vbds_vgpus_and_vusbs.
    """
    images: Any = call.db.tables["VDI"]
    own = {disk.VDI for disk in devices(call, vm, "VBD") if disk.type == "Disk"}
    remove_devices(call, vm)

    def instead(call: "Call", image: "rows.VDI") -> str:
        """A copy of a snapshot's image, which takes the place of the image that the snapshot was taken of."""
        made, origin = copy_image(call, image), image.snapshot_of
        for other in [row for row in images if row.snapshot_of == origin != NULL]:
            call.db.write(other, "snapshot_of", made)
        if origin in own and origin in images:
            account(call, images[origin], -images[origin].virtual_size)
            call.db.destroy(images[origin])
        return made

    copy_devices(call, snapshot, vm, copied=instead, keep_addresses=True)


def snapshot_image(call: "Call", image: "rows.VDI") -> str:
    """A snapshot of an image, answered by its reference."""
    return copy_image(call, image, is_a_snapshot=True, snapshot_of=image.ref, snapshot_time=call.clock.date())


def devices(call: "Call", vm: "rows.VM", class_name: str) -> "list[Any]":
    """The rows of a class that a VM has and that exist."""
    table: Any = call.db.tables[class_name]
    return [table[ref] for ref in getattr(vm, f"{class_name}s") if ref in table]


def remove_devices(call: "Call", vm: "rows.VM") -> None:
    """What goes with a VM: the rows of its devices, not the images."""
    for class_name in ("VBD", "VIF", "VGPU", "VTPM", "VUSB", "console"):
        for row in devices(call, vm, class_name):
            call.db.destroy(row)
