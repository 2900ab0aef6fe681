"""The messages of the data model that nothing else declares: none of them is unknown to a client.

Those of hosts among themselves are refused to clients (xapi-project/xen-api, ocaml/xapi/session_check.ml), setters of a
field write it without what else the reference does, constructors and destructors keep rows, and all others answer what
the reference answers for what it does not implement (api_server_common.ml). Import it after all other messages.
"""

from typing import Any

from xenmem.datamodel import CLASSES, ClassSchema, MessageSchema, errors, parse
from xenmem.datamodel.types import RecordType
from xenmem.xenapi.calls.call import Call
from xenmem.xenapi.calls.message import MESSAGES, Message, Parameter, Standing, register
from xenmem.xenapi.messages.generic import Body, bodies_of, default_of, plain_kind
from xenmem.xenapi.rules.device_rows import constructed


def _refused(full_name: str) -> Body:
    def refuse(call: Call, *arguments: Any) -> None:
        raise errors.NOT_IMPLEMENTED(full_name)

    return refuse


def _internal(full_name: str) -> Body:
    def refuse(call: Call, *arguments: Any) -> None:
        raise errors.INTERNAL_ERROR(f'Internal API "{full_name}" call attempted with non-pool (external) session')

    return refuse


def _constructor(class_name: str) -> Body:
    def create(call: Call, args: dict[str, Any]) -> str:
        row = call.db.new_row(class_name, **constructed(call, class_name, args))
        call.db.create(row)
        return str(row.ref)

    return create


def _destructor(class_name: str) -> Body:
    def destroy(call: Call, self: str) -> None:
        call.db.destroy(call.db.tables[class_name][self])

    return destroy


def _of(schema: ClassSchema, message: MessageSchema) -> "tuple[Body, Standing, str, tuple[errors.ErrorCode, ...]]":
    name = f"{schema.name}.{message.name}"
    if message.pool_internal:
        return _internal(name), Standing.INTERNAL, "For hosts of a pool among themselves.", (errors.INTERNAL_ERROR,)
    if message.kind == "object make":
        about = f"A new row of the class {schema.name}, with nothing behind it."
        return _constructor(schema.name), Standing.RECORD, about, (errors.INTERNAL_ERROR,)
    if message.kind == "object delete":
        about = f"Remove a row of the class {schema.name}."
        return _destructor(schema.name), Standing.RECORD, about, (errors.HANDLE_INVALID,)
    kind, _, field = plain_kind(schema, message).partition(" ")
    if kind:
        body, doc, codes, _ = bodies_of(schema.name).of_field(kind, schema.fields[field])
        return body, Standing.RECORD, f"{doc.removesuffix('.')}: written, without its effect.", codes
    return _refused(name), Standing.REFUSED, "Not implemented here.", (errors.NOT_IMPLEMENTED,)


def _declare(schema: ClassSchema, message: MessageSchema) -> None:
    body, standing, doc, codes = _of(schema, message)
    result = parse(message.result)
    if isinstance(result, RecordType) and schema.in_database:
        result = bodies_of(schema.name).record
    register(
        Message.of_schema(
            schema.name,
            message,
            [
                Parameter(one.name, parse(one.spelling), default_of(parse(one.spelling), one.default))
                for one in message.parameters
            ],
            result,
            body,
            doc=doc,
            errors=codes,
            generated=True,
            standing=standing,
        )
    )


for _schema in CLASSES.values():
    for _message in _schema.messages.values():
        if _message.client and f"{_schema.name}.{_message.name}" not in MESSAGES:
            _declare(_schema, _message)
