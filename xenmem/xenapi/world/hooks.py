"""What a server checks and does that no inventory tells: storage, networks, devices, the hypervisor itself.

Each is a method, called where the server calls its own, with rows as arguments. These pass and do nothing; a subclass
given to the Pool raises failures or plays a hypervisor. Called with the database locked.
"""

from typing import TYPE_CHECKING

from xenmem.datamodel.errors import V6D_FAILURE
from xenmem.datamodel.types import NULL

if TYPE_CHECKING:
    from xenmem.xenapi.store import rows


class Hooks:
    """What is outside the memory model (docs/reference/messages.md, 1 row 11, 2.4 rows 4 and 16 to 19, 3.2 step 5)."""

    def assert_operation_allowed_by_devices(self, vm: "rows.VM", operation: str) -> None:
        """VDIs with on_boot=reset, vGPUs, appliances, schedules: what records do not tell (messages.md, 1 row 11)."""

    def assert_vgpu_types_supported(self, vm: "rows.VM") -> None:
        """VGPU_TYPE_NO_LONGER_SUPPORTED [type] (messages.md, 2.4 row 4)."""

    def assert_cpu_compatible(self, vm: "rows.VM", host: "rows.host") -> None:
        """VM_INCOMPATIBLE_WITH_THIS_HOST [vm; host; reason]: CPU vendor and features (messages.md, 2.4 row 15)."""

    def assert_storage_visible(self, vm: "rows.VM", host: "rows.host") -> None:
        """VM_REQUIRES_SR [vm; SR] (messages.md, 2.4 row 16)."""

    def assert_networks_attachable(self, vm: "rows.VM", host: "rows.host") -> None:
        """VM_REQUIRES_NETWORK [vm; network], HOST_CANNOT_ATTACH_NETWORK [host; network] (messages.md, 2.4 row 17)."""

    def assert_gpus_available(self, vm: "rows.VM", host: "rows.host") -> None:
        """VM_REQUIRES_IOMMU [host], VM_REQUIRES_GPU [vm; group], VM_REQUIRES_VGPU [vm; group; type].

        messages.md, 2.4 row 18.
        """

    def assert_usb_and_sriov_available(self, vm: "rows.VM", host: "rows.host") -> None:
        """OPERATION_NOT_ALLOWED [text], NETWORK_SRIOV_INSUFFICIENT_CAPACITY [network] (messages.md, 2.4 row 19)."""

    def has_sriov_vgpu(self, vm: "rows.VM") -> bool:
        """Whether a vGPU of the VM pins its memory (messages.md, 5.3 step 6)."""
        return False

    def sees_storage(self, vm: "rows.VM", host: "rows.host") -> bool:
        """Whether a live host sees the SRs of the VM's disks; if none does, NO_HOSTS_AVAILABLE [] (messages.md, 5)."""
        return True

    def assert_agile(self, vm: "rows.VM") -> None:
        """Any failure if not every enabled host could run the VM: storage, networks, vGPUs (planning.md, 3.2)."""

    def is_cluster_host_enabled(self, host: "rows.host") -> bool | None:
        """Whether the host's Cluster_host is enabled; None if the pool has no corosync cluster (planning.md, 3.7)."""
        return None

    def assert_devices_licensed(self, vm: "rows.VM") -> None:
        """LICENCE_RESTRICTION [feature] for VUSBs and SR-IOV (messages.md, 5.3 step 6)."""

    def apply_edition(self, host: "rows.host", edition: str) -> dict[str, str]:
        """What the licence daemon grants a host: entries of license_params, `restrict_...` among them.

        V6D_FAILURE [], as where there is none; INVALID_EDITION [edition].
        """
        raise V6D_FAILURE()

    def shut_down_guest(self, vm: "rows.VM") -> None:
        """VM_FAILED_SHUTDOWN_ACKNOWLEDGMENT [vm], VM_SHUTDOWN_TIMEOUT [vm; seconds] (messages.md, 5.4)."""

    def create_suspend_image(self, vm: "rows.VM", size: int) -> None:
        """Make room for an image of so many bytes on the suspend SR (messages.md, 5.4)."""

    def has_suspend_image(self, vm: "rows.VM") -> bool:
        """Whether the image of a suspended VM is there: its record names one (messages.md, 5.3)."""
        return vm.suspend_VDI != NULL

    def assert_host_ready(self, host: "rows.host") -> None:
        """HOST_STILL_BOOTING [] (messages.md, 7.2)."""

    def assert_safe_to_reenable(self, host: "rows.host") -> None:
        """HOST_DISABLED_UNTIL_REBOOT [host]; with HA, storage and networks of protected VMs (messages.md, 7.2)."""

    def update_hypervisor_command_line(self, vm: "rows.VM") -> None:
        """Domain 0's static_max; else INTERNAL_ERROR ["Failed to update dom0 memory"] (messages.md, 3.2 step 5)."""


def overridden(hooks: Hooks) -> frozenset[str]:
    """The methods in which hooks do something of their own."""
    own = type(hooks)
    return frozenset(
        name for name, method in vars(Hooks).items() if callable(method) and getattr(own, name) is not method
    )
