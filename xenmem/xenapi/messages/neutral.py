"""Messages that clients send beside their business and go on after: answered without effect, as a pool would that has
nothing to say. Sources: xapi-project/xen-api, ocaml/xapi/message_forwarding.ml, xapi_host.ml, xapi_pool.ml,
xapi_sr.ml.
"""

from typing import Annotated, Any, Final

from xenmem.datamodel import CLASSES, errors
from xenmem.datamodel.types import NULL, MapType, RecordType, RefType, SetType
from xenmem.xenapi.calls.call import Call
from xenmem.xenapi.calls.message import (
    Bool,
    Date,
    HostRef,
    PoolRef,
    Standing,
    String,
    StringMap,
    Strings,
    TaskRef,
    VMRef,
    message,
)

SRRef = Annotated[str, RefType("SR")]
PIFRef = Annotated[str, RefType("PIF")]
Sources = Annotated[tuple[Any, ...], SetType(RecordType("data_source"))]
_FIELDS: Final = {field.name: field.type for field in CLASSES["message"].fields.values()}
MessageRef = Annotated[str, RefType("message")]
MessageRefs = Annotated[tuple[str, ...], SetType(RefType("message"))]
MessageRecord = Annotated[dict[str, Any], RecordType("message", _FIELDS)]
MessageRecords = Annotated[dict[str, Any], MapType(RefType("message"), RecordType("message", _FIELDS))]

_MISSING: Final = (errors.XENAPI_MISSING_PLUGIN,)
_GONE: Final = (errors.HANDLE_INVALID,)


# ---------------------------------------------------------------------------------------------------------------- host


@message("host", standing=Standing.NEUTRAL, errors=_GONE)
def get_server_localtime(call: Call, host: HostRef) -> Date:
    """The time of the pool."""
    call.db.host[host]
    return call.clock.date()


@message("host", standing=Standing.NEUTRAL)
def get_data_sources(call: Call, host: HostRef) -> Sources:
    """What is measured; statistics tell it."""
    return ()


@message("VM", name="get_data_sources", standing=Standing.NEUTRAL)
def get_data_sources_of_vm(call: Call, self: VMRef) -> Sources:
    """What is measured; statistics tell it."""
    return ()


@message("SR", name="get_data_sources", standing=Standing.NEUTRAL)
def get_data_sources_of_sr(call: Call, sr: SRRef) -> Sources:
    """What is measured of storage: nothing."""
    return ()


@message("host", standing=Standing.NEUTRAL)
def has_extension(call: Call, host: HostRef, name: String) -> Bool:
    """Whether a host has an extension: there are none."""
    return False


@message("pool", name="has_extension", standing=Standing.NEUTRAL)
def pool_has_extension(call: Call, self: PoolRef, name: String) -> Bool:
    """Whether all hosts have an extension: there are none."""
    return False


@message("host", standing=Standing.NEUTRAL, errors=_MISSING)
def call_plugin(call: Call, host: HostRef, plugin: String, fn: String, args: StringMap) -> String:
    """Call a plugin: there are none."""
    raise errors.XENAPI_MISSING_PLUGIN(plugin)


@message("VM", name="call_plugin", standing=Standing.NEUTRAL, errors=_MISSING)
def call_plugin_of_vm(call: Call, vm: VMRef, plugin: String, fn: String, args: StringMap) -> String:
    """Call a plugin in a guest: there are none."""
    raise errors.XENAPI_MISSING_PLUGIN(plugin)


@message("host", standing=Standing.NEUTRAL, errors=(errors.MESSAGE_METHOD_UNKNOWN,))
def call_extension(call: Call, host: HostRef, call_: String) -> String:
    """Call an extension: there are none."""
    raise errors.MESSAGE_METHOD_UNKNOWN(call_)


@message("host", standing=Standing.NEUTRAL)
def get_system_status_capabilities(call: Call, host: HostRef) -> String:
    """What a status report could tell."""
    return "<capabilities></capabilities>"


@message("host", standing=Standing.NEUTRAL, errors=_GONE)
def get_management_interface(call: Call, host: HostRef) -> PIFRef:
    """The interface over which a host is managed, null if none is."""
    table: Any = call.db.tables["PIF"]
    mine = (table.get(ref) for ref in call.db.host[host].PIFs)
    return next((pif.ref for pif in mine if pif is not None and pif.management), NULL)


@message("host", standing=Standing.NEUTRAL)
def sync_data(call: Call, host: HostRef) -> None:
    """Nothing is out of step."""


