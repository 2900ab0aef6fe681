"""The data model holds together: types parse, defaults are of their types, relations lead both ways, errors exist."""

import msgspec
import pytest

from xenmem import datamodel
from xenmem.datamodel import CLASSES, CODES, ENUMS, RELATIONS, Qualifier, Role
from xenmem.datamodel.types import EnumType, MapType, RecordType, RefType, SetType, Type


def inner(type: Type[object]) -> list[Type[object]]:
    if isinstance(type, SetType):
        return inner(type.of)
    if isinstance(type, MapType):
        return [*inner(type.key), *inner(type.value)]
    return [type]


@pytest.mark.parametrize("name", CLASSES)
class TestEveryClass:
    def test_types_parse_and_name_what_exists(self, name: str) -> None:
        schema = CLASSES[name]
        spellings = {field.spelling for field in schema.fields.values()}
        for message in schema.messages.values():
            spellings |= {message.result, *(parameter.spelling for parameter in message.parameters)}
        for spelling in spellings:
            for type in inner(datamodel.parse(spelling)):
                if isinstance(type, RefType):
                    assert type.target in CLASSES
                elif isinstance(type, RecordType):
                    assert type.of in CLASSES
                elif isinstance(type, EnumType):
                    assert type.members == ENUMS[type.name]

    def test_defaults_are_of_their_types(self, name: str) -> None:
        for field in CLASSES[name].fields.values():
            assert field.type.load(field.default) == field.default, field.path
            for type, value in ((field.type, field.default),):
                if isinstance(type, EnumType):
                    assert value in type.members

    def test_names_follow_from_the_path(self, name: str) -> None:
        for api, field in CLASSES[name].fields.items():
            assert (field.name, field.database.replace("__", "_")) == (api, api)

    def test_errors_exist(self, name: str) -> None:
        for message in CLASSES[name].messages.values():
            assert CODES.keys() >= set(message.errors)

    def test_has_a_line_of_documentation(self, name: str) -> None:
        assert CLASSES[name].doc.endswith(".")

    def test_key_roles_are_of_maps(self, name: str) -> None:
        for field in CLASSES[name].fields.values():
            assert field.key_roles is None or isinstance(field.type, MapType)


@pytest.mark.parametrize("relation", RELATIONS, ids=lambda relation: ".".join(relation[:2]))
def test_relations_lead_both_ways(relation: tuple[str, str, str, str]) -> None:
    source, field, target, many = relation
    there, back = CLASSES[source].fields[field].type, CLASSES[target].fields[many].type
    one = there.of if isinstance(there, SetType) else there
    if (source, field) == (target, many):
        return  # roles that a subject or a role has: the data model calls them their own inverse
    assert isinstance(one, RefType)
    assert one.target == target
    assert isinstance(back, SetType)
    assert isinstance(back.of, RefType)
    assert back.of.target == source


def test_roles_of_single_keys() -> None:
    field = CLASSES["VM"].fields["other_config"]
    roles = field.key_roles
    assert roles is not None
    assert field.role is Role.VM_ADMIN
    assert roles.find("folder") == ("folder", Role.VM_OPERATOR)
    assert roles.find("XenCenter.CustomFields.owner") == ("XenCenter.CustomFields.*", Role.VM_OPERATOR)
    assert roles.find("pci") == ("pci", Role.POOL_ADMIN)
    assert roles.find("auto_poweron") is None


def test_what_no_client_may_set_has_no_setter_for_clients() -> None:
    messages = CLASSES["VM"].messages
    assert CLASSES["VM"].fields["domid"].qualifier is Qualifier.DYNAMIC
    assert not messages["set_domid"].client
    assert messages["set_name_label"].client


def test_a_missing_field_gets_its_default() -> None:
    assert CLASSES["host"].fields["license_server"].default == {"address": "localhost", "port": "27000"}
    assert CLASSES["VM"].fields["has_vendor_device"].default is True
    assert CLASSES["VM"].fields["snapshot_of"].default == "OpaqueRef:NULL"
    assert CLASSES["VM"].fields["memory_static_max"].declared is msgspec.UNSET


@pytest.mark.parametrize("spelling", ["", "Foo", "Ref", "Enum nothing", "Set(", "Map(String)", "List(Int)", "Enum "])
def test_no_type(spelling: str) -> None:
    with pytest.raises(ValueError, match="is no type"):
        datamodel.parse(spelling)
