"""xenmem.read: what does reading cost beside the bare decoding of the same bytes, in time and in memory?"""

import json
import tempfile
from pathlib import Path
from xml.parsers import expat

import xenmem

from . import fleets


def bare_parse(path: Path) -> None:
    """What any reader of the dump must do: find the end of every tag and attribute."""
    parser = expat.ParserCreate()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            parser.Parse(piece)
    parser.Parse(b"", True)


class Read:
    """Does the time grow with the bytes, and the memory with the columns?"""

    params = (["statedb", "records-json", "xe-text"], [100, 2_000])
    param_names = ("format", "vms")
    timeout = 300

    def setup(self, inventory_format: str, vms: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = fleets.inventory(Path(self.folder.name) / "pool", vms, inventory_format)

    def teardown(self, inventory_format: str, vms: int) -> None:
        self.folder.cleanup()

    def time_read(self, inventory_format: str, vms: int) -> None:
        xenmem.read(self.path)

    def peakmem_read(self, inventory_format: str, vms: int) -> None:
        xenmem.read(self.path)

    def time_bare_decoding(self, inventory_format: str, vms: int) -> None:
        if inventory_format == "statedb":
            bare_parse(self.path)
        elif inventory_format == "records-json":
            json.loads(self.path.read_bytes())
        else:
            self.path.read_text().splitlines()
