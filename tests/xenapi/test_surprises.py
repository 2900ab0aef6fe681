"""What surprises those who write clients, where no other file has it (docs/reference/messages.md, 12)."""

from collections.abc import Callable
from typing import Any

import pytest

from xenmem.datamodel import enum
from xenmem.units import GIB
from xenmem.xenapi import Failure, Pool, Session
from xenmem.xenapi.calls.call import Call
from xenmem.xenapi.calls.message import MESSAGES
from xenmem.xenapi.calls.process import Process

AddVM = Callable[..., Any]


def test_async_prefix_is_kept_in_the_task_only(session: Session, add_vm: AddVM) -> None:
    """E 39."""
    add_vm()
    task = session.xenapi.Async.VM.set_memory("vm", str(2 * GIB))
    assert session.xenapi.task.get_name_label(task) == "Async.VM.set_memory"
    with pytest.raises(Failure) as raised:
        session.xenapi.Async.VM.nothing("vm")
    assert raised.value.details == ["MESSAGE_METHOD_UNKNOWN", "VM.nothing"]


def test_get_all_descends(session: Session, add_vm: AddVM) -> None:
    """E 44."""
    for ref in ("b", "Ab", "é", "a"):
        add_vm(ref)
    refs = session.xenapi.VM.get_all()
    assert refs == ["é", "h2dom0", "h1dom0", "b", "a", "Ab"]
    assert list(session.xenapi.VM.get_all_records()) == refs


@pytest.mark.parametrize(
    ("first", "second", "field", "old"),
    [
        ("set_memory_dynamic_min", "set_memory_dynamic_max", "memory_dynamic_max", 3 * GIB),
        ("set_memory_dynamic_max", "set_memory_dynamic_min", "memory_dynamic_min", 2 * GIB),
        ("set_memory_static_min", "set_memory_static_max", "memory_static_max", 4 * GIB),
        ("set_memory_static_max", "set_memory_static_min", "memory_static_min", 1 * GIB),
    ],
)
def test_two_setters_of_one_limit_each_undo_each_other(
    pool: Pool, session: Session, add_vm: AddVM, first: str, second: str, field: str, old: int
) -> None:
    """E 46: the first has read the other limit when the second comes."""
    vm = add_vm()
    message = MESSAGES[f"VM.{first}"]
    call = Call(pool, message, pool.sessions.login(str(session.handle)))
    values = {
        "memory_dynamic_min": 2 * GIB + 1,
        "memory_dynamic_max": 3 * GIB - 1,
        "memory_static_min": 1 * GIB + 1,
        "memory_static_max": 4 * GIB - 1,
    }
    process = Process(call, message.body(call, "vm", values[first.removeprefix("set_")]))
    assert process.step() == 0
    getattr(session.xenapi.VM, second)("vm", str(values[field]))
    assert getattr(vm, field) == values[field]
    assert process.step() is None
    assert getattr(vm, field) == old
    assert getattr(vm, first.removeprefix("set_")) == values[first.removeprefix("set_")]


class TestAllowedOperations:
    """VM.allowed_operations: advice that is computed when it is read."""

    def allowed(self, session: Session, ref: str = "vm") -> list[str]:
        operations: list[str] = session.xenapi.VM.get_allowed_operations(ref)
        assert session.xenapi.VM.get_record(ref)["allowed_operations"] == operations
        assert session.xenapi.VM.get_all_records()[ref]["allowed_operations"] == operations
        order = [operation for operation in reversed(enum("vm_operations").members) if operation in operations]
        assert operations == order, "the last declared first"
        return operations

    def test_halted(self, session: Session, add_vm: AddVM) -> None:
        add_vm()
        assert self.allowed(session) == [
            "create_vtpm",
            "destroy",
            "metadata_export",
            "export",
            "make_into_template",
            "changing_NVRAM",
            "changing_shadow_memory",
            "changing_static_range",
            "changing_dynamic_range",
            "migrate_send",
            "start_on",
            "start",
            "copy",
            "clone",
            "snapshot",
        ]

    def test_running(self, session: Session, add_vm: AddVM, pool: Pool) -> None:
        vm = add_vm(power_state="Running")
        pool.database.write(pool.database.VM_metrics[vm.metrics], "current_domain_type", "pvh")
        allowed = self.allowed(session)
        assert {"pause", "clean_shutdown", "hard_shutdown", "pool_migrate", "changing_dynamic_range"} <= set(allowed)
        assert {"start", "unpause", "resume", "destroy", "changing_static_range"}.isdisjoint(allowed)
        hidden = {"changing_memory_live", "awaiting_memory_live", "data_source_op", "call_plugin", "get_boot_record"}
        assert hidden.isdisjoint(allowed)

    def test_guest_without_drivers(self, session: Session, add_vm: AddVM) -> None:
        add_vm(power_state="Running")
        assert {"clean_shutdown", "suspend", "pool_migrate"}.isdisjoint(self.allowed(session))

    def test_paused_guest_without_drivers(self, session: Session, add_vm: AddVM, pool: Pool) -> None:
        vm = add_vm(power_state="Paused")
        assert "checkpoint" not in self.allowed(session)
        pool.database.VM_metrics[vm.metrics].current_domain_type = "pvh"
        assert "checkpoint" in self.allowed(session)

    def test_blocked(self, session: Session, add_vm: AddVM) -> None:
        add_vm(blocked_operations={"start": "no"})
        assert "start" not in self.allowed(session)

    def test_template(self, session: Session, add_vm: AddVM) -> None:
        add_vm(is_a_template=True, is_default_template=True)
        assert self.allowed(session) == [
            "metadata_export",
            "export",
            "changing_NVRAM",
            "changing_shadow_memory",
            "changing_static_range",
            "changing_dynamic_range",
            "provision",
            "copy",
            "clone",
        ]

    def test_while_another_operation_is_under_way(self, session: Session, add_vm: AddVM) -> None:
        add_vm(current_operations={"t": "clone"})
        assert self.allowed(session) == ["export", "copy", "clone"]

    def test_none(self, session: Session) -> None:
        with pytest.raises(Failure) as raised:
            session.xenapi.VM.get_allowed_operations("none")
        assert raised.value.details == ["HANDLE_INVALID", "VM", "none"]
