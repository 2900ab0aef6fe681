"""The messages of what hosts have: storage links, network links, networks and GPUs.

Nothing is attached in truth: what would be is what the rows say. Where the server waits for another operation to end,
the failure is given at once. Source: xapi-project/xen-api, ocaml/xapi/xapi_pbd.ml, xapi_pif.ml, xapi_network.ml,
xapi_pgpu.ml, xapi_gpu_group.ml.
"""

from typing import Annotated

from xenmem.datamodel import errors
from xenmem.datamodel.types import RefType
from xenmem.xenapi.calls.call import Call
from xenmem.xenapi.calls.message import Int, message
from xenmem.xenapi.rules import devices

PGPURef = Annotated[str, RefType("PGPU")]
VGPUTypeRef = Annotated[str, RefType("VGPU_type")]


# ----------------------------------------------------------------------------------------------------------------- GPUs


@message("PGPU", errors=(errors.HANDLE_INVALID,))
def get_remaining_capacity(call: Call, self: PGPURef, vgpu_type: VGPUTypeRef) -> Int:
    """How many more vGPUs of a type a GPU could carry; none if it cannot carry them. Source: xapi_pgpu.ml."""
    call.db.tables["VGPU_type"][vgpu_type]
    return devices.remaining_capacity(call.db, call.db.tables["PGPU"][self], vgpu_type)
