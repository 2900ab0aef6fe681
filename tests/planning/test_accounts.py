"""Accounts against the pool in memory, message by message, and against the Fleet."""

import random
from pathlib import Path

import numpy as np
import pytest
from pools import MIB, in_memory, pool, records

import xenmem
from xenmem import Fleet, planning
from xenmem.columns import POLICIES

HOSTS, VMS = [6000, 8000, 5000], [(1000, 0), (1200, 1), (700, 1), (1500, None), (800, None), (600, 2)]


@pytest.mark.parametrize("seed", range(4))
def test_every_step_leaves_what_the_pool_in_memory_has(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    inventory = records(HOSTS, VMS)
    for vm in inventory["VM"].values():  # of an older version: the next start computes it anew
        vm["memory_overhead"] = str(int(vm["memory_overhead"]) - MIB)
    fleet, session = Fleet.from_records(inventory), in_memory(inventory, tmp_path)
    accounts = planning.Accounts(fleet)
    api = session.xenapi
    vms, hosts = fleet.vms.ref.tolist(), fleet.hosts.ref.tolist()
    guests = [row for row in range(len(vms)) if fleet.vms.is_guest[row]]
    for _ in range(40):
        vm, host = draw.choice(guests), draw.randrange(len(hosts))
        if accounts.on[vm] >= 0 and draw.random() < 0.5:
            accounts.stop(vm)
            api.VM.hard_shutdown(vms[vm])
        elif accounts.on[vm] >= 0:
            if accounts.on[vm] != host and accounts.fits(vm, host):
                accounts.move(vm, host)
                api.VM.pool_migrate(vms[vm], hosts[host], {"force": "true"})
        elif draw.random() < 0.3:
            memory = draw.randrange(1600, 3000) * MIB + draw.randrange(3)
            accounts.resize(vm, memory)
            api.VM.set_memory(vms[vm], str(memory))
        elif accounts.fits(vm, host):
            accounts.start(vm, host)
            api.VM.start_on(vms[vm], hosts[host], False, False)
        else:
            with pytest.raises(xenmem.Failure, match="HOST_NOT_ENOUGH_FREE_MEMORY"):
                api.VM.start_on(vms[vm], hosts[host], False, False)
        assert accounts.free_memory().tolist() == [int(api.host.compute_free_memory(ref)) for ref in hosts]


@pytest.mark.parametrize("policy", POLICIES)
def test_accounts_begin_as_the_fleet_and_come_back(policy: str) -> None:
    fleet = xenmem.read("examples/pool.xml.gz")
    accounts = planning.Accounts(fleet, policy)
    assert (accounts.free_memory() == fleet.free_memory(policy)).all()
    before = accounts.left.copy(), accounts.on.copy(), accounts.amount.copy(), accounts.needed.copy()
    mark = accounts.snapshot()
    draw = random.Random(1)
    for vm in np.flatnonzero(fleet.vms.is_guest).tolist():
        if accounts.on[vm] >= 0:
            accounts.stop(vm)
        accounts.resize(vm, 64 << 30)
        accounts.start(vm, draw.randrange(len(fleet.hosts)))
    assert accounts.left != before[0]
    accounts.rollback(mark)
    assert (accounts.left, accounts.on, accounts.amount, accounts.needed) == before


def test_what_is_moved_leaves_the_same_as_a_moved_fleet() -> None:
    fleet = pool(HOSTS, VMS)
    accounts = planning.Accounts(fleet)
    accounts.stop(0)
    accounts.start(3, 2)
    accounts.move(1, 0)
    after = fleet.moved({0: None, 3: 2, 1: 0})
    assert (after.free_memory() == accounts.free_memory()).all()
    assert fleet.vms.resident_on[:4].tolist() == [0, 1, 1, -1]
    assert accounts.hosts_that_fit(4).tolist() == [accounts.fits(4, host) for host in range(3)]


def test_bad_steps_change_nothing() -> None:
    accounts = planning.Accounts(pool(HOSTS, VMS))
    left = accounts.left.copy()
    for error, message, step in (
        (ValueError, "vm: .* is on p-h0 already", lambda: accounts.start(0, 1)),
        (ValueError, "vm: .* is on no host", lambda: accounts.stop(3)),
        (ValueError, "vm: .* is on no host", lambda: accounts.move(3, 0)),
        (IndexError, "there is no host 3", lambda: accounts.start(3, 3)),
        (IndexError, "there is no host -1", lambda: accounts.move(0, -1)),
        (ValueError, "its memory is set while it is on none", lambda: accounts.resize(0, MIB)),
        (ValueError, "memory: 0 is outside", lambda: accounts.resize(3, 0)),
        (ValueError, "snapshot: 9 is outside 0..0", lambda: accounts.rollback(9)),
    ):
        with pytest.raises(error, match=message):
            step()
        assert accounts.left == left
        assert accounts.snapshot() == 0
    with pytest.raises(ValueError, match="policy: 'x' is none of"):
        planning.Accounts(pool(HOSTS, VMS), "x")
