"""What changed at the hosts of pools that are watched: their reports, as far as they are not those of before."""

from collections.abc import Sequence

import msgspec

from xenmem.answers.naming import Result
from xenmem.answers.report import HostReport, report
from xenmem.fleet import Fleet


class WatchedHost(Result, frozen=True):
    """A host that is new, is not as it was, or is gone.

    Attributes
    ----------
    read_at : Unix time of the state
    operation : ``add``, ``mod`` or ``del``
    changed : names of the fields of `host` that are others than before; all of them, unless it is ``mod``
    host : as it is; as it was, if it is gone
    """

    read_at: float
    pool_uuid: str
    pool_name_label: str
    operation: str
    changed: list[str]
    host: HostReport


def watch(fleet: Fleet, read_at: float, before: Sequence[WatchedHost] = ()) -> list[WatchedHost]:
    """All hosts as they are, and those that are gone since.

    Parameters
    ----------
    fleet : of now
    read_at : Unix time of it
    before : what this answered before; by default all hosts are new

    Returns
    -------
    The hosts in the order of the report; `changed` is empty where nothing is another than before
    """
    was = {(one.pool_uuid, one.host.ref): one for one in before if one.operation != "del"}
    now: list[WatchedHost] = []
    for pool in report(fleet).pools:
        for host in pool.hosts:
            old = was.pop((pool.pool.uuid, host.ref), None)
            fields = [
                name for name in host.__struct_fields__ if old is None or getattr(old.host, name) != getattr(host, name)
            ]
            operation = "add" if old is None else "mod"
            now.append(WatchedHost(read_at, pool.pool.uuid, pool.pool.name_label, operation, fields, host))
    return now + [
        msgspec.structs.replace(old, read_at=read_at, operation="del", changed=list(old.host.__struct_fields__))
        for old in was.values()
    ]
