"""Fleets in Arrow and back: nothing that a fleet answers changes, whoever carries it, and what is bad is named."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from dumps import pool
from fleets_alike import assert_alike
from hypothesis import given, settings
from hypothesis import strategies as st

import xenmem
from xenmem import Fleet, InventoryError, PowerState
from xenmem.columns import SCHEMA_VERSION, TABLE_TYPES, arrow_schema
from xenmem.inventory import arrow

INVENTORIES = ("pool-small.statedb.xml", "pool-small.records.json", "pool-small.xe.txt", "pool-65.statedb.xml")


@pytest.fixture(scope="module", params=INVENTORIES)
def fleet(request: pytest.FixtureRequest, data: Path) -> Fleet:
    return xenmem.read(data / "inventories" / request.param)


@pytest.fixture(scope="module")
def small(data: Path) -> Fleet:
    return xenmem.read(data / "inventories" / "pool-small.statedb.xml")


def through_duckdb(table: pa.Table) -> Any:
    """A relation of DuckDB with the rows of a table."""
    return duckdb.connect().from_arrow(table)


CARRIERS: Mapping[str, Callable[[pa.Table], Any]] = {
    "pyarrow": lambda table: table,
    "pyarrow-in-pieces": lambda table: pa.concat_tables([table.slice(0, 3), table.slice(3)]),
    "a-stream": lambda table: table.to_reader(max_chunksize=7),
    "polars": pl.DataFrame,
    "pandas": lambda table: table.to_pandas(maps_as_pydicts="strict"),
    "pandas-with-types-of-arrow": lambda table: table.to_pandas(types_mapper=pd.ArrowDtype),
    "duckdb": through_duckdb,
}


@pytest.mark.parametrize("carrier", CARRIERS)
def test_nothing_changes_on_the_way(fleet: Fleet, carrier: str) -> None:
    tables = {name: CARRIERS[carrier](table) for name, table in fleet.to_arrow().items()}
    assert_alike(Fleet.from_arrow(tables), fleet)


@pytest.mark.parametrize("carrier", ["pyarrow", "polars"])
def test_one_stream_holds_all_tables(fleet: Fleet, carrier: str) -> None:
    stream = pa.table(fleet) if carrier == "pyarrow" else pl.DataFrame(fleet)
    assert_alike(Fleet.from_arrow(stream), fleet)


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


@settings(max_examples=30)
@given(st.data())
def test_nothing_a_fleet_answers_changes(small: Fleet, data: st.DataObject) -> None:
    """Of fleets that were edited, with names of any characters."""
    fleet = small
    for row in data.draw(st.lists(st.integers(0, 60), max_size=3), "gone"):
        fleet = fleet.without_vm(min(row, len(fleet.vms) - 1))
    for name in data.draw(st.lists(texts, max_size=3), "new"):
        fleet = fleet.with_vm(name, data.draw(st.integers(1, 1 << 40)))
    vms = data.draw(st.lists(st.integers(0, len(fleet.vms) - 1), max_size=3))
    fleet = fleet.moved({vm: data.draw(st.one_of(st.none(), st.integers(0, 2))) for vm in vms})
    tags = np.fromiter((data.draw(st.lists(texts, max_size=2).map(tuple)) for _ in range(len(fleet.vms))), object)
    fleet = fleet.replace(vms=dataclasses.replace(fleet.vms, tags=tags))
    assert_alike(Fleet.from_arrow(fleet.to_arrow()), fleet)
    assert_alike(Fleet.from_arrow(fleet), fleet)


def test_a_fleet_with_nothing_in_it() -> None:
    tables = pool()
    fleet = Fleet.from_records({"VM": tables["VM"]})
    assert_alike(Fleet.from_arrow(fleet.to_arrow()), fleet)
    assert_alike(Fleet.from_arrow({name: pl.DataFrame(table) for name, table in fleet.to_arrow().items()}), fleet)


def test_numbers_are_not_copied(small: Fleet) -> None:
    tables = small.to_arrow()
    back = Fleet.from_arrow(tables)
    for name, kind in TABLE_TYPES.items():
        for column, held in kind.held().items():
            values = getattr(getattr(small, name), column)
            if held.cell is None and held.dtype != bool and len(values):
                address = values.__array_interface__["data"][0]
                array = tables[name].column(column).chunk(0)
                array = array.indices if held.names else array
                assert array.buffers()[1].address == address, (name, column)
                again = getattr(getattr(back, name), column)
                assert again.__array_interface__["data"][0] == address, (name, column)
    assert back.vms.accounted_static_max is back.vms.memory_static_max


def test_tables_by_themselves_go_to_other_libraries(small: Fleet) -> None:
    """Codes are names there, and references the column `row` of the table they point into."""
    vms, hosts = pl.DataFrame(small.vms), pl.DataFrame(small.hosts)
    assert vms["power_state"].cast(pl.String).unique().sort().to_list() == sorted(
        {PowerState(code).name.capitalize() for code in small.vms.power_state.tolist()}
    )
    joined = vms.join(hosts, left_on="resident_on", right_on="row", suffix="_of_host")
    used = joined.group_by("ref_of_host").agg(pl.col("memory_dynamic_min").sum() + pl.col("memory_overhead").sum())
    resident = small.vms.resident_on
    for row, ref in enumerate(small.hosts.ref.tolist()):
        there = resident == row
        expected = int((small.vms.memory_dynamic_min + small.vms.memory_overhead)[there].sum())
        assert used.filter(pl.col("ref_of_host") == ref)["memory_dynamic_min"].to_list() == [expected]


def test_rows_in_another_order_are_put_in_their_own(small: Fleet) -> None:
    tables = {name: pl.DataFrame(table).sort("row", descending=True) for name, table in small.to_arrow().items()}
    assert_alike(Fleet.from_arrow(tables), small)


def test_a_fleet_is_the_same_without_the_numbers_of_its_rows(small: Fleet) -> None:
    tables = {name: table.drop_columns("row") for name, table in small.to_arrow().items()}
    assert_alike(Fleet.from_arrow(tables), small)


def changed(fleet: Fleet, table: str, change: Callable[[pa.Table], Any]) -> dict[str, Any]:
    """The tables of a fleet, of which one is changed."""
    tables = fleet.to_arrow()
    tables[table] = change(tables[table])
    return tables


def put(column: str, values: Any) -> Callable[[pa.Table], pa.Table]:
    """Set a column to an array, or to the same value in each row."""

    def change(table: pa.Table) -> pa.Table:
        array = values if isinstance(values, pa.Array) else pa.array([values] * len(table))
        return table.set_column(table.column_names.index(column), column, array)

    return change


def holed(column: str) -> Callable[[pa.Table], pa.Table]:
    """Set row 1 of a column to null."""

    def change(table: pa.Table) -> pa.Table:
        values = table.column(column).to_pylist()
        values[1] = None
        kind = table.schema.field(column).type
        kind = pa.string() if pa.types.is_dictionary(kind) else kind
        return put(column, pa.array(values, kind))(table)

    return change


BAD: Mapping[str, tuple[str, Callable[[pa.Table], Any], str]] = {
    "a column is missing": (
        "vms",
        lambda table: table.drop_columns("memory_overhead"),
        "vms: there is no column memory_overhead",
    ),
    "text for a number": (
        "vms",
        put("memory_static_max", "4GiB"),
        "vms: memory_static_max: string where int64 is needed",
    ),
    "a fraction for a number": ("hosts", put("memory_total", 0.5), "hosts: memory_total: double where int64 is needed"),
    "a number for a flag": ("vms", put("is_a_template", 1), "vms: is_a_template: int64 where bool is needed"),
    "a number for a text": ("hosts", put("hostname", 1), "hosts: hostname: int64 where string is needed"),
    "a text for a list": ("vms", put("tags", "web"), r"vms: tags: string where list<item: string> is needed: .+"),
    "a number too large for its column": (
        "vms",
        put("VCPUs_max", 1 << 40),
        r"vms: VCPUs_max: int64 where int32 is needed: Integer value 1099511627776 not in range.*",
    ),
    "a null": ("vms", holed("memory_overhead"), "vms: memory_overhead: row 1 is null"),
    "a null for a code": ("vms", holed("power_state"), "vms: power_state: row 1 is null"),
    "a null for a list": ("vms", holed("tags"), "vms: tags: row 1 is null"),
    "a null in a list": (
        "vms",
        lambda table: put("tags", pa.array([["a", None]] * len(table)))(table),
        "vms: tags: a list holds a null",
    ),
    "an unknown name": (
        "vms",
        put("power_state", "Asleep"),
        "vms: power_state: row 0: 'Asleep' is none of Halted, Paused, Running, Suspended",
    ),
    "a code beyond the names": ("vms", put("domain_type", 7), r"vms: domain_type: row 0: 7 is outside 0\.\.3"),
    "a negative amount": ("vms", put("memory_overhead", -1), r"vms: memory_overhead: row 0: -1 is outside 0\.\..+"),
    "not a number": (
        "vms",
        put("HVM_shadow_multiplier", float("nan")),
        r"vms: HVM_shadow_multiplier: row 0: nan is outside 0\.\..+",
    ),
    "a host that is not there": (
        "vms",
        put("resident_on", 3),
        "vms: resident_on: row 0: 3 is no row of hosts, which has 3",
    ),
    "a model that is not there": ("pools", put("model", "27"), r"pools: model: row 0: '27' is none of 26\.3, pre-.+"),
    "a placement that is not there": (
        "vm_groups",
        put("placement", "spread"),
        "vm_groups: placement: row 0: 'spread' is none of anti_affinity, normal",
    ),
    "rows twice": (
        "hosts",
        lambda table: pa.concat_tables([table, table]),
        r"hosts: row: not each of 0\.\.5 once: rows are missing or there twice, .+",
    ),
    "rows twice, without numbers": (
        "hosts",
        lambda table: pa.concat_tables([table, table]).drop_columns("row"),
        "hosts: ref: 6 rows have 3 references",
    ),
    "another version": (
        "hosts",
        lambda table: table.replace_schema_metadata({"xenmem.schema": "99"}),
        f"schema version 99, and this xenmem knows {SCHEMA_VERSION}",
    ),
    "no table": ("networks", lambda table: [1, 2], r"networks: a list is no table of Arrow: no __arrow_c_stream__"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_bad_is_named(small: Fleet, case: str) -> None:
    table, change, message = BAD[case]
    with pytest.raises(InventoryError) as caught:
        Fleet.from_arrow(changed(small, table, change))
    assert re.fullmatch(f"<arrow>: {message}", str(caught.value)), str(caught.value)


def test_tables_that_are_missing_are_named(small: Fleet) -> None:
    tables = small.to_arrow()
    del tables["srs"]
    with pytest.raises(InventoryError, match=r"^<arrow>: there is no table srs$"):
        Fleet.from_arrow(tables)
    del tables["notes"]
    with pytest.raises(InventoryError, match=r"^<arrow>: there is no column table: vms, hosts, pools, .+ are wanted"):
        Fleet.from_arrow(small.vms)
    stream = pl.DataFrame(small).with_columns(pl.lit("guests").alias("table"))
    with pytest.raises(InventoryError, match=r"^<arrow>: table: 'guests' is none of vms, hosts, "):
        Fleet.from_arrow(stream)


def test_half_a_character_is_named(small: Fleet) -> None:
    fleet = small.with_vm("\ud800", 1 << 30)
    with pytest.raises(ValueError, match=r"^vms: name_label: .*surrogates not allowed"):
        fleet.to_arrow()


def test_columns_of_one_name_are_of_one_type() -> None:
    """They share a column of the stream."""
    types: dict[str, Any] = {}
    for table, columns in arrow.COLUMNS.items():
        for name, held in columns.items():
            kind = types.setdefault(name, xenmem.arrow.type_of(held))
            assert kind == xenmem.arrow.type_of(held), (table, name)


def test_only_some_pools(data: Path) -> None:
    one, two = (xenmem.read(data / "inventories" / name) for name in ("pool-small.statedb.xml", "pool-65.statedb.xml"))
    both = Fleet.concatenate([one, two])
    assert_alike(both.only([0]), one)
    assert_alike(both.only([two.pools.uuid[0]]), two)
    assert_alike(both.only([1, 0]), Fleet.concatenate([two, one]))
    for pools in ([2], [0, 0], ["nowhere"]):
        with pytest.raises(ValueError, match="pool"):
            both.only(pools)
    astray = both.vms.resident_on.copy()
    astray[0] = len(one.hosts)
    vms = type(both.vms)(**{**both.vms.columns(), "resident_on": astray})
    with pytest.raises(ValueError, match=r"^vms: resident_on: a row points into another pool$"):
        both.replace(vms=vms).only([0])
    assert np.array_equal(both.only([0]).vms.ref, one.vms.ref)


def test_the_page_tells_the_schema() -> None:
    """docs/reference/columns.md, 3: a column that comes or changes is a new version, or the page is wrong."""
    page = (Path(__file__).parents[2] / "docs" / "reference" / "columns.md").read_text()
    assert page.rindex(f"\n| {SCHEMA_VERSION} |") == page.rindex("\n| ")
    for table, columns in arrow.COLUMNS.items():
        section = page.split(f" {table}\n\n", 1)[1].split("\n#", 1)[0]
        told = {
            name: kind
            for kind, names in re.findall(r"^\| ([^|]+?) \| ([^|]+) \|$", section, re.MULTILINE)
            for name in names.split(", ")
            if kind not in ("type", "---")
        }
        fields = arrow_schema(table, columns)
        assert told == {field.name: spelled(field) for field in fields}, table
        metadata = {b"xenmem.schema": str(SCHEMA_VERSION).encode(), b"xenmem.table": table.encode()}
        assert fields.metadata == metadata


def spelled(field: pa.Field) -> str:
    """A type as the page writes it."""
    text = str(field.type).replace("dictionary<values=string, indices=uint8, ordered=0>", "code")
    return text.replace("list<item: ", "list<") + " or null" * field.nullable
