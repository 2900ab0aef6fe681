"""Making and removing groups of VMs. Source: xapi-project/xen-api, ocaml/xapi/xapi_vm_group.ml."""

from typing import Annotated, Any

from xenmem.datamodel import CLASSES, errors
from xenmem.datamodel.types import RecordType
from xenmem.xenapi.calls.call import Call
from xenmem.xenapi.calls.message import VMGroupRef, message
from xenmem.xenapi.world.features import Feature, assert_enabled

VMGroupRecord = Annotated[dict[str, Any], RecordType("VM_group")]


@message("VM_group", errors=(errors.LICENCE_RESTRICTION, errors.INTERNAL_ERROR))
def create(call: Call, args: VMGroupRecord) -> VMGroupRef:
    """A new group, from a struct of its name_label, name_description and placement."""
    assert_enabled(call.db, Feature.VM_GROUPS)
    values = {}
    for name in ("name_label", "name_description", "placement"):
        if name in args:
            values[name] = CLASSES["VM_group"].fields[name].type.accept(args[name])
    row = call.db.new_row("VM_group", **values)
    call.db.create(row)
    return str(row.ref)


@message("VM_group", errors=(errors.HANDLE_INVALID,))
def destroy(call: Call, self: VMGroupRef) -> None:
    """Remove a group; its VMs still name it, and nobody heeds it any more."""
    call.db.destroy(call.db.VM_group[self])
