"""Whether a host has room for the devices of a VM: vGPUs on physical GPUs, USB devices, virtual functions of NICs.

Sizes are abstract: a whole GPU has WHOLE_GPU of them.
Source: xapi-project/xen-api, ocaml/xapi/xapi_pgpu_helpers.ml (get_remaining_capacity_internal), xapi_vgpu_type.ml,
vgpuops.ml (allocate_vgpu_to_gpu), xapi_vm_helpers.ml (vm_needs_iommu, assert_usbs_available,
assert_netsriov_available).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

Place = TypeVar("Place")

WHOLE_GPU: Final = 1048576

PASSTHROUGH: Final = "passthrough"
NVIDIA: Final = ("nvidia", "nvidia_sriov")
"""The implementations of which a live vGPU may migrate."""
SRIOV: Final = "nvidia_sriov"
RETIRED: Final = "gvt_g"
"""The implementation that a server can be set not to support."""
_VIRTUAL_FUNCTION: Final = ("mxgpu", "nvidia_sriov")
NVIDIA_METADATA: Final = "nvidia"
"""The key of compatibility_metadata that Nvidia's daemon writes."""
BREADTH_FIRST: Final = "breadth_first"


class GPUType(NamedTuple):
    """A type of vGPU.

    Attributes
    ----------
    ref : its reference
    implementation, size : as in VGPU_type
    compatible : compatible_types_on_pgpu, references: with which types one of this type shares a GPU
    """

    ref: str
    implementation: str
    size: int
    compatible: frozenset[str]


class GPU(NamedTuple):
    """A physical GPU.

    Attributes
    ----------
    ref, size : as in PGPU
    supported, enabled : references of types
    resident, scheduled : types of the vGPUs that it carries, and that are to come
    is_attached : its PCI device is attached to some VM
    """

    ref: str
    size: int
    supported: Collection[str]
    enabled: Collection[str]
    resident: Sequence[GPUType]
    scheduled: Sequence[GPUType]
    is_attached: bool


def passes_function(implementation: str) -> bool:
    """Whether a vGPU passes a PCI function through: then its host needs an IOMMU."""
    return implementation == PASSTHROUGH or implementation in _VIRTUAL_FUNCTION


def passes_virtual_function(implementation: str) -> bool:
    """Whether a vGPU passes a virtual function through, which a reservation picks."""
    return implementation in _VIRTUAL_FUNCTION


def compatible_types(ref: str, implementation: str) -> frozenset[str]:
    """What compatible_types_on_pgpu is where nobody says it: nothing shares a GPU that is passed through."""
    return frozenset() if implementation == PASSTHROUGH else frozenset((ref,))


def size_for(max_capacity: int) -> int:
    """The size of a type of which so many fit on a GPU: supported_VGPU_max_capacities tells it where sizes are not."""
    return WHOLE_GPU // max_capacity if max_capacity > 0 else 0


def remaining_capacity(gpu: GPU, kind: GPUType, picked: Sequence[GPUType] = ()) -> int:
    """How many more vGPUs of a type a GPU could carry.

    Parameters
    ----------
    gpu, kind : what is asked of what
    picked : types of the vGPUs of the same VM that were just given to this GPU: they take room, and are not asked
        whether they are compatible
    """
    if kind.ref not in gpu.supported or kind.ref not in gpu.enabled:
        return 0
    if any(kind.ref not in other.compatible for other in (*gpu.resident, *gpu.scheduled)):
        return 0
    if kind.implementation == PASSTHROUGH:
        return 0 if gpu.scheduled or gpu.is_attached or picked else 1
    if kind.size <= 0:
        return 0
    used = sum(other.size for others in (gpu.resident, gpu.scheduled, picked) for other in others)
    return max(0, (gpu.size - used) // kind.size)


class Picks(NamedTuple):
    """What becomes of the vGPUs of a VM on a host.

    Attributes
    ----------
    gpus : references of GPUs, one for each vGPU that found one, in order
    failed : place of the first vGPU that found none; -1 if all did
    """

    gpus: tuple[str, ...]
    failed: int


def allocate(wanted: Iterable[tuple[str, GPUType]], groups: Mapping[str, tuple[Sequence[GPU], str]]) -> Picks:
    """Give each vGPU of a VM a GPU of a host.

    Parameters
    ----------
    wanted : group and type of each vGPU, in the order of VM.VGPUs
    groups : of each GPU group, its GPUs on the host in the group's order, and its allocation_algorithm
    """
    picked: dict[str, list[GPUType]] = {}
    chosen: list[str] = []
    for place, (group, kind) in enumerate(wanted):
        gpus, algorithm = groups[group]
        best, best_room = None, 0
        for gpu in gpus:
            room = remaining_capacity(gpu, kind, picked.get(gpu.ref, ()))
            if room > 0 and (best is None or (room > best_room if algorithm == BREADTH_FIRST else room < best_room)):
                best, best_room = gpu, room
        if best is None:
            return Picks(tuple(chosen), place)
        picked.setdefault(best.ref, []).append(kind)
        chosen.append(best.ref)
    return Picks(tuple(chosen), -1)


def best_hosts(capacities: Mapping[str, int], algorithm: str) -> list[list[str]]:
    """Hosts by what their GPUs have left for a type, those with most last, or first if breadth_first says so.

    Parameters
    ----------
    capacities : of hosts that have room for all vGPUs of the VM: the sum over their GPUs of the group
    algorithm : GPU_group.allocation_algorithm

    Returns
    -------
    list of lists, equal hosts together in ascending order of reference

    Notes
    -----
    Source: xapi_vm_helpers.ml: rank_hosts_by_best_vgpu.
    """
    return _grouped(capacities, descending=algorithm == BREADTH_FIRST)


def best_sriov_hosts(idle: Mapping[str, int], startable: Iterable[str]) -> list[list[str]]:
    """Hosts by how many idle virtual functions they have for a network, most first, then those that must plug it.

    Parameters
    ----------
    idle : by host of an attached PIF; a host that has none left is left out
    startable : hosts whose PIF is not attached, and can be without a reboot

    Notes
    -----
    Source: xapi_network_sriov_helpers.ml: group_hosts_by_best_sriov.
    """
    groups = _grouped({host: number for host, number in idle.items() if number > 0}, descending=True)
    rest = sorted(startable)
    return [*groups, rest] if rest else groups


def _grouped(values: Mapping[str, int], *, descending: bool) -> list[list[str]]:
    groups: dict[int, list[str]] = {}
    for host in sorted(values):
        groups.setdefault(values[host], []).append(host)
    return [groups[value] for value in sorted(groups, reverse=descending)]


def usb_host(pusb_hosts: Sequence[Place]) -> Place | None:
    """The only host where a VM with a USB device can boot: that of the first PUSB of its group; None for nowhere."""
    return pusb_hosts[0] if pusb_hosts else None


def short_of_functions(needed: Mapping[Place, int], idle: Mapping[Place, int]) -> Place | None:
    """The first network of which a host lacks idle virtual functions; None if it has enough.

    Parameters
    ----------
    needed : by SR-IOV network, the VIFs of the VM that hold no function yet
    idle : by network, the idle functions of its physical PIF; what two networks share counts for each
    """
    for network, count in needed.items():
        if idle[network] < count:
            return network
    return None
