"""What somebody who tries xenmem for the first time meets: words, answers that agree, and what README says first."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import xenmem as library
from xenmem import answers
from xenmem.text import titled

ROOT = Path(__file__).parents[2]
GIB = 1 << 30

Answer = Callable[..., str]


def test_the_readme_says_how_to_get_a_dump_and_what_is_in_it() -> None:
    """F5: the command that makes one stood on a page further back, and that it holds secrets nowhere."""
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert (
        readme.index("xe pool-dump-database file-name=")
        < readme.index("holds secrets")
        < readme.index("## Five questions")
    )


def test_an_address_that_is_taken_for_a_file(complaint: Answer) -> None:
    """F5: `No such file or directory` was all that somebody who typed what ssh takes was told."""
    told = complaint("report", "root@xen01")
    assert told == "root@xen01: No such file or directory; a pool that runs is https://root@xen01"
    told = complaint("report")
    assert told == "Missing argument 'INVENTORY...' (or set XENMEM_INVENTORY; see xenmem report --help)"


@pytest.mark.parametrize(("memory", "vcpus"), [(16 * GIB, 4), (4 * GIB, 2), (64 * GIB, 8)])
def test_fit_and_capacity_agree(memory: int, vcpus: int) -> None:
    """F12: three by the one and one by the other, and neither said what it had counted as the memory of a VM."""
    fleet = library.read(ROOT / "examples" / "pool.xml.gz")
    fit = answers.fit(fleet, memory, vcpus)
    capacity = answers.capacity(fleet, [answers.Wanted(memory, vcpus)])
    assert fit.count == sum(pool.count for pool in capacity.pools)
    assert "(counted as dynamic_min)" in fit.verdict
    assert "(counted as dynamic_min)" in capacity.verdict


def test_errors_are_named_as_users_import_them() -> None:
    """F17: it printed as xenmem.inventory.error.InventoryError."""
    with pytest.raises(library.InventoryError) as caught:
        library.Fleet.from_records({"VM": {"x": {"memory_static_max": "lots"}}})
    assert repr(caught.type) == "<class 'xenmem.InventoryError'>"


@pytest.mark.slow
def test_make_says_that_there_is_no_compiler() -> None:
    """F19: only `xenmem info` told that the C backend was not there."""
    made = ["-o", f"{sys.prefix}/.installed"]
    done = subprocess.run(
        ["make", "demo", f"VENV={sys.prefix}", "CC=/nowhere/cc", *made],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "There is no C compiler (/nowhere/cc): numba computes, as fast after a slower start." in done.stdout


def test_a_pool_is_called_a_pool_once(answer: Answer) -> None:
    """F23: `Pool Pool "xs8"` read as a fault."""
    assert [titled("pool", name) for name in ("east", "Pool 7", "POOL")] == ["pool east", "Pool 7", "POOL"]
    inventory = str(ROOT / "examples" / "pool.xml.gz")
    for page in (answer("rolling-update", inventory, status=1), answer("evacuate", inventory, "xen01", status=1)):
        assert 'Pool "xs8" (ams & more)' in page
        assert "pool pool" not in page.casefold()


def test_one_of_a_thing_is_one(answer: Answer, small: str) -> None:
    """F23: `1 do not fit`, `1 bad VM rows`, `VMs take 0B more`, and a label before a sentence."""
    fleet = library.Fleet.from_records({"VM": {"x": {"memory_static_max": "lots"}}}, lenient=True)
    assert "1 bad VM row was skipped" in [note.text for note in fleet.notes]
    assert "1 is placed" in library_plan_reason()
    same = answers.upgrade_check(library.read(ROOT / "examples" / "three-hosts.json"), "26.3").verdict
    assert same == "With 26.3 nothing changes: every VM still starts where it is."
    page = answer("failover", small, "--failures", "3", status=1)
    assert "loses" not in page


def library_plan_reason() -> str:
    from xenmem import planning

    return planning.pack_sizes([2, 2], [3]).reason


def test_next_does_not_say_what_was_asked(answer: Answer) -> None:
    """The way that was taken already stood there again, and twice in the command to paste."""
    inventory = str(ROOT / "examples" / "pool.xml.gz")
    page = answer("evacuate", inventory, "xen01", "--ignore", "immobile", status=1)
    assert "leave it where it is" not in page
    assert page.rstrip().endswith("--ignore immobile --may-stop immobile")


def test_a_plan_that_does_not_reach_its_end_moves_nothing(answer: Answer) -> None:
    """F2: 170 migrations stood there, which put running VMs out, and a state that they did not lead to."""
    inventory = str(ROOT / "examples" / "pool.xml.gz")
    told = json.loads(answer("pack", inventory, "--format", "json", status=1))
    assert told["verdict"] == "8 of 74 VMs find no place."
    assert [pool["moves"] for pool in told["pools"]] == [[]]
