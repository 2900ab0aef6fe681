"""Raw tables of one pool to columns: references to rows, domain types, models, defaults, and notes of what was assumed.

The same for every format. Amounts are bytes. Rules: docs/reference/inventories.md, 4 and 5.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from dataclasses import field as of_field
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from xenmem import kernel
from xenmem.columns import Bools, Hosts, Networks, Note, Objects, Pools, PowerState, Rows, SRs, Tables, VMGroups, VMs
from xenmem.inventory.error import InventoryError, named, shown
from xenmem.inventory.mobility import CLASSES as MOBILITY_CLASSES
from xenmem.inventory.mobility import Mobility
from xenmem.inventory.schema import TABLES, UNSPECIFIED, TableSchema
from xenmem.inventory.table import BootRecord, Codec, RawTable, gather, integer_or_none
from xenmem.rules import hosts as host_rules
from xenmem.rules import upgrade
from xenmem.rules.guest import ANNOUNCED
from xenmem.rules.mobility.cpu import levelling
from xenmem.text import counted
from xenmem.units import MIB

if TYPE_CHECKING:
    from xenmem.datamodel import ClassSchema

Column = NDArray[Any]
Columns = dict[str, Column]

_DANGLING: Final = -2
_PLACEMENTS: Final = np.array(list(TABLES["VM_group"].columns[-1].members or ()), dtype=object)
_LIMITS: Final = (("memory_dynamic_max", "memory_static_max"), ("memory_dynamic_min", "memory_dynamic_max"))
"""Dynamic limits, and what stands for each that a record lacks."""
_HAVE_THEIR_OWN_NOTE: Final = frozenset(
    {
        "domain_type",
        "has_boot_policy",
        "memory_dynamic_max",
        "memory_dynamic_min",
        "memory_overhead",
        "metrics",
        "scheduled_to_be_resident_on",
    }
)
_NOT_MISSED: Final = _HAVE_THEIR_OWN_NOTE | {
    "VBDs",
    "VGPUs",
    "VIFs",
    "VUSBs",
    "attached_PCIs",
    "PV_drivers_detected",
    "agent_build",
    "boot_free_mem",
    "capabilities",
    "control_domain",
    "cpu_features",
    "cpu_features_hvm",
    "cpu_features_pv",
    "cpu_vendor",
    "cpu_info",
    "cpuid_feature_mask",
    "current_domain_type",
    "current_operations",
    "domid",
    "auto_poweron",
    "groups",
    "guest_metrics",
    "ha_overcommitted",
    "hardware_platform_version",
    "has_pv_drivers",
    "migration_block",
    "cannot_suspend",
    "feature_suspend",
    "hvm",
    "iommu",
    "last_booted_record",
    "migration_network",
    "nested_virt",
    "nomigrate",
    "os_distro",
    "os_major",
    "other_config",
    "platform_nested_hvm",
    "platform_nested_virt",
    "platform_nomigrate",
    "suspend_VDI",
    "tags",
    "vcpu_unrestricted",
    "videoram",
    "virtual_hardware_platform_versions",
}
"""Fields without which nothing has to be assumed: an old server has no such thing."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an inventory comes from.

    Attributes
    ----------
    source : the file's name for messages
    schema_minor : minor schema version of a database dump
    schema : the whole schema version of a database dump, else empty
    lenient : skip bad rows
    notes : what is to be said before all else
    unknown : what the data model does not know, if the target keeps that: by table, reference and column, as it came
    """

    source: str
    schema_minor: int | None = None
    schema: str = ""
    lenient: bool = False
    notes: tuple[Note, ...] = ()
    unknown: dict[str, dict[str, dict[str, Any]]] = of_field(default_factory=dict, compare=False)


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Target(Generic[T]):
    """What an inventory is read into.

    Attributes
    ----------
    schemas : the classes and columns to read
    assemble : makes the result of the filled tables; they are used up
    of_tables : makes the result of tables that were assembled before, as Arrow and Parquet hold them
    known : the data model's classes, if what is beyond them is wanted as well
    """

    schemas: Mapping[str, TableSchema]
    assemble: Callable[[Mapping[str, RawTable], Codec, Origin], T]
    of_tables: Callable[[Tables], T]
    known: "Mapping[str, ClassSchema] | None" = None

    def raw_tables(self, codec: Codec, origin: Origin) -> dict[str, RawTable]:
        """Empty tables for a reader to fill."""
        return {
            name: RawTable(schema, codec, origin.source, lenient=origin.lenient, schema_minor=origin.schema_minor)
            for name, schema in self.schemas.items()
        }


def assemble(tables: Mapping[str, RawTable], codec: Codec, origin: Origin) -> Tables:
    """The tables of one pool.

    Parameters
    ----------
    tables : the filled tables, one for each class of the schema; they are used up
    codec, origin : how and from what they were read

    Raises
    ------
    InventoryError : nothing was read, there are several pools, or a reference that matters dangles
    """
    return _Assembler(tables, codec, origin).assembled()


COLUMNS: Final = Target(TABLES, assemble, lambda tables: tables)
"""What `xenmem.read` reads into."""


class _Assembler:
    def __init__(self, tables: Mapping[str, RawTable], codec: Codec, origin: Origin) -> None:
        self.tables = tables
        self.codec = codec
        self.origin = origin
        self.notes: list[Note] = []
        if not len(tables["VM"]) and not len(tables["host"]) and not any(table.skipped for table in tables.values()):
            raise InventoryError(origin.source, "", "holds neither VMs nor hosts")
        if len(tables["pool"]) > 1:
            raise InventoryError(
                origin.source,
                "",
                f"holds {len(tables['pool'])} pools, and hosts do not name theirs: give one inventory for each",
            )
        self.columns = {
            name: {column.result: table.column(column.result) for column in table.columns}
            for name, table in tables.items()
        }
        for name, table in tables.items():
            self.columns[name]["ref"] = np.fromiter(table.rows, object, len(table))

    def assembled(self) -> Tables:
        for name, table in self.tables.items():
            if name not in MOBILITY_CLASSES:
                self._note_missing(table)
        self._fill_limits()
        hosts, hosts_map = self._hosts()
        vms, vms_map = self._vms(hosts_map, len(hosts["ref"]))
        groups = self._vm_groups()
        pools = self._pools(hosts, hosts_map)
        master = int(pools["master"][0])
        coordinator = hosts["software_version"][master] if master >= 0 else {}
        Mobility(self, vms, hosts, vms_map, hosts_map, levelling(coordinator)).fill()
        self._link_control_domains(hosts, vms_map)
        self._note_what_is_not_there(vms, hosts)
        self._derive_domain_types(vms, hosts)
        unknown = (vms["current_domain_type"] == UNSPECIFIED) | ~_is_live(vms)
        vms["current_domain_type"] = np.where(unknown, vms["domain_type"], vms["current_domain_type"])
        self._account(vms)
        self._fill_overheads(vms, pools)
        hosts["is_coordinator"] = np.arange(len(hosts["ref"])) == pools["master"][0]
        srs, networks = self.columns["SR"], self.columns["network"]
        for columns in (hosts, vms, groups, srs, networks):
            columns["pool"] = np.zeros(len(columns["ref"]), dtype=np.int32)
        skipped = [note for table in self.tables.values() for note in table.notes()]
        return Tables(
            VMs(**_chosen(VMs, vms)),
            Hosts(**_chosen(Hosts, hosts)),
            Pools(**_chosen(Pools, pools)),
            VMGroups(**_chosen(VMGroups, groups)),
            SRs(**_chosen(SRs, srs)),
            Networks(**_chosen(Networks, networks)),
            (*self.origin.notes, *skipped, *self.notes),
        )

    def note(self, kind: str, text: str, count: int, example: str = "") -> None:
        """Say what was assumed."""
        self.notes.append(Note(self.origin.source, kind, text, count, example))

    def _note_missing(self, table: RawTable) -> None:
        by_count: dict[tuple[int, str], list[str]] = defaultdict(list)
        for column, field in zip(table.columns, table.fields, strict=True):
            if field and column.result in table.missing and column.result not in _NOT_MISSED:
                by_count[table.missing[column.result]].append(field)
        for (count, example), names in by_count.items():
            self.note(
                "missing",
                f"{_counted(count, f'{table.schema.name} row', 'has', 'have')} no {', '.join(names)}: default taken",
                count,
                example,
            )

    def resolve(self, table: str, column: str, keep: NDArray[np.int32] | None = None) -> Rows:
        """Row numbers for the codes of a reference column; keep maps rows of the target table as read to final rows."""
        raw = self.tables[table]
        target = next(c.target for c in raw.columns if c.result == column)
        rows = self.tables[target].rows
        translated = np.array([rows.get(ref, _DANGLING) for ref in raw.references(column)] + [-1], dtype=np.int32)
        if keep is not None and len(keep):
            translated = np.where(translated >= 0, keep[np.maximum(translated, 0)], translated)
        resolved: Rows = translated[self.columns[table][column]]
        return resolved

    def _reject_dangling(self, table: str, column: str, resolved: Rows) -> Bools:
        """Which rows have a reference that must not dangle and does: an error, unless reading is lenient."""
        dangling: Bools = resolved == _DANGLING
        raw = self.tables[table]
        for row in np.flatnonzero(dangling).tolist():
            raw.skip(InventoryError(self.origin.source, raw.where(row), self._dangling(table, column, row)))
        return dangling

    def _dangling(self, table: str, column: str, row: int) -> str:
        raw = self.tables[table]
        ref = self.columns[table]["ref"][row]
        value = raw.references(column)[self.columns[table][column][row]]
        return f"{raw.named(ref)}: {column}: {shown(value)} is not in the inventory"

    def _fill_limits(self) -> None:
        """The limits that chosen params of xe leave out: none has a part in the overhead."""
        vms = self.columns["VM"]
        lacking = [name for name, _ in _LIMITS if name in self.tables["VM"].missing]
        for name, above in _LIMITS:
            vms[name] = np.where(vms[name] < 0, vms[above], vms[name])
        vms["VCPUs_at_startup"] = np.where(vms["VCPUs_at_startup"] < 0, vms["VCPUs_max"], vms["VCPUs_at_startup"])
        if lacking:
            count, example = max(self.tables["VM"].missing[name] for name in lacking)
            text = f"{_counted(count, 'VM', 'has', 'have')} no {', '.join(lacking)}: the limit above taken"
            self.note("limits-assumed", f"{text}, so that free memory is a lower bound", count, example)

    def _reject_uncountable(self, vms: Columns) -> Bools:
        """Which VMs would have more overhead than can be counted with, in some model and as some domain type."""
        amounts = {name: vms[name].copy() for name in ("memory_static_max", "VCPUs_max", "HVM_shadow_multiplier")}
        records: Objects = vms.get("last_booted_record", np.zeros(0, object))
        for row in [row for row, record in enumerate(records) if record is not None]:
            for column, value in zip(amounts.values(), records[row], strict=False):
                column[row] = column[row] if value is None else value
        largest = [
            kernel.overhead(kernel.DomainType.PV_IN_PVH, *amounts.values(), model=model) for model in kernel.MODELS
        ]
        bad: Bools = np.max(largest, axis=0, initial=0) > kernel.MAX_BYTES
        raw = self.tables["VM"]
        for row in np.flatnonzero(bad).tolist():
            problem = "memory_static_max and HVM_shadow_multiplier give an overhead of more than 1 PiB"
            raw.skip(InventoryError(self.origin.source, raw.where(row), f"{raw.named(vms['ref'][row])}: {problem}"))
        return bad

    def _note_what_is_not_there(self, vms: Columns, hosts: Columns) -> None:
        """What the file lacks counts as nothing, though it is there."""
        count = len(hosts["ref"])
        if not len(vms["ref"]):
            self.note("no-vms", "no VM records: what runs on the hosts is not counted, control domains included", 0)
            return
        resident_on = vms["resident_on"][vms["is_control_domain"]]
        without = np.bincount(resident_on[resident_on >= 0], minlength=count) == 0
        if without.any():
            number = int(without.sum())
            text = f"{_counted(number, 'host', 'has', 'have')} no control domain in the inventory"
            example = named("host", hosts["ref"][without.argmax()])
            self.note("no-control-domain", f"{text}: what it holds is not counted", number, example)

    def _hosts(self) -> tuple[Columns, NDArray[np.int32]]:
        hosts = self.columns["host"]
        count = len(hosts["ref"])
        metrics_table = self.columns["host_metrics"]
        metrics = self.resolve("host", "metrics")
        if len(self.tables["host_metrics"]):
            keep = ~self._reject_dangling("host", "metrics", metrics)
        else:
            keep = np.ones(count, dtype=np.bool_)
        unknown = metrics < 0
        if (unknown & keep).any():
            number = int((unknown & keep).sum())
            self.note(
                "no-host-metrics",
                f"{_counted(number, 'host', 'has', 'have')} no metrics: memory_total unknown, taken as not live",
                number,
                named("host", hosts["ref"][(unknown & keep).argmax()]),
            )
        for name, neutral in (("memory_total", -1), ("memory_free", -1), ("live", False)):
            hosts[name] = gather(metrics_table[name], metrics, neutral)
        hosts["cpu_count"] = np.array([_in_int32(text) for text in hosts["cpu_count"]], dtype=np.int32)
        for name, told in (("xapi_version", host_rules.xapi_version), ("model", host_rules.model_name)):
            hosts[name] = np.fromiter(map(told, hosts["software_version"]), object, count)
        hosts["tags"] = self._tags(hosts["tags"])
        hosts["control_domain_code"] = hosts["control_domain"]
        kept = {name: column[keep] for name, column in hosts.items()}
        return kept, _renumbered(keep)

    def _vms(self, hosts_map: NDArray[np.int32], hosts: int) -> tuple[Columns, NDArray[np.int32]]:
        vms = self.columns["VM"]
        keep = ~self._reject_uncountable(vms)
        for name in ("resident_on", "scheduled_to_be_resident_on", "affinity"):
            resolved = self.resolve("VM", name, hosts_map)
            dangling = resolved == _DANGLING
            if dangling.any():
                row = int(dangling.argmax())
                number = int(dangling.sum())
                if not len(self.tables["host"]):
                    pass
                elif name == "affinity":
                    self.note(
                        "dangling-affinity",
                        f"{_counted(number, 'VM', 'has', 'have')} an affinity for a host that is not in the inventory",
                        number,
                        self._dangling("VM", name, row),
                    )
                else:
                    keep &= ~self._reject_dangling("VM", name, resolved)
                resolved[dangling] = -1
            vms[f"{name}_row"] = resolved
        if not len(self.tables["host"]):
            self.note("no-hosts", "no host records: nothing is known of where VMs run", 0)
        metrics = self.resolve("VM", "metrics")
        for name, neutral in (
            ("memory_actual", 0),
            ("nested_virt", False),
            ("nomigrate", False),
            ("hvm", False),
            ("current_domain_type", UNSPECIFIED),
        ):
            vms[name] = gather(self.columns["VM_metrics"][name], metrics, neutral)
        vms["is_immobile"] = np.where(
            metrics >= 0,
            vms["nomigrate"] | vms["nested_virt"],
            _are_truthy(vms["platform_nomigrate"]) | _are_truthy(vms["platform_nested_virt"]),
        )
        guest = self.resolve("VM", "guest_metrics")
        vms["has_guest_metrics"] = guest >= 0
        told = self.columns["VM_guest_metrics"]
        vms["has_pv_drivers"] = gather(told["has_pv_drivers"], guest, False)
        detects = "PV_drivers_detected" not in self.tables["VM_guest_metrics"].missing
        detected = told["PV_drivers_detected" if detects else "has_pv_drivers"]
        vms["pv_drivers_detected"] = gather(detected, guest, False)
        for name in ("os_distro", "os_major", "agent_build"):
            vms[name] = gather(told[name], guest, None)
        vms["has_feature_suspend"] = gather(told["feature_suspend"] == ANNOUNCED, guest, False)
        vms["refuses_suspend"] = gather(_are_there(told["cannot_suspend"]), guest, False)
        vms["is_migration_blocked"] = _are_there(vms["migration_block"])
        vms["memory_actual"] = np.maximum(vms["memory_actual"], 0)
        vms["video_ram"] = self._video_ram(vms)
        vms["asks_for_nested_virt"] = _are_truthy(vms["platform_nested_virt"]) | _are_truthy(vms["platform_nested_hvm"])
        vms["vcpu_unrestricted"] = _are_truthy(vms["vcpu_unrestricted"])
        vms["groups"] = self._groups(vms)
        vms["auto_poweron"] = vms["auto_poweron"] == "true"
        vms["tags"] = self._tags(vms["tags"])
        for name in ("resident_on", "scheduled_to_be_resident_on", "affinity"):
            vms[name] = vms.pop(f"{name}_row")
        count, example = self.tables["VM"].missing.get("scheduled_to_be_resident_on", (0, ""))
        if count and len(self.tables["host"]):
            self.note(
                "no-reservations",
                f"no scheduled_to_be_resident_on in {self.codec.format}"
                + ("" if self.codec.format == "xe" else " before 8.2")
                + ": while VMs start or migrate, free memory is an upper bound",
                count,
                example,
            )
        kept = vms if keep.all() else {name: column[keep] for name, column in vms.items()}
        return kept, _renumbered(keep)

    def _video_ram(self, vms: Columns) -> Column:
        megabytes = {text: _in_int32(text) for text in set(vms["videoram"])}
        bad = [text for text, number in megabytes.items() if text is not None and str(number) != text.strip()]
        if bad:
            count = sum(text in bad for text in vms["videoram"])
            self.note(
                "videoram",
                f"{_counted(count, 'VM', 'has', 'have')} a platform:videoram that is no size: ignored",
                count,
                shown(bad[0]),
            )
        return np.array([megabytes[text] for text in vms["videoram"]], dtype=np.int64) * MIB

    def _tags(self, tags: Column) -> Column:
        """Those of xe, unlike other sets, are joined by commas, which a tag may contain, too."""
        if self.codec.format != "xe":
            return tags
        split = {joined: tuple(tag for text in joined for tag in text.split(", ")) for joined in set(tags.tolist())}
        return np.fromiter((split[joined] for joined in tags), object, len(tags))

    def _groups(self, vms: Columns) -> Column:
        rows = self.tables["VM_group"].rows
        groups = vms["groups"]
        dangling = 0
        example = ""
        for row in [row for row, refs in enumerate(groups) if refs]:
            refs = groups[row]
            groups[row] = tuple(rows[ref] for ref in refs if ref in rows)
            if len(groups[row]) != len(refs):
                lost = next(ref for ref in refs if ref not in rows)
                example = example or f"{named('VM', vms['ref'][row])}: groups: {shown(lost)} is not in the inventory"
                dangling += len(refs) - len(groups[row])
        if dangling:
            text = f"{counted(dangling, 'reference')} to VM groups that are not in the inventory"
            self.note("dangling-group", text, dangling, example)
        return groups

    def _vm_groups(self) -> Columns:
        groups = self.columns["VM_group"]
        groups["placement"] = _PLACEMENTS[groups["placement"].astype(np.intp)]
        return groups

    def _pools(self, hosts: Columns, hosts_map: NDArray[np.int32]) -> Columns:
        pools = self.columns["pool"]
        if not len(pools["ref"]):
            pools = self._nameless_pool()
            self.note("no-pool", "no pool record: the coordinator is unknown", 0)
        else:
            master = self.resolve("pool", "master", hosts_map)
            if master[0] == _DANGLING:
                if len(self.tables["host"]):
                    raw = self.tables["pool"]
                    problem = InventoryError(self.origin.source, raw.where(0), self._dangling("pool", "master", 0))
                    if not self.origin.lenient:
                        raise problem
                    self.note("dangling-master", "the coordinator is unknown", 1, problem.problem)
                master[0] = -1
            pools["master"] = master
            pools["restrict_dmc"] = pools["restrict_dmc"] == "true"
            pools["cpuid_feature_mask"] = np.array([pools["cpuid_feature_mask"][0] or ""], object)
            pools["auto_poweron"] = pools["auto_poweron"] == "true"
            pools["tags"] = self._tags(pools["tags"])
            pools["migration_network"] = np.array([pools["migration_network"][0] or ""], object)
        for name, value in (
            ("source", self.origin.source),
            ("format", self.codec.format),
            ("schema", self.origin.schema),
            ("model", self._pool_model(hosts, int(pools["master"][0]))),
        ):
            pools[name] = np.array([value], dtype=object)
        return pools

    def _nameless_pool(self) -> Columns:
        neutral: dict[type, object] = {np.object_: "", np.bool_: False, np.int64: 0, np.int32: -1}
        dtypes = {
            "ref": np.object_,
            "uuid": np.object_,
            "name_label": np.object_,
            "master": np.int32,
            "ha_enabled": np.bool_,
            "ha_host_failures_to_tolerate": np.int64,
            "ha_plan_exists_for": np.int64,
            "ha_allow_overcommit": np.bool_,
            "ha_overcommitted": np.bool_,
            "restrict_dmc": np.bool_,
            "cpuid_feature_mask": np.object_,
            "auto_poweron": np.bool_,
            "migration_network": np.object_,
        }
        pools: Columns = {name: np.array([neutral[dtype]], dtype=dtype) for name, dtype in dtypes.items()}
        return pools | {name: np.fromiter([empty], object, 1) for name, empty in (("cpu_info", {}), ("tags", ()))}

    def _pool_model(self, hosts: Columns, master: int) -> str:
        """The coordinator's version computes; what to take when it is unknown is said in a note."""
        own = hosts["model"][master] if master >= 0 else ""
        # chosen params of xe leave out the domain_type of any server, but a whole record has an HVM_boot_policy
        is_whole = not self.tables["VM"].missing.get("has_boot_policy", (0, ""))[0]
        tells = self.columns["VM"]["has_domain_type"].tolist() if is_whole else []
        model = host_rules.pool_model(own, hosts["model"], host_rules.assumed_model(tells))
        if model.because:
            text = f"the coordinator's xapi version is unknown: model {model.name} taken ({model.because})"
            self.note("model-assumed", text, 1)
        return model.name

    def _link_control_domains(self, hosts: Columns, vms_map: NDArray[np.int32]) -> None:
        raw = self.tables["host"]
        rows = self.tables["VM"].rows
        linked = []
        for ref in raw.references("control_domain"):
            row = rows.get(ref, _DANGLING)
            linked.append(int(vms_map[row]) if row >= 0 else _DANGLING)
        codes = hosts.pop("control_domain_code").astype(np.intp)
        control_domain = np.array([*linked, -1], dtype=np.int32)[codes]
        dangling = control_domain == _DANGLING
        if dangling.any():
            example = named("host", hosts["ref"][dangling.argmax()])
            number = int(dangling.sum())
            self.note(
                "dangling-control-domain",
                f"{_counted(number, 'host', 'has', 'have')} a control_domain that is not in the inventory",
                number,
                example,
            )
            control_domain[dangling] = -1
        hosts["control_domain"] = control_domain

    def _derive_domain_types(self, vms: Columns, hosts: Columns) -> None:
        unspecified = vms["domain_type"] == UNSPECIFIED
        if not unspecified.any():
            return
        has_field = vms["has_domain_type"]
        always_pv = np.where(
            has_field, self._is_domain_zero(vms, hosts), vms["is_control_domain"] & self._is_up_to_7_0(vms)
        )
        is_hvm = vms["has_boot_policy"]
        if self.origin.schema_minor == upgrade.SCHEMA_OF_7_3:
            is_hvm = np.where(_is_live(vms), vms["hvm"], is_hvm)
        derived = np.where(upgrade.derives_hvm(is_hvm, always_pv), kernel.DomainType.HVM, kernel.DomainType.PV)
        vms["domain_type"] = np.where(unspecified, derived, vms["domain_type"]).astype(np.uint8)
        number = int(unspecified.sum())
        lacking = self.tables["VM"].missing.get("has_boot_policy", (0, ""))[0]
        self.note(
            "domain-type-derived",
            f"{_counted(number, 'VM', 'names', 'name')} no domain_type: derived from HVM_boot_policy"
            + (f"; {lacking} of them lack that, too, and are taken for hvm unless control domains" if lacking else ""),
            number,
            named("VM", vms["ref"][unspecified.argmax()]),
        )

    def _is_domain_zero(self, vms: Columns, hosts: Columns) -> Bools:
        is_control_domain: Bools = vms["is_control_domain"]
        has_domid_0: Bools = is_control_domain & (vms["domid"] == 0)
        if not len(hosts["ref"]):
            return has_domid_0 if has_domid_0.any() else is_control_domain
        resident_on = vms["resident_on"]
        is_own: Bools = (resident_on >= 0) & (hosts["control_domain"][resident_on] == np.arange(len(resident_on)))
        return is_control_domain & is_own

    def _is_up_to_7_0(self, vms: Columns) -> Bools:
        lacks_requires_reboot: Bools = ~vms["has_requires_reboot"]
        return upgrade.is_up_to_7_0(self.origin.schema_minor, lacks_requires_reboot)

    def _account(self, vms: Columns) -> None:
        """The values that the server computes with: up to 7.2 those that a live VM was booted with."""
        source = {
            "accounted_static_max": "memory_static_max",
            "accounted_VCPUs_max": "VCPUs_max",
            "accounted_shadow_multiplier": "HVM_shadow_multiplier",
            "accounted_domain_type": "domain_type",
        }
        accounted = {name: vms[field] for name, field in source.items()}
        records: Objects = vms.get("last_booted_record", np.zeros(0, object))
        counts = _is_live(vms) & ~vms["has_domain_type"]
        rows = [row for row, record in enumerate(records) if record is not None and counts[row]]
        if rows:
            accounted = {name: column.copy() for name, column in accounted.items()}
            always_pv = vms["is_control_domain"] & self._is_up_to_7_0(vms)
            for row in rows:
                self._account_booted(accounted, row, records[row], bool(always_pv[row]))
            changed = np.zeros(len(vms["ref"]), dtype=np.bool_)
            for name, field in source.items():
                differs = accounted[name] != vms[field]
                changed |= differs
                if not differs.any():
                    accounted[name] = vms[field]
            if changed.any():
                number = int(changed.sum())
                self.note(
                    "booted-record",
                    f"{_counted(number, 'VM', 'was', 'were')} changed while live:"
                    " up to 7.2 the server computes with what they booted with",
                    number,
                    named("VM", vms["ref"][changed.argmax()]),
                )
        vms.update(accounted)

    def _account_booted(self, accounted: Columns, row: int, record: BootRecord, always_pv: bool) -> None:
        for name, value in (
            ("accounted_static_max", record.static_max),
            ("accounted_VCPUs_max", record.vcpus_max),
            ("accounted_shadow_multiplier", record.shadow_multiplier),
        ):
            if value is not None:
                accounted[name][row] = value
        if record.has_boot_policy is not None:
            is_hvm = upgrade.derives_hvm(record.has_boot_policy, always_pv)
            accounted["accounted_domain_type"][row] = kernel.DomainType.HVM if is_hvm else kernel.DomainType.PV

    def _fill_overheads(self, vms: Columns, pools: Columns) -> None:
        unknown = vms["memory_overhead"] < 0
        if not unknown.any():
            return
        rows = np.flatnonzero(unknown)
        vms["memory_overhead"][rows] = kernel.overhead(
            vms["accounted_domain_type"][rows],
            vms["accounted_static_max"][rows],
            vms["accounted_VCPUs_max"][rows],
            vms["accounted_shadow_multiplier"][rows],
            model=pools["model"][0],
        )
        self.note(
            "overhead-recomputed",
            f"{_counted(len(rows), 'VM', 'has', 'have')} no memory_overhead: recomputed with model {pools['model'][0]}",
            len(rows),
            named("VM", vms["ref"][rows[0]]),
        )


def _chosen(table: type[Any], columns: Columns) -> Columns:
    return {field.name: columns[field.name] for field in fields(table)}


def _counted(number: int, noun: str, singular: str, plural: str) -> str:
    return f"1 {noun} {singular}" if number == 1 else f"{number} {noun}s {plural}"


def _are_truthy(texts: Column) -> Bools:
    return np.array([upgrade.is_truthy(text) for text in texts], dtype=np.bool_)


def _are_there(texts: Column) -> Bools:
    return np.array([text is not None for text in texts], dtype=np.bool_)


def _renumbered(keep: Bools) -> NDArray[np.int32]:
    """Final row by row as read; what was dropped dangles."""
    return np.where(keep, np.cumsum(keep) - 1, _DANGLING).astype(np.int32)


def _is_live(vms: Columns) -> Bools:
    is_live: Bools = vms["power_state"] != PowerState.HALTED
    return is_live


def _in_int32(text: object) -> int:
    number = integer_or_none(text)
    return number if number is not None and 0 <= number < 2**31 else 0
