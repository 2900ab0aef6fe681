"""The failures of the API: every error code once, with the meaning of its parameters. Nothing else builds a Failure.

A code is called with its parameters and gives the exception to raise: `raise HANDLE_INVALID("VM", ref)`.
On the wire a failure is a list of texts, the code first (xenapi-messages, section 0).
"""

from collections.abc import Mapping
from typing import Final

from XenAPI import Failure

__all__ = ["CODES", "ErrorCode", "Failure"]


class ErrorCode:
    """One error code.

    Parameters
    ----------
    name : as on the wire
    parameters : what each of its parameters is, in order
    any_number : the last parameter may be there any number of times
    """

    __slots__ = ("any_number", "name", "parameters")

    def __init__(self, name: str, *parameters: str, any_number: bool = False) -> None:
        self.name = name
        self.parameters = parameters
        self.any_number = any_number

    def __call__(self, *parameters: str | int) -> Failure:
        """The failure with these parameters."""
        if len(parameters) != len(self.parameters) and not self.any_number:
            raise TypeError(f"{self.name} has {len(self.parameters)} parameters, not {len(parameters)}")
        return Failure([self.name, *map(str, parameters)])

    def __repr__(self) -> str:
        return f"<ErrorCode {self.name} [{'; '.join(self.parameters)}]>"


_codes: dict[str, ErrorCode] = {}

CODES: Final[Mapping[str, ErrorCode]] = _codes
"""Every code by its name."""


def _code(name: str, *parameters: str, any_number: bool = False) -> ErrorCode:
    code = _codes[name] = ErrorCode(name, *parameters, any_number=any_number)
    return code


# calls, sessions and values
FAULT: Final = _code("Fault", "text")
FIELD_TYPE_ERROR: Final = _code("FIELD_TYPE_ERROR", "field")
HANDLE_INVALID: Final = _code("HANDLE_INVALID", "class", "ref")
HOST_IS_SLAVE: Final = _code("HOST_IS_SLAVE", "coordinator_address")
INTERNAL_ERROR: Final = _code("INTERNAL_ERROR", "text", any_number=True)
INVALID_VALUE: Final = _code("INVALID_VALUE", "field", "value", any_number=True)
LICENCE_RESTRICTION: Final = _code("LICENCE_RESTRICTION", "feature")
MAP_DUPLICATE_KEY: Final = _code("MAP_DUPLICATE_KEY", "class", "field", "ref", "key")
MESSAGE_METHOD_UNKNOWN: Final = _code("MESSAGE_METHOD_UNKNOWN", "method")
MESSAGE_PARAMETER_COUNT_MISMATCH: Final = _code("MESSAGE_PARAMETER_COUNT_MISMATCH", "method", "expected", "received")
MESSAGE_REMOVED: Final = _code("MESSAGE_REMOVED")
NOT_IMPLEMENTED: Final = _code("NOT_IMPLEMENTED", "function")
NOT_SUPPORTED_DURING_UPGRADE: Final = _code("NOT_SUPPORTED_DURING_UPGRADE")
OPERATION_NOT_ALLOWED: Final = _code("OPERATION_NOT_ALLOWED", "reason")
OTHER_OPERATION_IN_PROGRESS: Final = _code(
    "OTHER_OPERATION_IN_PROGRESS", "class", "ref", "operation_type", "operation_ref"
)
RBAC_PERMISSION_DENIED: Final = _code("RBAC_PERMISSION_DENIED", "permission", "message")
SESSION_AUTHENTICATION_FAILED: Final = _code("SESSION_AUTHENTICATION_FAILED", "user", "text")
SESSION_AUTHORIZATION_FAILED: Final = _code("SESSION_AUTHORIZATION_FAILED", "user", "text")
SESSION_INVALID: Final = _code("SESSION_INVALID", "handle")
SESSION_NOT_REGISTERED: Final = _code("SESSION_NOT_REGISTERED", "handle")
TASK_CANCELLED: Final = _code("TASK_CANCELLED", "task")
TOO_MANY_PENDING_TASKS: Final = _code("TOO_MANY_PENDING_TASKS")
UUID_INVALID: Final = _code("UUID_INVALID", "class", "uuid")
VALUE_NOT_SUPPORTED: Final = _code("VALUE_NOT_SUPPORTED", "field", "value", "reason")

# events
EVENTS_LOST: Final = _code("EVENTS_LOST")
EVENT_FROM_TOKEN_PARSE_FAILURE: Final = _code("EVENT_FROM_TOKEN_PARSE_FAILURE", "token")
EVENT_SUBSCRIPTION_PARSE_FAILURE: Final = _code("EVENT_SUBSCRIPTION_PARSE_FAILURE", "subscription")

