"""The fields of the classes that the pool database holds: all that is said of a field is said here, once.

A field's path in the data model (`memory/static_max`) gives its name in the API (`memory_static_max`) and in the
database (`memory__static_max`). Amounts are bytes. Source: xenapi-messages, section A; inventory-formats, sections
2.6 and 3 (xapi-project/xen-api, ocaml/idl/datamodel*.ml). Knows no rows and no messages.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any, Final

from xenmem.datamodel.types import (
    BOOL,
    DATETIME,
    FLOAT,
    INT,
    STRING,
    STRING_MAP,
    STRINGS,
    EnumType,
    MapType,
    RefType,
    SetType,
    Type,
)


class Role(IntEnum):
    """Who may do it; each role may do what those before it may."""

    READ_ONLY = 0
    VM_OPERATOR = 1
    VM_ADMIN = 2
    VM_POWER_ADMIN = 3
    POOL_OPERATOR = 4
    POOL_ADMIN = 5


class Qualifier(StrEnum):
    """How a client sets a field: RW by constructor and setter, static by constructor, dynamic by neither."""

    RW = "RW"
    STATIC = "static"
    DYNAMIC = "dynamic"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a class.

    Attributes
    ----------
    path : in the data model
    type : of its values
    qualifier : how clients set it
    default : what a row has where nothing says otherwise
    required : a constructor must be given it
    inverse : the field of the other class that points back here: the value is derived from it
    internal : in the database only, absent from records and without messages
    removed : reading it by itself answers MESSAGE_REMOVED
    persistent : a server that starts keeps the value of the dump
    role : who may use the generated setter
    doc : one line, empty where the name says it all
    """

    path: str
    type: Type[Any]
    qualifier: Qualifier
    default: Any
    required: bool = False
    inverse: tuple[str, str] | None = None
    internal: bool = False
    removed: bool = False
    persistent: bool = True
    role: Role | None = None
    doc: str = ""

    @property
    def name(self) -> str:
        """In the API."""
        return self.path.replace("/", "_")

    @property
    def database(self) -> str:
        """In a database dump."""
        return self.path.replace("/", "__")


@dataclass(frozen=True, slots=True)
class ClassSchema:
    """One class.

    Attributes
    ----------
    name : as the API spells it
    fields : all, in byte order of their API names
    role : who may set its fields
    lists : whether get_all and its kin exist
    transient : no part of the pool's inventory: never written to a file, nor journaled, nor restored
    has_events : clients are told of its rows' changes; of sessions they are not, for a reference is all that it takes
        to be somebody else (datamodel.ml: gen_events)
    signature : fields by which a lone record is known to be of this class
    doc : one line
    """

    name: str
    fields: Mapping[str, Field]
    role: Role
    lists: bool
    transient: bool
    has_events: bool
    signature: frozenset[str]
    doc: str


def _class(
    name: str,
    fields: tuple[Field, ...],
    *,
    doc: str,
    role: Role,
    lists: bool = True,
    transient: bool = False,
    has_events: bool = True,
    signature: tuple[str, ...] = (),
) -> ClassSchema:
    by_name = {field.name: field for field in sorted(fields, key=lambda field: field.name)}
    return ClassSchema(name, by_name, role, lists, transient, has_events, frozenset(signature), doc)


def _rw(path: str, type: Type[Any], doc: str = "", *, default: Any = None, **more: Any) -> Field:
    return Field(path, type, Qualifier.RW, type.neutral if default is None else default, doc=doc, **more)


def _static(path: str, type: Type[Any], doc: str = "", *, default: Any = None, **more: Any) -> Field:
    return Field(path, type, Qualifier.STATIC, type.neutral if default is None else default, doc=doc, **more)


def _dynamic(path: str, type: Type[Any], doc: str = "", *, default: Any = None, **more: Any) -> Field:
    return Field(path, type, Qualifier.DYNAMIC, type.neutral if default is None else default, doc=doc, **more)


def _enum(name: str, members: str) -> EnumType:
    return EnumType(name, *members.split())


