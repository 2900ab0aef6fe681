"""VM.last_booted_record: what a server up to 7.2 computes with for a live VM (docs/reference/inventories.md, 4.4).

Two spellings: an s-expression since 5.6, XML-RPC text before and during rolling upgrades. What does not parse counts
as no record, as in xapi. Amounts are bytes.
"""

from collections.abc import Mapping

from xenmem.datamodel import sexpr
from xenmem.inventory import xmlrpc
from xenmem.inventory.table import BootRecord, integer_or_none, number_or_none
from xenmem.kernel import MAX_BYTES, MAX_SHADOW_MULTIPLIER, MAX_VCPUS


def parse_boot_record(text: str) -> BootRecord | None:
    """What the record says of the VM's memory, None if the text is no record.

    Raises
    ------
    ValueError : a value is outside the range of its field
    """
    text = text.strip()
    if text.startswith("("):
        fields = _from_sexpr(text)
    elif text.startswith("<value>"):
        fields = _from_xmlrpc(text)
    else:
        fields = None
    if fields is None:
        return None
    policy = fields.get("HVM_boot_policy")
    record = BootRecord(
        integer_or_none(fields.get("memory_static_max")),
        integer_or_none(fields.get("VCPUs_max")),
        number_or_none(fields.get("HVM_shadow_multiplier")),
        bool(policy) if isinstance(policy, str) else None,
    )
    for name, value, high in (
        ("memory_static_max", record.static_max, MAX_BYTES),
        ("VCPUs_max", record.vcpus_max, MAX_VCPUS),
        ("HVM_shadow_multiplier", record.shadow_multiplier, MAX_SHADOW_MULTIPLIER),
    ):
        if value is not None and not 0 <= value <= high:
            raise ValueError(f"{name}: {value} is outside 0..{high}")
    return record


def _from_sexpr(text: str) -> Mapping[str, object] | None:
    try:
        expression = sexpr.parse(text)
    except ValueError:
        return None
    if isinstance(expression, str) or expression[:1] != ["struct"]:
        return None
    fields: dict[str, object] = {}
    for member in expression[1:]:
        match member:
            case [str() as name, str() as value] | [str() as name, [str(), str() as value]]:
                fields[name] = value
            case _:
                pass
    return fields


def _from_xmlrpc(text: str) -> Mapping[str, object] | None:
    try:
        value = xmlrpc.parse_value(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
