"""Which host of a pool an address stands for: the coordinator, or a member that sends clients to it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xenmem.xenapi import Database

if TYPE_CHECKING:
    from xenmem.xenapi.store import rows


@dataclass
class Members:
    """The hosts of a pool by the address at which each is asked.

    Attributes
    ----------
    database : the pool's
    hosts : references by address; an address that is not here stands for the coordinator
    """

    database: Database
    hosts: dict[str, str] = field(default_factory=dict)

    def host(self, address: str) -> str:
        """The reference of the host that is asked."""
        return self.hosts.get(address, self.database.the_pool.master)

    def is_coordinator(self, address: str) -> bool:
        """Whether the host that is asked coordinates the pool."""
        return self.host(address) == self.database.the_pool.master

    @property
    def coordinator_address(self) -> str:
        """Where clients of members are sent."""
        master = self.database.host.get(self.database.the_pool.master)
        return master.address if master is not None else ""


def order(database: Database) -> "list[rows.host]":
    """The hosts, the coordinator first, the others by name."""
    master = database.the_pool.master
    return sorted(database.host, key=lambda host: (host.ref != master, host.name_label, host.ref))


def take_addresses(database: Database, addresses: Sequence[str]) -> Members:
    """Give each host an address, the coordinator the first, and have the database say so.

    Parameters
    ----------
    database : whose host.address, and PIF.IP of management PIFs, are written
    addresses : one for each host

    Raises
    ------
    ValueError : there are not as many
    """
    hosts = order(database)
    if len(addresses) != len(hosts):
        raise ValueError(f"addresses: {len(addresses)} for {len(hosts)} hosts")
    members = Members(database)
    for host, address in zip(hosts, addresses, strict=True):
        members.hosts[address] = host.ref
        database.write(host, "address", address)
        for ref in host.PIFs:
            pif = database.tables["PIF"].get(ref)
            if pif is not None and pif.management:
                database.write(pif, "IP", address)
    return members
