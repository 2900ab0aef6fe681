"""The way of a call: counts, types, sessions, roles, unknown methods, which failure wins (messages.md, 9.1 to 9.4)."""

from collections.abc import Callable
from typing import Any
from xmlrpc.client import DateTime as WireDateTime
from xmlrpc.client import Fault

import pytest
from small_pool import build_database

from xenmem.datamodel.types import DATETIME
from xenmem.xenapi import Clock, Failure, Pool, Role, Session, User
from xenmem.xenapi.world import sessions

AddVM = Callable[..., Any]


def details(send: Callable[[], Any]) -> list[str]:
    with pytest.raises(Failure) as raised:
        send()
    return list(raised.value.details)


@pytest.mark.parametrize(
    ("method", "sent", "expected"),
    [
        ("VM.set_memory", 1, ["2", "0"]),
        ("VM.set_memory", 2, ["2", "1"]),
        ("VM.set_memory", 4, ["2", "3"]),
        ("VM.set_memory", 0, ["2", "-1"]),
        ("Async.VM.set_memory", 1, ["2", "0"]),
        ("VM_set_memory", 1, ["2", "0"]),
        ("VM.get_all", 0, ["0", "-1"]),
        ("session.login_with_password", 0, ["2", "0"]),
        ("session.login_with_password", 1, ["2", "1"]),
    ],
)
def test_counts(pool: Pool, method: str, sent: int, expected: list[str]) -> None:
    name = method.removeprefix("Async.").replace("VM_", "VM.")
    assert details(lambda: pool.dispatch(method, ("x",) * sent)) == [
        "MESSAGE_PARAMETER_COUNT_MISMATCH",
        name,
        *expected,
    ]


def test_surplus_is_ignored_where_there_are_defaults(pool: Pool) -> None:
    _, _, ref = pool.dispatch("session.login_with_password", ("root", "", "1.0", "me", "surplus", 17))
    assert pool.database.session[ref].originator == "me"


def test_what_wins(pool: Pool, session: Session) -> None:
    """Count, then type, then session, then handle."""
    handle = session.handle
    assert (
        details(lambda: pool.dispatch("VM.set_memory", ("bad session", 1.5)))[0] == "MESSAGE_PARAMETER_COUNT_MISMATCH"
    )
    assert details(lambda: pool.dispatch("VM.set_memory", ("bad session", "x", 1.5)))[0] == "INTERNAL_ERROR"
    assert details(lambda: pool.dispatch("VM.set_memory", ("bad session", "x", "1"))) == [
        "SESSION_INVALID",
        "bad session",
    ]
    assert details(lambda: pool.dispatch("VM.set_memory", (handle, "x", "1"))) == ["HANDLE_INVALID", "VM", "x"]
    assert details(lambda: pool.dispatch("VM.set_memory", (None, "x", "1"))) == [
        "INTERNAL_ERROR",
        """Failure("Expected string, got 'N'")""",
    ]


def test_unknown_methods(pool: Pool, session: Session) -> None:
    handle = session.handle
    assert details(lambda: pool.dispatch("VM.nothing", ())) == ["MESSAGE_METHOD_UNKNOWN", "VM.nothing"]
    assert details(lambda: pool.dispatch("VM.nothing", ("x",))) == ["SESSION_INVALID", "x"]
    assert details(lambda: pool.dispatch("VM.nothing", (1,)))[0] == "INTERNAL_ERROR"
    assert details(lambda: pool.dispatch("Async.VM.nothing", (handle,))) == ["MESSAGE_METHOD_UNKNOWN", "VM.nothing"]
    assert details(lambda: pool.dispatch("host.get_boot_free_mem", (handle, "h1")))[0] == "MESSAGE_METHOD_UNKNOWN"


@pytest.mark.parametrize(
    "value", [1.5, True, None, "", " 1", "1 ", "1.0", "x", "9223372036854775808", 2**63, "٣", [], {}]
)
def test_what_is_no_int(session: Session, add_vm: AddVM, value: Any) -> None:
    add_vm()
    assert details(lambda: session.xenapi.VM.set_memory("vm", value))[0] == "INTERNAL_ERROR"


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("0x10", 16),
        ("1_000", 1000),
        ("-0b11", -3),
        ("+7", 7),
        ("0u9", 9),
        ("-9223372036854775808", -(2**63)),
        ("0" * 1000 + "5", 5),
        (2**63 - 1, 2**63 - 1),
    ],
)
def test_what_is_an_int(session: Session, add_vm: AddVM, value: Any, number: int) -> None:
    vm = add_vm()
    session.xenapi.VM.set_user_version("vm", value)
    assert vm.user_version == number


