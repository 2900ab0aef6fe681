"""The rules of mobility over plain values: the vectors of the reference's own unit tests, and what those leave out.

Source: xapi-project/xen-api, ocaml/tests/test_cpuid_helpers.ml, test_pgpu_helpers.ml, test_vgpu_common.ml,
test_vm_helpers.ml.
"""

import pytest

from xenmem.rules.mobility import cpu, devices, networks, platform, storage
from xenmem.rules.mobility.cpu import CPU, Levelling, Verdict
from xenmem.rules.mobility.devices import GPU, GPUType
from xenmem.rules.mobility.guest import LiveGPU, Obstacle, device_obstacle, feature_obstacle

# ------------------------------------------------------------------------------------------------------------------ CPU


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("00000000-00000002-0000007b", (0, 2, 123)),
        ("00000001", (1,)),
        ("00000000", (0,)),
        ("", ()),
    ],
)
def test_feature_sets(text: str, words: cpu.FeatureSet) -> None:
    assert cpu.features_of(text) == words
    assert cpu.text_of(words) == text


@pytest.mark.parametrize(
    "text",
    ["foo bar baz", "fgfg-1234", "0123-foo", "foo-0123", "-1234", "1234-", "123456789", "1--2", "0x1", " 1", "٣"],
)
def test_what_is_no_feature_set(text: str) -> None:
    with pytest.raises(ValueError, match="is no feature set"):
        cpu.features_of(text)


@pytest.mark.parametrize(
    ("features", "by", "extended"),
    [
        ((), (), ()),
        ((), (0, 2), (0, 2)),
        ((1,), (), ()),
        ((1,), (0,), (1,)),
        ((1,), (0, 2), (1, 2)),
        ((1, 0), (0, 2), (1, 0)),
        ((1, 0), (0, 2, 4, 9), (1, 0, 4, 9)),
    ],
)
def test_extended(features: cpu.FeatureSet, by: cpu.FeatureSet, extended: cpu.FeatureSet) -> None:
    assert cpu.extended(features, by) == extended


@pytest.mark.parametrize(
    ("features", "length", "extended"),
    [
        ((1,), 2, (1, 0)),
        ((1,), 1, (1,)),
        ((), 2, (0, 0)),
        ((), 0, ()),
        ((1, 2), 0, ()),
        ((1, 2), 1, (1,)),
        ((1, 2), 2, (1, 2)),
    ],
)
def test_zero_extended(features: cpu.FeatureSet, length: int, extended: cpu.FeatureSet) -> None:
    assert cpu.zero_extended(features, length) == extended


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ((), (), ()),
        ((1, 2, 3), (), (1, 2, 3)),
        ((7, 3), (5,), (5, 0)),
        ((1,), (1, 0), (1, 0)),
        ((1, 2, 3), (1, 1, 1), (1, 0, 1)),
        ((0b01111111, 0b10000000), (0b11111111, 0), (0b01111111, 0)),
        ((0b00000111, 0b11100000), (0b00001111, 0b11110000), (0b00000111, 0b11100000)),
    ],
)
def test_intersection(one: cpu.FeatureSet, other: cpu.FeatureSet, both: cpu.FeatureSet) -> None:
    assert cpu.intersection(one, other) == both
    assert cpu.intersection(other, one) == both
    assert cpu.pool_features([one, other, one]) == both


@pytest.mark.parametrize(
    ("features", "of", "is_subset"),
    [
        ((), (), True),
        ((1, 2, 3), (), True),
        ((), (1, 2, 3), True),
        ((7, 3), (5,), False),
        ((5,), (7, 3), True),
        ((1,), (1, 0), True),
        ((1, 0), (1,), True),
        ((0b00011111,), (0b00001111,), False),
        ((0b00000000, 0b11111111), (0b11111111, 0b00000000), False),
        ((0b11111111, 0b01010101), (0b11111111, 0b01010101), True),
        ((0b00000111, 0b11100000), (0b00001111, 0b11110000), True),
        (
            cpu.features_of("07cbfbff-04082201-20100800-00000001-00000000"),
            cpu.features_of("07c9cbf5-80082201-20100800-00000001-00000000"),
            False,
        ),
    ],
)
def test_is_subset(features: cpu.FeatureSet, of: cpu.FeatureSet, is_subset: bool) -> None:
    """Over the words of the host; unlike the server's older rule, an empty set of a VM asks for nothing."""
    assert cpu.is_subset(features, of) is is_subset


HOST = CPU("GenuineIntel", "0000000f-00000003")


