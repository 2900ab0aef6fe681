"""Records of a pool's VMs into the database, beside the bare decoding of the same bytes."""

from pathlib import Path

import msgspec

from xenmem.xenapi import Pool
from xenmem.xenapi.store.saving import save

from . import databases

VMS = [10_000, 100_000]


class Load:
    """Does the time grow with the VMs, and how much of it is the decoding of the JSON text?"""

    params = (VMS,)
    param_names = ("vms",)
    rounds = 1
    timeout = 600

    def setup_cache(self) -> dict[int, Path]:
        paths = {vms: Path(f"pool-{vms}.json").resolve() for vms in VMS}
        for vms, path in paths.items():
            save(databases.database(vms // 100, vms), path)
        if len(Pool(paths[VMS[0]]).database.VM.rows) != VMS[0]:
            raise AssertionError("not every VM was loaded")
        return paths

    setup_cache.timeout = 600  # type: ignore[attr-defined]

    def time_load(self, paths: dict[int, Path], vms: int) -> None:
        Pool(paths[vms])

    def time_bare_decoding(self, paths: dict[int, Path], vms: int) -> None:
        msgspec.json.decode(paths[vms].read_bytes())
