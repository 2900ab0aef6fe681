"""The naive model: xapi's memory arithmetic in plain Python integers, floats and loops, one VM at a time.

It is what xenmem is tested against, so it imports nothing of xenmem, nor numpy, and says every constant again. Amounts
are bytes unless a name ends in _mib or _pages; a domain type, a policy and a model are their names. The second half
reads the three inventory formats, whole and slowly, into one shape and answers for all of it what a report shows.
Source: xapi-project/xen-api at e2ee48d688: ocaml/xapi-idl/memory/memory.ml, ocaml/xapi/memory_check.ml, xapi_vm.ml,
vm_memory_constraints.ml; for the formats ocaml/database and ocaml/xapi-cli-server.
"""

import gzip
import json
import re
import xml.etree.ElementTree
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

PAGE = 4096
MIB = 1024 * 1024
PAGES_PER_MIB = MIB // PAGE

DOMAIN_TYPES = ("hvm", "pv", "pv_in_pvh", "pvh")
POLICIES = ("static_max", "dynamic_max", "dynamic_min")

# ----------------------------------------------------------------------------------------------------- one VM


class Model(NamedTuple):
    """The constants of one xapi version; tuples are in the order of DOMAIN_TYPES."""

    vcpu_shadow_pages: int = 256
    p2m_pages_per_mib: int = 1
    resident_pages_per_mib: int = 1
    min_shadow_mib: int = 1
    xen_pages_per_vcpu: int = 0
    extra_internal_mib: tuple[int, ...] = (1, 0, 1, 1)
    extra_external_mib: tuple[int, ...] = (1, 1, 1, 1)
    shim_base_mib: tuple[int, ...] = (0, 0, 23, 0)
    shim_divisor: tuple[int, ...] = (0, 0, 90, 0)
    required_at_unit_multiplier: tuple[int, ...] = (0, 1, 0, 0)
    has_shadow: tuple[int, ...] = (1, 1, 1, 1)
    host_reserve_mib: int = 8 + 1


MODELS = {
    "26.3": Model(xen_pages_per_vcpu=38, host_reserve_mib=8 + 64),
    "pre-26.3": Model(),
    "pre-8.1": Model(shim_base_mib=(0, 0, 20, 0), shim_divisor=(0, 0, 110, 0)),
    "pre-6.0": Model(has_shadow=(1, 0, 1, 1)),
}


def model_of(model: str | Model) -> Model:
    return MODELS[model] if isinstance(model, str) else model


def model_name_for(xapi_version: str) -> str:
    """The model of a xapi version such as 26.17.0-29: what comes before 26.3 lacks the pages per vCPU.

    PV in PVH came with 1.78, and with a smaller shim until 8.1, which has xapi 1.214.
    """
    numbers = [int(digits) for digits in re.findall(r"\d+", xapi_version)[:2]]
    major, minor = [*numbers, 0][:2]
    if major > 26 or (major == 26 and minor >= 3):
        return "26.3"
    return "pre-8.1" if major == 1 and 78 <= minor < 214 else "pre-26.3"


