"""xenmem.page.report: what does the page cost beside reading, and how large is it? Its script: tests/clients."""

import numpy as np

import xenmem
from xenmem import page

HOSTS = [20, 1_000]
"""Each with fifty VMs."""


class Report:
    """Do time and bytes grow with the VMs? The target: 1,000 hosts and 50,000 VMs in 3 s and 5 MB."""

    params = (HOSTS,)
    param_names = ("hosts",)
    timeout = 300

    def setup(self, hosts: int) -> None:
        """Hosts of a TiB, and VMs of 1 to 32 GiB with the names and uuids that real ones have."""
        rng = np.random.default_rng(1)
        vms = 50 * hosts
        digits = rng.integers(0, 16, (vms, 32)).tolist()
        texts = ("".join(f"{digit:x}" for digit in row) for row in digits)
        self.fleet = xenmem.Fleet.from_columns(
            {
                "name": [f"{kind}-{number:05}" for number, kind in enumerate(rng.choice(["web", "db", "build"], vms))],
                "uuid": [f"{t[:8]}-{t[8:12]}-{t[12:16]}-{t[16:20]}-{t[20:]}" for t in texts],
                "memory": rng.integers(1, 32, vms) << 30,
                "host": [f"host-{number % hosts}" for number in range(vms)],
            },
            {"name": [f"host-{number}" for number in range(hosts)], "memory_total": [1 << 40] * hosts},
        )
        if f'"rows":{vms}' not in page.report(self.fleet):
            raise AssertionError("not all VMs are on the page")

    def time_report(self, hosts: int) -> None:
        page.report(self.fleet)

    def track_mb(self, hosts: int) -> float:
        return len(page.report(self.fleet).encode()) / 1e6