@pytest.mark.parametrize(
    ("guest", "host", "server", "verdict"),
    [
        (CPU(None, None), HOST, Levelling.CURRENT, Verdict.COMPATIBLE),
        (CPU(None, None), CPU("GenuineIntel", None), Levelling.CURRENT, Verdict.NO_KEYS),
        (CPU(None, None), CPU(None, "0000000f"), Levelling.CURRENT, Verdict.NO_KEYS),
        (CPU("AuthenticAMD", "ffffffff"), HOST, Levelling.CURRENT, Verdict.OTHER_VENDOR),
        (CPU("GenuineIntel", "0000001f-00000003"), HOST, Levelling.CURRENT, Verdict.LACKS_FEATURES),
        (CPU("GenuineIntel", "0000000f"), HOST, Levelling.CURRENT, Verdict.COMPATIBLE),
        (CPU(None, "0000000f"), HOST, Levelling.CURRENT, Verdict.COMPATIBLE),
        (CPU("GenuineIntel", "0000000f-00000003-00000000"), HOST, Levelling.CURRENT, Verdict.COMPATIBLE),
        (CPU("GenuineIntel", "0000000f-00000003-00000001"), HOST, Levelling.CURRENT, Verdict.UNDECIDED),
        (CPU("GenuineIntel", "1"), CPU("GenuineIntel", ""), Levelling.CURRENT, Verdict.UNDECIDED),
        (CPU("AuthenticAMD", "0000000f"), CPU("GenuineIntel", None), Levelling.LENIENT, Verdict.COMPATIBLE),
        (CPU("GenuineIntel", "0000000f"), CPU("GenuineIntel", None), Levelling.EXTENDED, Verdict.NO_KEYS),
        (CPU("GenuineIntel", "0000001f"), HOST, Levelling.EXTENDED, Verdict.LACKS_FEATURES),
        (CPU("GenuineIntel", "0000000f-00000003-0-1"), HOST, Levelling.CURRENT, Verdict.UNDECIDED),
        (CPU("GenuineIntel", "0000000f-00000003-0-1"), HOST, Levelling.EXTENDED, Verdict.COMPATIBLE),
        (CPU("GenuineIntel", "0000000f-00000003-0-0-1"), HOST, Levelling.EXTENDED, Verdict.UNDECIDED),
    ],
)
def test_comparison(guest: CPU, host: CPU, server: Levelling, verdict: Verdict) -> None:
    assert cpu.compare(guest, host, server) is verdict
    assert (verdict > 0) == (verdict in cpu.REASONS)


def test_a_mask_of_the_pool() -> None:
    guest, host = CPU("GenuineIntel", "0000001f-00000003"), CPU("GenuineIntel", "0000000f-00000003")
    assert cpu.compare(guest, host, Levelling.MASKED) is Verdict.LACKS_FEATURES
    assert cpu.compare(guest, host, Levelling.MASKED, "0000000f-ffffffff") is Verdict.COMPATIBLE


@pytest.mark.parametrize(
    ("software_version", "server"),
    [
        ({"product_version": "6.5.0", "xapi": "1.3"}, Levelling.MASKED),
        ({"product_version": "7.0.0", "xapi": "1.9.61"}, Levelling.LENIENT),
        ({"xapi_build": "1.211.0"}, Levelling.LENIENT),
        ({"xapi_build": "1.249.41"}, Levelling.EXTENDED),
        ({"xapi_build": "22.6.0"}, Levelling.EXTENDED),
        ({"xapi_build": "22.7.0"}, Levelling.CURRENT),
        ({"xapi_build": "26.17.0"}, Levelling.CURRENT),
        ({}, Levelling.CURRENT),
    ],
)
def test_how_a_server_compares(software_version: dict[str, str], server: Levelling) -> None:
    assert cpu.levelling(software_version) is server


def test_what_the_next_boot_brings() -> None:
    host = {"vendor": "GenuineIntel", "features_hvm": "ff", "features_pv": "0f"}
    pool = {"features_hvm": "7f", "features_hvm_host": "3f", "features_pv_host": "07"}
    assert cpu.next_boot(pool, host, "hvm") == CPU("GenuineIntel", "3f")
    assert cpu.next_boot(pool, host, "pv_in_pvh") == CPU("GenuineIntel", "3f")
    assert cpu.next_boot(pool, host, "pv") == CPU("GenuineIntel", "07")
    assert cpu.next_boot({"features_hvm": "7f"}, host, "hvm") == CPU("GenuineIntel", "7f")
    assert cpu.next_boot({}, host, "hvm") == CPU("GenuineIntel", "ff")


# ------------------------------------------------------------------------------------------------------------- graphics


