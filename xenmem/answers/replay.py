"""Plans carried out message by message in the pool in memory before anybody sees them, and what the pool itself does.

The pool in memory is made once of the Fleet's rows, and put back after each question. What it refuses is told by step,
VM and code. Amounts are bytes. Knows no plan: steps are rows and what is to be done.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, Literal, NamedTuple

from xenmem.answers.naming import Named, Result, label, named
from xenmem.datamodel import errors
from xenmem.datamodel.errors import Failure
from xenmem.fleet import Fleet
from xenmem.xenapi.calls.message import MESSAGES
from xenmem.xenapi.door.pool import Pool
from xenmem.xenapi.store import loading

Action = Literal["disable", "migrate", "start", "resume", "shutdown", "suspend", "restart", "disable-ha"]

OF_THE_MOMENT: Final = frozenset(("HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN", "HOST_NOT_ENOUGH_FREE_MEMORY"))
"""What a pool refuses for what else is where, not for the VM and the host: elsewhere in a plan it may accept it."""


class Step(NamedTuple):
    """One change of a pool.

    Attributes
    ----------
    vm, host : rows, -1 for none: who goes where, starts where, or which host it is done to
    """

    action: Action
    vm: int
    host: int


class Refusal(Result, frozen=True):
    """A step that the pool refuses.

    Attributes
    ----------
    step : its number, from 1
    action : what was to be done
    vm, host : to whom; None for nobody
    code, parameters : what the pool answers; names stand for references
    text : the same in a sentence
    """

    step: int
    action: str
    vm: Named | None
    host: Named | None
    code: str
    parameters: list[str]
    text: str


class Evacuated(NamedTuple):
    """What host.evacuate does.

    Attributes
    ----------
    migrations : (VM, host), rows, in the order of the pool
    refusals : VM, a row, or -1 for the pool, to the code that stands against it; if there is one, nothing is moved
    """

    migrations: list[tuple[int, int]]
    refusals: dict[int, str]


class Replay:
    """A pool in memory in which plans are carried out.

    Parameters
    ----------
    fleet, pool : which one
    """

    def __init__(self, fleet: Fleet, pool: int) -> None:
        self._fleet = fleet
        self._pool = Pool(loading.from_fleet(fleet, pool), seed=0)
        self._session = self._pool.log_in("root", "")
        self._starts_vms = False

    def refusal(self, steps: Sequence[Step], *, auto_poweron: bool = False) -> Refusal | None:
        """The first step that the pool refuses, None if it accepts all; afterwards it is as it was.

        Parameters
        ----------
        auto_poweron : VMs of auto_poweron start with each host that restarts, where they fit there
        """
        self._starts_vms = auto_poweron
        database = self._pool.database
        start = database.snapshot()
        try:
            for number, step in enumerate(steps, 1):
                try:
                    self._carry_out(step)
                except Failure as failure:
                    return self._refused(number, step, failure)
            return None
        finally:
            database.restore(start)

    def evacuate(self, host: int) -> Evacuated:
        """What the pool's own host.evacuate would do now."""
        database, ref = self._pool.database, self._fleet.hosts.ref[host]
        row_of = {ref: row for row, ref in enumerate(self._fleet.vms.ref.tolist())}
        host_of = {ref: row for row, ref in enumerate(self._fleet.hosts.ref.tolist())}
        against = self._send("host.get_vms_which_prevent_evacuation", ref)
        if against:
            return Evacuated([], {row_of[vm]: details[0] for vm, details in against.items()})
        start = database.snapshot()
        try:
            self._send("host.evacuate", ref)
        except Failure as failure:
            return Evacuated([], {-1: failure.details[0]})
        else:
            moved = [
                (row_of[change.ref], host_of[change.new])
                for change in database.journal(start)
                if change.class_name == "VM" and change.field == "resident_on"
            ]
            return Evacuated(moved, {})
        finally:
            database.restore(start)

    def _carry_out(self, step: Step) -> None:
        vms, hosts = self._fleet.vms.ref, self._fleet.hosts.ref
        match step.action:
            case "migrate":
                self._send("VM.pool_migrate", vms[step.vm], hosts[step.host], {"live": "true"})
            case "start":
                self._send("VM.start_on", vms[step.vm], hosts[step.host], False, False)
            case "resume":
                self._send("VM.resume_on", vms[step.vm], hosts[step.host], False, False)
            case "shutdown":
                self._send("VM.shutdown", vms[step.vm])
            case "suspend":
                self._send("VM.suspend", vms[step.vm])
            case "disable":
                self._send("host.disable", hosts[step.host])
            case "restart":
                self._restart(hosts[step.host])
            case "disable-ha":
                self._send("pool.disable_ha")

    def _restart(self, ref: str) -> None:
        """A host comes up again, with those VMs that start with it."""
        database = self._pool.database
        host = database.host[ref]
        guests = [vm for vm in host.resident if not database.VM[vm].is_control_domain]
        if guests:
            raise errors.HOST_HAS_RESIDENT_VMS(ref)
        self._send("host.enable", ref)
        if not self._starts_vms:
            return
        for vm in database.VM:
            if vm.other_config.get("auto_poweron") == "true" and vm.power_state == "Halted" and not vm.is_a_template:
                with suppress(Failure):
                    self._send("VM.start_on", vm.ref, ref, False, False)

    def _send(self, method: str, *parameters: Any) -> Any:
        return self._pool.perform(MESSAGES[method], (self._session, *parameters))

    def _refused(self, number: int, step: Step, failure: Failure) -> Refusal:
        code, *parameters = failure.details
        vm, host = named(self._fleet.vms, step.vm), named(self._fleet.hosts, step.host)
        what = f"{step.action} {label(vm)}" if vm is not None else f"{step.action} host {label(host)}"
        where = f" to {label(host)}" if step.action == "migrate" else f" on {label(host)}" if vm and host else ""
        text = f"the pool refuses step {number}, {what}{where}: {code}"
        return Refusal(number, step.action, vm, host, code, [self._readable(text) for text in parameters], text)

    def _readable(self, parameter: str) -> str:
        """A parameter of a failure, a name for a reference."""
        for table in (self._fleet.vms, self._fleet.hosts):
            rows = table.find(parameter)
            if len(rows) == 1:
                return table.label(int(rows[0]))
        return parameter
