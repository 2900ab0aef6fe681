"""Whether an operation on a host may begin: which operations exclude each other.

Source: docs/reference/messages.md, 7.1 (xapi-project/xen-api, ocaml/xapi/xapi_host_helpers.ml: valid_operations). Where
the server would wait for another operation to end, the failure is given at once.
"""

from typing import TYPE_CHECKING, Final

from xenmem.datamodel import enum, errors
from xenmem.datamodel.errors import Failure
from xenmem.xenapi.rules import boot

if TYPE_CHECKING:
    from xenmem.xenapi.calls.call import Call
    from xenmem.xenapi.store import rows
    from xenmem.xenapi.store.database import Database

_CREATING: Final = frozenset(("provision", "vm_resume", "vm_migrate"))
_REMOVING: Final = frozenset(("evacuate", "reboot", "shutdown"))
_EXCLUDED_BY: Final = {
    **dict.fromkeys(_CREATING, _REMOVING),
    **dict.fromkeys(_REMOVING, _CREATING),
    "provision": _REMOVING | {"provision"},
    "enable": frozenset(("apply_updates",)),
    "reboot": _CREATING | {"shutdown", "apply_updates"},
    "shutdown": _CREATING | {"reboot", "apply_updates"},
    "apply_updates": frozenset(("reboot", "shutdown")),
}
"""Starting a VM creates, but is not among the creating operations: nothing that is under way stands against it."""
_DISABLED_FIRST: Final = frozenset(("reboot", "shutdown", "apply_updates"))
"""A host must be disabled for these, of which one at a time is under way."""
_DURING_UPGRADE: Final = frozenset(("evacuate", "provision"))
_SHOWN: Final = {"vm_start": "VM.start", "vm_resume": "VM.resume", "vm_migrate": "VM.migrate"}


def begin(call: "Call", host: "rows.host", operation: str) -> None:
    """Hold an operation on a host until the call ends.

    Parameters
    ----------
    call : the database must be locked
    host, operation : what is to be done to what

    Raises
    ------
    Failure : OTHER_OPERATION_IN_PROGRESS, HOST_NOT_DISABLED, HOST_IS_LIVE, HOST_POWER_ON_MODE_DISABLED
    """
    failure = reason_against(call.db, host, operation)
    if failure is not None:
        raise failure
    call.begin(host, operation)


def reason_against(database: "Database", host: "rows.host", operation: str) -> Failure | None:
    """The first reason why an operation may not begin, None if it may."""
    if host.current_operations:
        excluded = _EXCLUDED_BY.get(operation, frozenset[str]())
        for task, current in host.current_operations.items():
            if current in excluded:
                return errors.OTHER_OPERATION_IN_PROGRESS("host", host.ref, _SHOWN.get(current, current), task)
    if operation in _DISABLED_FIRST and host.enabled:
        return errors.HOST_NOT_DISABLED()
    if operation == "power_on":
        if boot.is_live(database, host):
            return errors.HOST_IS_LIVE(host.ref)
        if not host.power_on_mode:
            return errors.HOST_POWER_ON_MODE_DISABLED()
    return None


def allowed(call: "Call", host: "rows.host") -> tuple[str, ...]:
    """The value of host.allowed_operations: what may begin now; in a rolling upgrade those of the oldest servers."""
    upgrading = boot.is_upgrading(call.db)
    return tuple(
        operation
        for operation in enum("host_allowed_operations").members
        if reason_against(call.db, host, operation) is None and (not upgrading or operation in _DURING_UPGRADE)
    )


def allowed_of_pool(call: "Call", pool: "rows.pool") -> tuple[str, ...]:
    """The value of pool.allowed_operations; one operation excludes all others (xapi_pool_helpers.ml)."""
    if pool.current_operations:
        return ()
    refused = {"ha_enable", "cluster_create"} if pool.ha_enabled else {"ha_disable"}
    if boot.is_upgrading(call.db) or len(call.db.tables["Cluster"]):
        refused.add("cluster_create")
    return tuple(operation for operation in enum("pool_allowed_operations").members if operation not in refused)