VM_OPERATIONS: Final = _enum(
    "vm_operations",
    """snapshot clone copy create_template revert checkpoint snapshot_with_quiesce provision start start_on pause
    unpause clean_shutdown clean_reboot hard_shutdown power_state_reset hard_reboot suspend csvm resume resume_on
    pool_migrate migrate_send get_boot_record send_sysrq send_trigger query_services shutdown call_plugin
    changing_memory_live awaiting_memory_live changing_dynamic_range changing_static_range changing_memory_limits
    changing_shadow_memory changing_shadow_memory_live changing_VCPUs changing_VCPUs_live changing_NVRAM
    assert_operation_valid data_source_op update_allowed_operations make_into_template import export metadata_export
    reverting destroy create_vtpm""",
)
HOST_OPERATIONS: Final = _enum(
    "host_allowed_operations",
    "provision evacuate shutdown reboot power_on vm_start vm_resume vm_migrate apply_updates enable",
)
POWER_STATE: Final = EnumType("vm_power_state", "Halted", "Paused", "Running", "Suspended")
DOMAIN_TYPE: Final = EnumType("domain_type", "hvm", "pv", "pv_in_pvh", "pvh", "unspecified")
PLACEMENT: Final = EnumType("placement_policy", "normal", "anti_affinity")
TASK_STATUS: Final = EnumType("task_status_type", "pending", "success", "failure", "cancelling", "cancelled")
_ON_NORMAL_EXIT: Final = EnumType("on_normal_exit", "destroy", "restart")
_ON_SOFTREBOOT: Final = EnumType("on_softreboot_behavior", "soft_reboot", "destroy", "restart", "preserve")
_ON_CRASH: Final = _enum(
    "on_crash_behaviour",
    "destroy coredump_and_destroy restart coredump_and_restart preserve rename_restart",
)
_GUIDANCE: Final = EnumType(
    "update_guidances",
    "reboot_host",
    "reboot_host_on_livepatch_failure",
    "reboot_host_on_kernel_livepatch_failure",
    "reboot_host_on_xen_livepatch_failure",
    "restart_toolstack",
    "restart_device_model",
    "restart_vm",
)
_CERTIFICATES_STATE: Final = EnumType(
    "vm_secureboot_certificates_state", "ok", "update_available", "update_on_boot", "no_certs"
)
_TRISTATE: Final = EnumType("tristate_type", "yes", "no", "unspecified")
_DISPLAY: Final = EnumType("host_display", "enabled", "disable_on_reboot", "disabled", "enable_on_reboot")
_NUMA_POLICY: Final = EnumType("host_numa_affinity_policy", "any", "best_effort", "default_policy")
_UPDATES_STATE: Final = EnumType("latest_synced_updates_applied_state", "yes", "no", "unknown")
_NTP_MODE: Final = EnumType("host_ntp_mode", "DHCP", "Custom", "Factory", "Disabled")
_POOL_OPERATIONS: Final = _enum(
    "pool_allowed_operations",
    """ha_enable ha_disable cluster_create designate_new_master configure_repositories sync_updates sync_bundle
    get_updates apply_updates tls_verification_enable cert_refresh exchange_certificates_on_join
    exchange_ca_certificates_on_join copy_primary_host_certs eject""",
)
_FREQUENCY: Final = EnumType("telemetry_frequency", "daily", "weekly", "monthly")
_UPDATE_FREQUENCY: Final = EnumType("update_sync_frequency", "daily", "weekly")
_TASK_OPERATIONS: Final = EnumType("task_allowed_operations", "cancel", "destroy")

HOST: Final = RefType("host")
VM: Final = RefType("VM")
_VDI: Final = RefType("VDI")
_SR: Final = RefType("SR")
_GUIDANCES: Final = SetType(_GUIDANCE)
_BLOBS: Final = MapType(STRING, RefType("blob"))


def _refs(target: str) -> SetType:
    return SetType(RefType(target))


_NAMES: Final = (_rw("name/label", STRING), _rw("name/description", STRING))
_UUID: Final = _dynamic("uuid", STRING)