def round_up(amount: int, unit: int) -> int:
    """How many units hold the amount."""
    return -(-amount // unit)


def mib_used(amount: int) -> int:
    return round_up(amount, MIB)


def shadow_mib(model: Model, domain_type: str, static_max_mib: int, vcpus_max: int, shadow_multiplier: float) -> int:
    if not model.has_shadow[DOMAIN_TYPES.index(domain_type)]:
        return 0
    vcpu_pages = model.vcpu_shadow_pages * vcpus_max
    p2m_pages = model.p2m_pages_per_mib * static_max_mib
    resident_pages = model.resident_pages_per_mib * static_max_mib
    unscaled_mib = round_up(vcpu_pages + p2m_pages + resident_pages, PAGES_PER_MIB)
    return max(model.min_shadow_mib, int(float(unscaled_mib) * float(shadow_multiplier)))


def shim_mib(model: Model, domain_type: str, amount_mib: int) -> int:
    which = DOMAIN_TYPES.index(domain_type)
    divisor = model.shim_divisor[which]
    growth = amount_mib // divisor if divisor > 0 else 0
    return model.shim_base_mib[which] + growth


def overhead_mib(model: Model, domain_type: str, static_max_mib: int, vcpus_max: int, shadow_multiplier: float) -> int:
    which = DOMAIN_TYPES.index(domain_type)
    extra_mib = model.extra_internal_mib[which] + model.extra_external_mib[which]
    xen_vcpu_mib = round_up(model.xen_pages_per_vcpu * vcpus_max, PAGES_PER_MIB)
    shadow = shadow_mib(model, domain_type, static_max_mib, vcpus_max, shadow_multiplier)
    return extra_mib + shadow + xen_vcpu_mib + shim_mib(model, domain_type, static_max_mib)


def overhead(
    domain_type: str, static_max: int, vcpus_max: int, shadow_multiplier: float, model: str | Model = "26.3"
) -> int:
    """VM.compute_memory_overhead, and the field VM.memory_overhead at the moment it is written."""
    return overhead_mib(model_of(model), domain_type, mib_used(static_max), vcpus_max, shadow_multiplier) * MIB


def required_memory(
    domain_type: str,
    static_max: int,
    target: int,
    vcpus_max: int,
    shadow_multiplier: float,
    model: str | Model = "26.3",
) -> tuple[int, int]:
    """(normal, shadow) bytes needed to start, resume or receive a VM that is to be given ``target``."""
    constants = model_of(model)
    if constants.required_at_unit_multiplier[DOMAIN_TYPES.index(domain_type)]:
        shadow_multiplier = 1.0
    static_max_mib = mib_used(static_max)
    target_mib = round_up(round_up(target, 1024), 1024)
    footprint_mib = target_mib + overhead_mib(constants, domain_type, static_max_mib, vcpus_max, shadow_multiplier)
    shadow = shadow_mib(constants, domain_type, static_max_mib, vcpus_max, shadow_multiplier)
    return (footprint_mib - shadow) * MIB, shadow * MIB


def bisect(fits: Callable[[int], bool], lower: int, upper: int) -> int:
    """The largest value in [lower, upper] that fits, as helpers.ml searches it: ``lower`` itself is taken on trust."""
    if fits(upper):
        return upper
    while upper - lower > 1:
        middle = lower + (upper - lower) // 2
        if fits(middle):
            lower = middle
        else:
            upper = middle
    return lower


def maximise_memory(
    domain_type: str,
    vcpus_max: int,
    shadow_multiplier: float,
    total: int,
    approximate: bool = False,
    model: str | Model = "26.3",
) -> int:
    """VM.maximise_memory: the largest static_max, in whole MiB, with which the VM could start in ``total``."""
    vcpus = 64 if approximate else vcpus_max

    def fits(static_max: int) -> bool:
        return sum(required_memory(domain_type, static_max, static_max, vcpus, shadow_multiplier, model)) <= total

    return bisect(fits, 0, total) // MIB * MIB


class Build(NamedTuple):
    """The quantities of a domain build: bytes, but for the pages that the toolstack claims."""

    build_max: int
    build_start: int
    xen_max: int
    claim_pages: int


def build_memory(domain_type: str, static_max: int, target: int, video: int, model: str | Model = "26.3") -> Build:
    constants = model_of(model)
    static_max_mib, target_mib, video_mib = mib_used(static_max), mib_used(target), mib_used(video)
    build_start_mib = target_mib - video_mib + shim_mib(constants, domain_type, target_mib)
    shim_of_max_mib = shim_mib(constants, domain_type, static_max_mib)
    xen_max_mib = static_max_mib + constants.extra_internal_mib[DOMAIN_TYPES.index(domain_type)] + shim_of_max_mib
    return Build(
        build_max=(static_max_mib - video_mib + shim_of_max_mib) * MIB,
        build_start=build_start_mib * MIB,
        xen_max=xen_max_mib * MIB,
        claim_pages=build_start_mib * PAGES_PER_MIB,
    )


# -------------------------------------------------------------------------------------------------- host memory


def used_memory(amount: int, stored_overhead: int) -> int:
    """What a VM takes of its host: unrounded, with the overhead that is stored in its record."""
    return amount + stored_overhead


def free_memory(
    available: Sequence[int],
    memory: Sequence[int],
    overhead: Sequence[int],
    resident_on: Sequence[int],
    scheduled_on: Sequence[int],
) -> list[int]:
    """Free memory of each host; ``available`` is total less host overhead, hosts are row numbers, -1 is none."""
    answer = []
    for host, there in enumerate(available):
        free = there
        for vm in range(len(memory)):
            if resident_on[vm] == host:
                free -= used_memory(memory[vm], overhead[vm])
            if scheduled_on[vm] == host:
                free -= used_memory(memory[vm], overhead[vm])
        answer.append(max(0, free))
    return answer


# ----------------------------------------------------------------------------------------- records of a pool
#
# An inventory is {class: {reference: record}}, as XenAPI gives it, with the fields of FIELDS alone and each value as
# its Python type: ints are ints, sets are sorted lists, no reference is None. A field that the source lacks is absent.

Record = dict[str, Any]
Inventory = dict[str, dict[str, Record]]

FIELDS: dict[str, dict[str, str]] = {
    "VM": {
        **dict.fromkeys(("uuid", "name_label", "power_state", "domain_type", "HVM_boot_policy"), "text"),
        "ha_restart_priority": "text",
        **dict.fromkeys(("is_a_template", "is_a_snapshot", "is_control_domain", "ha_always_run"), "bool"),
        "requires_reboot": "bool",
        **dict.fromkeys(("resident_on", "scheduled_to_be_resident_on", "affinity"), "reference"),
        **dict.fromkeys(("memory_static_max", "memory_dynamic_max", "memory_dynamic_min", "memory_static_min"), "int"),
        **dict.fromkeys(("memory_target", "memory_overhead", "VCPUs_max", "VCPUs_at_startup", "domid"), "int"),
        **dict.fromkeys(("order", "start_delay"), "int"),
        "HVM_shadow_multiplier": "float",
        "platform": "map",
        "groups": "references",
    },
    "host": {
        **dict.fromkeys(("uuid", "name_label", "hostname"), "text"),
        "enabled": "bool",
        **dict.fromkeys(("memory_overhead", "boot_free_mem"), "int"),
        **dict.fromkeys(("metrics", "control_domain"), "reference"),
        **dict.fromkeys(("software_version", "cpu_info"), "map"),
    },
    "host_metrics": {"memory_total": "int", "memory_free": "int", "live": "bool"},
    "pool": {"uuid": "text", "name_label": "text", "master": "reference"},
    "VM_group": {"uuid": "text"},
}


def typed(kind: str, value: Any) -> Any:
    """A value of a JSON record, whatever the client that wrote it made of ints, floats and missing references."""
    match kind:
        case "int":
            return int(value)
        case "float":
            return float(value)
        case "reference":
            return None if value in ("", None, "OpaqueRef:NULL") else value
        case "references":
            return sorted(value)
        case _:
            return value


def read_records(text: str) -> Inventory:
    """{"VM": {reference: record}, ...} as JSON."""
    document = json.loads(text)
    return {
        name: {
            reference: {field: typed(kind, record[field]) for field, kind in fields.items() if field in record}
            for reference, record in document.get(name, {}).items()
        }
        for name, fields in FIELDS.items()
    }


ESCAPES = {"%.": " ", "%_": "  ", "%t": "\t", "%n": "\n", "%r": "\r", "%%": "%"}


def unprotect(text: str) -> str:
    """Undo the escapes of blanks in the database, of both generations, in one pass from the left."""
    return re.sub("%[._tnr%]", lambda match: ESCAPES[match[0]], text)


def s_expression(text: str) -> Any:
    """``('a' ('b' 'c'))`` as nested lists of strings."""
    nested: list[list[Any]] = [[]]
    place = 0
    while place < len(text):
        character = text[place]
        place += 1
        if character == "(":
            nested.append([])
        elif character == ")":
            nested[-2].append(nested.pop())
        elif character in "'\"":
            atom = ""
            while text[place] != character:
                place += text[place] == "\\"
                atom += text[place]
                place += 1
            place += 1
            nested[-1].append(atom)
        elif not character.isspace():
            raise ValueError(f"{character!r} at {place - 1} of {text!r}")
    return nested[0][0]


def from_database(kind: str, text: str) -> Any:
    match kind:
        case "bool":
            return {"true": True, "false": False}[text]
        case "references":
            return sorted(s_expression(text))
        case "map":
            return dict(s_expression(text))
        case _:
            return typed(kind, text)


def read_statedb(text: str | bytes) -> Inventory:
    """The pool database: every value is an attribute of a row, the column of name/label is name__label."""
    inventory: Inventory = {name: {} for name in FIELDS}
    for table in xml.etree.ElementTree.fromstring(text).iter("table"):
        fields = FIELDS.get(table.attrib["name"], {})
        for row in table:
            columns = {name.replace("__", "_"): unprotect(value) for name, value in row.attrib.items()}
            record = {field: from_database(kind, columns[field]) for field, kind in fields.items() if field in columns}
            if fields:
                inventory[table.attrib["name"]][row.attrib["ref"]] = record
    return inventory


ABSENT = "<not in database>"
XE_NAMES = {"dom-id": "domid", "host-metrics-live": "live", "control-domain-uuid": "control_domain"}
# what xe prints under the name of a field of VM or host but does not take from it, or only on request
XE_IS_ANOTHER_THING = ("memory-target",)


def from_xe(field: str, kind: str, text: str) -> Any:
    if text == ABSENT:
        return None
    match field, kind:
        case "power_state", _:
            return text.capitalize()
        case "domain_type", _:
            return text.replace("-", "_")
        case _, "bool":
            return {"true": True, "false": False}[text]
        case _, "references":
            return sorted(item for item in text.split("; ") if item)
        case _, "map":
            return dict(item.partition(": ")[::2] for item in text.split("; ") if item)
        case _:
            return typed(kind, text)


def xe_records(text: str) -> Iterable[dict[str, str]]:
    """{parameter: value as printed} of each record. A line without a label that ends where the first does continues."""
    first = re.compile(r"(?:\A|(?<=\n\n\n))uuid \( RO\) +(?=: [0-9a-f-]{36}\n)")
    starts = [(match.start(), match.end() - match.start()) for match in first.finditer(text)]
    for (start, width), (end, _) in zip(starts, [*starts[1:], (len(text), 0)], strict=True):
        label = re.compile(r" *([A-Za-z][A-Za-z_-]*) \([ SM]R[OW]\)(?: \[DEPRECATED\])? *")
        values: dict[str, str] = {}
        for line in text[start:end].removesuffix("\n\n\n").split("\n"):
            match = label.fullmatch(line[:width])
            right_aligned = line[width - 1 : width] != " " or line.startswith("uuid ")
            if match and right_aligned and line[width : width + 2] == ": ":
                parameter = match[1]
                values[parameter] = line[width + 2 :]
            else:
                values[parameter] += "\n" + line
        yield values


def read_xe(text: str) -> Inventory:
    """What xe lists print with params=all. Objects have no references there: their uuids take the place."""
    inventory: Inventory = {name: {} for name in FIELDS}
    for values in xe_records(text):
        uuid = values["uuid"]
        if "power-state" in values:
            classes = ["VM"]
        elif "memory-total" in values:
            classes = ["host", "host_metrics"]
        else:
            classes = ["pool"]
        for name in classes:
            record = {}
            for parameter, value in values.items():
                field = XE_NAMES.get(parameter, parameter.replace("-", "_"))
                kind = FIELDS[name].get(field)
                if kind is not None and parameter not in XE_IS_ANOTHER_THING:
                    record[field] = from_xe(field, kind, value)
            inventory[name][uuid] = record
        if "host" in classes:
            inventory["host"][uuid]["metrics"] = uuid
    return inventory


def read(path: Path) -> Inventory:
    """Any of the three formats, also as gzip."""
    content = path.read_bytes()
    if content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    text = content.decode()
    if text.startswith("<"):
        return read_statedb(text)
    return read_records(text) if text.startswith("{") else read_xe(text)


def by_uuid(inventory: Inventory) -> Inventory:
    """The same with uuids in place of references, so that formats can be compared; dangling references become None."""
    uuids = {
        ref: record["uuid"] for records in inventory.values() for ref, record in records.items() if "uuid" in record
    }
    for host, record in inventory["host"].items():
        uuids[record["metrics"]] = uuids[host]
    answer: Inventory = {}
    for name, records in inventory.items():
        answer[name] = {}
        for ref, record in records.items():
            translated = dict(record)
            for field, kind in FIELDS[name].items():
                if kind == "reference" and field in record:
                    translated[field] = uuids.get(record[field])
                if kind == "references" and field in record:
                    translated[field] = sorted(uuids.get(item, item) for item in record[field])
            answer[name][uuids[ref]] = translated
    return answer


# ----------------------------------------------------------------------------------------- answers for a pool


def xapi_version(host: Record) -> str | None:
    """The version of xapi on a host, of its build where it tells that."""
    software = host.get("software_version", {})
    return software.get("xapi_build", software.get("xapi"))


def pool_model(inventory: Inventory) -> str:
    """The coordinator's version computes. Without hosts, records that lack domain types are from before 7.5."""
    for pool in inventory["pool"].values():
        version = xapi_version(inventory["host"].get(pool["master"] or "", {}))
        if version is not None:
            return model_name_for(version)
    return "26.3" if all("domain_type" in vm for vm in inventory["VM"].values()) else "pre-26.3"


def is_domain_zero(inventory: Inventory, ref: str) -> bool:
    vm = inventory["VM"][ref]
    if not vm["is_control_domain"]:
        return False
    if not inventory["host"]:
        others = [other for other in inventory["VM"].values() if other["is_control_domain"] and other.get("domid") == 0]
        return vm.get("domid") == 0 or not others
    host = inventory["host"].get(vm["resident_on"] or "")
    return host is not None and host.get("control_domain") == ref


def domain_type(inventory: Inventory, ref: str) -> str:
    """The type that the model is applied to: the field, or what it would be resolved to."""
    vm = inventory["VM"][ref]
    if vm.get("domain_type") in DOMAIN_TYPES:
        answer: str = vm["domain_type"]
        return answer
    up_to_7_0 = "requires_reboot" not in vm
    if is_domain_zero(inventory, ref) if "domain_type" in vm else up_to_7_0 and vm["is_control_domain"]:
        return "pv"
    return "hvm" if vm["HVM_boot_policy"] else "pv"


def vm_overhead(inventory: Inventory, ref: str, model: str) -> int:
    """The overhead as a model computes it from the record."""
    vm = inventory["VM"][ref]
    kind = domain_type(inventory, ref)
    return overhead(kind, vm["memory_static_max"], vm["VCPUs_max"], vm["HVM_shadow_multiplier"], model)


def stored_overhead(inventory: Inventory, ref: str) -> int:
    """The overhead in the record; servers before 5.6 have none, theirs is computed."""
    stored: int | None = inventory["VM"][ref].get("memory_overhead")
    return vm_overhead(inventory, ref, pool_model(inventory)) if stored is None else stored


def start_memory(inventory: Inventory, ref: str, policy: str, model: str) -> int:
    """What the VM needs to start, normal and shadow together."""
    vm = inventory["VM"][ref]
    kind = domain_type(inventory, ref)
    target = vm[f"memory_{policy}"]
    multiplier = vm["HVM_shadow_multiplier"]
    return sum(required_memory(kind, vm["memory_static_max"], target, vm["VCPUs_max"], multiplier, model))


def memory_total(inventory: Inventory, host: str) -> int:
    total: int = inventory["host_metrics"][inventory["host"][host]["metrics"]]["memory_total"]
    return total


def host_free_memory(
    inventory: Inventory, host: str, policy: str = "dynamic_min", ignore_scheduled: str | None = None
) -> int:
    """Free memory of a host; with dynamic_min, host.compute_free_memory. One VM may be left out of the scheduled ones.

    A VM that is both resident and scheduled counts twice. Servers before 5.6 keep no host overhead, and API records
    before 8.2 no reservations: neither then counts.
    """
    free = memory_total(inventory, host) - inventory["host"][host].get("memory_overhead", 0)
    for ref, vm in inventory["VM"].items():
        used = used_memory(vm[f"memory_{policy}"], stored_overhead(inventory, ref))
        if vm["resident_on"] == host:
            free -= used
        if vm.get("scheduled_to_be_resident_on") == host and ref != ignore_scheduled:
            free -= used
    return max(0, free)


class Report(NamedTuple):
    """Per host: free memory by policy. Per VM row, templates and snapshots too: everything the model says of it."""

    model: str
    free: dict[str, dict[str, int]]
    domain_type: dict[str, str]
    stored_overhead: dict[str, int]
    overhead: dict[str, int]
    start_memory: dict[str, dict[str, int]]


def report(inventory: Inventory, model: str | None = None) -> Report:
    """The numbers of ``xenmem report`` for one pool, by reference."""
    name = pool_model(inventory) if model is None else model
    vms = inventory["VM"]
    return Report(
        model=name,
        free={
            host: {policy: host_free_memory(inventory, host, policy) for policy in POLICIES}
            for host in inventory["host"]
        },
        domain_type={ref: domain_type(inventory, ref) for ref in vms},
        stored_overhead={ref: stored_overhead(inventory, ref) for ref in vms},
        overhead={ref: vm_overhead(inventory, ref, name) for ref in vms},
        start_memory={ref: {policy: start_memory(inventory, ref, policy, name) for policy in POLICIES} for ref in vms},
    )
