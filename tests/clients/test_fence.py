"""Debian's fence_xenapi, with the XenAPI.py of its own."""

import pytest
from clients_at import CLIENTS, Run
from servers import PASSWORD, USER, Served

pytestmark = [pytest.mark.slow, pytest.mark.client("fence_xenapi", "4.12.1")]


def test_fencing(server: Served, run: Run) -> None:
    session = server.log_in()
    records = server.call("VM.get_all_records", session)
    names = [record["name_label"] for record in records.values()]
    vm, record = min(
        (
            (ref, record)
            for ref, record in records.items()
            if record["power_state"] == "Halted"
            and not record["is_a_template"]
            and not record["is_a_snapshot"]
            and names.count(record["name_label"]) == 1
        ),
        key=lambda item: int(item[1]["memory_static_max"]),
    )

    def fence(action: str, *more: str) -> str:
        return run(
            *(CLIENTS / "venv/bin/python", CLIENTS / "fence/usr/sbin/fence_xenapi"),
            *("--session-url", server.url, "--username", USER, "--password", PASSWORD, "--action", action, *more),
            PYTHONPATH=str(CLIENTS / "fence/usr/share/fence"),
        )

    assert record["uuid"] in fence("list")
    named = ("-n", record["name_label"])
    assert "Success: Powered ON" in fence("on", *named)
    assert server.call("VM.get_power_state", session, vm) == "Running"
    assert "Status: ON" in fence("status", *named)
    assert "Success: Rebooted" in fence("reboot", *named)
    assert "Success: Powered OFF" in fence("off", *named)
    assert server.call("VM.get_power_state", session, vm) == "Halted"
