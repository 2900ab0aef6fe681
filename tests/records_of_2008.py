"""Records as a server of 2008 answered them, made up: the fields of XenServer 4.1, with what is odd in real ones.

No overhead, target, domain type or reservation; no hosts, though VMs are resident; a control domain whose limits are
out of order and no whole MiB; last_booted_record as XML-RPC text; a uuid and a field name that an editor changed.
"""

import json
from pathlib import Path
from typing import Any

import captures

MIB = 1 << 20
NULL = "OpaqueRef:NULL"
HOST = "OpaqueRef:0a000000-0000-4000-8000-000000000001"
CAPTURED = captures.FOLDER / "real" / "xenserver-5.0.records.json"

Records = dict[str, dict[str, dict[str, Any]]]


def vm(number: int, name: str, static_min: int, **fields: Any) -> dict[str, Any]:
    """A halted paravirtual VM of 256 MiB with one vCPU."""
    amounts = ("memory_static_max", "memory_dynamic_max", "memory_dynamic_min")
    return {
        "uuid": f"0b000000-0000-4000-8000-{number:012}",
        "name_label": name,
        "name_description": "",
        "power_state": "Halted",
        "is_a_template": False,
        "is_control_domain": False,
        "user_version": "1",
        "affinity": NULL,
        "resident_on": NULL,
        "domid": "-1",
        "domarch": "",
        **dict.fromkeys(amounts, str(256 * MIB)),
        "memory_static_min": str(static_min),
        "VCPUs_max": "1",
        "VCPUs_at_startup": "1",
        "VCPUs_params": {},
        "HVM_boot_policy": "",
        "HVM_boot_params": {},
        "HVM_shadow_multiplier": 1.0,
        "PV_bootloader": "pygrub",
        "PV_args": "graphical utf8",
        "PCI_bus": "",
        "actions_after_shutdown": "destroy",
        "actions_after_reboot": "restart",
        "actions_after_crash": "destroy",
        "platform": {"acpi": "true", "apic": "true", "nx": "false", "pae": "true"},
        "recommendations": "",
        "last_boot_CPU_flags": {},
        "last_booted_record": "",
        "allowed_operations": ["clone", "start", "start_on", "export", "destroy", "make_into_template"],
        "current_operations": {},
        "metrics": f"OpaqueRef:0c000000-0000-4000-8000-{number:012}",
        "guest_metrics": NULL,
        "suspend_VDI": NULL,
        "VBDs": [],
        "VIFs": [],
        "VTPMs": [],
        "consoles": [],
        "crash_dumps": [],
        "other_config": {"mac_seed": f"0d000000-0000-4000-8000-{number:012}"},
        "xenstore_data": {},
        **fields,
    }


def booted(record: dict[str, Any]) -> dict[str, Any]:
    """The record of a VM that has been started, beside the record it was started with."""
    members = []
    for field, value in record.items():
        if isinstance(value, str):
            members.append(f"<member><name>{field}</name><value>{value}</value></member>")
        elif isinstance(value, bool):
            members.append(f"<member><name>{field}</name><value><boolean>{value:d}</boolean></value></member>")
        elif isinstance(value, float):
            members.append(f"<member><name>{field}</name><value><double>{value:g}</double></value></member>")
        elif value == {}:
            members.append(f"<member><name>{field}</name><value><struct/></value></member>")
    return record | {"last_booted_record": f"<value><struct>{''.join(members)}</struct></value>"}


def records() -> Records:
    control_domain = vm(2, "Control domain on host: localhost.localdomain", 790_102_016) | {
        "is_control_domain": True,
        "power_state": "Running",
        "resident_on": HOST,
        "affinity": HOST,
        "domid": "0",
        "memory_static_max": "790102016",
        "memory_dynamic_max": "219152384",
        "memory_dynamic_min": "219152384",
        "VCPUs_max": "4",
        "VCPUs_at_startup": "4",
        "platform": {},
        "guest_metrics": "OpaqueRef:GuestMetricsOfNobody",
    }
    control_domain["suspend_vdi"] = control_domain.pop("suspend_VDI")
    limits = '<restrictions><restriction field="memory-static-max" max="34359738368" /></restrictions>'
    vms = [
        booted(vm(1, "web", 0, uuid="VmUuid1", guest_metrics="OpaqueRef:GuestMetricsOfNobody")),
        control_domain,
        booted(vm(3, "mail", 0)),
        booted(vm(4, "wiki", 0)),
        booted(vm(5, "tickets", 0, power_state="Suspended", HVM_boot_policy="BIOS order")),
        booted(vm(6, "builds", 0, power_state="Running", resident_on=HOST, domid="12")),
        *(vm(number, f"Linux {number}", 16 * MIB, is_a_template=True, recommendations=limits) for number in (7, 8, 9)),
    ]
    pool = {"uuid": "0e000000-0000-4000-8000-000000000001", "name_label": "Pool1", "master": HOST, "other_config": {}}
    return {
        "VM": {f"OpaqueRef:{record['metrics'][len('OpaqueRef:') :].replace('0c', '0f', 1)}": record for record in vms},
        "pool": {"OpaqueRef:poolRef1": pool},
        "SR": {"OpaqueRef:sr": {"uuid": "sr", "name_label": "Local storage", "shared": False, "PBDs": []}},
        "PIF": {"OpaqueRef:pif": {"uuid": "pif", "device": "eth0", "host": HOST, "MTU": "1500", "management": True}},
    }


def paths(folder: Path) -> dict[str, Path]:
    """The files to try: one written to `folder`, and the captured one where it is."""
    made = folder / "records-of-2008.json"
    made.write_text(json.dumps(records()))
    return {"made": made} | ({"captured": CAPTURED} if CAPTURED.exists() else {})
