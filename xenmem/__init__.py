"""xenmem: the memory accounting and packing of Xen fleets, exactly as xapi computes it.

The names below are imported when they are first used: `import xenmem` itself loads neither numpy nor numba.
Amounts are bytes.
"""

TYPE_CHECKING = False  # as typing's, whose import would take most of the time of this one

if TYPE_CHECKING:
    from xenmem import kernel
    from xenmem.dataset import DataSet
    from xenmem.fleet import Fleet, Note, PowerState, read
    from xenmem.inventory.error import InventoryError
    from xenmem.inventory.live.access import Access
    from xenmem.mirror import Mirror
    from xenmem.xenapi import Failure, connect

    __version__: str

__all__ = [
    "Access",
    "DataSet",
    "Failure",
    "Fleet",
    "InventoryError",
    "Mirror",
    "Note",
    "PowerState",
    "__version__",
    "connect",
    "kernel",
    "read",
]

_HOME = {
    "Access": "xenmem.inventory.live.access",
    "DataSet": "xenmem.dataset",
    "Failure": "xenmem.xenapi",
    "Fleet": "xenmem.fleet",
    "InventoryError": "xenmem.inventory.error",
    "Mirror": "xenmem.mirror",
    "Note": "xenmem.fleet",
    "PowerState": "xenmem.fleet",
    "connect": "xenmem.xenapi",
    "read": "xenmem.fleet",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    value: object
    if name == "__version__":
        from importlib.metadata import version

        value = version("xenmem")
    elif name == "kernel":
        value = import_module("xenmem.kernel")
    elif name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    else:
        raise AttributeError(f"module 'xenmem' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
