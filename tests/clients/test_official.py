"""PyPI's XenAPI, case by case: the same over the wire as in the process."""

from collections.abc import Iterator
from typing import Any

import pytest
import XenAPI
from servers import EXAMPLE, PASSWORD, USER, Served

import xenmem
from xenmem.datamodel import CLASSES
from xenmem.xenapi import Clock
from xenmem.xenapi.world import roles

pytestmark = [pytest.mark.slow, pytest.mark.client("XenAPI", "26.21.1")]

KEPT = [name for name, schema in CLASSES.items() if schema.in_database and schema.lists and not schema.removed]


@pytest.fixture(scope="module")
def wire(server: Served) -> Iterator[Any]:
    session = XenAPI.Session(server.url)
    session.xenapi.login_with_password(USER, PASSWORD, "1.0", "a test")
    yield session
    session.xenapi.session.logout()
    session._ServerProxy__close()


@pytest.fixture(scope="module")
def within() -> Any:
    session = xenmem.connect(EXAMPLE, clock=Clock())
    roles.load(session.pool.database)
    return session


def outcome(session: Any, name: str, *parameters: Any) -> Any:
    """The result of a message, or the failure's details."""
    try:
        return as_read(session.xenapi_request(name, parameters))
    except XenAPI.Failure as failure:
        return failure.details


def as_read(value: Any) -> Any:
    """A value as readers of XML take it, to whom CR LF is one end of a line; the reference writes it as it is."""
    match value:
        case str():
            return value.replace("\r\n", "\n").replace("\r", "\n")
        case list():
            return [as_read(item) for item in value]
        case dict():
            return {key: as_read(item) for key, item in value.items()}
    return value


@pytest.mark.parametrize("name", KEPT)
def test_records_and_getters(wire: Any, within: Any, name: str) -> None:
    records = outcome(within, f"{name}.get_all_records")
    assert outcome(wire, f"{name}.get_all_records") == records
    assert list(outcome(wire, f"{name}.get_all")) == list(records)
    for ref, record in list(records.items())[:1]:
        assert outcome(wire, f"{name}.get_record", ref) == record
        assert outcome(wire, f"{name}.get_by_uuid", record["uuid"]) == ref
        for field in CLASSES[name].fields.values():
            if not field.internal:
                getter = f"{name}.get_{field.name}"
                got = outcome(wire, getter, ref)
                assert got == outcome(within, getter, ref)
                assert type(got) is type(outcome(within, getter, ref))


def test_a_script_of_messages(wire: Any, within: Any) -> None:
    """Each message of the script gives the same in both, and so does every row afterwards."""
    vms = outcome(within, "VM.get_all_records")
    plain = {ref: vm for ref, vm in vms.items() if not vm["is_a_template"] and not vm["is_a_snapshot"]}
    halted = sorted(ref for ref, vm in plain.items() if vm["power_state"] == "Halted")
    running = sorted(ref for ref, vm in plain.items() if vm["power_state"] == "Running" and not vm["is_control_domain"])
    hosts = sorted(outcome(within, "host.get_all"))
    script: list[tuple[Any, ...]] = []
    for vm in halted[:6]:
        low = vms[vm]["memory_static_min"]
        script += [
            ("VM.set_memory_limits", vm, low, str(1 << 34), str(1 << 33), str(1 << 34)),
            ("VM.set_memory", vm, "17"),
            ("VM.maximise_memory", vm, str(1 << 36), True),
            *(("VM.assert_can_boot_here", vm, host) for host in hosts),
            ("VM.compute_memory_overhead", vm),
            ("VM.set_VCPUs_max", vm, "0"),
            ("VM.start_on", vm, hosts[0], False, False),
            ("VM.pause", vm),
            ("VM.unpause", vm),
        ]
    for vm in running[:6]:
        script += [
            ("VM.set_memory_dynamic_range", vm, vms[vm]["memory_dynamic_min"], vms[vm]["memory_static_max"]),
            *(("VM.pool_migrate", vm, host, {"live": "true"}) for host in hosts[:2]),
            ("VM.get_possible_hosts", vm),
            ("VM.clean_shutdown", vm),
            ("VM.hard_shutdown", vm),
            ("VM.suspend", vm),
        ]
    for host in hosts:
        script += [
            ("host.compute_free_memory", host),
            ("host.compute_memory_overhead", host),
            ("host.assert_can_evacuate", host),
            ("host.disable", host),
            ("host.enable", host),
            ("host.disable", host, "not a bool"),
        ]
    script += [("pool.ha_compute_max_host_failures_to_tolerate",), ("VM.start",), ("VM.nonsense", "x")]
    for name, *parameters in script:
        assert outcome(wire, name, *parameters) == outcome(within, name, *parameters), (name, parameters)
    changing = {"last_updated", "start_time", "last_memory_target", "current_operations"}
    for name in ("VM", "host", "host_metrics", "VM_metrics"):
        after = [
            {
                ref: {field: value for field, value in record.items() if field not in changing}
                for ref, record in outcome(session, f"{name}.get_all_records").items()
            }
            for session in (wire, within)
        ]
        assert after[0].keys() == after[1].keys()
        for ref in after[0]:
            differing = {field for field in after[0][ref] if after[0][ref][field] != after[1][ref][field]}
            assert differing <= _DATES, (name, ref, differing)


_DATES = {"last_booted_record", "other_config", "memory_free"}


def test_sessions(server: Served) -> None:
    for arguments in ((), ("1.0",), ("1.0", "a test")):
        session = XenAPI.Session(server.url)
        session.xenapi.login_with_password(USER, PASSWORD, *arguments)
        assert session.API_version
        server.call("session.logout", session._session)
        assert session.xenapi.pool.get_all()  # it logs in again by itself
        session.xenapi.session.logout()
        session._ServerProxy__close()
    session = XenAPI.Session(server.url)
    with pytest.raises(XenAPI.Failure) as raised:
        session.xenapi.login_with_password(USER, "wrong")
    session._ServerProxy__close()
    assert raised.value.details[0] == "SESSION_AUTHENTICATION_FAILED"


def test_tasks_and_events(wire: Any) -> None:
    api = wire.xenapi
    token = wire.xenapi_request("event.from", (["task", "VM"], "", 0.0))["token"]
    vm = next(
        ref
        for ref, record in api.VM.get_all_records().items()
        if record["power_state"] == "Halted" and not record["is_a_template"]
    )
    task = api.Async.VM.clone(vm, "copy")
    assert api.task.get_status(task) == "success"
    made = api.task.get_result(task).removeprefix("<value>").removesuffix("</value>")
    assert api.VM.get_name_label(made) == "copy"
    events = wire.xenapi_request("event.from", (["task", "VM"], token, 5.0))["events"]
    assert {(event["class"], event["ref"], event["operation"]) for event in events} >= {
        ("task", task, "add"),
        ("vm", made, "add"),
    }
    api.task.destroy(task)
    api.VM.destroy(made)
