"""The memory of a host from the bottom up, in layers that add up to what there is: what bars show. In bytes."""

from typing import Final, NamedTuple

from xenmem.answers.report import HostReport


class Layer(NamedTuple):
    """One part of every bar: its key, and what it is called."""

    key: str
    label: str


LAYERS: Final = (
    Layer("hypervisor", "hypervisor"),
    Layer("control", "control domains"),
    Layer("guests", "VMs at dynamic_min"),
    Layer("overhead", "overhead of VMs"),
    Layer("to-dynamic-max", "up to dynamic_max"),
    Layer("to-static-max", "up to static_max"),
    Layer("free", "free"),
)
"""From the bottom. What is free under static_max is the last; under dynamic_max with the one before it; under
dynamic_min the last three."""


class Stack(NamedTuple):
    """The layers of a host.

    Attributes
    ----------
    amounts : of each of LAYERS; they add up to the larger of what there is and what its VMs may take
    total : what there is; None where it is unknown, and nothing is free then
    """

    amounts: tuple[int, ...]
    total: int | None

    @property
    def height(self) -> int:
        """All of it."""
        return sum(self.amounts)


def stack(host: HostReport) -> Stack:
    """The layers of a host of a report."""
    both = (host.control_domains, host.vms)
    least = sum(usage.memory.dynamic_min for usage in both)
    middle = sum(usage.memory.dynamic_max for usage in both)
    most = sum(usage.memory.static_max for usage in both)
    used = (
        host.memory_overhead,
        host.control_domains.memory.dynamic_min + host.control_domains.memory_overhead,
        host.vms.memory.dynamic_min,
        host.vms.memory_overhead,
        max(0, middle - least),
        max(0, most - max(least, middle)),
    )
    free = 0 if host.memory_total is None else max(0, host.memory_total - sum(used))
    return Stack((*used, free), host.memory_total)


def fullness(one: Stack) -> tuple[float, ...]:
    """A key by which the fullest host is first: what is beyond it, then what is free under each policy."""
    height = max(one.height, 1)
    beyond = 0 if one.total is None else max(0, one.height - one.total)
    return (-beyond / height, one.amounts[-1] / height, sum(one.amounts[-3:]) / height)
