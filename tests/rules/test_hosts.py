"""Models and versions of hosts: how texts are read, what is compared, and which of two hosts is older."""

import numpy as np
import pytest

from xenmem.rules import hosts

OLD = {"platform_version": "3.4.0", "xapi_build": "25.33.1", "xapi": "25.33", "xen": "4.17.5-20"}
NEW = {"platform_version": "3.5.0", "xapi_build": "26.4.0", "xapi": "26.4", "xen": "4.20.1-3"}


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("26.17.0-29-ge2ee48d", (26, 17, 0, 29)),
        ("4.17.5-20-d", (4, 17, 5, 20)),
        ("4.17.5-20.abcd", (4, 17, 5, 20)),
        ("4.17.6-2", (4, 17, 6, 2)),
        ("(unknown)", ()),
        ("", ()),
        ("3.2.1", (3, 2, 1)),
        ("\u0662.1", (1,)),
        (f"1.{'9' * 5000}.2", (1, 2)),
    ],
)
def test_version_of(text: str, numbers: tuple[int, ...]) -> None:
    assert hosts.version_of(text) == numbers


def test_a_missing_version_is_zero() -> None:
    assert hosts.versions_of({"xen": "4.17.6-2"}) == ((0, 0, 0), (0, 0, 0), (4, 17, 6, 2))


def test_versions_are_compared_one_by_one() -> None:
    old, new = hosts.versions_of(OLD), hosts.versions_of(NEW)
    mixed = hosts.versions_of(NEW | {"xen": "4.17.5-19"})
    assert hosts.is_not_older(new, than=old)
    assert not hosts.is_not_older(old, than=new)
    assert hosts.is_not_older(old, than=old)
    assert not hosts.is_not_older(mixed, than=old)
    assert not hosts.is_not_older(old, than=mixed)
    assert hosts.is_not_older(hosts.versions_of(OLD | {"xapi": "1.0"}), than=old)


@pytest.mark.parametrize(
    ("build", "migration", "upgrade"),
    [
        ("1.249.41", ("platform_version",), ("platform_version",)),
        ("25.30.0", ("platform_version",), ("platform_version",)),
        ("25.31.0", ("platform_version", "xapi_build", "xen"), ("platform_version", "xapi_build", "xen")),
        ("25.32.1", ("platform_version", "xapi_build", "xen"), ("platform_version", "xapi_build", "xen")),
        ("25.33.1", ("platform_version", "xapi_build", "xen"), ("platform_version", "xapi")),
        ("26.17.0-29", ("platform_version", "xapi_build", "xen"), ("platform_version", "xapi")),
        ("", ("platform_version", "xapi_build", "xen"), ("platform_version", "xapi")),
    ],
)
def test_what_a_coordinator_compares(build: str, migration: tuple[str, ...], upgrade: tuple[str, ...]) -> None:
    software = {"xapi_build": build} if build else {}
    assert hosts.migration_keys(software) == migration
    assert hosts.upgrade_keys(software) == upgrade


@pytest.mark.parametrize(("build", "does"), [("26.16.3", False), ("26.17.0", True), ("26.17.0-29", True), ("", True)])
def test_who_names_the_unprotected(build: str, does: bool) -> None:
    assert hosts.names_unprotected({"xapi_build": build}) is does


def test_the_highest_version() -> None:
    """The first that no later one takes the place of; where two are not comparable, the later one counts."""
    a, b, c = ((3,), (1,)), ((2,), (2,)), ((2,), (1,))
    assert hosts.highest([c, a]) == a
    assert hosts.highest([a, c]) == a
    assert hosts.highest([a, b]) == b
    assert hosts.highest([b, a]) == a


def test_classes_of_versions() -> None:
    mixed = NEW | {"xen": "4.17.5-19"}
    software = [OLD, NEW, OLD, mixed, {}]
    class_of, may_follow = hosts.version_classes(np.array(software), np.zeros(5, np.int32), np.array([1]))
    may = may_follow[class_of[:, None], class_of[None, :]]
    assert may.tolist() == [
        [True, True, True, False, False],
        [False, True, False, False, False],
        [True, True, True, False, False],
        [False, True, False, True, False],
        [True, True, True, True, True],
    ]


def test_each_pool_compares_what_its_coordinator_does() -> None:
    """Of pools before 25.31 a newer build of the same platform is not newer."""
    older = OLD | {"xapi_build": "24.19.1"}
    software = [OLD, older, OLD, older]
    class_of, may_follow = hosts.version_classes(
        np.array(software), np.array([0, 0, 1, 1], np.int32), np.array([1, -1])
    )
    assert may_follow[class_of[0], class_of[1]]
    assert not may_follow[class_of[2], class_of[3]]
    assert not may_follow[class_of[0], class_of[2]]
    no_class, nothing = hosts.version_classes(np.array([], object), *[np.zeros(0, np.int32)] * 2)
    assert (no_class.shape, nothing.shape) == ((0,), (0, 0))


@pytest.mark.parametrize(
    ("software", "model"),
    [
        ({"xapi_build": "26.4.0", "xapi": "1.3"}, "26.3"),
        ({"xapi": "24.19"}, "pre-26.3"),
        ({"xapi_build": "1.110.1", "product_brand": "XCP-ng", "product_version": "7.6.0"}, "pre-8.1"),
        ({"xapi": "1.3", "product_brand": "XenServer", "product_version": "5.6.100"}, "pre-6.0"),
        ({"xapi": "1.3", "product_brand": "XenServer", "product_version": "6.2.0"}, "pre-26.3"),
        ({"xapi": "1.3", "product_brand": "XCP", "product_version": "1.6.10"}, "pre-26.3"),
        ({"xapi": "devel"}, ""),
        ({}, ""),
    ],
)
def test_model_of_a_host(software: dict[str, str], model: str) -> None:
    assert hosts.model_name(software) == model


def test_model_of_a_pool() -> None:
    assert hosts.pool_model("pre-8.1", ["26.3", "pre-8.1"], hosts.CURRENT).name == "pre-8.1"
    assert hosts.pool_model("", ["pre-26.3", "", "pre-26.3"], hosts.CURRENT).name == "pre-26.3"
    assert hosts.pool_model("", ["pre-26.3", "26.3"], hosts.CURRENT).name == "26.3"
    assert hosts.pool_model("", [], hosts.assumed_model([False, False])).name == "pre-26.3"
    assert hosts.pool_model("", [], hosts.assumed_model([False, True])).name == "26.3"
    assert hosts.pool_model("", [], hosts.assumed_model([])).name == "26.3"


def test_able_and_known() -> None:
    flags = np.array([True, True, False, False]), np.array([True, False, True, False])
    assert hosts.able(*flags).tolist() == [True, False, False, False]
    assert hosts.is_known(np.array([-1, 0, 1])).tolist() == [False, False, True]