@pytest.mark.parametrize("value", ["1" * 10**6, "0x" + "f" * 10**6, "1_" * 10**5])
def test_huge_numbers(session: Session, add_vm: AddVM, value: str) -> None:
    add_vm()
    assert details(lambda: session.xenapi.VM.set_user_version("vm", value))[0] == "INTERNAL_ERROR"


def test_texts(session: Session, add_vm: AddVM) -> None:
    vm = add_vm()
    session.xenapi.VM.set_name_label("vm", "Büro №5")
    assert session.xenapi.VM.get_by_name_label(vm.name_label) == ["vm"]
    assert details(lambda: session.xenapi.VM.set_name_label("vm", "\ud800"))[:2] == [
        "INVALID_VALUE",
        "Invalid UTF-8 string in parameter",
    ]
    assert details(lambda: session.xenapi.VM.set_name_label("vm", "x" * 10**6))[0] == "INTERNAL_ERROR"
    assert details(lambda: session.xenapi.VM.set_name_label("vm", 5)) == [
        "INTERNAL_ERROR",
        """Failure("Expected string, got 'I(5)'")""",
    ]


def test_maps(session: Session, add_vm: AddVM) -> None:
    add_vm(other_config={"a": "1"})
    vm = session.xenapi.VM
    vm.add_to_other_config("vm", "b", "2")
    assert details(lambda: vm.add_to_other_config("vm", "b", "2")) == [
        "MAP_DUPLICATE_KEY",
        "VM",
        "other_config",
        "vm",
        "b",
    ]
    vm.remove_from_other_config("vm", "absent")
    vm.remove_from_other_config("vm", "a")
    assert vm.get_other_config("vm") == {"b": "2"}
    vm.add_tags("vm", "x")
    vm.add_tags("vm", "x")
    assert vm.get_tags("vm") == ["x"]
    vm.add_tags("vm", "y")
    vm.remove_tags("vm", "x")
    vm.remove_tags("vm", "absent")
    assert vm.get_tags("vm") == ["y"]


@pytest.mark.parametrize(
    ("text", "number"), [(".5e1", 5.0), ("5.", 5.0), ("1_5", 15.0), ("0x1.8p1", 3.0), ("+2", 2.0), ("2E0", 2.0)]
)
def test_what_is_a_float(session: Session, add_vm: AddVM, text: str, number: float) -> None:
    vm = add_vm()
    session.xenapi.VM.set_HVM_shadow_multiplier("vm", text)
    assert vm.HVM_shadow_multiplier == number


@pytest.mark.parametrize(
    "value", ["", ".", "x", "1e", "1e_", "--1", "0x", "0x1p9999", "_1", "1e5e5", "٣", True, None, {}]
)
def test_what_is_no_float(session: Session, add_vm: AddVM, value: Any) -> None:
    add_vm()
    assert details(lambda: session.xenapi.VM.set_HVM_shadow_multiplier("vm", value))[0] == "INTERNAL_ERROR"


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("20260821T02:00:23Z", "20260821T02:00:23Z"),
        ("2026-08-21T02:00:23", "20260821T02:00:23Z"),
        ("2026-08-21T02:00:23.5+02:00", "20260821T00:00:23Z"),
        ("20260821T020023-0130", "20260821T03:30:23Z"),
    ],
)
def test_dates_are_held_in_utc(text: str, held: str) -> None:
    assert DATETIME.accept(text) == DATETIME.accept(WireDateTime(text)) == held


def test_references_are_text(session: Session, add_vm: AddVM) -> None:
    """No reference that no file could hold gets into the database."""
    add_vm()
    for send in (session.xenapi.VM.set_affinity, session.xenapi.VM.assert_can_boot_here):
        assert details(lambda: send("vm", "\ud800"))[:2] == ["INVALID_VALUE", "Invalid UTF-8 string in parameter"]  # noqa: B023
    assert details(lambda: session.xenapi.VM.get_record("\udfff"))[0] == "INVALID_VALUE"


def test_enums_in_any_case(session: Session, add_vm: AddVM) -> None:
    vm = add_vm()
    session.xenapi.VM.set_actions_after_reboot("vm", "DESTROY")
    assert vm.actions_after_reboot == "destroy"
    assert details(lambda: session.xenapi.VM.set_actions_after_reboot("vm", "explode")) == [
        "INTERNAL_ERROR",
        'Failure("Unknown tag/contents")',
    ]


