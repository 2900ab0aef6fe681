"""Disks, interfaces and images as rows: what is made with a VM's copy, and what goes with the VM. No storage behind.

Source: xapi-project/xen-api, ocaml/xapi/xapi_vm_clone.ml, xapi_vif_helpers.ml, xapi_vm_helpers.ml.
"""

from typing import TYPE_CHECKING, Any, Final

from xenmem.datamodel import Qualifier, errors
from xenmem.datamodel.types import NULL

if TYPE_CHECKING:
    from xenmem.xenapi.calls.call import Call
    from xenmem.xenapi.store import rows
    from xenmem.xenapi.store.rows import Row

MAX_VBDS: Final = 255
MAX_VIFS: Final = 7

_RUNTIME: Final = {"currently_attached": False, "current_operations": {}, "allowed_operations": (), "reserved": False}


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
    made = call.db.new_row("VDI", **row_of(image, **back, location=call.db.new_uuid(), **changes))
    call.db.create(made)
    account(call, made, made.virtual_size)
    return str(made.ref)


def account(call: "Call", image: "rows.VDI", size: int) -> None:
    """What a storage repository says that it holds grows by so many bytes, or shrinks."""
    repository: Any = call.db.tables["SR"].get(image.SR)
    if repository is not None:
        for name in ("virtual_allocation", "physical_utilisation"):
            call.db.write(repository, name, max(0, getattr(repository, name) + size))


def copy_devices(call: "Call", source: "rows.VM", made: "rows.VM", *, with_images: bool = True) -> None:
    """Give a copy of a VM its own disks and interfaces; a disc in a drive is the same disc."""
    for ref in source.VBDs:
        disk: Any = call.db.tables["VBD"].get(ref)
        if disk is None:
            continue
        image: Any = call.db.tables["VDI"].get(disk.VDI)
        vdi = disk.VDI
        if image is not None and disk.type == "Disk" and with_images:
            vdi = copy_image(call, image)
        call.db.create(call.db.new_row("VBD", **row_of(disk, VM=made.ref, VDI=vdi, metrics=NULL)))
    for ref in source.VIFs:
        interface: Any = call.db.tables["VIF"].get(ref)
        if interface is not None:
            changes = {"VM": made.ref, "metrics": NULL, "MAC": new_mac(call)}
            call.db.create(call.db.new_row("VIF", **row_of(interface, **changes)))


def remove_devices(call: "Call", vm: "rows.VM") -> None:
    """What goes with a VM: its disks' and interfaces' rows, not the images."""
    for class_name, refs in (("VBD", vm.VBDs), ("VIF", vm.VIFs), ("console", vm.consoles)):
        for ref in refs:
            row = call.db.tables[class_name].get(ref)
            if row is not None:
                call.db.destroy(row)
