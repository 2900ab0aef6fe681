"""Copies of VMs with and without their memory, and going back to them (xapi_vm_clone.ml, xapi_vm_snapshot.ml)."""

from collections.abc import Callable
from typing import Any

import pytest
from small_pool import disk, everything, refused, row, storage

from xenmem.datamodel.types import STRING_MAP
from xenmem.units import GIB, MIB
from xenmem.xenapi import Pool, Session
from xenmem.xenapi.world.hooks import Hooks

AddVM = Callable[..., Any]
NULL = "OpaqueRef:NULL"


@pytest.fixture
def vm(pool: Pool, add_vm: AddVM) -> Any:
    """A running VM with a guest that has drivers, in a pool that may take checkpoints."""
    pool.database.the_pool.restrictions |= {"restrict_checkpoint": "false"}
    guest = row(
        pool.database,
        "VM_guest_metrics",
        "guest",
        PV_drivers_version={"major": "9", "minor": "4"},
        other={"feature-suspend": "1"},
    )
    pool.database.load("VM_guest_metrics", [guest])
    made = add_vm(
        power_state="Running",
        guest_metrics="guest",
        domid=7,
        other_config={"mac_seed": "m", "xensource_internal": "x", "kept": "1"},
        generation_id="1:2",
        ha_always_run=True,
        ha_restart_priority="restart",
        tags=("a",),
        pending_guidances=("restart_vm",),
    )
    metrics = pool.database.VM_metrics["vmm"]
    metrics.current_domain_type, metrics.memory_actual = "hvm", 3 * GIB
    return made


def free(session: Session) -> int:
    return int(session.api.host.compute_free_memory("h1"))


class TestSnapshot:
    @pytest.mark.parametrize("state", ["Running", "Paused", "Halted", "Suspended"])
    def test_of_any_state(self, pool: Pool, session: Session, vm: Any, state: str) -> None:
        pool.database.write(vm, "power_state", state)
        before, was_free = everything(pool), free(session)
        made = pool.database.VM[session.xenapi.VM.snapshot("vm", "then")]
        assert (made.name_label, made.power_state, made.resident_on, made.domid) == ("then", "Halted", NULL, -1)
        assert (made.is_a_snapshot, made.is_a_template, made.snapshot_of, made.parent) == (True, True, "vm", NULL)
        assert made.snapshot_time == pool.clock.date()
        assert made.snapshot_info == {"power-state-at-snapshot": state, "disk-snapshot-type": "crash_consistent"}
        assert (made.suspend_VDI, made.memory_overhead, made.memory_dynamic_min) == (NULL, 37 * MIB, 2 * GIB)
        assert made.other_config == {"mac_seed": "m", "kept": "1"}, "a snapshot keeps its MAC addresses"
        assert (made.ha_restart_priority, made.ha_always_run, made.pending_guidances) == ("restart", False, ())
        assert made.generation_id not in ("1:2", "")
        assert pool.database.VM_metrics[made.metrics].memory_actual == 3 * GIB
        assert pool.database.VM_metrics[made.metrics].current_domain_type == "unspecified"
        assert pool.database.VM_guest_metrics[made.guest_metrics].other == {"feature-suspend": "1"}
        assert (vm.parent, vm.snapshots, vm.power_state) == (made.ref, (made.ref,), state)
        metadata = STRING_MAP.load(made.snapshot_metadata)
        assert (metadata["name__label"], metadata["power_state"], metadata["uuid"]) == ("vm", state, vm.uuid)
        assert free(session) == was_free, "no memory is needed for it"
        pool.database.undo()
        assert everything(pool) == before

    def test_a_chain(self, pool: Pool, session: Session, vm: Any) -> None:
        first, second = (session.xenapi.VM.snapshot("vm", name) for name in ("1", "2"))
        assert (vm.parent, pool.database.VM[second].parent, pool.database.VM[first].parent) == (second, first, NULL)
        assert pool.database.VM[first].children == (second,)
        assert vm.snapshots == (second, first)

    def test_without_storage(self, pool: Pool, session: Session, vm: Any) -> None:
        storage(pool.database)
        disk(pool.database, "vm")
        for send in (session.xenapi.VM.snapshot, session.xenapi.VM.clone):
            pool.database.VM["vm"].power_state = "Running" if send is session.xenapi.VM.snapshot else "Halted"
            assert refused(pool, lambda: send("vm", "x")) == ["NO_HOSTS_AVAILABLE"]  # noqa: B023

    def test_in_a_rolling_upgrade(self, pool: Pool, session: Session, vm: Any) -> None:
        pool.database.the_pool.other_config = {"rolling_upgrade_in_progress": "true"}
        assert refused(pool, lambda: session.xenapi.VM.snapshot("vm", "x")) == ["NOT_SUPPORTED_DURING_UPGRADE"]