def test_no_async_form(session: Session, add_vm: AddVM) -> None:
    add_vm()
    assert details(lambda: session.xenapi.Async.VM.set_memory_static_max("vm", "1")) == [
        "Fault",
        "No async mode for this operation (rpc: VM.set_memory_static_max)",
    ]


def test_removed(session: Session) -> None:
    assert details(lambda: session.xenapi.host_metrics.get_memory_free("h1m")) == ["MESSAGE_REMOVED"]
    assert "memory_free" in session.xenapi.host_metrics.get_record("h1m")


def test_roles() -> None:
    users = {role.name: User(role.name, role) for role in Role}
    pool = Pool(build_database(), users=users)
    session = Session(pool)
    assert details(lambda: session.login_with_password("VM_ADMIN", "wrong"))[0] == "SESSION_AUTHENTICATION_FAILED"
    for role in Role:
        session.login_with_password(role.name, role.name)
        send = session.xenapi.VM.set_memory
        wanted = "HANDLE_INVALID" if role >= Role.VM_POWER_ADMIN else "RBAC_PERMISSION_DENIED"
        assert details(lambda: send("x", "1"))[0] == wanted  # noqa: B023
        task = session.xenapi.Async.VM.set_memory("x", "1")
        assert session.xenapi.task.get_error_info(task)[0] == wanted
        unknown = details(lambda: session.xenapi.VM.nothing())
        assert unknown[0] == ("MESSAGE_METHOD_UNKNOWN" if role is Role.POOL_ADMIN else "RBAC_PERMISSION_DENIED")
    session.login_with_password("READ_ONLY", "READ_ONLY")
    text = "No permission in user session. (Roles with this permission: {})"
    may = text.format("pool-admin, pool-operator, vm-power-admin")
    assert details(lambda: session.xenapi.VM.set_memory("x", "1"))[1:] == ["vm.set_memory", may]
    assert details(lambda: session.xenapi.VM.nothing())[1:] == ["host.call_extension", text.format("pool-admin")]


def test_passwords_are_not_held() -> None:
    """Neither in the user nor in anything that it refers to, nor shown; the right one is still told from the wrong."""
    password = "a password of 32 characters, ha!"
    users = {"root": User(password), "anyone": User(None, Role.READ_ONLY)}
    pool = Pool(build_database(), users=users)
    held = [repr(users["root"]), *(repr(getattr(users["root"], name)) for name in User.__slots__)]
    assert not any(password in text for text in held)
    assert pool.log_in("root", password)
    assert pool.log_in("anyone", "whatever")
    for user, wrong in (("root", "x"), ("root", ""), ("nobody", password), ("root", "\ud800")):
        assert details(lambda: pool.log_in(user, wrong))[:2] == ["SESSION_AUTHENTICATION_FAILED", user]  # noqa: B023
    assert User(password)._digest != User(password)._digest


class TestSessions:
    def test_log_out(self, pool: Pool, session: Session) -> None:
        handle = session.handle
        session.logout()
        assert session.handle is None
        assert details(lambda: pool.dispatch("VM.get_all", (handle,))) == ["SESSION_INVALID", handle]
        with pytest.raises(AttributeError):
            session.logout()

    def test_client_logs_in_again(self, pool: Pool, session: Session) -> None:
        assert session.handle is not None
        first = session.handle
        pool.log_out(first)
        assert len(session.xenapi.host.get_all()) == 2
        assert session.handle != first

    def test_client_without_login(self, pool: Pool) -> None:
        session = Session(pool)
        assert details(lambda: session.xenapi.VM.get_all())[0] == "INTERNAL_ERROR"
        session._session = "stale"
        with pytest.raises(Fault, match="You must log in"):
            session.xenapi.VM.get_all()

    def test_unused_for_a_day(self) -> None:
        clock = Clock(0.0)
        pool = Pool(build_database(), clock=clock)
        ref = pool.log_in("root", "")
        clock.advance(24 * 3600)
        pool.dispatch("VM.get_all", (ref,))
        clock.advance(24 * 3600 + 1)
        assert details(lambda: pool.dispatch("VM.get_all", (ref,))) == ["SESSION_INVALID", ref]
        assert ref not in pool.database.session

    @pytest.mark.parametrize("prefix", ["", "Async."])
    def test_a_message_that_waits_is_use(self, pool: Pool, session: Session, add_vm: AddVM, prefix: str) -> None:
        handle = session.handle
        add_vm(start_delay=3 * 24 * 3600)
        pool.dispatch(f"{prefix}VM.start", (handle, "vm", False, False))
        pool.dispatch("VM.get_all", (handle,))

    def test_five_hundred_for_one_user(self, pool: Pool) -> None:
        refs = []
        for _ in range(501):
            refs.append(pool.log_in("root", "", "program"))
            pool.clock.advance(1)
        assert details(lambda: pool.dispatch("VM.get_all", (refs[0],)))[0] == "SESSION_INVALID"
        pool.dispatch("VM.get_all", (refs[1],))

    @pytest.mark.parametrize("originator", ["program", ""])
    def test_five_hundred_for_one_originator(self, pool: Pool, originator: str) -> None:
        """Whoever its users are; sessions without one are counted by user."""
        refs = []
        for number in range(501):
            refs.append(pool.log_in(f"user{number}", "", originator))
            pool.clock.advance(1)
        lost = [ref for ref in refs if ref not in pool.database.session]
        assert lost == (refs[:1] if originator else [])

    def test_all_together(self, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sessions, "MAX_ALL_SESSIONS", 100)
        refs = []
        for number in range(300):
            pool.clock.advance(1)
            refs.append(pool.log_in(f"user {number}", ""))
        assert 90 <= len(pool.database.session) <= 100
        assert set(refs[-90:]) <= set(pool.database.session.rows)

    def test_by_their_names(self, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sessions, "MAX_BYTES", 100_000)
        for number in range(100):
            pool.clock.advance(1)
            last = pool.log_in(f"{number}" * 5_000, "")
        assert 1 <= len(pool.database.session) <= 20
        assert last in pool.database.session

    def test_local(self, pool: Pool) -> None:
        session = Session(pool)
        session.slave_local_login_with_password("root", "")
        assert session.xenapi.VM.get_all()
        session.logout()


