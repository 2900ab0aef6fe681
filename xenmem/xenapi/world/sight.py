"""What the hosts of a pool see, by host: storage and networks; and which classes the inventory says nothing of.

Kept until a PBD, a PIF or a host changes, so that a check costs a look into a set. Knows no rule and no VM.
"""

from collections.abc import Mapping, Set
from typing import TYPE_CHECKING, Final

from xenmem.rules.mobility.cpu import FEATURES, VENDOR, next_boot

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

    Attributes
    ----------
    knows_storage, knows_networks : whether the inventory says which hosts see which disks, and have which networks
    knows_functions : whether it says which virtual functions of NICs are idle
    """

    def __init__(self, database: "Database") -> None:
        self._database = database
        lacks = database.lacks
        self.knows_storage: Final = not lacks & _STORAGE
        self.knows_networks: Final = not lacks & _NETWORKS
        self.knows_functions: Final = database.has_internal_fields and "PCI" not in lacks
        self._pbd: Table[rows.PBD] = database.tables["PBD"]
        self._pif: Table[rows.PIF] = database.tables["PIF"]
        self._pbd_seen = self._pif_seen = self._hosts_seen = self._flags_seen = -1
        self._srs: dict[str, set[str]] = {}
        self._links: dict[str, dict[str, rows.PIF]] = {}
        self._linked: set[str] = set()
        self._levels = self._tells_iommu = False
        self._common: dict[str, str] = {}
        self._boot_flags: dict[tuple[str, str], dict[str, str]] = {}

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

    def boot_flags(self, host: "rows.host", domain_type: str) -> dict[str, str]:
        """The CPU that a domain of a type gets that is built on a host now, as VM.last_boot_CPU_flags tells it."""
        common = self._database.the_pool.cpu_info
        if common is not self._common or self._flags_seen != self._database.regroupings:
            self._common, self._flags_seen = common, self._database.regroupings
            self._boot_flags = {}
        known = self._boot_flags.get((host.ref, domain_type))
        if known is None:
            found = next_boot(common, host.cpu_info, domain_type)
            told = ((VENDOR, found.vendor), (FEATURES, found.features))
            known = self._boot_flags[host.ref, domain_type] = {key: text for key, text in told if text is not None}
        return known

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