_VM: Final = _class(
    "VM",
    (
        *_NAMES,
        _UUID,
        _dynamic("allowed_operations", SetType(VM_OPERATIONS), "advice: what would be allowed now", persistent=False),
        _dynamic("current_operations", MapType(RefType("task"), VM_OPERATIONS), "task to operation", persistent=False),
        _static("power_state", POWER_STATE),
        _rw("user_version", INT, required=True),
        _rw("is_a_template", BOOL, "true for snapshots as well", required=True),
        _dynamic("is_default_template", BOOL),
        _static("suspend_VDI", _VDI),
        _dynamic("resident_on", HOST, "the host where the VM has a domain"),
        _dynamic(
            "scheduled_to_be_resident_on", HOST, "the host that keeps memory for the VM, which is on its way there"
        ),
        _rw("affinity", HOST, "the host on which the VM should rather start", required=True, role=Role.VM_POWER_ADMIN),
        _dynamic("memory/overhead", INT, "bytes beside the guest's own, as last computed"),
        _static("memory/target", INT, "bytes; deprecated: the setters keep it at dynamic_min"),
        _static("memory/static_max", INT, "bytes", required=True),
        _static("memory/dynamic_max", INT, "bytes", required=True),
        _static("memory/dynamic_min", INT, "bytes", required=True),
        _static("memory/static_min", INT, "bytes", required=True),
        _rw("VCPUs/params", STRING_MAP, required=True),
        _static("VCPUs/max", INT, required=True),
        _static("VCPUs/at_startup", INT, required=True),
        _rw("actions/after_softreboot", _ON_SOFTREBOOT),
        _rw("actions/after_shutdown", _ON_NORMAL_EXIT, required=True),
        _rw("actions/after_reboot", _ON_NORMAL_EXIT, required=True),
        _static("actions/after_crash", _ON_CRASH, required=True),
        _dynamic("consoles", _refs("console")),
        _dynamic("VIFs", _refs("VIF")),
        _dynamic("VBDs", _refs("VBD")),
        _dynamic("VUSBs", _refs("VUSB")),
        _dynamic("crash_dumps", _refs("crashdump")),
        _dynamic("VTPMs", _refs("VTPM")),
        _rw("PV/bootloader", STRING, required=True),
        _rw("PV/kernel", STRING, required=True),
        _rw("PV/ramdisk", STRING, required=True),
        _rw("PV/args", STRING, required=True),
        _rw("PV/bootloader_args", STRING, required=True),
        _rw("PV/legacy_args", STRING, required=True),
        _static("HVM/boot_policy", STRING, "deprecated: empty means pv; domain_type decides", required=True),
        _rw("HVM/boot_params", STRING_MAP, required=True),
        _static("HVM/shadow_multiplier", FLOAT, "factor of the shadow memory", default=1.0),
        _static("platform", STRING_MAP, required=True),
        _rw("PCI_bus", STRING, required=True),
        _rw("other_config", STRING_MAP, required=True),
        _dynamic("domid", INT, default=-1),
        _dynamic("domarch", STRING),
        _static("last_boot_CPU_flags", STRING_MAP),
        _dynamic("is_control_domain", BOOL),
        _dynamic("metrics", RefType("VM_metrics")),
        _dynamic("guest_metrics", RefType("VM_guest_metrics")),
        _static("last_booted_record", STRING),
        _rw("recommendations", STRING, "XML; advice for clients", required=True),
        _rw("xenstore_data", STRING_MAP),
        _static("ha_always_run", BOOL, "deprecated: with ha_restart_priority, whether HA protects the VM"),
        _static("ha_restart_priority", STRING, "restart, best-effort or empty"),
        _dynamic("is_a_snapshot", BOOL),
        _dynamic("snapshot_of", VM),
        _dynamic("snapshots", _refs("VM")),
        _dynamic("snapshot_time", DATETIME),
        _dynamic("transportable_snapshot_id", STRING),
        _dynamic("blobs", _BLOBS),
        _rw("tags", STRINGS, role=Role.VM_OPERATOR),
        _static("blocked_operations", MapType(VM_OPERATIONS, STRING), "operation to the error that says why"),
        _dynamic("snapshot_info", STRING_MAP),
        _dynamic("snapshot_metadata", STRING),
        _dynamic("parent", VM),
        _dynamic("children", _refs("VM")),
        _dynamic("bios_strings", STRING_MAP),
        _static("protection_policy", RefType("VMPP")),
        _static("is_snapshot_from_vmpp", BOOL),
        _static("snapshot_schedule", RefType("VMSS")),
        _static("is_vmss_snapshot", BOOL),
        _static("appliance", RefType("VM_appliance")),
        _static("start_delay", INT, "seconds"),
        _static("shutdown_delay", INT, "seconds"),
        _static("order", INT, "of start by HA and appliances"),
        _dynamic("VGPUs", _refs("VGPU")),
        _dynamic("attached_PCIs", _refs("PCI")),
        _rw("suspend_SR", _SR),
        _static("version", INT),
        _static("generation_id", STRING, default="0:0"),
        _rw("hardware_platform_version", INT),
        _static("has_vendor_device", BOOL),
        _dynamic("requires_reboot", BOOL, "a control domain has new limits that wait for a reboot"),
        _static("reference_label", STRING),
        _static("domain_type", DOMAIN_TYPE, default="unspecified"),
        _static("NVRAM", STRING_MAP),
        _dynamic("pending_guidances", _GUIDANCES),
        _dynamic("pending_guidances_recommended", _GUIDANCES),
        _dynamic("pending_guidances_full", _GUIDANCES),
        _dynamic("recommended_guidances", _GUIDANCES, internal=True),
        _dynamic("groups", _refs("VM_group")),
        _dynamic("secureboot_certificates_state", _CERTIFICATES_STATE),
    ),
    role=Role.VM_ADMIN,
    signature=("power_state", "memory_static_max"),
    doc="A virtual machine, template, snapshot or control domain.",
)