def test_task_of_a_success(pool: Pool, session: Session, add_vm: AddVM) -> None:
    add_vm()
    task = session.xenapi.Async.VM.maximise_memory("vm", "0", False)
    record = session.xenapi.task.get_record(task)
    assert record["name_label"] == "Async.VM.maximise_memory"
    assert (record["status"], record["progress"], record["result"]) == ("success", 1.0, "<value>0</value>")
    assert (record["type"], record["resident_on"], record["error_info"]) == ("<none/>", "h1", [])
    pool.clock.advance(65 * 60)
    assert details(lambda: session.xenapi.task.get_record(task)) == ["HANDLE_INVALID", "task", task]


def test_api_version(session: Session) -> None:
    assert session.API_version == "2.23"


def test_filters(session: Session, add_vm: AddVM) -> None:
    add_vm("a", is_a_template=True)
    add_vm("b", memory_static_max=5)

    def where(expression: str) -> list[str]:
        return [ref for ref in session.xenapi.VM.get_all_where(expression) if len(ref) == 1]

    assert where("true") == ["b", "a"]
    assert where('field "memory__static_max" = "5"') == ["b"]
    assert where('field "_ref" = "a" and field "is_a_template" = "true"') == ["a"]
    assert where('not field "_ref" = "a" and field "is_a_template" = "false"') == ["b", "a"]
    assert where('(not field "_ref" = "a") and field "is_a_template" = "false"') == ["b"]
    assert where('field "_ref" = "a" or true and false') == []
    assert where(" and ".join(["true"] * 20_000)) == ["b", "a"]
    assert where(" or ".join(["false"] * 20_000)) == []
    assert where('true or field "nothing" = "" and true') == ["b", "a"]
    assert where('field "allowed_operations" = "()"') == []
    assert where('field "allowed_operations" = "(\'start\')"') == []
    for bad in ("", "tru", 'field "x"', 'field "_ref" = ', "(" * 10**4, '"a" = "a" "b"', "not"):
        assert details(lambda: where(bad))[:2] == ["INVALID_VALUE", bad]  # noqa: B023
    assert details(lambda: where('field "memory_static_max" = "5"')) == [
        "INTERNAL_ERROR",
        "missing field",
        "memory_static_max",
        "",
    ]


def test_typed_facade(session: Session, add_vm: AddVM) -> None:
    vm = add_vm()
    session.api.VM.set_memory(vm.ref, value=2**31)
    assert session.api.VM.get_memory_static_max(vm.ref) == 2**31
    assert session.api.VM.get_record("vm")["memory_static_max"] == 2**31
    assert session.api.VM_metrics.get_start_time("vmm").year == 1970
    assert details(lambda: session.api.VM.set_memory("x", 1)) == ["HANDLE_INVALID", "VM", "x"]
    with pytest.raises(AttributeError, match="no message"):
        session.api.VM.nothing("x")  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="no further parameter"):
        session.api.VM.set_memory("x", valu=1)  # type: ignore[call-arg]
