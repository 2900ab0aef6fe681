"""Odd pools, and what a file of one may be: fields that are missing, wrong or hostile, in every format, then damaged.

Everything follows from the random numbers given, so that a seed names an input. Knows nothing of xenmem.
"""

import gzip
import json
from random import Random
from typing import Any
from xml.sax.saxutils import escape

from dumps import GIB, GUEST, HOST, METRICS, NULL, dump, pool, protect_pairs, vm

Tables = dict[str, dict[str, dict[str, Any]]]

# fmt: off
AMOUNTS = (
    0, 1, -1, 1 << 20, GIB, 2 * GIB, 4 * GIB, 31 * GIB, 1 << 40, 1 << 49, 1 << 50, 2**50 + 1, 2**63 - 1, -(2**63)
)
TEXTS = (
    "", " ", "0", "-0", "-1", "+1", " 1", "1\n", "0x10", "1e3", "1_000", "\uff11\uff12", "\u0663", "9" * 19, "9" * 400,
    "2147483648", "65535", "65536", "nan", "inf", "-inf", "1e400", "1e-400", "1024", "0.5", ".", "true", "TRUE", "null",
    "None", NULL, HOST, GUEST, "OpaqueRef:gone", "<not in database>", "<invalid reference>", "Running", "halted", "hvm",
    "unspecified", "\x1b[31mred", "\x9b31m", "a\nb", "a\r\nb", "\u202eRTL", "\u5bbd\u5b57", "\ufeff", "\x7f", "%", "%%",
    "%x", "()", "(", ")", "(('a' 'b'))", "(('a' 'b)", "('a')", "('struct' ('memory_static_max' '9999999999999999999'))",
    "<value><struct></struct></value>", "<value><i4>5</i4></value>", "<value>" * 70, "(" * 100, "\\", "\\'", '"', "&",
    "]]>", "26.3", "26.3.0", "1.249.3", "1.2.3.4", "999999999999.1", "26.x", "xcp-ng-8.3", "restart", "best-effort",
    "a" * 1000, "=1+1", "@SUM(1)", "$(id)", "`id`", "';id;'", "a\nid\n", "a\u2028id", "-rf", "#",
)
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**50, 2**63, -(2**63) - 1, 10**30, 1.5, -0.0, float("nan"), float("inf"),
    [], {}, [[]], {"a": 1}, ["a"], [1], [None], {"a": None}, [GUEST], {"cpu_count": 5}, {"cpu_count": "0"},
    {"videoram": 16}, {"videoram": "-1"}, {"vcpu-unrestricted": "TRUE"}, {"xapi": "1.2"}, {"xapi_build": "26.17\n"},
    {"nested-virt": "true"}, {"xenmem:guest": "slow"}, {"restrict_dmc": "true"},
)
PIECES = (
    b"", b"", b"<", b"/>", b"</table>", b'"', b"'", b"%", b"&#0;", b"&amp;", b"&x;", b"<!--", b"]]>", b"<![CDATA[",
    b"-", b"9" * 20, b"{", b"}", b"[", b"]", b",", b"null", b"\n", b"\r\n", b": ", b"\x00", b"\xff", b"\xf0\x9f", b"(",
    b")", b"OpaqueRef:NULL", b"\\", b"\\u0000", b"\\ud800", b"uuid ( RO) : ", b"1e999", b" " * 100,
)
# fmt: on


def value(random: Random) -> Any:
    """Something that a field may hold although it should not."""
    drawn = random.random()
    if drawn < 0.6:
        return random.choice(TEXTS)
    if drawn < 0.8:
        return random.choice(VALUES)
    if drawn < 0.9:
        return str(random.choice(AMOUNTS))
    return "".join(chr(random.randrange(random.choice((128, 0x300, 0xD800)))) for _ in range(random.randrange(8)))


def odd(random: Random) -> Tables:
    """A pool of one or two hosts and a few VMs whose values are unusual, but may be."""
    tables: Tables = pool()
    tables["VM_metrics"] = {}
    tables["VM_guest_metrics"] = {}
    hosts = [HOST]
    if random.random() < 0.6:
        hosts.append("OpaqueRef:second")
        second = {"uuid": "second", "name_label": "xen02", "metrics": "OpaqueRef:second-m", "control_domain": NULL}
        tables["host"][hosts[1]] = tables["host"][HOST] | second
        tables["host_metrics"]["OpaqueRef:second-m"] = dict(tables["host_metrics"][METRICS])
    del tables["VM"][GUEST]
    for number in range(random.choice((0, 1, 1, 2, 4))):
        ref, resident_on = f"OpaqueRef:v{number}", random.choice((*hosts, NULL))
        states = ("Halted", "Suspended") if resident_on == NULL else ("Running", "Running", "Paused")
        fields: dict[str, Any] = {
            "name_label": f"v{number}",
            "power_state": random.choice(states),
            "resident_on": resident_on,
            "domain_type": random.choice(("hvm", "hvm", "pv", "pvh", "pv_in_pvh", "unspecified")),
            "metrics": f"{ref}-m",
        }
        for name, chance, values in _VM_FIELDS:
            if random.random() < chance:
                fields[name] = random.choice(values)
        if random.random() < 0.15:
            for name in ("static_max", "dynamic_max", "dynamic_min", "static_min"):
                fields[f"memory_{name}"] = str(random.choice(AMOUNTS[3:11]))
        tables["VM"][ref] = vm(f"v{number}", **fields)
        tables["VM_metrics"][f"{ref}-m"] = {
            "uuid": f"m{number}",
            "memory_actual": str(random.choice((0, GIB, 4 * GIB))),
        }
    for name, chance, changes in _ROWS:
        for record in tables[name].values():
            if random.random() < chance:
                record.update(random.choice(changes))
    if random.random() < 0.1:
        del tables[random.choice(("pool", "host_metrics", "VM_metrics", "VM_group", "host"))]
    return tables


