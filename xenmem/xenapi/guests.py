"""What a hypervisor would tell of the domains of running VMs: how much memory they have, and are told to have.

Amounts are bytes. Called with the database locked.
"""

from collections.abc import Generator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xenmem.xenapi import rows
    from xenmem.xenapi.database import Database


class Guests:
    """Guests that have what the inventory says, and reach a new target at once.

    Parameters
    ----------
    database : whose VMs they are
    """

    def __init__(self, database: "Database") -> None:
        self._database = database

    def live_memory(self, vm: "rows.VM") -> tuple[int, int]:
        """What a running VM has, and the target that it was told."""
        metrics = self._database.VM_metrics.get(vm.metrics)
        return (metrics.memory_actual if metrics is not None else 0), vm.memory_target

    def set_dynamic_range(self, vm: "rows.VM") -> None:
        """Tell a running VM's domain the range that its record now has, and rebalance its host (B.3.4, step 3d)."""
        metrics = self._database.VM_metrics.get(vm.metrics)
        if metrics is not None:
            self._database.write(metrics, "memory_actual", vm.memory_target)

    def start(self, vm: "rows.VM", host: "rows.host") -> Generator[float, None, None]:
        """Build the domain of a VM that starts, resumes or arrives on a host, which may take time; set memory_target.

        Called with the VM's memory reserved on the host, before it is resident there; a VM that migrates is still
        resident where it comes from. Raises HOST_NOT_ENOUGH_FREE_MEMORY [needed; free] or VMS_FAILED_TO_COOPERATE [vm]
        (B.5, VM.start, step 7).
        """
        self._database.write(vm, "memory_target", vm.memory_dynamic_min)
        self.set_dynamic_range(vm)
        yield from ()

    def stop(self, vm: "rows.VM") -> None:
        """The domain of a VM that halts or is suspended is gone: its target reads 0, memory_actual stays (inferred)."""
        self._database.write(vm, "memory_target", 0)