_VM_METRICS: Final = _class(
    "VM_metrics",
    (
        _UUID,
        _dynamic("memory/actual", INT, "bytes in use as last measured", persistent=False),
        _dynamic("VCPUs/number", INT, persistent=False),
        _dynamic("VCPUs/utilisation", MapType(INT, FLOAT), persistent=False),
        _dynamic("VCPUs/CPU", MapType(INT, INT), persistent=False),
        _dynamic("VCPUs/params", STRING_MAP, persistent=False),
        _dynamic("VCPUs/flags", MapType(INT, STRINGS), persistent=False),
        _dynamic("state", STRINGS, persistent=False),
        _dynamic("start_time", DATETIME),
        _dynamic("install_time", DATETIME),
        _dynamic("last_updated", DATETIME),
        _rw("other_config", STRING_MAP),
        _dynamic("hvm", BOOL, persistent=False),
        _dynamic("nested_virt", BOOL, "the live VM was built with nested virtualisation", persistent=False),
        _dynamic("nomigrate", BOOL, persistent=False),
        _dynamic("current_domain_type", DOMAIN_TYPE, "what the live VM was built as", default="unspecified"),
        _dynamic("numa_optimised", BOOL, persistent=False),
        _dynamic("numa_nodes", INT, persistent=False),
        _dynamic("numa_node_memory", MapType(INT, INT), "node to bytes", persistent=False),
    ),
    role=Role.VM_ADMIN,
    signature=("memory_actual",),
    doc="What was measured of a VM.",
)

_VM_GUEST_METRICS: Final = _class(
    "VM_guest_metrics",
    (
        _UUID,
        _dynamic("os_version", STRING_MAP),
        _dynamic("netbios_name", STRING_MAP),
        _dynamic("PV_drivers_version", STRING_MAP),
        _dynamic("PV_drivers_up_to_date", BOOL, "deprecated: the same as PV_drivers_detected"),
        _dynamic("memory", STRING_MAP, removed=True),
        _dynamic("disks", STRING_MAP, removed=True),
        _dynamic("networks", STRING_MAP),
        _dynamic("other", STRING_MAP, "features of the guest agent, such as feature-balloon"),
        _dynamic("services", STRING_MAP),
        _dynamic("last_updated", DATETIME),
        _rw("other_config", STRING_MAP),
        _dynamic("live", BOOL),
        _dynamic("can_use_hotplug_vbd", _TRISTATE, default="unspecified"),
        _dynamic("can_use_hotplug_vif", _TRISTATE, default="unspecified"),
        _dynamic("PV_drivers_detected", BOOL),
    ),
    role=Role.VM_ADMIN,
    signature=("os_version", "PV_drivers_version"),
    doc="What the guest itself reports.",
)

