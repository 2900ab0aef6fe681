"""What the hosts of a pool see, by host: storage and networks; and which classes the inventory says nothing of.

Kept until a PBD, a PIF or a host changes, so that a check costs a look into a set. Knows no rule and no VM.
"""

from collections.abc import Mapping, Set
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from xenmem.xenapi.store import rows
    from xenmem.xenapi.store.database import Database, Table

_STORAGE: Final = frozenset(("SR", "PBD", "VDI", "VBD"))
_NETWORKS: Final = frozenset(("VIF", "network", "PIF"))
_FEATURES: Final = ("features_hvm", "features_pv", "features")


class Sight:
    """The hosts' SRs and networks.

    Parameters
    ----------
    database : it is followed change by change, when something is asked; must be locked then
    """

    def __init__(self, database: "Database") -> None:
        self._database = database
        self._pbd: Table[rows.PBD] = database.tables["PBD"]
        self._pif: Table[rows.PIF] = database.tables["PIF"]
        self._pbd_seen = self._pif_seen = self._hosts_seen = -1
        self._srs: dict[str, set[str]] = {}
        self._links: dict[str, dict[str, rows.PIF]] = {}
        self._linked: set[str] = set()
        self._levels = self._tells_iommu = False

    @property
    def knows_storage(self) -> bool:
        """Whether the inventory says which hosts see which disks."""
        return not self._database.lacks & _STORAGE

    @property
    def knows_networks(self) -> bool:
        """Whether it says which hosts have which networks."""
        return not self._database.lacks & _NETWORKS

    @property
    def knows_functions(self) -> bool:
        """Whether it says which virtual functions of NICs are idle."""
        return self._database.has_internal_fields and "PCI" not in self._database.lacks

    @property
    def levels_cpus(self) -> bool:
        """Whether any host tells the features of its CPU; if none does, nobody can be asked for them."""
        self._follow_hosts()
        return self._levels

    @property
    def tells_iommu(self) -> bool:
        """Whether any host tells whether it has an IOMMU."""
        self._follow_hosts()
        return self._tells_iommu

    @property
    def tells_managed(self) -> bool:
        """Whether any VDI is said to be managed; old tools' records do not say it of any."""
        return any(vdi.managed for vdi in self._database.VDI)

    def _follow_hosts(self) -> None:
        if self._hosts_seen != self._database.regroupings:
            self._hosts_seen = self._database.regroupings
            hosts = list(self._database.host)
            self._levels = any(host.cpu_info.get(key) for host in hosts for key in _FEATURES)
            self._tells_iommu = any("iommu" in host.chipset_info for host in hosts)

    def srs(self, host: str) -> Set[str]:
        """The SRs with an attached PBD on a host."""
        if self._pbd_seen != self._pbd.version:
            self._pbd_seen = self._pbd.version
            self._srs = {}
            for pbd in self._pbd:
                if pbd.currently_attached:
                    self._srs.setdefault(pbd.host, set()).add(pbd.SR)
        return self._srs.get(host, frozenset())

    def links(self, host: str) -> "Mapping[str, rows.PIF]":
        """The PIF that a host has on each of its networks."""
        self._follow_pifs()
        return self._links.get(host, {})

    def has_pifs(self, network: str) -> bool:
        """Whether any host has a PIF on a network."""
        self._follow_pifs()
        return network in self._linked

    def _follow_pifs(self) -> None:
        if self._pif_seen != self._pif.version:
            self._pif_seen = self._pif.version
            self._links = {}
            self._linked = set()
            for pif in self._pif:
                self._links.setdefault(pif.host, {})[pif.network] = pif
                self._linked.add(pif.network)
