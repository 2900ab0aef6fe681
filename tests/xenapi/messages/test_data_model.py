"""The pool answers what the data model declares: every class, message, parameter, default, role and asynchrony."""

from typing import Any

import msgspec
import pytest
from small_pool import build_database, row

from xenmem.datamodel import CLASSES, CODES, MessageSchema, Role, parse
from xenmem.datamodel.types import RecordType
from xenmem.xenapi import Failure, Pool, Session, User
from xenmem.xenapi.calls.message import MESSAGES, REQUIRED, Message
from xenmem.xenapi.store.rows import ROW_CLASSES

KEPT = {name: schema for name, schema in CLASSES.items() if schema.in_database}


def sent(session: Session, method: str, *values: Any) -> Any:
    """The answer as a client gets it."""
    message, _, value = session.pool.dispatch(method, [session.handle, *values])
    return message.result.give(value)


def declared(message: Message) -> MessageSchema:
    return CLASSES[message.class_name].messages[message.name]


def test_every_class_has_rows_with_every_field() -> None:
    assert ROW_CLASSES.keys() == KEPT.keys()
    for name, row_class in ROW_CLASSES.items():
        made = row_class("x")
        assert all(hasattr(made, field) for field in KEPT[name].fields)


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_messages_are_as_declared(name: str) -> None:
    message = MESSAGES[name]
    schema = declared(message)
    assert schema.client
    assert message.is_async == schema.is_async
    assert message.has_session == schema.has_session
    assert message.removed == bool(schema.removed)
    assert message.role is (Role.POOL_ADMIN if schema.role is None else schema.role)
    assert message.key_roles is schema.key_roles
    assert [one.name.rstrip("_") for one in message.parameters] == [one.name for one in schema.parameters]
    for given, wanted in zip(message.parameters, schema.parameters, strict=True):
        type = parse(wanted.spelling)
        assert given.type.name == type.name
        if wanted.default is msgspec.UNSET:
            assert given.default is REQUIRED
        elif name != "host.create":  # it declares [] for an enumeration
            assert given.default == type.load(wanted.default)
    assert message.result.name == parse(schema.result).name or name.startswith("event.")


@pytest.mark.parametrize("name", KEPT)
def test_what_follows_from_the_fields_is_there(name: str) -> None:
    for message in KEPT[name].messages.values():
        generated = message.kind.partition(" ")[0] in ("getter", "setter", "add", "remove")
        if message.client and (generated or message.kind.startswith("object get")):
            assert f"{name}.{message.name}" in MESSAGES
        if not message.client:
            assert f"{name}.{message.name}" not in MESSAGES


def test_codes_are_those_of_the_data_model() -> None:
    assert {code for message in MESSAGES.values() for code in message.errors} <= set(CODES.values())


@pytest.mark.parametrize("name", [name for name, schema in KEPT.items() if not schema.removed])
def test_a_class_without_behaviour_answers_all_the_same(name: str) -> None:
    pool = Pool(build_database(), seed=1)
    session = Session(pool)
    session.login_with_password("root", "")
    pool.database.load(name, [row(pool.database, name, "it", uuid="u")])
    assert sent(session, f"{name}.get_by_uuid", "u") == "it"
    record = sent(session, f"{name}.get_record", "it")
    assert record.keys() == {field.name for field in KEPT[name].fields.values() if not field.internal}
    if KEPT[name].lists:
        assert "it" in sent(session, f"{name}.get_all")
        assert sent(session, f"{name}.get_all_records")["it"] == record
        assert sent(session, f"{name}.get_all_records_where", 'field "uuid" = "u"') == {"it": record}
    with pytest.raises(Failure) as raised:
        sent(session, f"{name}.get_record", "nothing")
    assert raised.value.details == ["HANDLE_INVALID", name, "nothing"]


@pytest.mark.parametrize("name", KEPT)
def test_every_field_is_read_and_set(name: str) -> None:
    session = logged_in(Role.POOL_ADMIN)
    database = session.pool.database
    it = row(database, name, "it", uuid="u")
    database.load(name, [it])
    for message in KEPT[name].messages.values():
        kind, _, field = message.kind.partition(" ")
        if not message.client or kind not in ("getter", "setter") or f"{name}.{message.name}" == "VM.set_is_a_template":
            continue
        type = KEPT[name].fields[field].type
        value = type.give(getattr(it, field))
        values = ["it"] if kind == "getter" else ["it", value]
        if message.removed:
            with pytest.raises(Failure, match="MESSAGE_REMOVED"):
                sent(session, f"{name}.{message.name}", *values)
        elif kind == "setter":
            sent(session, f"{name}.{message.name}", *values)
        elif message.name != "get_allowed_operations" or name == "task":
            assert sent(session, f"{name}.{message.name}", *values) == value