def kind(ref: str, per_gpu: int) -> GPUType:
    return GPUType(ref, "nvidia", devices.size_for(per_gpu), devices.compatible_types(ref, "nvidia"))


K100, K140Q, K200, K240Q, K260Q = kind("k100", 8), kind("k140q", 4), kind("k200", 8), kind("k240q", 4), kind("k260q", 2)
WHOLE = GPUType("whole", "passthrough", 0, devices.compatible_types("whole", "passthrough"))
K1, K2 = (K100, K140Q, WHOLE), (K200, K240Q, K260Q, WHOLE)


def gpu(
    types: tuple[GPUType, ...], resident: tuple[GPUType, ...] = (), scheduled: tuple[GPUType, ...] = (), ref: str = "p"
) -> GPU:
    refs = tuple(one.ref for one in types)
    return GPU(ref, devices.WHOLE_GPU, refs, refs, resident, scheduled, is_attached=WHOLE in resident)


@pytest.mark.parametrize(
    ("types", "resident", "scheduled", "asked", "capacity"),
    [
        (K1, (), (), K100, 8),
        (K1, (), (), K140Q, 4),
        (K1, (), (), WHOLE, 1),
        (K2, (), (), K200, 8),
        (K2, (), (), K240Q, 4),
        (K2, (), (), K260Q, 2),
        (K2, (), (), WHOLE, 1),
        (K2, (), (), K100, 0),
        (K1, (WHOLE,), (), K100, 0),
        (K1, (K100,), (), K140Q, 0),
        (K2, (WHOLE,), (), K200, 0),
        (K2, (K260Q,), (), K200, 0),
        (K1, (K100, K100), (), K100, 6),
        (K1, (K140Q, K140Q), (), K140Q, 2),
        (K1, (WHOLE,), (), WHOLE, 0),
        (K2, (K200,), (), K200, 7),
        (K2, (K240Q, K240Q, K240Q), (), K240Q, 1),
        (K2, (K260Q,), (), K260Q, 1),
        (K1, (), (K100,), K100, 7),
        (K1, (), (K100,), WHOLE, 0),
        (K1, (), (WHOLE,), K100, 0),
        (K1, (), (WHOLE,), WHOLE, 0),
        (K2, (), (K200, K200), K200, 6),
        (K1, (K100, K100), (K100,), K100, 5),
        (K2, (K240Q, K240Q), (K240Q,), K240Q, 1),
        (K1, (K100,) * 9, (), K100, 0),
    ],
)
def test_remaining_capacity(
    types: tuple[GPUType, ...],
    resident: tuple[GPUType, ...],
    scheduled: tuple[GPUType, ...],
    asked: GPUType,
    capacity: int,
) -> None:
    assert devices.remaining_capacity(gpu(types, resident, scheduled), asked) == capacity


def test_capacity_is_truncated() -> None:
    seventh = kind("m7", 7)
    assert seventh.size == 149796
    assert devices.remaining_capacity(gpu((seventh,), (seventh,) * 6), seventh) == 1
    assert devices.remaining_capacity(gpu((seventh,)), seventh._replace(size=0)) == 0


def test_types_that_are_not_enabled() -> None:
    assert devices.remaining_capacity(gpu(K1)._replace(enabled=("k140q",)), K100) == 0


@pytest.mark.parametrize(
    ("algorithm", "picks"), [("depth_first", ("p1", "p2")), ("breadth_first", ("p2", "p2")), ("", ("p1", "p2"))]
)
def test_picks(algorithm: str, picks: tuple[str, str]) -> None:
    gpus = [gpu(K1, (K100,) * 7, ref="p1"), gpu(K1, ref="p2")]
    assert devices.allocate([("g", K100), ("g", K100)], {"g": (gpus, algorithm)}) == (picks, -1)


def test_picks_take_room_and_are_not_asked() -> None:
    one = {"g": ([gpu(K1)], "depth_first")}
    assert devices.allocate([("g", K100), ("g", K140Q)], one) == (("p", "p"), -1)
    assert devices.allocate([("g", WHOLE), ("g", WHOLE)], one) == (("p",), 1)
    assert devices.allocate([("g", K140Q)] * 5, one) == (("p",) * 4, 4)


@pytest.mark.parametrize(
    ("algorithm", "groups"),
    [("depth_first", [["h2", "h4"], ["h3"]]), ("breadth_first", [["h3"], ["h2", "h4"]])],
)
def test_hosts_by_gpus(algorithm: str, groups: list[list[str]]) -> None:
    assert devices.best_hosts({"h4": 3, "h3": 8, "h2": 3}, algorithm) == groups


