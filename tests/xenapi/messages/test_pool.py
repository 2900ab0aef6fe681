"""Who coordinates a pool, and what its licence is."""

from collections.abc import Callable
from typing import Any

from small_pool import refused

from xenmem.xenapi import Pool, Session


def test_another_coordinator(pool: Pool, session: Session, add_vm: Callable[..., Any]) -> None:
    """With as much room on both hosts, a VM starts where the coordinator is not; its version decides."""
    database = pool.database
    h2 = database.host["h2"]
    database.write(h2, "software_version", {"xapi_build": "26.2.0", "xapi": "26.2"})
    vm = add_vm()
    pool.draw = lambda: 0.0
    before = database.snapshot()
    session.xenapi.VM.start("vm", False, False)
    assert (vm.resident_on, database.model.host_reserve_mib) == ("h2", 72)
    database.restore(before)
    database.the_pool.ha_enabled = True
    session.xenapi.pool.designate_new_master("h1")  # it is already
    assert refused(pool, lambda: session.xenapi.pool.designate_new_master("h2")) == ["HA_IS_ENABLED"]
    database.the_pool.ha_enabled = False
    session.xenapi.pool.designate_new_master("h2")
    assert session.xenapi.pool.get_master("p") == "h2"
    session.xenapi.VM.start("vm", False, False)
    assert (vm.resident_on, database.model.host_reserve_mib) == ("h1", 9)


def test_a_host_that_is_down_does_not_coordinate(pool: Pool, session: Session) -> None:
    pool.database.host_metrics["h2m"].live = False
    assert refused(pool, lambda: session.xenapi.pool.designate_new_master("h2")) == ["HOST_OFFLINE", "h2"]


def test_licence(pool: Pool, session: Session) -> None:
    h1, h2 = pool.database.host["h1"], pool.database.host["h2"]
    h1.edition, h2.edition = "premium", "standard"
    h2.license_params = {"expiry": "20270101T00:00:00Z"}
    assert session.xenapi.pool.get_license_state("p") == {"edition": "premium", "expiry": "never"}
    h1.license_params, h2.edition = {"expiry": "never"}, "premium"
    assert session.xenapi.pool.get_license_state("p") == {"edition": "premium", "expiry": "20270101T00:00:00Z"}
    assert refused(pool, lambda: session.xenapi.pool.get_license_state("x")) == ["HANDLE_INVALID", "pool", "x"]