_VM_GROUP: Final = _class(
    "VM_group",
    (
        *_NAMES,
        _UUID,
        _static("placement", PLACEMENT),
        _dynamic("VMs", _refs("VM"), inverse=("VM", "groups")),
    ),
    role=Role.VM_ADMIN,
    signature=("placement",),
    doc="VMs that are placed with regard to each other.",
)

_HOST: Final = _class(
    "host",
    (
        *_NAMES,
        _UUID,
        _dynamic("memory/overhead", INT, "bytes that the hypervisor and its reserve take, sampled at boot"),
        _dynamic("allowed_operations", SetType(HOST_OPERATIONS), persistent=False),
        _dynamic("current_operations", MapType(RefType("task"), HOST_OPERATIONS), persistent=False),
        _dynamic("API_version/major", INT, default=2),
        _dynamic("API_version/minor", INT, default=23),
        _dynamic("API_version/vendor", STRING),
        _dynamic("API_version/vendor_implementation", STRING_MAP),
        _dynamic("enabled", BOOL, "takes VMs", default=True),
        _static("software_version", STRING_MAP),
        _rw("other_config", STRING_MAP),
        _static("capabilities", STRINGS),
        _dynamic("cpu_configuration", STRING_MAP),
        _dynamic("cpu_info", STRING_MAP),
        _dynamic("chipset_info", STRING_MAP),
        _dynamic("sched_policy", STRING),
        _dynamic("supported_bootloaders", STRINGS),
        _dynamic("resident_VMs", _refs("VM"), inverse=("VM", "resident_on")),
        _rw("logging", STRING_MAP),
        _dynamic("PIFs", _refs("PIF")),
        _rw("suspend_image_sr", _SR),
        _rw("crash_dump_sr", _SR),
        _dynamic("crashdumps", _refs("host_crashdump")),
        _dynamic("patches", _refs("host_patch")),
        _dynamic("updates", _refs("pool_update")),
        _dynamic("PBDs", _refs("PBD")),
        _dynamic("host_CPUs", _refs("host_cpu")),
        _dynamic("hostname", STRING),
        _dynamic("address", STRING),
        _dynamic("metrics", RefType("host_metrics")),
        _dynamic("license_params", STRING_MAP),
        _dynamic("boot_free_mem", INT, "bytes free right after boot", internal=True),
        _dynamic("ha_statefiles", STRINGS),
        _dynamic("ha_network_peers", STRINGS),
        _dynamic("blobs", _BLOBS),
        _rw("tags", STRINGS, role=Role.VM_OPERATOR),
        _static("external_auth_type", STRING),
        _static("external_auth_service_name", STRING),
        _static("external_auth_configuration", STRING_MAP),
        _static("edition", STRING),
        _rw("license_server", STRING_MAP),
        _dynamic("bios_strings", STRING_MAP),
        _dynamic("power_on_mode", STRING),
        _dynamic("power_on_config", STRING_MAP),
        _dynamic("local_cache_sr", _SR),
        _dynamic("ssl_legacy", BOOL, default=True),
        _rw("guest_VCPUs_params", STRING_MAP),
        _static("display", _DISPLAY),
        _dynamic("virtual_hardware_platform_versions", SetType(INT), default=(0,)),
        _dynamic("control_domain", VM, "domain 0"),
        _dynamic("updates_requiring_reboot", _refs("pool_update")),
        _dynamic("features", _refs("Feature")),
        _static("iscsi_iqn", STRING),
        _static("multipathing", BOOL),
        _static("uefi_certificates", STRING),
        _dynamic("certificates", _refs("Certificate")),
        _dynamic("editions", STRINGS),
        _dynamic("https_only", BOOL),
        _dynamic("last_software_update", DATETIME),
        _dynamic("last_update_hash", STRING),
        _dynamic("latest_synced_updates_applied", _UPDATES_STATE, default="unknown"),
        _dynamic("max_cstate", STRING),
        _dynamic("ntp_custom_servers", STRINGS),
        _dynamic("ntp_mode", _NTP_MODE, default="Factory"),
        _dynamic("numa_affinity_policy", _NUMA_POLICY, default="default_policy"),
        _dynamic("PCIs", _refs("PCI")),
        _dynamic("PGPUs", _refs("PGPU")),
        _dynamic("PUSBs", _refs("PUSB")),
        _dynamic("pending_guidances", _GUIDANCES),
        _dynamic("pending_guidances_recommended", _GUIDANCES),
        _dynamic("pending_guidances_full", _GUIDANCES),
        _dynamic("recommended_guidances", _GUIDANCES, internal=True),
        _dynamic("secure_boot", BOOL),
        _dynamic("ssh_enabled", BOOL, default=True),
        _dynamic("ssh_enabled_timeout", INT),
        _dynamic("ssh_expiry", DATETIME),
        _dynamic("ssh_auto_mode", BOOL),
        _dynamic("console_idle_timeout", INT),
        _dynamic("timezone", STRING, default="UTC"),
        _dynamic("tls_verification_enabled", BOOL),
    ),
    role=Role.POOL_OPERATOR,
    signature=("hostname", "software_version"),
    doc="A physical host.",
)

