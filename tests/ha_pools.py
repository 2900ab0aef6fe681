"""HAPool of the plain records that the naive twin works on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from twins.naive import HAVM, HAHost

from xenmem.planning.xapi.failover import HAPool


def ha_pool(hosts: Sequence[HAHost], vms: Sequence[HAVM], corosync: bool = False) -> HAPool:
    bootable = {vm.ref: vm.bootable_hosts for vm in vms}

    def rows(values: Sequence[int | None]) -> Any:
        return np.array([-1 if value is None else value for value in values], np.int32)

    return HAPool(
        hosts=rows([host.ref for host in hosts]),
        host_uuid=np.array([host.uuid for host in hosts], object),
        host_enabled=np.array([host.enabled for host in hosts], bool),
        host_live=np.array([host.live for host in hosts], bool),
        host_free=np.array([host.free for host in hosts], np.int64),
        cluster_enabled=np.array([host.cluster_enabled for host in hosts], bool) if corosync else None,
        vms=rows([vm.ref for vm in vms]),
        vm_uuid=np.array([vm.uuid for vm in vms], object),
        protected=np.array([vm.protected for vm in vms], bool),
        resident_on=rows([vm.resident_on for vm in vms]),
        scheduled_to_be_resident_on=rows([vm.scheduled_on for vm in vms]),
        size=np.array([vm.size for vm in vms], np.int64),
        agile=np.array([vm.agile for vm in vms], bool),
        bootable_hosts=bootable.__getitem__,
    )
