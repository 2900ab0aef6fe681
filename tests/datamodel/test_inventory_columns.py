"""What the readers of inventories say of a column agrees with the data model: its kind fits, and xe names it so."""

import pytest

from xenmem.datamodel import CLASSES
from xenmem.datamodel.types import BoolType, EnumType, FloatType, IntType, MapType, RefType, SetType, StringType
from xenmem.inventory.schema import TABLES, Column, Kind

KINDS = {
    Kind.TEXT: (StringType, EnumType, RefType),
    Kind.FILLED: (StringType,),
    Kind.INT: (IntType,),
    Kind.FLOAT: (FloatType,),
    Kind.BOOL: (BoolType,),
    Kind.ENUM: (EnumType,),
    Kind.REF: (RefType,),
    Kind.REFS: (SetType,),
    Kind.MAP: (MapType,),
    Kind.ENTRY: (MapType,),
    Kind.TOLD: (MapType,),
    Kind.OPERATIONS: (MapType,),
    Kind.BOOT_RECORD: (StringType,),
}
COLUMNS = [(table.name, column) for table in TABLES.values() for column in table.columns]


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=lambda value: getattr(value, "result", value))
def test_a_column_is_a_field(table: str, column: Column) -> None:
    field = CLASSES[table].fields[column.api]
    assert field.database == column.database
    if column.api != "guest_metrics":  # of xe's text the reader makes that reference itself
        assert field.parameter == column.parameter
    if column.kind is not Kind.PRESENT:
        assert isinstance(field.type, KINDS[column.kind])
    if column.kind is Kind.REF:
        assert isinstance(field.type, RefType)
        assert field.type.target == column.target


@pytest.mark.parametrize("name", TABLES)
def test_a_lone_record_is_known_by_the_same_fields(name: str) -> None:
    assert TABLES[name].signature == CLASSES[name].signature