# VMs
MEMORY_CONSTRAINT_VIOLATION: Final = _code("MEMORY_CONSTRAINT_VIOLATION")
MEMORY_CONSTRAINT_VIOLATION_MAXPIN: Final = _code("MEMORY_CONSTRAINT_VIOLATION_MAXPIN", "reason")
MEMORY_CONSTRAINT_VIOLATION_ORDER: Final = _code("MEMORY_CONSTRAINT_VIOLATION_ORDER")
OPERATION_BLOCKED: Final = _code("OPERATION_BLOCKED", "ref", "code")
PROVISION_ONLY_ALLOWED_ON_TEMPLATE: Final = _code("PROVISION_ONLY_ALLOWED_ON_TEMPLATE")
REVERT_ONLY_ALLOWED_ON_SNAPSHOT: Final = _code("REVERT_ONLY_ALLOWED_ON_SNAPSHOT")
TOO_MANY_GROUPS: Final = _code("TOO_MANY_GROUPS")
VMS_FAILED_TO_COOPERATE: Final = _code("VMS_FAILED_TO_COOPERATE", "vm", any_number=True)
VM_BAD_POWER_STATE: Final = _code("VM_BAD_POWER_STATE", "vm", "expected", "actual")
VM_CANNOT_DELETE_DEFAULT_TEMPLATE: Final = _code("VM_CANNOT_DELETE_DEFAULT_TEMPLATE")
VM_FAILED_SHUTDOWN_ACKNOWLEDGMENT: Final = _code("VM_FAILED_SHUTDOWN_ACKNOWLEDGMENT", "vm")
VM_HAS_NO_SUSPEND_VDI: Final = _code("VM_HAS_NO_SUSPEND_VDI", "class", "vm")
VM_HOST_INCOMPATIBLE_VERSION: Final = _code("VM_HOST_INCOMPATIBLE_VERSION", "host", "vm")
VM_HOST_INCOMPATIBLE_VIRTUAL_HARDWARE_PLATFORM_VERSION: Final = _code(
    "VM_HOST_INCOMPATIBLE_VIRTUAL_HARDWARE_PLATFORM_VERSION", "host", "host_versions", "vm", "vm_version"
)
VM_HVM_REQUIRED: Final = _code("VM_HVM_REQUIRED", "vm")
VM_INCOMPATIBLE_WITH_THIS_HOST: Final = _code("VM_INCOMPATIBLE_WITH_THIS_HOST", "vm", "host", "reason")
VM_IS_IMMOBILE: Final = _code("VM_IS_IMMOBILE", "vm")
VM_IS_PROTECTED: Final = _code("VM_IS_PROTECTED", "vm")
VM_IS_SNAPSHOT: Final = _code("VM_IS_SNAPSHOT", "vm", "operation")
VM_IS_TEMPLATE: Final = _code("VM_IS_TEMPLATE", "vm", "operation")
VM_IS_USING_NESTED_VIRT: Final = _code("VM_IS_USING_NESTED_VIRT", "vm")
VM_LACKS_FEATURE: Final = _code("VM_LACKS_FEATURE", "vm")
VM_MEMORY_TARGET_WAIT_TIMEOUT: Final = _code("VM_MEMORY_TARGET_WAIT_TIMEOUT", "task")
VM_NON_SUSPENDABLE: Final = _code("VM_NON_SUSPENDABLE", "vm", "reason")
VM_REQUIRES_GPU: Final = _code("VM_REQUIRES_GPU", "vm", "GPU_group")
VM_REQUIRES_IOMMU: Final = _code("VM_REQUIRES_IOMMU", "host")
VM_REQUIRES_NETWORK: Final = _code("VM_REQUIRES_NETWORK", "vm", "network")
VM_REQUIRES_SR: Final = _code("VM_REQUIRES_SR", "vm", "SR")
VM_REQUIRES_VGPU: Final = _code("VM_REQUIRES_VGPU", "vm", "GPU_group", "VGPU_type")
VM_SHUTDOWN_TIMEOUT: Final = _code("VM_SHUTDOWN_TIMEOUT", "vm", "seconds")
VGPU_TYPE_NO_LONGER_SUPPORTED: Final = _code("VGPU_TYPE_NO_LONGER_SUPPORTED", "type")

# hosts and pools
CANNOT_CONTACT_HOST: Final = _code("CANNOT_CONTACT_HOST", "host")
CANNOT_EVACUATE_HOST: Final = _code("CANNOT_EVACUATE_HOST", "errors")
HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN: Final = _code("HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN")
HOST_CANNOT_ATTACH_NETWORK: Final = _code("HOST_CANNOT_ATTACH_NETWORK", "host", "network")
HOST_DISABLED: Final = _code("HOST_DISABLED", "host")
HOST_DISABLED_UNTIL_REBOOT: Final = _code("HOST_DISABLED_UNTIL_REBOOT", "host")
HOST_EVACUATE_IN_PROGRESS: Final = _code("HOST_EVACUATE_IN_PROGRESS", "host")
HOST_EVACUATE_VM_NOT_HA_PROTECTED: Final = _code("HOST_EVACUATE_VM_NOT_HA_PROTECTED", "vm")
HOST_IS_LIVE: Final = _code("HOST_IS_LIVE", "host")
HOST_NOT_DISABLED: Final = _code("HOST_NOT_DISABLED")
HOST_NOT_ENOUGH_FREE_MEMORY: Final = _code("HOST_NOT_ENOUGH_FREE_MEMORY", "needed", "available", any_number=True)
HOST_NOT_ENOUGH_PCPUS: Final = _code("HOST_NOT_ENOUGH_PCPUS", "vcpus", "pcpus")
HOST_NOT_LIVE: Final = _code("HOST_NOT_LIVE")
HOST_OFFLINE: Final = _code("HOST_OFFLINE", "host")
HOST_PENDING_MANDATORY_GUIDANCE_NOT_EMPTY: Final = _code("HOST_PENDING_MANDATORY_GUIDANCE_NOT_EMPTY", "host")
HOST_STILL_BOOTING: Final = _code("HOST_STILL_BOOTING")
NETWORK_SRIOV_INSUFFICIENT_CAPACITY: Final = _code("NETWORK_SRIOV_INSUFFICIENT_CAPACITY", "network")
NO_HOSTS_AVAILABLE: Final = _code("NO_HOSTS_AVAILABLE", any_number=True)
