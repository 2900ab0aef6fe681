"""Damaged inventories: whatever the damage, an InventoryError or a fleet that answers comes out, and nothing else."""

import io
import json

import pytest
from dumps import dump, pool, protect_pairs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import xenmem
from xenmem import InventoryError

XE = """uuid ( RO)                : 00000000-0000-4000-8000-00000000000a
          name-label ( RW): xen01
            hostname ( RO): xen01.example
    software-version (MRO): xapi: 26.17; xapi_build: 26.17.0
     memory-overhead ( RO): 1073741824
        memory-total ( RO): 68719476736
   host-metrics-live ( RO): true


uuid ( RO)                  : 00000000-0000-4000-8000-00000000000b
            name-label ( RW): guest
           power-state ( RO): running
           domain-type ( RO): hvm
     memory-static-max ( RW): 4294967296
    memory-dynamic-max ( RW): 4294967296
    memory-dynamic-min ( RW): 2147483648
     memory-static-min ( RW): 1073741824
       memory-overhead ( RO): 39845888
             VCPUs-max ( RW): 2
      VCPUs-at-startup ( RW): 2
           resident-on ( RO): 00000000-0000-4000-8000-00000000000a


"""
DOCUMENTS = (
    dump(pool()),
    dump(
        pool(last_booted_record="('struct' ('VCPUs_max' '4'))", power_state="Paused"),
        schema=72,
        protected=protect_pairs,
    ),
    json.dumps(pool()).encode(),
    XE.encode(),
)
PIECES = st.sampled_from(
    [
        b"",
        b"<",
        b"/>",
        b"</table>",
        b'"',
        b"'",
        b"%",
        b"&#0;",
        b"-",
        b"9" * 20,
        b"OpaqueRef:NULL",
        b"{",
        b"null",
        b"\n",
        b": ",
    ]
) | st.binary(max_size=4)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    document = draw(st.sampled_from(DOCUMENTS))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(document)))
        end = min(len(document), start + draw(st.integers(0, 20)))
        document = document[:start] + draw(PIECES) + document[end:]
    return document


def test_the_undamaged_documents_read() -> None:
    for document in DOCUMENTS:
        fleet = xenmem.read(io.BytesIO(document))
        assert "guest" in fleet.vms.name_label.tolist()[-1]
        assert (fleet.free_memory() > 0).all()


@pytest.mark.slow
@settings(max_examples=500, suppress_health_check=[HealthCheck.too_slow])
@given(damaged(), st.booleans())
def test_damage(document: bytes, lenient: bool) -> None:
    try:
        fleet = xenmem.read(io.BytesIO(document), lenient=lenient)
    except InventoryError:
        return
    for policy in ("static_max", "dynamic_max", "dynamic_min"):
        assert (fleet.free_memory(policy) >= 0).all()
        assert (fleet.start_memory(policy) > 0).all()
    assert (fleet.overhead() > 0).all()
    assert len(fleet.stored_overhead_model()) == len(fleet.vms)
