"""The class role: the six roles, the one of client certificates, and a record for each permission. No database keeps
them: they are the same in every pool.

Source: docs/reference/messages.md, 9.4 (xapi-project/xen-api, ocaml/idl/ocaml_backend/gen_rbac.ml,
ocaml/xapi/xapi_role.ml; ocaml/idl/datamodel.ml: http_actions).
"""

import hashlib
from functools import cache
from typing import TYPE_CHECKING, Final

from xenmem.datamodel import CLASSES, Role

if TYPE_CHECKING:
    from xenmem.xenapi.store.database import Database

UUIDS: Final = {
    Role.POOL_ADMIN: "0165f154-ba3e-034e-6b27-5d271af109ba",
    Role.POOL_OPERATOR: "b9ce9791-0604-50cd-0649-09b3284c7dfd",
    Role.VM_POWER_ADMIN: "7955168d-7bec-10ed-105f-c6a7e6e63249",
    Role.VM_ADMIN: "aaa00ab5-7340-bfbc-0d1b-7cf342639a6e",
    Role.VM_OPERATOR: "fb8d4ff9-310c-a959-0613-54101535d3d5",
    Role.READ_ONLY: "7233b8e3-eacb-d7da-2c95-f2e581cdbf4e",
}
_CLIENT_CERTIFICATE: Final = "2c42debf-c64a-2ecd-f674-3350f06409f7"

HTTP: Final = {
    Role.READ_ONLY: (
        *("rrd_updates", "get_host_rrd", "get_host_rrds", "get_vm_rrd", "get_vm_rrds", "get_sr_rrd"),
        *("get_audit_log", "get_wlb_report", "get_wlb_diagnostics"),
    ),
    Role.VM_OPERATOR: ("connect_console", "connect_console_ws", "get_vncsnapshot"),
    Role.VM_ADMIN: (
        *("get_export", "get_export_metadata", "get_export_raw_vdi"),
        *("put_import", "put_import_metadata", "put_import_raw_vdi"),
    ),
    Role.POOL_OPERATOR: ("get_host_backup", "get_host_logs_download", "get_system_status"),
    Role.POOL_ADMIN: (
        *("get_pool_xml_db_sync", "put_pool_xml_db_sync", "get_services", "put_services", "get_config_sync"),
        *("get_repository", "get_updates", "get_host_updates", "connect_remotecmd", "connect_migrate"),
        *("put_host_restore", "put_pool_patch_upload", "put_bundle", "put_blob", "put_messages", "put_rrd"),
    ),
}
"""The paths of HTTP beside messages, by name, and the least role that may ask for each."""


@cache
def permissions() -> dict[str, Role]:
    """The least role of each permission: of messages, in the API's spelling, of keys of maps, and of paths."""
    found: dict[str, Role] = {}
    for schema in CLASSES.values():
        for message in schema.messages.values():
            if message.client and message.has_session and message.role is not None:
                name = f"{schema.name}.{message.name}"
                found[name] = message.role
                if message.key_roles is not None:
                    for key, role in message.key_roles.declared.items():
                        found[f"{name}/key:{key}"] = role
    found |= {f"http/{name}": role for role, names in HTTP.items() for name in names}
    return found


@cache
def permissions_of(role: Role) -> tuple[str, ...]:
    """The permissions of a role as sessions list them: in lower case, and none of one that may do everything."""
    if role is Role.POOL_ADMIN:
        return ()
    return tuple(sorted(name.lower() for name, least in permissions().items() if role >= least))


def uuid_of(permission: str) -> str:
    """The uuid of a permission's record: the MD5 of its name."""
    digits = hashlib.md5(permission.encode(), usedforsecurity=False).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def load(database: "Database") -> None:
    """Take the rows of the class role into a database."""
    rows = []
    for name in permissions():
        uuid = uuid_of(name)
        about = "A basic permission"
        row = database.new_row("role", uuid=uuid, name_label=name.lower(), name_description=about, is_internal=True)
        row.ref = f"OpaqueRef:{uuid}"
        rows.append(row)
    for role, uuid in UUIDS.items():
        refs = tuple(f"OpaqueRef:{uuid_of(name)}" for name, least in permissions().items() if role >= least)
        row = database.new_row("role", uuid=uuid, name_label=role.spelling, subroles=refs)
        row.name_description = f"The {role.spelling} role"
        row.ref = f"OpaqueRef:{uuid}"
        rows.append(row)
    row = database.new_row("role", uuid=_CLIENT_CERTIFICATE, name_label="client-cert", is_internal=True)
    row.ref = f"OpaqueRef:{_CLIENT_CERTIFICATE}"
    database.load("role", [*rows, row])