_HOST_METRICS: Final = _class(
    "host_metrics",
    (
        _UUID,
        _dynamic("memory/total", INT, "bytes; -1 where the reading is unknown"),
        _dynamic("memory/free", INT, "bytes as last measured; no answer is computed from it", removed=True),
        _dynamic("live", BOOL, "the coordinator believes that the host is up", persistent=False),
        _dynamic("last_updated", DATETIME),
        _rw("other_config", STRING_MAP),
    ),
    role=Role.POOL_OPERATOR,
    signature=("memory_total", "live"),
    doc="What was measured of a host.",
)

_POOL: Final = _class(
    "pool",
    (
        _rw("name_label", STRING),
        _rw("name_description", STRING),
        _UUID,
        _dynamic("master", HOST, "the coordinator"),
        _rw("default_SR", _SR),
        _rw("suspend_image_SR", _SR),
        _rw("crash_dump_SR", _SR),
        _rw("other_config", STRING_MAP),
        _dynamic("ha_enabled", BOOL),
        _dynamic("ha_configuration", STRING_MAP),
        _dynamic("ha_statefiles", STRINGS),
        _dynamic("ha_host_failures_to_tolerate", INT),
        _dynamic("ha_plan_exists_for", INT, "number of host failures for which there is a plan"),
        _rw("ha_allow_overcommit", BOOL),
        _dynamic("ha_overcommitted", BOOL),
        _rw("ha_reboot_vm_on_internal_shutdown", BOOL, default=True),
        _dynamic("ha_cluster_stack", STRING),
        _dynamic("blobs", _BLOBS),
        _rw("tags", STRINGS, role=Role.VM_OPERATOR),
        _rw("gui_config", STRING_MAP, role=Role.VM_OPERATOR),
        _rw("health_check_config", STRING_MAP),
        _dynamic("wlb_url", STRING),
        _dynamic("wlb_username", STRING),
        _dynamic("wlb_password", RefType("secret"), internal=True),
        _rw("wlb_enabled", BOOL),
        _rw("wlb_verify_cert", BOOL),
        _dynamic("redo_log_enabled", BOOL),
        _dynamic("redo_log_vdi", _VDI),
        _dynamic("vswitch_controller", STRING),
        _dynamic("restrictions", STRING_MAP, "feature switches; a feature is on where its entry is false"),
        _dynamic("metadata_VDIs", _refs("VDI")),
        _dynamic("allowed_operations", SetType(_POOL_OPERATIONS), persistent=False),
        _dynamic("current_operations", MapType(RefType("task"), _POOL_OPERATIONS), persistent=False),
        _dynamic("guest_agent_config", STRING_MAP),
        _dynamic("cpu_info", STRING_MAP),
        _rw("policy_no_vendor_device", BOOL),
        _rw("live_patching_disabled", BOOL),
        _dynamic("igmp_snooping_enabled", BOOL),
        _static("uefi_certificates", STRING),
        _static("custom_uefi_certificates", STRING),
        _rw("is_psr_pending", BOOL),
        _dynamic("tls_verification_enabled", BOOL),
        _dynamic("client_certificate_auth_enabled", BOOL),
        _dynamic("client_certificate_auth_name", STRING),
        _dynamic("repositories", _refs("Repository")),
        _dynamic("repository_proxy_url", STRING),
        _dynamic("repository_proxy_username", STRING),
        _dynamic("repository_proxy_password", RefType("secret")),
        _rw("migration_compression", BOOL),
        _rw("coordinator_bias", BOOL, "VMs are rather started elsewhere than on the coordinator", default=True),
        _dynamic("local_auth_max_threads", INT, default=8),
        _dynamic("ext_auth_max_threads", INT, default=1),
        _dynamic("ext_auth_cache_enabled", BOOL, default=True),
        _dynamic("ext_auth_cache_size", INT, default=50),
        _dynamic("ext_auth_cache_expiry", INT, default=300),
        _dynamic("telemetry_uuid", RefType("secret")),
        _dynamic("telemetry_frequency", _FREQUENCY, default="weekly"),
        _dynamic("telemetry_next_collection", DATETIME),
        _dynamic("last_update_sync", DATETIME),
        _dynamic("update_sync_frequency", _UPDATE_FREQUENCY, default="weekly"),
        _dynamic("update_sync_day", INT),
        _dynamic("update_sync_enabled", BOOL),
        _dynamic("recommendations", STRING_MAP),
        _rw("license_server", STRING_MAP),
        _rw("auto_update_vm_secureboot_certificates", BOOL),
        _dynamic("limit_console_sessions", BOOL),
        _dynamic("vm_console_idle_timeout", INT),
    ),
    role=Role.POOL_OPERATOR,
    signature=("master",),
    doc="The pool.",
)

