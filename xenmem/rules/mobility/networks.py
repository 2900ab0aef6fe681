"""Whether a host has the networks of a VM, which networks pin the VMs that run on them, and which are alike everywhere.

Source: xapi-project/xen-api, ocaml/xapi/xapi_network_attach_helpers.ml, xapi_pif_helpers.ml (get_pif_type),
xapi_network_sriov_helpers.ml, agility.ml (is_network_properly_shared).
"""

from collections.abc import Collection, Container
from enum import Enum
from typing import Final, NamedTuple

SHARED_BY_FLAG: Final = "assume_network_is_shared"
"""The key of network.other_config that makes a network without PIFs visible everywhere, where it is exactly `true`."""


class PIFKind(Enum):
    """What a PIF is."""

    TUNNEL_ACCESS = "tunnel access"
    VLAN = "VLAN"
    SRIOV_LOGICAL = "SR-IOV logical"
    BOND_MASTER = "bond master"
    PHYSICAL = "physical"


def pif_kind(
    *, tunnel_access: bool, vlan_master: bool, sriov_logical: bool, bond_master: bool, physical: bool
) -> PIFKind | None:
    """What a PIF is, the first that holds; None for none of these, where a server answers INTERNAL_ERROR.

    Parameters
    ----------
    tunnel_access : tunnel_access_PIF_of has any
    vlan_master : VLAN_master_of is not NULL
    sriov_logical, bond_master : sriov_logical_PIF_of, bond_master_of has any
    physical : PIF.physical
    """
    if tunnel_access:
        return PIFKind.TUNNEL_ACCESS
    if vlan_master:
        return PIFKind.VLAN
    if sriov_logical:
        return PIFKind.SRIOV_LOGICAL
    if bond_master:
        return PIFKind.BOND_MASTER
    return PIFKind.PHYSICAL if physical else None


def is_pinning(has_pifs: bool, shared_by_flag: bool, managed: bool) -> bool:
    """Whether a network holds together the VMs that run on it: no PIF, not assumed to be shared, and managed."""
    return not has_pifs and not shared_by_flag and managed


def is_visible(
    host: str, pif_hosts: Container[str], *, has_pifs: bool, pins: bool, members_on: Collection[str] = ()
) -> bool:
    """Whether a host has a network.

    Parameters
    ----------
    host : the host that is asked about
    pif_hosts : hosts of the network's PIFs; nothing else of a PIF counts
    has_pifs, pins : the network's; as of `is_pinning`
    members_on : of a network that pins, where the VMs with a VIF on it are that are Running, attached or not
    """
    if has_pifs:
        return host in pif_hosts
    return not pins or not members_on or host in members_on


def is_enslaved(bond_slave_of: str, null: str) -> bool:
    """Whether no VM can be attached to the network of a PIF: it belongs to a bond, which may itself be missing."""
    return bond_slave_of != null


class Logical(NamedTuple):
    """The SR-IOV PIF below a network on a host.

    Attributes
    ----------
    configuration_mode : network_sriov.configuration_mode
    attached : currently_attached of the logical PIF
    idle : virtual functions of the physical PIF that nobody has
    """

    configuration_mode: str
    attached: bool
    idle: int


def comes_up_without_reboot(logical: Logical) -> bool:
    """Whether a host can use an SR-IOV network without being rebooted (can_be_up_without_reboot)."""
    if logical.configuration_mode == "sysfs":
        return True
    if logical.configuration_mode == "unknown":
        return False
    return logical.attached or logical.idle > 0


def is_good(is_slave: bool, logical: Logical | None) -> bool:
    """Whether a PIF makes its host one where HA can restart the VMs of its network.

    Parameters
    ----------
    is_slave : bond_slave_of is a bond that exists: a missing one does not count here, unlike for `is_enslaved`
    logical : of an SR-IOV network, or a VLAN on one
    """
    return not is_slave and (logical is None or comes_up_without_reboot(logical))


def is_properly_shared(good_on: Container[str], enabled_hosts: Collection[str]) -> bool:
    """Whether a VM can restart anywhere with a VIF on a network: every enabled host, live or not, has a good PIF."""
    return all(host in good_on for host in enabled_hosts)
