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


def test_limits_are_those_of_the_header() -> None:
    """The same domain in C and in Python; of models, Python takes only those for which its formulas are proved."""
    header = {name: int(value) for name, value in re.findall(r"#define XENMEM_(\w+) (\d+)", HEADER.read_text())}
    limits = {name: value for name, value in vars(_limits).items() if name in header}
    assert limits.pop("MAX_SHADOW_PAGES_PER_MIB") <= header["MAX_SHADOW_PAGES_PER_MIB"]
    assert {name: header[name] for name in limits} == limits
    assert set(limits) == {"MAX_BYTES", "MAX_VCPUS", "MAX_SHADOW_MULTIPLIER", "MAX_MODEL_CONSTANT", "DOMAIN_TYPES"}
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
}


@pytest.mark.parametrize(("version", "name"), VERSIONS.items())
def test_model_for(version: str, name: str) -> None:
    assert kernel.model_for(version) is kernel.MODELS[name]
    assert kernel.model_name_for(version) == name
    assert reference.model_name_for(version) == name


@given(major=st.integers(0, 99), minor=st.integers(0, 999), rest=st.sampled_from(["", ".0", ".1-2", "-next", "+xcp"]))
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
    ],
)
def test_no_version(version: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(version))):
        kernel.model_for(version)


def test_a_model_of_ones_own() -> None:
    """The upgrade that doubles a constant is asked like any other."""
    model = kernel.MODELS["26.3"]._replace(xen_pages_per_vcpu=256)
    answer = kernel.overhead(0, 0, np.arange(4), 1.0, model=model) - kernel.overhead(
        0, 0, np.arange(4), 1.0, model="pre-26.3"
    )
    assert (answer >> 20).tolist() == [0, 1, 2, 3]
