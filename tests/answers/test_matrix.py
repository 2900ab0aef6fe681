"""The matrix of VMs and hosts: kinds, what they come to, and that it agrees with single pairs."""

import io
from random import Random

import dumps
from mobility_pools import drawn
from twins.mobility import first_failure

import xenmem
from xenmem import answers
from xenmem.rules.mobility.matrix import ERRORS, Step

UNKNOWN = {"UNDECIDED", "NOT_TOLD"}


def test_each_pair_is_that_of_the_rules() -> None:
    for seed in range(8):
        tables = drawn(Random(seed), 4, 12)
        (pool,) = answers.matrix(xenmem.read(io.BytesIO(dumps.dump(tables)))).pools
        assert sorted(vm.ref for kind in pool.kinds for vm in kind.vms) == sorted(tables["VM"])
        assert [len(kind.vms) for kind in pool.kinds] == sorted((len(kind.vms) for kind in pool.kinds), reverse=True)
        for kind in pool.kinds:
            assert (kind.yes + kind.no + kind.not_known, len(kind.hosts)) == (4, 4)
            for pair in kind.hosts:
                for vm in kind.vms:
                    failure = first_failure(tables, vm.ref, pair.ref)
                    assert pair.may_run is (None if failure in UNKNOWN else not failure)
                    assert pair.error == (ERRORS.get(Step[failure], "") if failure else "")
                    assert bool(pair.reason) == bool(failure)


def test_what_is_not_told_is_not_known() -> None:
    """Neither yes nor no, and said once."""
    result = answers.matrix(xenmem.Fleet.from_records(dumps.pool()))
    ((kind,),) = (pool.kinds for pool in result.pools)
    assert (kind.yes, kind.no, kind.not_known) == (0, 0, 1)
    assert kind.hosts[0].reason == "which hosts see its disks, which hosts have its networks"
    assert result.verdict == "0 of 1 VM can run on every host of its pool, of 1 it is not known on all."
    assert result.not_checked == ["memory", "storage", "networks"]


def test_hosts_that_take_no_vms_are_apart() -> None:
    tables = drawn(Random(1), 3, 4)
    tables["host"]["h1"]["enabled"] = False
    tables["host_metrics"]["h2m"]["live"] = False
    (pool,) = answers.matrix(xenmem.read(io.BytesIO(dumps.dump(tables)))).pools
    assert [host.name_label for host in pool.takes_none] == ["h1", "h2"]
    assert [(pair.enabled, pair.live) for pair in pool.kinds[0].hosts] == [(True, True), (False, True), (True, False)]