def test_hosts_by_virtual_functions() -> None:
    idle = {"h5": 1, "h1": 4, "h2": 0, "h3": 4}
    assert devices.best_sriov_hosts(idle, ["h6", "h4"]) == [["h1", "h3"], ["h5"], ["h4", "h6"]]
    assert devices.best_sriov_hosts({"h2": 0}, []) == []


@pytest.mark.parametrize(
    ("implementation", "function", "virtual"),
    [
        ("passthrough", True, False),
        ("mxgpu", True, True),
        ("nvidia_sriov", True, True),
        ("nvidia", False, False),
        ("gvt_g", False, False),
    ],
)
def test_what_passes_functions_through(implementation: str, function: bool, virtual: bool) -> None:
    assert devices.passes_function(implementation) is function
    assert devices.passes_virtual_function(implementation) is virtual


def test_usb_and_virtual_functions() -> None:
    assert devices.usb_host(["h1", "h2"]) == "h1"
    assert devices.usb_host([]) is None
    assert devices.short_of_functions({"V": 2, "W": 1}, {"V": 2, "W": 0}) == "W"
    assert devices.short_of_functions({"V": 2, "W": 2}, {"V": 2, "W": 2}) is None


# ------------------------------------------------------------------------------------------ storage, networks, platform


def test_storage() -> None:
    assert storage.first_unseen(["L1", "S"], {"S"}) == "L1"
    assert storage.first_unseen(["S", "S"], {"S"}) is None
    assert storage.is_properly_shared(True, {"h1", "h2"}, ["h1", "h2"])
    assert not storage.is_properly_shared(True, {"h1"}, ["h1", "h2"])
    assert not storage.is_properly_shared(False, {"h1"}, ["h1"])
    assert [storage.needs_suspend_image(state, True) for state in ("Suspended", "Halted", "Running")] == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("features", "needed", "missing"),
    [
        (["VDI_SNAPSHOT"], storage.MIGRATE_FROM, ["VDI_MIRROR"]),
        (["VDI_SNAPSHOT"], storage.MIGRATE_TO, ["VDI_MIRROR_IN"]),
        (["VDI_SNAPSHOT", "VDI_MIRROR"], storage.MIGRATE_TO, []),
        (["VDI_SNAPSHOT", "VDI_MIRROR_IN"], storage.MIGRATE_FROM, ["VDI_MIRROR"]),
        (None, storage.MIGRATE_TO, ["VDI_SNAPSHOT", "VDI_MIRROR_IN"]),
    ],
)
def test_features_of_drivers(features: list[str] | None, needed: tuple[str, ...], missing: list[str]) -> None:
    assert storage.missing_features(features, needed) == missing


@pytest.mark.parametrize(
    ("sm_config", "stops"),
    [
        ({"on_boot": "reset"}, False),
        ({"on_boot": "reset", "caching": "true"}, True),
        ({"on_boot": "reset", "caching": "1"}, True),
        ({"on_boot": "persist", "caching": "true"}, False),
        ({}, False),
    ],
)
def test_disks_that_are_reset(sm_config: dict[str, str], stops: bool) -> None:
    assert storage.resets_with_cache(sm_config) is stops


@pytest.mark.parametrize(
    ("sharable", "own", "others", "in_use"),
    [
        (False, "RW", [], False),
        (False, "RW", ["RO"], True),
        (False, "RO", ["RO"], False),
        (False, "RO", ["RO", "RW"], True),
        (True, "RW", ["RW"], False),
    ],
)
def test_disks_in_use(sharable: bool, own: str, others: list[str], in_use: bool) -> None:
    assert storage.is_in_use(sharable, own, others) is in_use


@pytest.mark.parametrize(
    ("has_pifs", "flag", "managed", "pins"),
    [
        (True, False, True, False),
        (False, False, True, True),
        (False, True, True, False),
        (False, False, False, False),
    ],
)
def test_networks_that_pin(has_pifs: bool, flag: bool, managed: bool, pins: bool) -> None:
    assert networks.is_pinning(has_pifs, flag, managed) is pins


def test_networks_that_are_visible() -> None:
    assert networks.is_visible("h1", {"h1"}, has_pifs=True, pins=False)
    assert not networks.is_visible("h2", {"h1"}, has_pifs=True, pins=False)
    assert networks.is_visible("h2", (), has_pifs=False, pins=False, members_on=["h1"])
    assert networks.is_visible("h2", (), has_pifs=False, pins=True)
    assert networks.is_visible("h2", (), has_pifs=False, pins=True, members_on=["h1", "h2"])
    assert not networks.is_visible("h2", (), has_pifs=False, pins=True, members_on=["h1"])