_TASK: Final = _class(
    "task",
    (
        *(_dynamic(field.path, field.type) for field in _NAMES),
        _UUID,
        _dynamic("allowed_operations", SetType(_TASK_OPERATIONS)),
        _dynamic("current_operations", MapType(RefType("task"), _TASK_OPERATIONS)),
        _dynamic("created", DATETIME),
        _dynamic("finished", DATETIME, "1970 while pending"),
        _dynamic("session", RefType("session"), "the client that began it", internal=True),
        _dynamic("status", TASK_STATUS),
        _dynamic("resident_on", HOST, "the host that executes it"),
        _dynamic("progress", FLOAT, "0 to 1"),
        _dynamic("type", STRING, default="<none/>"),
        _dynamic("result", STRING, "XML-RPC text of the value once it succeeded"),
        _dynamic("error_info", STRINGS, "code and parameters of the failure"),
        _rw("other_config", STRING_MAP, role=Role.VM_OPERATOR),
        _dynamic("subtask_of", RefType("task")),
        _dynamic("subtasks", _refs("task")),
        _dynamic("backtrace", STRING),
    ),
    role=Role.POOL_OPERATOR,
    transient=True,
    doc="A message under way or done.",
)

_SESSION: Final = _class(
    "session",
    (
        _UUID,
        _dynamic("this_host", HOST),
        _dynamic("this_user", RefType("user")),
        _dynamic("last_active", DATETIME),
        _dynamic("pool", BOOL),
        _rw("other_config", STRING_MAP),
        _dynamic("is_local_superuser", BOOL),
        _dynamic("subject", RefType("subject")),
        _dynamic("validation_time", DATETIME),
        _dynamic("auth_user_sid", STRING),
        _dynamic("auth_user_name", STRING),
        _dynamic("rbac_permissions", STRINGS),
        _dynamic("tasks", _refs("task"), inverse=("task", "session")),
        _dynamic("parent", RefType("session")),
        _dynamic("originator", STRING),
        _dynamic("client_certificate", BOOL),
    ),
    role=Role.POOL_OPERATOR,
    lists=False,
    transient=True,
    has_events=False,
    doc="A client that is logged in.",
)

CLASSES: Final[Mapping[str, ClassSchema]] = {
    schema.name: schema
    for schema in (_VM, _VM_METRICS, _VM_GUEST_METRICS, _VM_GROUP, _HOST, _HOST_METRICS, _POOL, _TASK, _SESSION)
}
"""Every class of the database, in the order in which their messages are documented."""
