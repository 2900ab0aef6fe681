"""xenmem.read: what does reading cost beside the bare decoding of the same bytes, in time and in memory?"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.parsers import expat

import xenmem

from . import ROOT

FORMATS = ["statedb", "records-json", "xe-text"]
VMS = [100, 5_000]


def bare_expat(path: Path) -> None:
    """What any reader of a dump must do: find the end of every tag and attribute."""
    parser = expat.ParserCreate()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            parser.Parse(piece)
    parser.Parse(b"", True)


BARE: dict[str, Callable[[Path], object]] = {
    "statedb": bare_expat,
    "records-json": lambda path: json.loads(path.read_bytes()),
    "xe-text": lambda path: path.read_text().splitlines(),
}


class Read:
    """Does the time grow with the bytes, and the memory with the columns? `bare` is the decoding alone."""

    params = (FORMATS, VMS)
    param_names = ("format", "vms")
    timeout = 300

    def setup_cache(self) -> dict[tuple[str, int], Path]:
        """A generated pool in each format, of 100 VMs a host."""
        generator = ROOT / "tests" / "data" / "make_pool_dump.py"
        paths = {}
        for name in FORMATS:
            for vms in VMS:
                path = Path(f"{name}-{vms}").resolve()
                options = ["--vms", str(vms), "--hosts", str(vms // 100), "--format", name, "--out", str(path)]
                subprocess.run([sys.executable, str(generator), *options], check=True)
                guests = xenmem.read(path).vms.is_guest.sum()
                if guests != vms:
                    raise AssertionError(f"{name}: {guests} guests of {vms} are read")
                paths[name, vms] = path
        return paths

    setup_cache.timeout = 600  # type: ignore[attr-defined]

    def time_read(self, paths: dict[tuple[str, int], Path], name: str, vms: int) -> None:
        xenmem.read(paths[name, vms])

    def peakmem_read(self, paths: dict[tuple[str, int], Path], name: str, vms: int) -> None:
        xenmem.read(paths[name, vms])

    def time_bare(self, paths: dict[tuple[str, int], Path], name: str, vms: int) -> None:
        BARE[name](paths[name, vms])

    def track_mb(self, paths: dict[tuple[str, int], Path], name: str, vms: int) -> float:
        return paths[name, vms].stat().st_size / 1e6