class TestCheckpoint:
    def test_of_a_running_vm(self, pool: Pool, session: Session, vm: Any) -> None:
        was_free = free(session)
        made = pool.database.VM[session.xenapi.VM.checkpoint("vm", "then")]
        assert (made.power_state, made.is_a_snapshot, made.resident_on) == ("Suspended", True, NULL)
        assert made.suspend_VDI != NULL
        assert made.snapshot_info["power-state-at-snapshot"] == "Running"
        assert made.last_booted_record == '{"nomigrate":false,"nested_virt":false}'
        assert pool.database.VM_metrics[made.metrics].current_domain_type == "hvm"
        assert (vm.power_state, vm.resident_on, vm.suspend_VDI) == ("Running", "h1", NULL)
        assert vm.domid > 7, "it was resumed"
        assert free(session) == was_free

    @pytest.mark.parametrize(("state", "after"), [("Suspended", "Suspended"), ("Paused", "Halted")])
    def test_of_others(self, pool: Pool, session: Session, vm: Any, state: str, after: str) -> None:
        pool.database.write(vm, "power_state", state)
        made = pool.database.VM[session.xenapi.VM.checkpoint("vm", "then")]
        assert (made.power_state, made.suspend_VDI == NULL, vm.power_state) == (after, after == "Halted", state)

    def test_of_a_halted_vm(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm()
        expected = ["VM_BAD_POWER_STATE", "vm", "paused, suspended, running", "halted"]
        assert refused(pool, lambda: session.xenapi.VM.checkpoint("vm", "x")) == expected

    def test_licence(self, pool: Pool, session: Session, vm: Any) -> None:
        pool.database.the_pool.restrictions |= {"restrict_checkpoint": "true"}
        expected = ["LICENCE_RESTRICTION", "Checkpoint"]
        assert refused(pool, lambda: session.xenapi.VM.checkpoint("vm", "x")) == expected


class TestRevert:
    def test_memory_and_name_come_back(self, pool: Pool, session: Session, vm: Any) -> None:
        then = session.xenapi.VM.snapshot("vm", "then")
        session.xenapi.VM.set_memory_dynamic_range("vm", str(1 * GIB), str(2 * GIB))
        session.xenapi.VM.set_name_label("vm", "other")
        session.xenapi.VM.set_tags("vm", ["b"])
        session.xenapi.VM.set_affinity("vm", "h2")
        vm.shutdown_delay = 9
        start, was_free, before = pool.clock.now(), free(session), everything(pool)
        session.xenapi.VM.revert(then)
        assert (vm.name_label, vm.power_state, vm.resident_on, vm.domid) == ("vm", "Halted", NULL, -1)
        assert (vm.memory_dynamic_min, vm.memory_dynamic_max, vm.memory_overhead) == (2 * GIB, 3 * GIB, 37 * MIB)
        assert (vm.tags, vm.affinity) == (("b",), "h2"), "these are the VM's own"
        assert (vm.ha_always_run, vm.ha_restart_priority, vm.is_a_template, vm.is_a_snapshot) == (
            *(False, "restart"),
            *(False, False),
        )
        assert (vm.parent, vm.snapshots) == (then, (then,))
        assert free(session) == was_free + 1 * GIB + 37 * MIB
        assert pool.clock.now() == start + 9, "it was shut down first"
        assert vm.metrics not in ("vmm", pool.database.VM[then].metrics)
        assert pool.database.VM_guest_metrics[vm.guest_metrics].other == {"feature-suspend": "1"}
        assert {guest.ref for guest in pool.database.VM_guest_metrics} == {
            vm.guest_metrics,
            pool.database.VM[then].guest_metrics,
        }
        assert vm.current_operations == pool.database.VM[then].current_operations == {}
        pool.database.undo()
        assert everything(pool) == before

    def test_a_checkpoint_resumes(self, pool: Pool, session: Session, vm: Any) -> None:
        then = session.xenapi.VM.checkpoint("vm", "then")
        session.xenapi.VM.hard_shutdown("vm")
        session.xenapi.VM.revert(then)
        assert (vm.power_state, vm.suspend_VDI != NULL, vm.resident_on) == ("Suspended", True, NULL)
        session.xenapi.VM.resume("vm", False, False)
        assert vm.power_state == "Running"

    def test_a_vm_that_is_gone_is_made_again(self, pool: Pool, session: Session, vm: Any) -> None:
        uuid = vm.uuid
        then, later = session.xenapi.VM.snapshot("vm", "then"), session.xenapi.VM.snapshot("vm", "later")
        session.xenapi.VM.hard_shutdown("vm")
        session.xenapi.VM.destroy("vm")
        session.xenapi.VM.revert(then)
        made = pool.database.VM[session.xenapi.VM.get_by_uuid(uuid)]
        assert (made.name_label, made.power_state, made.memory_dynamic_min) == ("vm", "Halted", 2 * GIB)
        assert {pool.database.VM[ref].snapshot_of for ref in (then, later)} == {made.ref}
        assert set(made.snapshots) == {then, later}

    def test_without_metadata(self, pool: Pool, session: Session, vm: Any) -> None:
        """A snapshot from before 5.6 gives what it has itself, but neither its name nor that it is one."""
        then = session.xenapi.VM.snapshot("vm", "then")
        pool.database.VM[then].snapshot_metadata = ""
        vm.memory_dynamic_min = 1 * GIB
        session.xenapi.VM.revert(then)
        assert (vm.name_label, vm.memory_dynamic_min, vm.is_a_snapshot, vm.is_a_template) == (
            "vm",
            2 * GIB,
            False,
            False,
        )

    def test_only_to_snapshots(self, pool: Pool, session: Session, vm: Any) -> None:
        assert refused(pool, lambda: session.xenapi.VM.revert("vm")) == ["REVERT_ONLY_ALLOWED_ON_SNAPSHOT"]

    def test_neither_vm_nor_metadata(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm("s", is_a_snapshot=True, is_a_template=True, snapshot_of="gone")
        assert refused(pool, lambda: session.xenapi.VM.revert("s")) == ["VM_REVERT_FAILED", "s", "gone"]


def test_copy(pool: Pool, session: Session, add_vm: AddVM) -> None:
    add_vm(other_config={"mac_seed": "m"})
    made = pool.database.VM[session.xenapi.VM.copy("vm", "copy", NULL)]
    assert (made.name_label, made.power_state, made.is_a_snapshot, made.parent) == ("copy", "Halted", False, NULL)
    assert made.other_config["mac_seed"] != "m"
    pool.database.load("SR", [row(pool.database, "SR", "isos", content_type="iso")])
    expected = ["OPERATION_NOT_ALLOWED", "Cannot copy a VM's disks to an ISO SR"]
    assert refused(pool, lambda: session.xenapi.VM.copy("vm", "copy", "isos")) == expected


def test_a_copy_of_a_checkpoint_is_halted(pool: Pool, session: Session, vm: Any) -> None:
    then = session.xenapi.VM.checkpoint("vm", "then")
    for made in (session.xenapi.VM.copy(then, "copy", NULL), session.xenapi.VM.clone(then, "clone")):
        assert (pool.database.VM[made].power_state, pool.database.VM[made].suspend_VDI) == ("Halted", NULL)


def test_provision(pool: Pool, session: Session, add_vm: AddVM) -> None:
    """A template is cloned, and the clone provisioned: so clients make VMs."""
    add_vm(is_a_template=True, other_config={"disks": "<provision/>", "default_template": "true", "kept": "1"})
    made = pool.database.VM[session.xenapi.VM.clone("vm", "new")]
    session.xenapi.VM.provision(made.ref)
    assert (made.is_a_template, "disks" in made.other_config, made.other_config["kept"]) == (False, False, "1")
    session.xenapi.VM.start(made.ref, False, False)
    assert made.power_state == "Running"
    session.xenapi.VM.hard_shutdown(made.ref)
    expected = ["PROVISION_ONLY_ALLOWED_ON_TEMPLATE"]
    assert refused(pool, lambda: session.xenapi.VM.provision(made.ref)) == expected


def test_data_sources(pool: Pool, session: Session, vm: Any) -> None:
    """Memory as measured: of the host what is left by its 64 GiB, 1 GiB of overhead with 72 MiB of squeezed's."""
    vm.memory_target = 2 * GIB
    assert session.api.VM.query_data_source("vm", "memory") == 3.0 * GIB
    assert session.api.VM.query_data_source("vm", "memory_target") == 2.0 * GIB
    assert session.api.host.query_data_source("h1", "memory_total_kib") == 64.0 * 1024 * 1024
    left = 64 * GIB - 1 * GIB + 72 * MIB - 2 * GIB - (3 * GIB + 37 * MIB)
    assert session.api.host.query_data_source("h1", "memory_free_kib") == left / 1024
    assert refused(pool, lambda: session.xenapi.VM.query_data_source("vm", "cpu0"))[0] == "INTERNAL_ERROR"
    vm.power_state = "Halted"
    expected = ["VM_BAD_POWER_STATE", "vm", "running, paused", "halted"]
    assert refused(pool, lambda: session.xenapi.VM.query_data_source("vm", "memory")) == expected


def test_editions(pool: Pool, session: Session) -> None:
    """Without a licence daemon no edition can be applied; with one, a pool may what all its hosts may."""
    assert refused(pool, lambda: session.xenapi.pool.apply_edition("p", "free")) == ["V6D_FAILURE"]

    class Daemon(Hooks):
        def apply_edition(self, host: Any, edition: str) -> dict[str, str]:
            return {
                "restrict_dmc": "false",
                "restrict_vm_groups": "true" if host.ref == "h2" else "false",
                "expiry": "x",
            }

    pool.hooks = Daemon()
    session.xenapi.pool.apply_edition("p", "premium")
    assert [host.edition for host in pool.database.host] == ["premium", "premium"]
    assert pool.database.the_pool.restrictions == {"restrict_dmc": "false", "restrict_vm_groups": "true"}
    assert session.xenapi.pool.get_license_state("p") == {"edition": "premium", "expiry": "x"}


def with_devices(pool: Pool) -> None:
    """Give the VM a disk, a disc, an interface, a vGPU and a TPM."""
    database = pool.database
    database.load("SR", [row(database, "SR", "sr")])
    database.load("PBD", [row(database, "PBD", "pbd", SR="sr", host="h1", currently_attached=True)])
    for ref in ("root", "disc"):
        database.load("VDI", [row(database, "VDI", ref, SR="sr", virtual_size=GIB)])
    for ref, kind in (("root", "Disk"), ("disc", "CD")):
        database.load("VBD", [row(database, "VBD", f"vbd-{ref}", VM="vm", VDI=ref, type=kind, userdevice=ref)])
    database.load("VIF", [row(database, "VIF", "vif", VM="vm", MAC="02:00:00:00:00:01")])
    for class_name in ("VGPU", "VTPM"):
        database.load(class_name, [row(database, class_name, class_name.lower(), VM="vm")])


def devices(pool: Pool, vm: Any) -> dict[str, list[Any]]:
    """The devices of a VM, by class."""
    tables = pool.database.tables
    return {name: [tables[name][ref] for ref in getattr(vm, f"{name}s")] for name in ("VBD", "VIF", "VGPU", "VTPM")}


class TestDevices:
    def test_of_a_clone(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm()
        with_devices(pool)
        made = devices(pool, pool.database.VM[session.xenapi.VM.clone("vm", "clone")])
        assert {name: len(rows) for name, rows in made.items()} == {"VBD": 2, "VIF": 1, "VGPU": 1, "VTPM": 1}
        (root,) = [vbd.VDI for vbd in made["VBD"] if vbd.type == "Disk"]
        image = pool.database.VDI[root]
        assert root != "root"
        assert (image.is_a_snapshot, image.snapshot_of, image.SR) == (False, NULL, "sr")
        assert [vbd.VDI for vbd in made["VBD"] if vbd.type == "CD"] == ["disc"]
        assert made["VIF"][0].MAC != "02:00:00:00:00:01"

    def test_of_a_snapshot_and_back(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        vm = add_vm()
        with_devices(pool)
        then = session.xenapi.VM.snapshot("vm", "then")
        kept = devices(pool, pool.database.VM[then])
        (root,) = [vbd.VDI for vbd in kept["VBD"] if vbd.type == "Disk"]
        assert (pool.database.VDI[root].is_a_snapshot, pool.database.VDI[root].snapshot_of) == (True, "root")
        assert kept["VIF"][0].MAC == "02:00:00:00:00:01"
        session.xenapi.VIF.destroy("vif")
        before = everything(pool)
        session.xenapi.VM.revert(then)
        now = devices(pool, vm)
        assert {name: len(rows) for name, rows in now.items()} == {"VBD": 2, "VIF": 1, "VGPU": 1, "VTPM": 1}
        (image,) = [vbd.VDI for vbd in now["VBD"] if vbd.type == "Disk"]
        assert "root" not in pool.database.VDI, "the snapshot's copy is there instead"
        assert pool.database.VDI[root].snapshot_of == image
        assert (pool.database.VDI[image].is_a_snapshot, now["VIF"][0].MAC) == (False, "02:00:00:00:00:01")
        assert not set(vm.VBDs) & set(pool.database.VM[then].VBDs)
        pool.database.undo()
        assert everything(pool) == before

    def test_go_with_the_vm(self, pool: Pool, session: Session, add_vm: AddVM) -> None:
        add_vm()
        with_devices(pool)
        pool.database.load("VUSB", [row(pool.database, "VUSB", "vusb", VM="vm")])
        session.xenapi.VM.destroy("vm")
        left = {name for name in ("VBD", "VIF", "VGPU", "VTPM", "VUSB") if len(pool.database.tables[name])}
        assert (left, len(pool.database.VDI)) == (set(), 2)
