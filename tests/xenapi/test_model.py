"""The pool against a model of it in plain Python: random messages from several threads, snapshots and restores.

The threads run at once. Whoever carries out a message names itself in the database while it is locked: that gives the
order in which the pool took the messages, and the model is sent them in the same order. Amounts are whole MiB.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule
from small_pool import everything, row
from twins import reference

from xenmem.units import GIB, KIB, MIB
from xenmem.xenapi import Clock, Database, Failure, Guests, Pool, Session, Snapshot
from xenmem.xenapi.calls.call import Call

NULL = "OpaqueRef:NULL"
HOSTS = {"h1": 8 * GIB, "h2": 6 * GIB, "h3": 3 * GIB}
VMS = ("a", "b", "c", "d", "e", "f")
VCPUS = 2
SIZES = (0, 256 * MIB, 512 * MIB, 1 * GIB, 2 * GIB, 4 * GIB)


class Refused(Exception):  # noqa: N818  (an answer, no error)
    """A failure as the model has it: code and parameters."""


@dataclass
class ModelVM:
    static_min: int = 256 * MIB
    dynamic_min: int = 512 * MIB
    dynamic_max: int = 1 * GIB
    static_max: int = 1 * GIB
    target: int = 0
    power_state: str = "Halted"
    resident_on: str = NULL

    @property
    def overhead(self) -> int:
        return reference.overhead("pvh", self.static_max, VCPUS, 1.0)

    @property
    def needed(self) -> int:
        return sum(reference.required_memory("pvh", self.static_max, self.dynamic_min, VCPUS, 1.0))

    def is_in_order(self) -> bool:
        return self.static_min <= self.dynamic_min <= self.dynamic_max <= self.static_max


@dataclass
class Model:
    """What the messages do, on one thread."""

    vms: dict[str, ModelVM] = field(default_factory=lambda: {name: ModelVM() for name in VMS})

    def copy(self) -> "Model":
        return Model({name: replace(vm) for name, vm in self.vms.items()})

    def left(self, host: str) -> int:
        """What is free, negative if too much is used."""
        there = [vm for vm in self.vms.values() if vm.resident_on == host]
        return HOSTS[host] - sum(vm.dynamic_min + vm.overhead for vm in there)

    def free(self, host: str) -> int:
        return max(0, self.left(host))

    def _expect(self, name: str, *states: str) -> ModelVM:
        vm = self.vms[name]
        if vm.power_state not in states:
            raise Refused("VM_BAD_POWER_STATE", name, ", ".join(states).lower(), vm.power_state.lower())
        return vm

    def _move(self, vm: ModelVM, host: str) -> None:
        if self.free(host) < vm.needed:
            raise Refused("HOST_NOT_ENOUGH_FREE_MEMORY", str(vm.needed), str(self.free(host)))
        vm.power_state, vm.resident_on, vm.target = "Running", host, vm.dynamic_min

    def start_on(self, name: str, host: str) -> None:
        self._move(self._expect(name, "Halted"), host)

    def resume_on(self, name: str, host: str) -> None:
        self._move(self._expect(name, "Suspended"), host)

    def pool_migrate(self, name: str, host: str) -> None:
        self._move(self._expect(name, "Running"), host)

    def start(self, name: str, chosen: str) -> None:
        vm = self._expect(name, "Halted")
        if all(self.free(host) < vm.needed for host in HOSTS):
            raise Refused("NO_HOSTS_AVAILABLE")
        self._move(vm, chosen)

    def suspend(self, name: str) -> None:
        self._leave(self._expect(name, "Running"), "Suspended")

    def hard_shutdown(self, name: str) -> None:
        self._leave(self._expect(name, "Paused", "Suspended", "Running"), "Halted")

    def _leave(self, vm: ModelVM, power_state: str) -> None:
        vm.power_state, vm.resident_on, vm.target = power_state, NULL, 0

    def pause(self, name: str) -> None:
        self._expect(name, "Running").power_state = "Paused"

    def unpause(self, name: str) -> None:
        self._expect(name, "Paused").power_state = "Running"

    def set_memory_limits(self, name: str, *limits: int) -> None:
        vm = self._expect(name, "Halted")
        static_min, static_max, dynamic_min, dynamic_max = limits
        self._set(vm, replace(vm, static_min=static_min, static_max=static_max), dynamic_min, dynamic_max)

    def set_memory_dynamic_range(self, name: str, low: int, high: int) -> None:
        vm = self._expect(name, "Halted", "Running")
        if vm.power_state == "Running":
            growth, free = low - vm.dynamic_min, self.free(vm.resident_on)
            if growth > free:
                raise Refused("HOST_NOT_ENOUGH_FREE_MEMORY", str(growth // KIB), str(free // KIB))
        self._set(vm, replace(vm), low, high)

    def _set(self, vm: ModelVM, wanted: ModelVM, low: int, high: int) -> None:
        wanted.dynamic_min, wanted.target, wanted.dynamic_max = low, low, high
        if not wanted.is_in_order():
            raise Refused("MEMORY_CONSTRAINT_VIOLATION_ORDER")
        vm.__dict__.update(wanted.__dict__)

    def compute_free_memory(self, host: str) -> str:
        return str(self.free(host))


class WatchedDatabase(Database):
    """Writes down who makes changes, whenever somebody begins to, with the database locked."""

    def __init__(self) -> None:
        self.watched: list[tuple[threading.Thread, Call]] = []
        super().__init__(seed=1)

    @property
    def author(self) -> Any:
        return self._author

    @author.setter
    def author(self, author: Any) -> None:
        self._author = author
        if isinstance(author, Call):
            self.watched.append((threading.current_thread(), author))


class Smallest(Guests):
    """Guests that never have more than dynamic_min: what the model is about is the accounting."""

    def set_dynamic_range(self, vm: Any, before: int) -> None:
        pass

    def start(self, vm: Any, host: Any) -> int:
        return int(vm.memory_dynamic_min)

    def left(self, vm: Any, host: str) -> None:
        pass


def build_pool() -> tuple[Pool, WatchedDatabase]:
    database = WatchedDatabase()
    for host, memory in HOSTS.items():
        metrics = row(database, "host_metrics", f"{host}m", memory_total=memory + GIB, live=True)
        database.load("host_metrics", [metrics])
        values = {"cpu_info": {"cpu_count": "8"}, "capabilities": ("hvm",), "enabled": True}
        version = {"xapi_build": "26.17.0"}
        made = row(database, "host", host, metrics=f"{host}m", memory_overhead=GIB, software_version=version, **values)
        database.load("host", [made])
    database.load("pool", [row(database, "pool", "p", master="h1", restrictions={"restrict_dmc": "false"})])
    for name, vm in Model().vms.items():
        database.load("VM_metrics", [row(database, "VM_metrics", f"{name}m")])
        limits = {f"memory_{limit}": getattr(vm, limit) for limit in ("static_min", "dynamic_min", "dynamic_max")}
        made = row(
            database,
            "VM",
            name,
            metrics=f"{name}m",
            domain_type="pvh",
            VCPUs_max=VCPUS,
            VCPUs_at_startup=VCPUS,
            HVM_shadow_multiplier=1.0,
            memory_static_max=vm.static_max,
            memory_overhead=vm.overhead,
            **limits,
        )
        database.load("VM", [made])
    return Pool(database, clock=Clock(0.0), guests=Smallest(database), seed=1), database


vms, hosts, sizes = st.sampled_from(VMS), st.sampled_from(tuple(HOSTS)), st.sampled_from(SIZES)
ordered_sizes = st.lists(sizes, min_size=4, max_size=4).map(sorted)
messages = st.one_of(
    st.tuples(st.sampled_from(("start_on", "resume_on", "pool_migrate")), vms, hosts),
    st.tuples(st.sampled_from(("start", "hard_shutdown", "suspend", "pause", "unpause")), vms),
    st.tuples(st.just("start"), vms),
    st.tuples(st.just("set_memory_dynamic_range"), vms, sizes, sizes),
    st.tuples(st.just("set_memory_limits"), vms, sizes, sizes, sizes, sizes),
    st.builds(lambda vm, s: ("set_memory_limits", vm, s[0], s[3], s[1], s[2]), vms, ordered_sizes),
    st.tuples(st.just("compute_free_memory"), hosts),
)
MORE: dict[str, tuple[Any, ...]] = {
    "start": (False, False),
    "start_on": (False, False),
    "resume_on": (False, False),
    "pool_migrate": ({},),
}
Answer = Any


def answer_of(send: Callable[[], Any]) -> Answer:
    try:
        return send() or None
    except Failure as failure:
        return tuple(failure.details)


class PoolMachine(RuleBasedStateMachine):
    """Bursts of messages from several threads, then the same one after the other to the model."""

    snapshots: Bundle[tuple[Snapshot, Model, dict[str, Any]]] = Bundle("snapshots")

    @initialize()
    def begin(self) -> None:
        self.pool, self.database = build_pool()
        self.session = Session(self.pool)
        self.session.login_with_password("root", "")
        self.model = Model()

    @rule(scripts=st.lists(st.lists(messages, min_size=1, max_size=6), min_size=1, max_size=4))
    def burst(self, scripts: list[list[tuple[Any, ...]]]) -> None:
        self.database.watched.clear()
        journal = self.database.snapshot()
        answers: list[list[Answer]] = [[] for _ in scripts]
        threads = [
            threading.Thread(target=self.send_all, args=(script, answers[number]))
            for number, script in enumerate(scripts)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        chosen = {
            id(change.origin): change.new
            for change in self.database.journal(journal)
            if change.field == "scheduled_to_be_resident_on" and change.new != NULL
        }
        waiting = {
            thread: iter(zip(script, given, strict=True))
            for thread, script, given in zip(threads, scripts, answers, strict=True)
        }
        for thread, call in self.database.watched:
            sent, answer = next(waiting[thread])
            assert call.message.name == sent[0]
            assert answer == self.ask_model(sent, chosen.get(id(call.origin), "h1")), sent
        assert not any(list(left) for left in waiting.values())

    def send_all(self, script: list[tuple[Any, ...]], answers: list[Answer]) -> None:
        for name, *parameters in script:
            messages_of = self.session.xenapi.host if name == "compute_free_memory" else self.session.xenapi.VM
            sent = [str(one) if isinstance(one, int) else one for one in parameters]
            answers.append(answer_of(lambda: getattr(messages_of, name)(*sent, *MORE.get(name, ()))))  # noqa: B023

    def ask_model(self, sent: tuple[Any, ...], chosen: str) -> Answer:
        name, *parameters = sent
        if name == "start":
            parameters.append(chosen)
        before = self.model.copy()
        try:
            return getattr(self.model, name)(*parameters)
        except Refused as refused:
            assert self.model == before
            return refused.args

    @rule(target=snapshots)
    def take_snapshot(self) -> tuple[Snapshot, Model, dict[str, Any]]:
        return self.database.snapshot(), self.model.copy(), everything(self.pool)

    @rule(snapshot=snapshots)
    def restore(self, snapshot: tuple[Snapshot, Model, dict[str, Any]]) -> None:
        taken, model, state = snapshot
        try:
            self.database.restore(taken)
        except ValueError:  # the state was undone past it
            return
        assert everything(self.pool) == state
        self.model = model.copy()

    @invariant()
    def equal(self) -> None:
        for name, vm in self.model.vms.items():
            stored = self.database.VM[name]
            limits = (stored.memory_static_min, stored.memory_dynamic_min, stored.memory_dynamic_max)
            assert limits == (vm.static_min, vm.dynamic_min, vm.dynamic_max)
            assert (stored.memory_static_max, stored.memory_target) == (vm.static_max, vm.target)
            assert (stored.power_state, stored.resident_on) == (vm.power_state, vm.resident_on)
            assert (stored.memory_overhead, stored.current_operations) == (vm.overhead, {})
            assert stored.scheduled_to_be_resident_on == NULL

    @invariant()
    def nothing_is_overcommitted(self) -> None:
        for host, memory in HOSTS.items():
            there = [vm for vm in self.database.VM if vm.resident_on == host]
            used = sum(vm.memory_dynamic_min + vm.memory_overhead for vm in there)
            assert used <= memory
            assert self.session.api.host.compute_free_memory(host) == memory - used


PoolMachine.TestCase.settings = hypothesis.settings(max_examples=120, stateful_step_count=20, deadline=None)
TestPool = pytest.mark.slow(PoolMachine.TestCase)