@message("host", standing=Standing.NEUTRAL)
def refresh_pack_info(call: Call, host: HostRef) -> None:
    """There are no packs."""


# -------------------------------------------------------------------------------------------------- pool, storage, PIF


@message("pool", standing=Standing.NEUTRAL)
def certificate_list(call: Call) -> Strings:
    """The names of certificates in files: none."""
    return ()


@message("pool", standing=Standing.NEUTRAL)
def crl_list(call: Call) -> Strings:
    """The names of lists of revoked certificates: none."""
    return ()


@message("pool", standing=Standing.NEUTRAL)
def sync_database(call: Call) -> None:
    """Nothing is out of step."""


@message("SR", standing=Standing.NEUTRAL, errors=_GONE)
def scan(call: Call, sr: SRRef) -> None:
    """There is no storage in which anything new could be."""
    call.db.tables["SR"][sr]


@message("SR", standing=Standing.NEUTRAL)
def update(call: Call, sr: SRRef) -> None:
    """Nothing is out of step."""


@message("SR", standing=Standing.NEUTRAL)
def get_supported_types(call: Call) -> Strings:
    """The types of storage that drivers are there for."""
    table: Any = call.db.tables["SM"]
    return tuple(sorted({row.type for row in table}))


@message("PIF", name="scan", standing=Standing.NEUTRAL)
def scan_interfaces(call: Call, host: HostRef) -> None:
    """There are no devices to be found."""


@message("PUSB", name="scan", standing=Standing.NEUTRAL)
def scan_usb(call: Call, host: HostRef) -> None:
    """There are no devices to be found."""


@message("VDI", name="update", standing=Standing.NEUTRAL)
def update_image(call: Call, vdi: Annotated[str, RefType("VDI")]) -> None:
    """Nothing is out of step."""


# ------------------------------------------------------------------------------------------- session, auth, host power


@message("session", standing=Standing.NEUTRAL)
def get_all_subject_identifiers(call: Call) -> Strings:
    """The identifiers of those who logged in by an external directory: nobody."""
    return ()


@message("auth", standing=Standing.NEUTRAL)
def get_subject_information_from_identifier(call: Call, subject_identifier: String) -> StringMap:
    """What a directory says of somebody: their name."""
    return {"subject-name": subject_identifier, "subject-displayname": subject_identifier}


@message("auth", standing=Standing.NEUTRAL)
def get_group_membership(call: Call, subject_identifier: String) -> Strings:
    """The groups that somebody is in, in a directory: none."""
    return ()


@message("host", standing=Standing.RECORD, errors=_GONE)
def set_power_on_mode(call: Call, self: HostRef, power_on_mode: String, power_on_config: StringMap) -> None:
    """Say how a host is switched on from afar."""
    values = {"power_on_mode": power_on_mode, "power_on_config": power_on_config}
    call.db.update(call.db.host[self], values)


@message("task", standing=Standing.RECORD, errors=_GONE)
def set_result(call: Call, self: TaskRef, value: String) -> None:
    """Write the result of a task of one's own."""
    call.db.write(call.db.task[self], "result", value)


# ------------------------------------------------------------------------------------------------------------- message


@message("message", name="get_all", standing=Standing.NEUTRAL)
def get_all_messages(call: Call) -> MessageRefs:
    """The messages to operators: a copy has none."""
    return ()


@message("message", name="get_all_records", standing=Standing.NEUTRAL)
def get_all_message_records(call: Call) -> MessageRecords:
    """The messages to operators: a copy has none."""
    return {}


@message("message", name="get_all_records_where", standing=Standing.NEUTRAL)
def get_all_message_records_where(call: Call, expr: String) -> MessageRecords:
    """The messages to operators that a filter lets through: a copy has none."""
    return {}


@message("message", name="get_since", standing=Standing.NEUTRAL)
def get_messages_since(call: Call, since: Date) -> MessageRecords:
    """The messages to operators since a time: a copy has none."""
    return {}


@message("message", name="get_record", standing=Standing.NEUTRAL, errors=_GONE)
def get_message_record(call: Call, self: MessageRef) -> MessageRecord:
    """A message to operators: a copy has none."""
    raise errors.HANDLE_INVALID("message", self)


@message("message", name="get_by_uuid", standing=Standing.NEUTRAL, errors=(errors.UUID_INVALID,))
def get_message_by_uuid(call: Call, uuid: String) -> MessageRef:
    """A message to operators: a copy has none."""
    raise errors.UUID_INVALID("message", uuid)
