"""Which SRs a VM needs, whether a host sees them, and what a storage motion asks of them.

Source: xapi-project/xen-api, ocaml/xapi/xapi_vm_helpers.ml (assert_can_see_SRs, which_specified_SRs_not_available_on_
host), ocaml/xapi/agility.ml (is_sr_properly_shared), ocaml/xapi/smint.ml (Feature.has_capability).
"""

from collections.abc import Collection, Container, Iterable, Mapping
from typing import Final, TypeVar

SR = TypeVar("SR")

MIGRATE_FROM: Final = ("VDI_SNAPSHOT", "VDI_MIRROR")
MIGRATE_TO: Final = ("VDI_SNAPSHOT", "VDI_MIRROR_IN")
"""What the SR that a disk of a storage motion leaves, or comes to, must be able to do."""


def needs_disk(empty: bool) -> bool:
    """Whether a VBD makes its VM need an SR: any that is not an empty drive, attached or not, of whatever type."""
    return not empty


def needs_suspend_image(power_state: str, has_suspend_vdi: bool) -> bool:
    """Whether a VM needs the SR of its suspend VDI: while it is suspended."""
    return has_suspend_vdi and power_state == "Suspended"


def first_unseen(needed: Iterable[SR], visible: Container[SR]) -> SR | None:
    """The first SR that a VM needs and a host does not see: one without an attached PBD there; None if it sees all."""
    for sr in needed:
        if sr not in visible:
            return sr
    return None


def is_properly_shared(shared: bool, attached_on: Container[SR], enabled_hosts: Iterable[SR]) -> bool:
    """Whether a VM can restart anywhere with a disk on an SR: marked as shared, and attached on every enabled host.

    Parameters
    ----------
    shared : SR.shared
    attached_on, enabled_hosts : hosts; whether they are live does not count
    """
    return shared and all(host in attached_on for host in enabled_hosts)


def missing_features(features: Collection[str] | None, needed: Iterable[str]) -> list[str]:
    """What a storage driver lacks.

    Parameters
    ----------
    features : SM.features, names; None where no driver, or where a target's type has several, says anything
    needed : MIGRATE_FROM or MIGRATE_TO

    Notes
    -----
    A driver that mirrors also takes mirrors in.
    """
    has = set(features or ())
    if "VDI_MIRROR" in has:
        has.add("VDI_MIRROR_IN")
    return [name for name in needed if name not in has]


def resets_with_cache(sm_config: Mapping[str, str]) -> bool:
    """Whether a disk stops a migration: one that is reset at boot and cached on the host; VDI.on_boot is not asked."""
    return sm_config.get("on_boot") == "reset" and sm_config.get("caching", "").lower() in ("true", "1")


def is_in_use(sharable: bool, own_mode: str, other_modes: Iterable[str]) -> bool:
    """Whether a disk cannot be attached because others have it (xapi_vbd_helpers.ml: valid_operations).

    Parameters
    ----------
    sharable : VDI.sharable
    own_mode : VBD.mode of the one that is to be attached
    other_modes : of the VDI's other VBDs that are attached, reserved or busy; without those of suspended VMs and of
        control domains
    """
    modes = list(other_modes)
    return not sharable and bool(modes) and (own_mode == "RW" or "RW" in modes)
