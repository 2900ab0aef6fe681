"""What a server checks and does that no inventory tells: the hypervisor, guests, and the server's own settings.

Each is a method, called where the server calls its own, with rows as arguments. These pass and do nothing; a subclass
given to the Pool raises failures or plays a hypervisor. Called with the database locked.
"""

from typing import TYPE_CHECKING

from xenmem.datamodel.errors import V6D_FAILURE

if TYPE_CHECKING:
    from xenmem.xenapi.store import rows


class Hooks:
    """What is outside the database (docs/reference/messages.md, 2.4 row 4, 3.2 step 5, 5.3, 5.4 and 7.2)."""

    def supports_gvt_g(self) -> bool:
        """Whether the server still supports Intel's vGPUs: a setting of its own (messages.md, 2.4 row 4)."""
        return True

    def apply_edition(self, host: "rows.host", edition: str) -> dict[str, str]:
        """What the licence daemon grants a host: entries of license_params, `restrict_...` among them.

        V6D_FAILURE [], as where there is none; INVALID_EDITION [edition].
        """
        raise V6D_FAILURE()

    def shut_down_guest(self, vm: "rows.VM") -> None:
        """VM_FAILED_SHUTDOWN_ACKNOWLEDGMENT [vm], VM_SHUTDOWN_TIMEOUT [vm; seconds] (messages.md, 5.4)."""

    def create_suspend_image(self, vm: "rows.VM", size: int) -> None:
        """Make room for an image of so many bytes on the suspend SR (messages.md, 5.4)."""

    def assert_host_ready(self, host: "rows.host") -> None:
        """HOST_STILL_BOOTING [] (messages.md, 7.2)."""

    def assert_safe_to_reenable(self, host: "rows.host") -> None:
        """HOST_DISABLED_UNTIL_REBOOT [host] (messages.md, 7.2)."""

    def update_hypervisor_command_line(self, vm: "rows.VM") -> None:
        """Domain 0's static_max; else INTERNAL_ERROR ["Failed to update dom0 memory"] (messages.md, 3.2 step 5)."""
