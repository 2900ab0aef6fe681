"""The models as data: the constants against the reference, and which xapi version computes with which."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twins import reference

from xenmem import kernel
from xenmem.kernel import _limits

HEADER = Path(__file__).parents[2] / "csrc" / "xenmem.h"


def test_constants_are_the_reference() -> None:
    assert kernel.DEFAULT_MODEL == "26.3"
    assert set(kernel.MODELS) == set(reference.MODELS)
    for name, model in kernel.MODELS.items():
        assert model._asdict() == reference.MODELS[name]._asdict()


def test_models_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        kernel.MODELS["26.3"] = kernel.MODELS["pre-26.3"]  # type: ignore[index]


def test_domain_types() -> None:
    assert [(member.name, member.value) for member in kernel.DomainType] == [
        ("HVM", 0),
        ("PV", 1),
        ("PV_IN_PVH", 2),
        ("PVH", 3),
    ]
    assert tuple(member.name.lower() for member in kernel.DomainType) == reference.DOMAIN_TYPES
    (enumerators,) = re.findall(r"enum xenmem_domain_type {(.*?)}", HEADER.read_text())
    names = [name.strip().removeprefix("XENMEM_") for name in enumerators.split(",")]
    assert names == [member.name for member in kernel.DomainType]


def test_limits_are_those_of_the_header() -> None:
    """The same domain in C and in Python; of models, Python takes only those for which its formulas are proved."""
    header = {name: int(value) for name, value in re.findall(r"#define XENMEM_(\w+) (\d+)", HEADER.read_text())}
    limits = {name: value for name, value in vars(_limits).items() if name.isupper()}
    assert limits.pop("PROVED_SHADOW_PAGES_PER_MIB") <= header["MAX_SHADOW_PAGES_PER_MIB"]
    assert limits.pop("PROVED_MIN_SHADOW_MIB") <= header["MAX_MODEL_CONSTANT"]
    assert limits.pop("MAX_USED_BYTES") == 4 * header["MAX_BYTES"]  # csrc/free_memory.c: MAX_USED
    assert limits.pop("NO_ROW") == -1
    assert {name: header[name] for name in limits} == limits
    exported = (kernel.MAX_BYTES, kernel.MAX_VCPUS, kernel.MAX_SHADOW_MULTIPLIER)
    assert exported == (1 << 50, 65535, 1024)


VERSIONS = {
    "23.31.0": "pre-26.3",
    "1.3": "pre-26.3",
    "1.9": "pre-26.3",
    "1.20": "pre-26.3",
    "1.249.10": "pre-26.3",
    "22.20": "pre-26.3",
    "24.19.2": "pre-26.3",
    "25.39.0": "pre-26.3",
    "26": "pre-26.3",
    "26.0": "pre-26.3",
    "26.1.19": "pre-26.3",
    "26.2.9": "pre-26.3",
    "26.2.30": "pre-26.3",
    "26.3": "26.3",
    "26.3.0": "26.3",
    "26.10": "26.3",
    "26.17.0-29": "26.3",
    "26.17.0-29-ge2ee48d688": "26.3",
    "26.30": "26.3",
    "27": "26.3",
    "27.0": "26.3",
    "100.1.2": "26.3",
    "0.2": "pre-26.3",
    "1.77.9": "pre-26.3",
    "1.90.5": "pre-8.1",
    "1.110.1": "pre-8.1",
    "1.160.2": "pre-8.1",
    "1.214.1": "pre-26.3",
    "21.4": "pre-26.3",
}


@pytest.mark.parametrize(("version", "name"), VERSIONS.items())
def test_model_for(version: str, name: str) -> None:
    assert kernel.model_for(version) is kernel.MODELS[name]
    assert kernel.model_name_for(version) == name
    assert reference.model_name_for(version) == name


PRODUCTS = {
    "pre-6.0": ["xenserver-5.6", "XenServer 5.6", "5.6", "5.6.100"],
    "pre-26.3": [
        *("xenserver-6.0", "xenserver-6.1", "xenserver-6.2", "xenserver-6.5", "6.0.2", "6.2.0"),
        *("xenserver-7.0", "xenserver-7.1", "xenserver-7.2", "xenserver-7.3", "xenserver-7.4", "xcp-ng-7.4", "7.4"),
        *("citrix-hypervisor-8.1", "xcp-ng-8.1", "citrix-hypervisor-8.2", "xcp-ng-8.2", "8.2", "8.2.1"),
        *("xenserver-8", "xenserver-8.4.0", "8", "8.4.0", "xcp-ng-8.3", "XCP-ng 8.3", "8.3", "8.3.0"),
    ],
    "pre-8.1": [
        *("xenserver-7.5", "xcp-ng-7.5", "7.5.0", "xenserver-7.6", "xcp-ng-7.6", "7.6"),
        *("citrix-hypervisor-8.0", "Citrix Hypervisor 8.0", "xcp-ng-8.0", "8.0.0"),
    ],
    "26.3": ["xenserver-9", "xcp-ng-9", "XCP-ng 9.0", "9", "9.0.0"],
}


@pytest.mark.parametrize(("name", "product"), [(name, which) for name, all_ in PRODUCTS.items() for which in all_])
def test_model_for_a_product(name: str, product: str) -> None:
    assert kernel.model_name_for(product) == name


def test_products_are_those_that_are_tested() -> None:
    assert set(kernel.PRODUCTS) <= {product for all_ in PRODUCTS.values() for product in all_}
    assert (kernel.newest_build("XCP-ng 9"), kernel.newest_build("8.2")) == ("26.4.0", "1.249.41")
    assert (kernel.newest_build("26.4.0"), kernel.newest_build("xenserver-8.3.x")) == ("", "")


@pytest.mark.parametrize("model", kernel.MODELS)
def test_a_model_is_its_own_version(model: str) -> None:
    assert kernel.model_for(model) is kernel.MODELS[model]


def test_measured_overheads_of_old_releases() -> None:
    """A shim of 7.5 to 8.0 (xcp-idl, pull request 207), and PV templates of a 5.6 FP1 pool, which had 1 MiB each."""
    shim = [kernel.overhead(2, gib << 30, 1, 1.0, model="pre-8.1") >> 20 for gib in (8, 128)]
    assert shim == [161, 2238]
    assert kernel.overhead(2, 8 << 30, 1, 1.0, model="pre-26.3") >> 20 == 181
    assert kernel.overhead(1, [1 << 30, 512 << 20], 1, 1.0, model="pre-6.0").tolist() == [1 << 20] * 2


def test_reserve_of_hosts() -> None:
    assert {name: model.host_reserve_mib for name, model in kernel.MODELS.items()} == {
        "26.3": 72,
        **dict.fromkeys(("pre-26.3", "pre-8.1", "pre-6.0"), 9),
    }


@given(
    major=st.integers(0, 99).filter(lambda major: not 2 <= major <= 20),
    minor=st.integers(0, 999),
    rest=st.sampled_from(["", ".0", ".1-2", "-next", "+xcp"]),
)
def test_model_for_any_version(major: int, minor: int, rest: str) -> None:
    version = f"{major}.{minor}{rest}"
    assert kernel.model_for(version) is kernel.MODELS[reference.model_name_for(version)]


@pytest.mark.parametrize(
    "version",
    [
        "",
        " ",
        "v26.3",
        "xapi",
        "26,3",
        ".26",
        "-26.3",
        "26.3 beta",
        " 26.3",
        "26.x",
        "\u0662\u0666.3",
        "26.3\n",
        "\x00",
        "2.1",
        "7.9",
        "10",
        "xcp-ng",
        "xcp-ng-8",
        "xcp-ng-10",
        "xenserver-5.5",
        "9.x",
        "post-26.3",
    ],
)
def test_no_version(version: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(version))) as raised:
        kernel.model_for(version)
    assert all(name in str(raised.value) for name in (*kernel.MODELS, *kernel.PRODUCTS))
    assert "\n" not in str(raised.value)


def test_a_model_of_ones_own() -> None:
    """The upgrade that doubles a constant is asked like any other."""
    model = kernel.MODELS["26.3"]._replace(xen_pages_per_vcpu=256)
    answer = kernel.overhead(0, 0, np.arange(4), 1.0, model=model) - kernel.overhead(
        0, 0, np.arange(4), 1.0, model="pre-26.3"
    )
    assert (answer >> 20).tolist() == [0, 1, 2, 3]