_VM_FIELDS: tuple[tuple[str, float, tuple[Any, ...]], ...] = (
    ("name_label", 0.2, TEXTS[-10:]),
    ("memory_overhead", 0.1, ("0", "1", str(1 << 50), str(37 << 20))),
    ("VCPUs_max", 0.1, ("0", "1", "64", "65535")),
    ("HVM_shadow_multiplier", 0.1, (0, 0.5, 1024, 1e-300, 3.3)),
    ("ha_restart_priority", 0.2, ("restart", "best-effort", "$(id)", "a\nb")),
    ("ha_always_run", 0.2, (True,)),
    ("order", 0.1, ("0", "-1", str(2**63 - 1))),
    ("start_delay", 0.1, ("-1", "10", str(2**63 - 1))),
    ("scheduled_to_be_resident_on", 0.1, (HOST, "OpaqueRef:second", NULL)),
    ("affinity", 0.1, (HOST, "OpaqueRef:second")),
    ("groups", 0.2, (["OpaqueRef:00000000-0000-4000-8000-000000000005"],)),
    ("other_config", 0.1, VALUES[-3:-1]),
    ("platform", 0.1, VALUES[-8:-2]),
    ("current_operations", 0.1, ({"OpaqueRef:t": "migrate_send"}, {"OpaqueRef:t": "start"})),
    ("is_a_template", 0.05, (True,)),
    ("is_control_domain", 0.05, (True,)),
    ("last_booted_record", 0.05, ("('struct' ('VCPUs_max' '4') ('memory_static_max' '1073741824'))",)),
)
_ROWS: tuple[tuple[str, float, tuple[dict[str, Any], ...]], ...] = (
    ("host", 0.1, ({"enabled": False},)),
    ("host", 0.1, ({"memory_overhead": "0"}, {"memory_overhead": str(1 << 50)}, {"boot_free_mem": str(62 * GIB)})),
    ("host", 0.1, ({"cpu_info": {}}, {"cpu_info": {"cpu_count": "0"}}, {"software_version": {"xapi": "1.9"}})),
    ("host", 0.1, ({"name_label": "$(id)"}, {"name_label": "a\nb"}, {"uuid": "x y"}, {"uuid": "-a"})),
    (
        "host_metrics",
        0.15,
        ({"memory_total": "-1"}, {"memory_total": "0"}, {"memory_total": str(1 << 50)}, {"live": False}),
    ),
    (
        "pool",
        0.2,
        ({"ha_enabled": True, "ha_host_failures_to_tolerate": "1"}, {"restrictions": {"restrict_dmc": "true"}}),
    ),
)


def spoil(random: Random, tables: Tables) -> None:
    """Put into some fields what they cannot hold, take some away, and let rows, references and classes be wrong."""
    for _ in range(random.choice((0, 1, 1, 1, 2, 3, 6))):
        name = random.choice(list(tables) or [""])
        rows: Any = tables.get(name)
        drawn = random.random()
        if drawn < 0.03:
            tables[random.choice((name, "SR", "Status", ""))] = random.choice((rows, value(random)))
        elif not isinstance(rows, dict) or not rows:
            continue
        elif drawn < 0.06:
            rows[random.choice(("", "OpaqueRef:x", HOST, "x" * 300))] = random.choice((*rows.values(), value(random)))
        else:
            record = rows[random.choice(list(rows))]
            if not isinstance(record, dict) or not record:
                continue
            field = random.choice(list(record))
            if drawn < 0.2:
                del record[field]
            elif drawn < 0.3:
                record[random.choice(list(record))] = record[field]
            else:
                record[field] = value(random)


