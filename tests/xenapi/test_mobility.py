"""The worked examples of mobility, asked by messages of the pool in memory."""

from pathlib import Path
from typing import Any

import dumps
import pytest
from mobility_examples import EXAMPLES, Example, tables_of

from xenmem.xenapi import Failure, Session, connect
from xenmem.xenapi.rules import devices


def asked(session: Session, question: tuple[Any, ...]) -> Any:
    """The answer to a question: a failure as a list, and what a message answers as the table has it."""
    try:
        return _asked(session, *question)
    except Failure as failure:
        return list(failure.details)


def _asked(session: Session, kind: str, *parameters: Any) -> Any:
    xenapi, database = session.xenapi, session.pool.database
    match kind, parameters:
        case "boot", (vm, host):
            xenapi.VM.assert_can_boot_here(vm, host)
        case "possible", (vm,):
            return tuple(xenapi.VM.get_possible_hosts(vm))
        case "mig", (vm, host, options):
            xenapi.VM.pool_migrate(vm, host, options)
            assert database.VM[vm].resident_on == host
        case "mig while evacuated", (vm, host):
            database.write(database.host[host], "current_operations", {"t": "evacuate"})
            xenapi.VM.pool_migrate(vm, host, {})
        case "start", (vm,):
            xenapi.VM.start(vm, False, False)
            return database.VM[vm].resident_on
        case "start_on", (vm, host):
            xenapi.VM.start_on(vm, host, False, False)
        case "resume", (vm, force):
            xenapi.VM.resume(vm, False, force)
        case "resume_on", (vm, host, *force):
            xenapi.VM.resume_on(vm, host, False, bool(force))
        case "agile", (vm,):
            xenapi.VM.assert_agile(vm)
        case "plan exists", (failures,):
            return xenapi.pool.ha_failover_plan_exists(str(failures))
        case "why", (host, vm):
            return xenapi.host.get_vms_which_prevent_evacuation(host).get(vm)
        case "evacuate", (host, vm):
            xenapi.host.evacuate(host)
            return database.VM[vm].resident_on
        case "capacity", (gpu, vgpu_type):
            return int(xenapi.PGPU.get_remaining_capacity(gpu, vgpu_type))
        case "picks", (vm, host):
            return tuple(devices.pick_gpus(database, database.VM[vm], host).values())
        case "vdi", (vdi, sr):
            xenapi.VDI.pool_migrate(vdi, sr, {})
        case (("send" | "can send"), (vm, host, vdi_map, *vif_map)):
            target = xenapi.host.migrate_receive(host, "N", {})
            send = xenapi.VM.migrate_send if kind == "send" else xenapi.VM.assert_can_migrate
            send(vm, target, True, vdi_map, *vif_map or ({},), {}, {})
        case _:
            raise AssertionError(kind)
    return None


def session_of(example: Example, folder: Path) -> Session:
    file = folder / "pool.xml"
    file.write_bytes(dumps.dump(tables_of(example.changes)))
    return connect(str(file))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_example(example: Example, tmp_path: Path) -> None:
    answer = asked(session_of(example, tmp_path), example.question)
    if isinstance(example.answer, list):
        assert isinstance(answer, list)
        assert len(answer) == len(example.answer)
        assert [
            want if want is ... else got for got, want in zip(answer, example.answer, strict=True)
        ] == example.answer
    else:
        assert answer == example.answer
