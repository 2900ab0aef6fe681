"""The messages of the class host. Amounts are bytes. Source: xenapi-messages, B.3 and B.7."""

from xenmem.xenapi import accounting
from xenmem.xenapi.call import Call
from xenmem.xenapi.errors import HANDLE_INVALID
from xenmem.xenapi.message import HostRef, Int, message
from xenmem.xenapi.schema import Role


@message("host", role=Role.READ_ONLY, errors=(HANDLE_INVALID,))
def compute_free_memory(call: Call, host: HostRef) -> Int:
    """The memory of a host that is not spoken for if every guest shrinks to its dynamic_min.

    Notes
    -----
    Counts stored overheads, and VMs scheduled to the host as well as those resident; never below 0.
    Source: xapi_host.ml: compute_free_memory.
    """
    row = call.db.host[host]
    return accounting.free_memory(row, call.db.host_metrics[row.metrics])


@message("host", role=Role.READ_ONLY, errors=(HANDLE_INVALID,))
def compute_memory_overhead(call: Call, host: HostRef) -> Int:
    """The memory that the hypervisor takes on a host, as sampled when it booted. Source: memory_check.ml."""
    return call.db.host[host].memory_overhead