def file(random: Random, tables: Tables) -> bytes:
    """A file of a pool, in some format, maybe damaged."""
    drawn = random.random()
    if drawn < 0.4:
        text = records(random, tables)
    elif drawn < 0.75:
        text = statedb(random, tables)
    elif drawn < 0.9:
        text = xe(random, tables)
    else:
        text = xmlrpc(random, tables)
    if random.random() < 0.2:
        text = damaged(random, text)
    if random.random() < 0.03:
        text = damaged(random, gzip.compress(text, 1)) if random.random() < 0.3 else gzip.compress(text, 1)
    return text


def damaged(random: Random, text: bytes) -> bytes:
    """The same with some pieces of it gone, or replaced."""
    for _ in range(random.choice((1, 1, 2, 3))):
        start = random.randrange(len(text) + 1)
        end = min(len(text), start + random.choice((0, 1, 5, 20, 1 << 30 if random.random() < 0.1 else 3)))
        text = text[:start] + random.choice(PIECES) + text[end:]
    return text


def records(random: Random, tables: Tables) -> bytes:
    """JSON: of all classes, of one, or as an answer of the API."""
    text: Any = tables
    drawn = random.random()
    if drawn < 0.05:
        text = {"jsonrpc": "2.0", "result": tables.get("VM"), "id": 1}
    elif drawn < 0.1:
        text = list((tables.get("VM") or {}).values()) if isinstance(tables.get("VM"), dict) else tables
    elif drawn < 0.12:
        text = [tables, tables]
    return json.dumps(text, indent=random.choice((None, None, 1)), ensure_ascii=random.random() < 0.5).encode(
        "utf-8", "surrogatepass"
    )


def statedb(random: Random, tables: Tables) -> bytes:
    """A dump of the database; classes that are no rows are left out."""
    proper = {
        str(name): {str(ref): record for ref, record in rows.items() if isinstance(record, dict)}
        for name, rows in tables.items()
        if isinstance(rows, dict)
    }
    schema = random.choice((909, 909, 909, 793, 133, 120, 93, 72, 40, -1))
    return dump(proper, schema=schema, **({"protected": protect_pairs} if schema == 72 else {}))


def xe(random: Random, tables: Tables) -> bytes:
    """Lists as `xe ... params=all` prints them, with or without alignment."""
    lines: list[str] = []
    for name in ("pool", "host", "VM"):
        rows = tables.get(name)
        for ref, record in rows.items() if isinstance(rows, dict) else ():
            if not isinstance(record, dict):
                continue
            uuid = (
                f"00000000-0000-4000-8000-{random.randrange(1 << 48) if random.random() < 0.1 else hash_of(ref):012x}"
            )
            lines.append(f"uuid ( RO)           : {uuid}")
            total = {"memory_total": 64 * GIB, "host_metrics_live": True} if name == "host" else {}
            for field, entry in {**record, **total}.items():
                if field == "uuid":
                    continue
                label = field.replace("_", "-")
                if random.random() < 0.97:
                    lines.append(f"{label:>{random.choice((20, 0))}} ( RW): {_xe_text(entry)}")
            lines += ["", ""]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def hash_of(ref: str) -> int:
    """A number of a reference, the same in every process."""
    return sum(ord(letter) << number % 40 for number, letter in enumerate(ref)) % (1 << 48)


def _xe_text(entry: Any) -> str:
    match entry:
        case bool():
            return str(entry).lower()
        case dict():
            return "; ".join(f"{key}: {item}" for key, item in entry.items())
        case list():
            return "; ".join(map(str, entry))
        case str() if entry.startswith("OpaqueRef:") and entry != NULL:
            return f"00000000-0000-4000-8000-{hash_of(entry):012x}"
        case str() if entry == NULL:
            return "<not in database>"
        case _:
            return str(entry)


def xmlrpc(random: Random, tables: Tables) -> bytes:
    """An answer of VM.get_all_records, with or without envelope."""
    rows = tables.get("VM")
    inner = _xml(rows if isinstance(rows, dict) else {})
    if random.random() < 0.8:
        member = "<member><name>{}</name>{}</member>"
        status, value = member.format("Status", "<value>Success</value>"), member.format("Value", inner)
        inner = f"<value><struct>{status}{value}</struct></value>"
    head = random.choice(("", '<?xml version="1.0"?>'))
    return f"{head}<methodResponse><params><param>{inner}</param></params></methodResponse>".encode(
        "utf-8", "surrogatepass"
    )


def _xml(entry: Any) -> str:
    match entry:
        case bool():
            return f"<value><boolean>{entry:d}</boolean></value>"
        case float():
            return f"<value><double>{entry}</double></value>"
        case dict():
            members = (f"<member><name>{escape(str(key))}</name>{_xml(item)}</member>" for key, item in entry.items())
            return f"<value><struct>{''.join(members)}</struct></value>"
        case list():
            return f"<value><array><data>{''.join(map(_xml, entry))}</data></array></value>"
        case None:
            return "<value><nil/></value>"
        case _:
            return f"<value>{escape(str(entry))}</value>"