@pytest.mark.parametrize(
    ("mode", "attached", "idle", "comes_up"),
    [
        ("sysfs", False, 0, True),
        ("unknown", True, 8, False),
        ("modprobe", True, 0, True),
        ("modprobe", False, 1, True),
        ("manual", False, 0, False),
    ],
)
def test_networks_that_need_a_reboot(mode: str, attached: bool, idle: int, comes_up: bool) -> None:
    logical = networks.Logical(mode, attached, idle)
    assert networks.comes_up_without_reboot(logical) is comes_up
    assert networks.is_good(False, logical) is comes_up
    assert not networks.is_good(True, logical)
    assert networks.is_good(False, None)


def test_kinds_of_pifs() -> None:
    names = ("tunnel_access", "vlan_master", "sriov_logical", "bond_master", "physical")
    for number, wanted in enumerate(networks.PIFKind):
        assert networks.pif_kind(**{name: place >= number for place, name in enumerate(names)}) is wanted
    assert networks.pif_kind(**dict.fromkeys(names, False)) is None


def test_platform() -> None:
    assert platform.offers([0, 1, 2], 2)
    assert not platform.offers([0, 1, 2], 3)
    assert platform.has_hvm(["xen-3.0-x86_64", "hvm-3.0-x86_64"])
    assert not platform.has_hvm(["xen-3.0-x86_64"])
    assert [platform.has_iommu(value) for value in ("true", "True", None)] == [True, False, None]
    assert platform.has_cpus(16, 16, unrestricted=False)
    assert not platform.has_cpus(17, 16, unrestricted=False)
    assert platform.has_cpus(17, 16, unrestricted=True)


# ---------------------------------------------------------------------------------------------------------------- guest

DRIVERS = {"major": "9", "minor": "4"}


@pytest.mark.parametrize(
    ("domain_type", "drivers", "other", "strict", "obstacle"),
    [
        ("hvm", None, {}, True, Obstacle.VM_LACKS_FEATURE),
        ("hvm", None, {}, False, Obstacle.NONE),
        ("hvm", None, {"feature-suspend": "1"}, True, Obstacle.NONE),
        ("hvm", {}, {"feature-suspend": "0"}, True, Obstacle.VM_LACKS_FEATURE),
        ("hvm", {"major": "9", "minor": "x"}, {}, True, Obstacle.VM_LACKS_FEATURE),
        ("hvm", DRIVERS, {}, True, Obstacle.NONE),
        ("pvh", None, {}, True, Obstacle.NONE),
        ("pv", DRIVERS, {"data-cant-suspend-reason": "busy"}, True, Obstacle.VM_NON_SUSPENDABLE),
        ("hvm", DRIVERS, {"data-cant-suspend-reason": "busy"}, False, Obstacle.VM_NON_SUSPENDABLE),
    ],
)
def test_guests(
    domain_type: str, drivers: dict[str, str] | None, other: dict[str, str], strict: bool, obstacle: Obstacle
) -> None:
    assert feature_obstacle(domain_type, drivers, other, strict=strict) is obstacle


@pytest.mark.parametrize(
    ("attached", "vgpus", "vusbs", "halted", "obstacle"),
    [
        ([], [], 0, False, Obstacle.NONE),
        (["vf"], [], 0, False, Obstacle.VM_HAS_PCI_ATTACHED),
        (["vf"], [LiveGPU("nvidia_sriov", "vf", True)], 0, False, Obstacle.NONE),
        (["vf", "nic"], [LiveGPU("nvidia_sriov", "vf", True)], 0, False, Obstacle.VM_HAS_PCI_ATTACHED),
        (["vf"], [LiveGPU("mxgpu", "vf", False)], 0, False, Obstacle.VM_HAS_PCI_ATTACHED),
        ([], [LiveGPU("nvidia", "", True)], 0, False, Obstacle.NONE),
        ([], [LiveGPU("nvidia", "", False)], 0, False, Obstacle.VM_HAS_VGPU),
        ([], [LiveGPU("gvt_g", "", True)], 0, False, Obstacle.VM_HAS_VGPU),
        ([], [LiveGPU("gvt_g", "", True)], 0, True, Obstacle.NONE),
        ([], [], 1, True, Obstacle.VM_HAS_VUSBS),
    ],
)
def test_devices(attached: list[str], vgpus: list[LiveGPU], vusbs: int, halted: bool, obstacle: Obstacle) -> None:
    assert device_obstacle(attached, vgpus, vusbs, halted=halted) is obstacle
