"""A pool small enough to read, as records, and writers that turn records into a database dump or into xe text.

Plain Python, nothing of xenmem: the encoders are the twins of what the readers decode. Amounts are bytes.
"""

from typing import Any
from xml.sax.saxutils import escape

GIB = 1 << 30
NULL = "OpaqueRef:NULL"
HOST, METRICS, POOL, DOM0, GUEST, GROUP = (
    f"OpaqueRef:00000000-0000-4000-8000-00000000000{digit}" for digit in range(6)
)
EMPTY_TABLES = ("Bond", "PIF", "VBD", "task")
NOTHING_OF_MOBILITY = {"no-storage", "no-networks", "no-capabilities", "no-cpu-features", "no-guest-metrics"}
"""Notes of what the pool below does not tell."""
NAMESPACES = ("name", "memory", "VCPUs", "HVM")


def vm(uuid: str, **fields: Any) -> dict[str, Any]:
    """A halted HVM guest of 4 GiB with 2 vCPUs, in the words of a current server."""
    return {
        "uuid": uuid,
        "name_label": f"vm {uuid}",
        "power_state": "Halted",
        "domain_type": "hvm",
        "HVM_boot_policy": "BIOS order",
        "requires_reboot": False,
        "domid": "-1",
        "is_control_domain": False,
        "is_a_template": False,
        "is_a_snapshot": False,
        "memory_static_max": str(4 * GIB),
        "memory_dynamic_max": str(4 * GIB),
        "memory_dynamic_min": str(2 * GIB),
        "memory_static_min": str(GIB),
        "memory_target": str(2 * GIB),
        "memory_overhead": str(38 << 20),
        "VCPUs_max": "2",
        "VCPUs_at_startup": "2",
        "HVM_shadow_multiplier": 1.0,
        "platform": {"videoram": "8", "vga": "std"},
        "resident_on": NULL,
        "scheduled_to_be_resident_on": NULL,
        "affinity": NULL,
        "ha_always_run": False,
        "ha_restart_priority": "",
        "order": "0",
        "start_delay": "0",
        "groups": [],
        "metrics": NULL,
    } | fields


def pool(**guest: Any) -> dict[str, dict[str, dict[str, Any]]]:
    """One host of 64 GiB with its domain 0, and one guest, whose fields may be given."""
    return {
        "VM": {
            DOM0: vm(
                "dom0",
                is_control_domain=True,
                domain_type="pv",
                HVM_boot_policy="",
                resident_on=HOST,
                power_state="Running",
                domid="0",
                platform={},
            ),
            GUEST: vm("guest", **guest),
        },
        "VM_metrics": {},
        "host": {
            HOST: {
                "uuid": "host",
                "name_label": "xen01",
                "hostname": "xen01.example",
                "address": "192.0.2.1",
                "memory_overhead": str(1 << 30),
                "enabled": True,
                "software_version": {"xapi": "26.17", "xapi_build": "26.17.0"},
                "cpu_info": {"cpu_count": "32"},
                "metrics": METRICS,
                "control_domain": DOM0,
            }
        },
        "host_metrics": {METRICS: {"memory_total": str(64 * GIB), "memory_free": str(32 * GIB), "live": True}},
        "pool": {
            POOL: {
                "uuid": "pool",
                "name_label": "lab pool",
                "master": HOST,
                "ha_enabled": False,
                "restrictions": {"restrict_dmc": "false"},
            }
        },
        "VM_group": {GROUP: {"uuid": "group", "name_label": "apart", "placement": "anti_affinity"}},
    }


def protect(text: str) -> str:
    """Whitespace protection as xapi 1.57 and later write it."""
    for plain, code in (("%", "%%"), (" ", "%."), ("\t", "%t"), ("\n", "%n"), ("\r", "%r")):
        text = text.replace(plain, code)
    return text


def protect_pairs(text: str) -> str:
    """Whitespace protection as it was before: pairs of blanks only."""
    for plain, code in (("%", "%%"), ("  ", "%_"), ("\t", "%t"), ("\n", "%n"), ("\r", "%r")):
        text = text.replace(plain, code)
    return text


def sexpr(tree: Any) -> str:
    """An s-expression as xapi writes it, of lists and of what is text in a database."""
    if not isinstance(tree, list):
        escaped = str(tree).replace("\\", "\\\\").replace("'", "\\'")
        return f"'{escaped}'"
    return f"({' '.join(map(sexpr, tree))})"


def database_text(value: Any) -> str:
    """A value as the database keeps it, before protection."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return sexpr([[key, entry] for key, entry in value.items()])
    return sexpr(value) if isinstance(value, list) else str(value)


def column_name(table: str, field: str) -> str:
    """The name of a field in the database: two underscores after a namespace, but not in the table of pools."""
    namespace, _, rest = field.partition("_")
    return f"{namespace}__{rest}" if table != "pool" and namespace in NAMESPACES and rest else field


def row(table: str, ref: str | None, record: dict[str, Any], *, protected: Any = protect) -> str:
    """One row of a dump; without reference if that is None."""
    attributes = {} if ref is None else {"ref": ref}
    attributes |= {"__ctime": "1", "__mtime": "2"}
    attributes |= {column_name(table, field): protected(database_text(value)) for field, value in record.items()}
    return f"<row {' '.join(f'{name}={quoted(value)}' for name, value in attributes.items())}/>"


def quoted(value: str) -> str:
    """An attribute's value in double quotes."""
    escaped = escape(value, {'"': "&quot;"})
    return f'"{escaped}"'


def dump(tables: dict[str, dict[str, dict[str, Any]]], *, schema: int = 909, protected: Any = protect) -> bytes:
    """A database dump of records."""
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>\n<database><manifest><pair key="schema_major_vsn" value="5"/>',
        f'<pair key="schema_minor_vsn" value="{schema}"/><pair key="generation_count" value="7"/></manifest>',
    ]
    for name in sorted({*EMPTY_TABLES, *tables}):
        rows = [row(name, ref, record, protected=protected) for ref, record in tables.get(name, {}).items()]
        parts.append(f'<table name="{name}">{"".join(rows)}</table>' if rows else f'<table name="{name}"/>')
    return "".join([*parts, "</database>"]).encode()
