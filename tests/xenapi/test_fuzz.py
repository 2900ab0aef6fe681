"""Whatever is sent, the pool answers: a value of the declared type, or a failure of texts; and then it changes nothing.

Sent are all methods, unknown ones too, with values of every type that a wire can carry, and some that none can.
"""

import math
import threading
from datetime import datetime
from typing import Any
from xmlrpc.client import DateTime

import hypothesis
import hypothesis.strategies as st
import pytest
from fuzz.calls import is_of
from small_pool import build_database, everything, vm_row

from xenmem.datamodel.errors import CODES
from xenmem.datamodel.types import (
    BoolType,
    DateTimeType,
    EnumType,
    FloatType,
    IntType,
    MapType,
    RecordType,
    RefType,
    SetType,
    Type,
)
from xenmem.xenapi import Clock, Failure, Pool
from xenmem.xenapi.calls.message import MESSAGES, Message, find

NULL = "OpaqueRef:NULL"
EVERY_CALL = frozenset(
    ("MESSAGE_PARAMETER_COUNT_MISMATCH", "MESSAGE_REMOVED", "INTERNAL_ERROR", "INVALID_VALUE", "Fault")
)
"""What any call may answer; INVALID_VALUE where a text is no UTF-8."""
HUGE = "x" * 400_000
texts = st.one_of(
    st.sampled_from(
        ("", HUGE, "\ud800", "\x00", "٣", "0x10", "-0b1", "1e400", "nan", "9" * 5000, "true", "20260101T00:00:00Z")
    ),
    st.text(max_size=20),
)
integers = st.one_of(st.integers(), st.sampled_from((2**63 - 1, -(2**63), 2**63, 2**64, -(2**63) - 1, 10**400)))
leaves = st.one_of(
    texts,
    integers,
    st.floats(),
    st.booleans(),
    st.none(),
    st.binary(max_size=4),
    st.just(object()),
    st.just(1j),
    st.just(datetime(2026, 8, 21)),
    st.builds(DateTime, st.sampled_from(("20260821T02:00:23Z", "", "x"))),
)
anything = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(texts, st.integers()), inner, max_size=3),
        st.tuples(inner),
    ),
    max_leaves=5,
)
refs = st.sampled_from(("vm", "vmm", "h1", "h2", "h1m", "p", "h1dom0", NULL, "gone", ""))
MEMORY = st.sampled_from((0, 1, -1, 1 << 30, 2 << 30, 70 << 30, 2**63 - 1, -(2**63)))


def fitting(type: Type[Any]) -> st.SearchStrategy[Any]:
    """Values that the API accepts for a type, as clients send them."""
    match type:
        case IntType():
            return st.one_of(MEMORY, MEMORY.map(str))
        case FloatType():
            return st.floats()
        case BoolType():
            return st.booleans()
        case RefType():
            return refs
        case EnumType():
            return st.sampled_from(type.members)
        case DateTimeType():
            return st.just("20260821T02:00:23Z")
        case SetType():
            return st.lists(fitting(type.of), max_size=2)
        case MapType():
            return st.dictionaries(fitting(type.key), fitting(type.value), max_size=2)
        case RecordType():
            return st.dictionaries(st.sampled_from(("memory_static_max", "platform", "affinity")), anything, max_size=3)
        case _:
            return texts


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, list[Any]]:
    """A method and its parameters without the session: right, or wrong in one place or in all."""
    if draw(st.integers(0, 9)) == 0:
        method = draw(
            st.one_of(texts, st.sampled_from(("VM", "VM.", ".get_all", "Async.", "Async.Async.VM.start", "VM.fly")))
        )
        return method, draw(st.lists(anything, max_size=3))
    message = draw(st.sampled_from(SAFE))
    method = draw(st.sampled_from(("", "", "", "Async.", "InternalAsync."))) + message.full_name
    sent = [draw(fitting(parameter.type)) for parameter in message.parameters]
    match draw(st.integers(0, 5)):
        case 0 if sent:
            sent[draw(st.integers(0, len(sent) - 1))] = draw(anything)
        case 1:
            sent = draw(st.lists(anything, max_size=4))
        case 2:
            sent.append(draw(anything))
    return method, sent


def waits_for_others(message: Message) -> bool:
    """event.from and event.next may wait for ever, as they should."""
    return message.class_name == "event"


SAFE = [
    message
    for _, message in sorted(MESSAGES.items())
    if not waits_for_others(message) and message.full_name not in ("session.logout", "session.local_logout")
]


@pytest.fixture(scope="module")
def prepared() -> tuple[Pool, str]:
    database = build_database()
    database.load("VM", [vm_row(database, "vm")])
    pool = Pool(database, clock=Clock(1_790_000_000.0), seed=1)
    return pool, pool.log_in("root", "")


@pytest.mark.slow
@hypothesis.settings(max_examples=1500, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(call=calls())
def test_every_call_is_answered(prepared: tuple[Pool, str], call: tuple[str, list[Any]]) -> None:
    pool, session = prepared
    method, sent = call
    start = pool.database.snapshot()
    before = everything(pool)
    failed: Failure | None = None
    try:
        message, is_async, value = pool.dispatch(method, [session, *sent])
    except Failure as failure:
        failed = failure
    if failed is not None:
        assert failed.details[0] in CODES
        known = find(method)[0]
        assert known is None or failed.details[0] in EVERY_CALL | {code.name for code in known.errors}, method
        assert all(type(detail) is str and len(detail) < 1_000_000 for detail in failed.details)
    elif not is_async:
        assert is_of(message.result, value)
        message.result.give(value)
    for vm in pool.database.VM:
        for name, declared in vm.schema.fields.items():
            assert is_of(declared.type, getattr(vm, name)), (name, getattr(vm, name))
        assert not math.isnan(vm.HVM_shadow_multiplier)
    pool.database.restore(start)
    after = everything(pool)
    assert after.keys() == before.keys()
    for key, state in before.items():
        assert after[key] == state or key[0] == "host_metrics"


@pytest.mark.parametrize("message", SAFE, ids=lambda message: message.full_name)
def test_values_of_no_type(prepared: tuple[Pool, str], message: Message) -> None:
    """Each parameter of each message, with what is of no type at all."""
    pool, session = prepared
    good = {"VM ref": "vm", "host ref": "h1", "int": "0", "bool": False, "string": "", "float": 1.0}
    for place, parameter in enumerate(message.parameters):
        for wrong in (None, object(), 1j, b"x", {1: 2}.keys(), threading.Lock):
            sent = [good.get(other.type.name, "") for other in message.parameters]
            sent[place] = wrong
            before = everything(pool)
            with pytest.raises(Failure) as raised:
                pool.dispatch(message.full_name, [session, *sent] if message.has_session else sent)
            assert raised.value.details[0] == "INTERNAL_ERROR", parameter.name
            assert everything(pool) == before


@pytest.mark.parametrize("text", [HUGE, "\ud800"])
def test_huge_and_broken_texts(prepared: tuple[Pool, str], text: str) -> None:
    pool, session = prepared
    for method in ("VM.set_name_label", "VM.set_memory", "VM.get_by_uuid"):
        with pytest.raises(Failure) as raised:
            pool.dispatch(method, [session, "vm", text] if MESSAGES[method].sent == 3 else [session, text])
        assert raised.value.details[0] in ("INTERNAL_ERROR", "INVALID_VALUE", "UUID_INVALID")
        assert sum(map(len, raised.value.details)) < 1000
