"""VM.assert_can_boot_here on random pools with devices, local storage, dead and disabled hosts: equal to its twin."""

from pathlib import Path
from typing import Any

import dumps
import numpy as np
import pytest
from mobility_examples import HOSTS, NULL, F, World
from twins.boot import boots

from xenmem import kernel
from xenmem.xenapi import Failure, connect

SEEDS = range(60)


def random_world(seed: int) -> World:
    """Hosts that differ in everything that a start asks for, and VMs with all kinds of devices."""
    dice = np.random.default_rng(seed)
    world = World()
    world.gpus("h1", "h2a", "h2b")
    world.sriov("V", "h1", int(dice.integers(3)), attached=int(dice.integers(2)))
    world.sriov("V", "h2", 2)
    world.add("SR", "D", shared=False, type="udev")
    world.add("PBD", "D-h2", SR="D", host="h2", currently_attached=True)
    world.add("USB_group", "U", PUSBs=["usb"])
    world.add("PUSB", "usb", host="h1", USB_group="U")

    def chance(share: float) -> bool:
        return bool(dice.random() < share)

    def one(*of: Any) -> Any:
        return of[int(dice.integers(len(of)))]

    for host in HOSTS:
        row = world.of("host", host)
        row["enabled"] = chance(0.8)
        world.of("host_metrics", f"{host}m")["live"] = chance(0.85)
        row["capabilities"] = ["xen-3.0-x86_64", *(["hvm-3.0-x86_64"] if chance(0.9) else [])]
        row["virtual_hardware_platform_versions"] = one(["0", "1", "2"], ["0", "1"])
        row["chipset_info"] = {} if chance(0.1) and host != "h1" else {"iommu": one("true", "true", "false")}
        info = {"cpu_count": one("2", "16"), "vendor": one("GenuineIntel", "GenuineIntel", "AuthenticAMD")}
        info |= {key: one(F, "0000001f-00000003", "0000000f") for key in ("features_hvm", "features_pv")}
        if chance(0.1) and host != "h1":
            del info["features_hvm"]
        row["cpu_info"] = info
    for pbd in world.tables["PBD"].values():
        pbd["currently_attached"] = chance(0.8)
    for ref in [ref for ref in world.tables["PIF"] if ref.startswith("N-") and chance(0.2)]:
        del world.tables["PIF"][ref]
    for ref, pif in world.tables["PIF"].items():
        if ref.startswith("N-"):
            pif["bond_slave_of"] = one(NULL, NULL, NULL, NULL, "gone")
    for network in world.tables["network"].values():
        network["PIFs"] = [ref for ref in network.get("PIFs", []) if ref in world.tables["PIF"]]
    world.set("network", "I", managed=chance(0.8), other_config=one({}, {}, {"assume_network_is_shared": "true"}))
    world.set("GPU_group", "G", allocation_algorithm=one("depth_first", "breadth_first"))
    world.set("PCI", "pci-h1", attached_VMs=one([], ["other"]))
    world.fill("gpu-h2a", one("K", "Q"), int(dice.integers(5)))
    for number in range(8):
        _give_vm(world, f"v{number}", one, chance)
    for host in HOSTS:
        if chance(0.2):
            world.small(host)
    return world


def _give_vm(world: World, vm: str, one: Any, chance: Any) -> None:
    world.vm(
        vm, VCPUs_max=one("2", "2", "8"), hardware_platform_version=one("0", "0", "2"), domain_type=one("hvm", "pv")
    )
    kind = kernel.DomainType[world.of("VM", vm)["domain_type"].upper()]
    overhead = int(kernel.overhead(kind, 4 << 30, int(world.of("VM", vm)["VCPUs_max"]), 1.0))
    world.set("VM", vm, memory_overhead=str(overhead))
    state = one("Halted", "Running", "Suspended", "Paused")
    if state == "Suspended":
        world.suspended(vm)
        world.set("VDI", f"{vm}-image", SR=one("S", "L1"))
    elif state != "Halted":
        world.running(vm, one(*HOSTS))
        world.set("VM", vm, power_state=state)
    if state != "Halted":
        world.of("VM_metrics", f"{vm}m")["current_domain_type"] = world.of("VM", vm)["domain_type"]
        flags = {"vendor": one("GenuineIntel", "AuthenticAMD"), "features": one(F, "0000001f", "0000000f", f"{F}-1")}
        world.set("VM", vm, last_boot_CPU_flags=one(flags, flags, {}))
    for number in range(one(0, 1, 1, 2)):
        world.disk(f"{vm}-d{number}", vm, one("S", "S", "S", "L1", "D"))
    if chance(0.05):
        world.vbd(f"{vm}-dangling", vm, "gone")
    if chance(0.3):
        world.vbd(f"{vm}-cd", vm, NULL, type="CD", mode="RO", empty=True)
    for number in range(one(0, 1, 1, 2)):
        world.vif(f"{vm}-n{number}", vm, one("N", "N", "I", "V"))
    for number in range(one(0, 0, 0, 1, 2)):
        gpu_type = one("K", "Q", "P") if number == 0 else "K"
        on = one("gpu-h1", "gpu-h2b") if state == "Running" and chance(0.5) else NULL
        world.vgpu(f"{vm}-g{number}", vm, gpu_type, on=on)
    if chance(0.1):
        world.add("VUSB", f"{vm}-usb", VM=vm, USB_group="U")
        world.set("VM", vm, VUSBs=[f"{vm}-usb"])


@pytest.mark.parametrize("seed", SEEDS)
def test_equals_its_twin(seed: int, tmp_path: Path) -> None:
    world = random_world(seed)
    file = tmp_path / "pool.xml"
    file.write_bytes(dumps.dump(world.tables))
    session = connect(str(file))
    answers = set()
    for vm in sorted(world.tables["VM"]):
        for host in HOSTS:
            expected = boots(world.tables, vm, host)
            try:
                session.xenapi.VM.assert_can_boot_here(vm, host)
                answer = None
            except Failure as failure:
                answer = list(failure.details)
            assert answer == expected, (vm, host)
            answers.add("" if answer is None else answer[0])
    assert len(answers) > 1
