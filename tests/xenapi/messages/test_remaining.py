"""No message of the data model is unknown: each is answered, kept as a record, or refused as the reference refuses."""

from collections.abc import Callable
from typing import Any

import pytest

from xenmem.datamodel import CLASSES, Role
from xenmem.xenapi import Failure, Pool, Session
from xenmem.xenapi.calls.message import MESSAGES, Standing
from xenmem.xenapi.world import roles


def failure(session: Session, name: str, *parameters: Any) -> list[str]:
    with pytest.raises(Failure) as raised:
        session.xenapi_request(name, parameters)
    details: list[str] = raised.value.details
    return details


def test_every_message_for_clients_is_there() -> None:
    declared = {
        f"{schema.name}.{message.name}"
        for schema in CLASSES.values()
        for message in schema.messages.values()
        if message.client
    }
    assert declared == MESSAGES.keys()
    assert len(declared) == 2258
    assert sum(message.is_async for message in MESSAGES.values()) == 530
    assert sum(message.standing is Standing.INTERNAL for message in MESSAGES.values()) == 49


def test_how_each_kind_answers(session: Session) -> None:
    assert failure(session, "host.dmesg_clear", "h1") == ["NOT_IMPLEMENTED", "host.dmesg_clear"]
    assert failure(session, "VM.nonsense", "vm") == ["MESSAGE_METHOD_UNKNOWN", "VM.nonsense"]
    assert failure(session, "VMPP.get_all_records") == ["MESSAGE_REMOVED"]
    assert failure(session, "host.call_plugin", "h1", "updater.py", "f", {}) == ["XENAPI_MISSING_PLUGIN", "updater.py"]
    assert failure(session, "host.call_extension", "h1", "x") == ["MESSAGE_METHOD_UNKNOWN", "x"]
    assert failure(session, "message.get_record", "m") == ["HANDLE_INVALID", "message", "m"]
    assert failure(session, "SR.scan", "x") == ["HANDLE_INVALID", "SR", "x"]


def test_messages_among_hosts_are_refused(session: Session) -> None:
    (name,) = [one for one in ("host.notify",) if MESSAGES[one].standing is Standing.INTERNAL]
    sent = ["h1"] * len(MESSAGES[name].parameters)
    assert failure(session, name, *sent) == [
        "INTERNAL_ERROR",
        'Internal API "host.notify" call attempted with non-pool (external) session',
    ]


def test_asynchronous_refusals_are_the_tasks(session: Session) -> None:
    task = session.xenapi.Async.host.dmesg_clear("h1")
    assert session.xenapi.task.get_error_info(task) == ["NOT_IMPLEMENTED", "host.dmesg_clear"]


def test_what_is_written_without_its_effect(session: Session, add_vm: Callable[..., Any]) -> None:
    add_vm()
    session.xenapi.host.set_power_on_mode("h1", "wake-on-lan", {"a": "b"})
    assert session.xenapi.host.get_power_on_mode("h1") == "wake-on-lan"
    session.xenapi.pool.set_igmp_snooping_enabled("p", True)
    assert session.xenapi.pool.get_igmp_snooping_enabled("p") is True
    task = session.xenapi.task.create("x", "")
    session.xenapi.task.set_result(task, "<value></value>")
    assert session.xenapi.task.get_result(task) == "<value></value>"
    appliance = session.xenapi.VM_appliance.create({"name_label": "a", "name_description": ""})
    session.xenapi.VM.set_appliance("vm", appliance)
    assert session.xenapi.VM_appliance.get_VMs(appliance) == ["vm"]
    session.xenapi.VM_appliance.destroy(appliance)


def test_messages_to_operators_are_none(session: Session) -> None:
    assert session.xenapi.message.get_all() == []
    assert session.xenapi.message.get_all_records() == {}


def test_roles(pool: Pool, session: Session) -> None:
    """The records of the class role, and its permissions."""
    roles.load(pool.database)
    admin = session.xenapi.role.get_by_uuid("0165f154-ba3e-034e-6b27-5d271af109ba")
    assert admin == "OpaqueRef:0165f154-ba3e-034e-6b27-5d271af109ba"
    start = session.xenapi.role.get_by_uuid("24b924aa-926c-879e-d2c1-fe778e82ccee")
    assert session.xenapi.role.get_name_label(start) == "vm.start"
    assert session.xenapi.role.get_is_internal(start) is True
    assert start in session.xenapi.role.get_permissions(admin)
    assert "http/rrd_updates" in session.xenapi.role.get_permissions_name_label(
        session.xenapi.role.get_by_name_label("read-only")[0]
    )
    names = {
        session.xenapi.role.get_name_label(one) for one in session.xenapi.role.get_by_permission_name_label("vm.start")
    }
    assert names == {"pool-admin", "pool-operator", "vm-power-admin", "vm-admin", "vm-operator"}
    assert "vm.start" in roles.permissions_of(Role.VM_OPERATOR)
    assert roles.permissions_of(Role.POOL_ADMIN) == ()
