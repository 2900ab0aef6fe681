"""Which handler a method and a path lead to, and who may ask: the path that is the longest prefix of what was asked.

Names: xapi-project/xen-api, ocaml/idl/datamodel.ml: http_actions. The prefix is one of characters, not of
segments (ocaml/libs/http-lib/radix_tree.ml). Knows no handler.
"""

from enum import Enum, auto
from typing import Final, NamedTuple

from xenmem.datamodel import Role
from xenmem.xenapi.world.roles import HTTP


class Kind(Enum):
    """What becomes of a request."""

    XML = auto()
    JSON = auto()
    OPTIONS = auto()
    FILE = auto()
    HEALTH = auto()
    METRICS = auto()
    RRD_UPDATES = auto()
    HOST_RRD = auto()
    VM_RRD = auto()
    DUMP = auto()
    CHECK_DUMP = auto()
    AUDIT_LOG = auto()
    NO_WLB = auto()
    NOT_IMPLEMENTED = auto()
    NOT_FOUND = auto()
    FORBIDDEN = auto()


class Route(NamedTuple):
    """A registered path.

    Attributes
    ----------
    name : of the action
    kind : what becomes of it
    role : least role; None if whoever asks is not looked at here
    """

    name: str
    kind: Kind
    role: Role | None = None


_ROLES: Final = {name: role for role, names in HTTP.items() for name in names}


def _many(kind: Kind, **paths: str) -> dict[str, Route]:
    return {path: Route(name, kind, _ROLES.get(name)) for name, path in paths.items()}


ROUTES: Final[dict[str, dict[str, Route]]] = {
    "POST": _many(Kind.XML, post_root="/", post_RPC2="/RPC2", post_json="/json")
    | _many(Kind.JSON, post_jsonrpc="/jsonrpc")
    | _many(Kind.NOT_IMPLEMENTED, post_cli="/cli")
    | _many(Kind.FORBIDDEN, post_services="/services", post_remote_db_access="/remote_db_access"),
    "OPTIONS": _many(Kind.OPTIONS, options="/"),
    "GET": _many(Kind.FILE, get_root="/")
    | _many(Kind.HEALTH, health="/health")
    | _many(Kind.METRICS, metrics="/metrics")
    | _many(Kind.RRD_UPDATES, rrd_updates="/rrd_updates")
    | _many(Kind.HOST_RRD, get_host_rrd="/host_rrd", get_host_rrds="/host_rrds")
    | _many(Kind.VM_RRD, get_vm_rrd="/vm_rrd", get_vm_rrds="/vm_rrds")
    | _many(Kind.NOT_FOUND, get_sr_rrd="/sr_rrd")
    | _many(Kind.DUMP, get_pool_xml_db_sync="/pool/xmldbdump")
    | _many(Kind.AUDIT_LOG, get_audit_log="/audit_log")
    | _many(Kind.NO_WLB, get_wlb_report="/wlb_report", get_wlb_diagnostics="/wlb_diagnostics")
    | _many(
        Kind.NOT_IMPLEMENTED,
        get_export="/export",
        get_export_metadata="/export_metadata",
        get_export_raw_vdi="/export_raw_vdi",
    )
    | _many(
        Kind.NOT_IMPLEMENTED,
        get_host_backup="/host_backup",
        get_host_logs_download="/host_logs_download",
        get_system_status="/system-status",
    )
    | _many(Kind.NOT_FOUND, connect_console_ws="/console", get_vncsnapshot="/vncsnapshot")
    | _many(Kind.NOT_FOUND, get_blob="/blob")
    | _many(
        Kind.FORBIDDEN,
        get_services="/services",
        get_config_sync="/config_sync",
        get_repository="/repository",
        get_updates="/updates",
        get_host_updates="/host_updates",
    ),
    "PUT": _many(Kind.CHECK_DUMP, put_pool_xml_db_sync="/pool/xmldbdump")
    | _many(
        Kind.NOT_IMPLEMENTED,
        put_import="/import",
        put_import_metadata="/import_metadata",
        put_import_raw_vdi="/import_raw_vdi",
    )
    | _many(
        Kind.NOT_IMPLEMENTED,
        put_host_restore="/host_restore",
        put_pool_patch_upload="/pool_patch_upload",
        put_bundle="/bundle",
        put_blob="/blob",
        put_messages="/messages",
        put_rrd="/rrd",
    )
    | _many(Kind.FORBIDDEN, put_services="/services"),
    "CONNECT": _many(Kind.NOT_FOUND, connect_console="/console")
    | _many(Kind.FORBIDDEN, connect_remotecmd="/remotecmd", connect_migrate="/migrate"),
}
"""The registered paths of each method."""

_LONGEST_FIRST: Final = {
    method: sorted(routes.items(), key=lambda item: -len(item[0])) for method, routes in ROUTES.items()
}


def find(method: str, path: str) -> Route | None:
    """Where a path of a method leads; None if the method has no such prefix.

    Raises
    ------
    KeyError : the method has no path at all
    """
    for prefix, route in _LONGEST_FIRST[method]:
        if path.startswith(prefix):
            return route
    return None
