"""The messages of the class role that follow its subroles. Source: xapi-project/xen-api, ocaml/xapi/xapi_role.ml."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, cast

from xenmem.datamodel import errors
from xenmem.datamodel.types import RefType, SetType
from xenmem.xenapi.calls.call import Call
from xenmem.xenapi.calls.message import String, Strings, message

if TYPE_CHECKING:
    from xenmem.xenapi.store import rows

RoleRef = Annotated[str, RefType("role")]
RoleRefs = Annotated[tuple[str, ...], SetType(RefType("role"))]


def _permissions(call: Call, ref: str) -> "list[rows.role]":
    table = call.db.tables["role"]
    role = cast("rows.role", table[ref])
    found = (cast("rows.role | None", table.get(one)) for one in role.subroles)
    return [one for one in found if one is not None] if role.subroles else [role]


def _with(call: Call, permission: str) -> "Iterator[rows.role]":
    for role in call.db.tables["role"]:
        if permission in role.subroles:
            yield cast("rows.role", role)


@message("role", errors=(errors.HANDLE_INVALID,))
def get_permissions(call: Call, self: RoleRef) -> RoleRefs:
    """The permissions of a role."""
    return tuple(one.ref for one in _permissions(call, self))


@message("role", errors=(errors.HANDLE_INVALID,))
def get_permissions_name_label(call: Call, self: RoleRef) -> Strings:
    """The names of the permissions of a role."""
    return tuple(one.name_label for one in _permissions(call, self))


@message("role")
def get_by_permission(call: Call, permission: RoleRef) -> RoleRefs:
    """The roles that have a permission."""
    return tuple(role.ref for role in _with(call, permission))


@message("role")
def get_by_permission_name_label(call: Call, label: String) -> RoleRefs:
    """The roles that have a permission of a name."""
    refs = call.db.tables["role"].by_name_label(label)
    return tuple(role.ref for ref in refs for role in _with(call, ref))
