"""Which handler a method and a path lead to, and who may ask: the path that is the longest prefix of what was asked.

Names and roles: xapi-project/xen-api, ocaml/idl/datamodel.ml: http_actions. The prefix is one of characters, not of
segments (ocaml/libs/http-lib/radix_tree.ml). Knows no handler.
"""

from enum import Enum, auto
from typing import Final, NamedTuple

from xenmem.datamodel import Role


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


def _many(kind: Kind, role: Role | None, **paths: str) -> dict[str, Route]:
    return {path: Route(name, kind, role) for name, path in paths.items()}


_READ, _OPERATOR, _ADMIN = Role.READ_ONLY, Role.VM_OPERATOR, Role.POOL_ADMIN

ROUTES: Final[dict[str, dict[str, Route]]] = {
    "POST": _many(Kind.XML, None, post_root="/", post_RPC2="/RPC2", post_json="/json")
    | _many(Kind.JSON, None, post_jsonrpc="/jsonrpc")
    | _many(Kind.NOT_IMPLEMENTED, None, post_cli="/cli")
    | _many(Kind.FORBIDDEN, None, post_services="/services", post_remote_db_access="/remote_db_access"),
    "OPTIONS": _many(Kind.OPTIONS, None, options="/"),
    "GET": _many(Kind.FILE, None, get_root="/")
    | _many(Kind.HEALTH, None, health="/health")
    | _many(Kind.METRICS, None, metrics="/metrics")
    | _many(Kind.RRD_UPDATES, _READ, rrd_updates="/rrd_updates")
    | _many(Kind.HOST_RRD, _READ, get_host_rrd="/host_rrd", get_host_rrds="/host_rrds")
    | _many(Kind.VM_RRD, _READ, get_vm_rrd="/vm_rrd", get_vm_rrds="/vm_rrds")
    | _many(Kind.NOT_FOUND, _READ, get_sr_rrd="/sr_rrd")
    | _many(Kind.DUMP, _ADMIN, get_pool_xml_db_sync="/pool/xmldbdump")
    | _many(Kind.AUDIT_LOG, _READ, get_audit_log="/audit_log")
    | _many(Kind.NO_WLB, _READ, get_wlb_report="/wlb_report", get_wlb_diagnostics="/wlb_diagnostics")
    | _many(
        Kind.NOT_IMPLEMENTED,
        Role.VM_ADMIN,
        get_export="/export",
        get_export_metadata="/export_metadata",
        get_export_raw_vdi="/export_raw_vdi",
    )
    | _many(
        Kind.NOT_IMPLEMENTED,
        Role.POOL_OPERATOR,
        get_host_backup="/host_backup",
        get_host_logs_download="/host_logs_download",
        get_system_status="/system-status",
    )
    | _many(Kind.NOT_FOUND, _OPERATOR, connect_console_ws="/console", get_vncsnapshot="/vncsnapshot")
    | _many(Kind.NOT_FOUND, None, get_blob="/blob")
    | _many(
        Kind.FORBIDDEN,
        _ADMIN,
        get_services="/services",
        get_config_sync="/config_sync",
        get_repository="/repository",
        get_updates="/updates",
        get_host_updates="/host_updates",
    ),
    "PUT": _many(Kind.CHECK_DUMP, _ADMIN, put_pool_xml_db_sync="/pool/xmldbdump")
    | _many(
        Kind.NOT_IMPLEMENTED,
        Role.VM_ADMIN,
        put_import="/import",
        put_import_metadata="/import_metadata",
        put_import_raw_vdi="/import_raw_vdi",
    )
    | _many(
        Kind.NOT_IMPLEMENTED,
        _ADMIN,
        put_host_restore="/host_restore",
        put_pool_patch_upload="/pool_patch_upload",
        put_bundle="/bundle",
        put_blob="/blob",
        put_messages="/messages",
        put_rrd="/rrd",
    )
    | _many(Kind.FORBIDDEN, _ADMIN, put_services="/services"),
    "CONNECT": _many(Kind.NOT_FOUND, _OPERATOR, connect_console="/console")
    | _many(Kind.FORBIDDEN, _ADMIN, connect_remotecmd="/remotecmd", connect_migrate="/migrate"),
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
