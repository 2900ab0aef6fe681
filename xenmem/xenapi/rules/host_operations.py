"""Whether an operation on a host may begin: which operations exclude each other.

Source: docs/reference/messages.md, 7.1 (xapi-project/xen-api, ocaml/xapi/xapi_host_helpers.ml: valid_operations). Where
the server would wait for another operation to end, the failure is given at once.
"""

from typing import TYPE_CHECKING, Final

from xenmem.datamodel import errors

if TYPE_CHECKING:
    from xenmem.xenapi.calls.call import Call
    from xenmem.xenapi.store import rows

_CREATING: Final = frozenset(("provision", "vm_resume", "vm_migrate"))
_REMOVING: Final = frozenset(("evacuate", "reboot", "shutdown"))
_EXCLUDED_BY: Final = {
    **dict.fromkeys(_CREATING, _REMOVING),
    **dict.fromkeys(_REMOVING, _CREATING),
    "provision": _REMOVING | {"provision"},
    "enable": frozenset(("apply_updates",)),
}
"""Starting a VM creates, but is not among the creating operations: nothing that is under way stands against it."""
_SHOWN: Final = {"vm_start": "VM.start", "vm_resume": "VM.resume", "vm_migrate": "VM.migrate"}


def begin(call: "Call", host: "rows.host", operation: str) -> None:
    """Hold an operation on a host until the call ends.

    Parameters
    ----------
    call : the database must be locked
    host, operation : what is to be done to what

    Raises
    ------
    Failure : OTHER_OPERATION_IN_PROGRESS
    """
    if host.current_operations:
        excluded = _EXCLUDED_BY.get(operation, frozenset[str]())
        for task, current in host.current_operations.items():
            if current in excluded:
                raise errors.OTHER_OPERATION_IN_PROGRESS("host", host.ref, _SHOWN.get(current, current), task)
    call.begin(host, operation)