def logged_in(role: Role) -> Session:
    session = Session(Pool(build_database(), users={"me": User("", role)}))
    session.login_with_password("me", "")
    return session


def test_a_key_may_have_a_role_of_its_own() -> None:
    operator = logged_in(Role.VM_OPERATOR)
    operator.xenapi.VM.add_to_other_config("h1dom0", "folder", "/a")
    operator.xenapi.VM.add_to_other_config("h1dom0", "XenCenter.CustomFields.owner", "me")
    operator.xenapi.VM.remove_from_other_config("h1dom0", "folder")
    with pytest.raises(Failure) as raised:
        operator.xenapi.VM.add_to_other_config("h1dom0", "else", "1")
    assert raised.value.details[:2] == ["RBAC_PERMISSION_DENIED", "vm.add_to_other_config"]
    admin = logged_in(Role.VM_ADMIN)
    admin.xenapi.VM.add_to_other_config("h1dom0", "else", "1")
    for key in ("pci", "hvm_serial"):
        with pytest.raises(Failure) as raised:
            admin.xenapi.VM.add_to_other_config("h1dom0", key, "0/0000:00:00.0")
        assert raised.value.details == [
            "RBAC_PERMISSION_DENIED",
            f"vm.add_to_other_config/key:{key}",
            "No permission in user session. (Roles with this permission: pool-admin)",
        ]
    logged_in(Role.POOL_ADMIN).xenapi.VM.add_to_other_config("h1dom0", "pci", "1")


@pytest.mark.parametrize(
    "name", ["VM.get_is_snapshot_from_vmpp", "VM_metrics.get_VCPUs_utilisation", "VBD.get_metrics"]
)
def test_what_was_removed_says_so(name: str) -> None:
    with pytest.raises(Failure) as raised:
        sent(logged_in(Role.POOL_ADMIN), name, "h1dom0")
    assert raised.value.details == ["MESSAGE_REMOVED"]


@pytest.mark.parametrize("name", ["VM.set_ha_restart_priority", "VM.set_platform", "VM.remove_from_platform"])
def test_what_has_no_asynchronous_form(name: str) -> None:
    session = logged_in(Role.POOL_ADMIN)
    arguments = ["h1dom0", {}] if name == "VM.set_platform" else ["h1dom0", ""]
    with pytest.raises(Failure) as raised:
        sent(session, f"Async.{name}", *arguments)
    assert raised.value.details == ["Fault", f"No async mode for this operation (rpc: {name})"]


def test_a_pool_is_not_found_by_its_name() -> None:
    with pytest.raises(Failure) as raised:
        sent(logged_in(Role.POOL_ADMIN), "pool.get_by_name_label", "")
    assert raised.value.details == ["MESSAGE_METHOD_UNKNOWN", "pool.get_by_name_label"]


def test_who_points_to_a_row_is_listed_there() -> None:
    session = logged_in(Role.POOL_ADMIN)
    database = session.pool.database
    database.load("VBD", [row(database, "VBD", "b", VM="h1dom0"), row(database, "VBD", "a", VM="h1dom0")])
    assert session.xenapi.VM.get_VBDs("h1dom0") == ["b", "a"]
    token = session.xenapi.event_from(["vm"], "", 0.0)["token"]
    start = database.snapshot()
    database.write(database.tables["VBD"]["a"], "VM", "h2dom0")
    assert (session.xenapi.VM.get_VBDs("h1dom0"), session.xenapi.VM.get_VBDs("h2dom0")) == (["b"], ["a"])
    changed = {event["ref"] for event in session.xenapi.event_from(["vm"], token, 0.0)["events"]}
    assert changed == {"h1dom0", "h2dom0"}
    database.destroy(database.tables["VBD"]["b"])
    assert session.xenapi.VM.get_VBDs("h1dom0") == []
    database.restore(start)
    assert session.xenapi.VM.get_VBDs("h1dom0") == ["b", "a"]
    assert session.xenapi.VM.get_VBDs("h2dom0") == []


def test_records_are_results_of_messages() -> None:
    assert isinstance(MESSAGES["SR.get_record"].result, RecordType)
