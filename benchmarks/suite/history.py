"""What VMs were measured to use, and trends: from files to evidence, and a line through a year of days."""

import tempfile
from pathlib import Path

import numpy as np

from xenmem.history.evidence import Evidence, Terms, evidence
from xenmem.history.trend import trend
from xenmem.inventory.use import Rows, Use, keep, read_use

TERMS = Terms()
ROWS = 30 * 1440
"""Minutes of 30 days."""


def use_of(number: int) -> Use:
    """A VM that uses between 20 and 80 % of 16 GiB."""
    random = np.random.default_rng(number)
    size = float(16 << 30)
    memory = np.full(ROWS, size)
    free = size * random.uniform(0.2, 0.8, ROWS).round(3)
    times = np.arange(ROWS, dtype=np.int64) * 60 + 1_790_000_040
    return Use(f"{number:08x}-0000-4000-8000-000000000000", {60: Rows(times, memory, memory, free, free / size)})


class Month:
    """How long do 30 days of minutes of some VMs take, from a Parquet file to what they say; and how much memory?"""

    params = ([1, 20],)
    param_names = ("vms",)
    timeout = 120

    def setup(self, vms: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "use.parquet"
        for _ in keep(map(use_of, range(vms)), self.path):
            pass
        if self.read() != [evidence(use_of(number), TERMS) for number in range(vms)]:
            raise AssertionError("what was kept says something else")

    def teardown(self, vms: int) -> None:
        self.folder.cleanup()

    def read(self) -> list[Evidence | None]:
        return [evidence(use, TERMS) for use in read_use([self.path])]

    def time_evidence(self, vms: int) -> None:
        self.read()

    def peakmem_evidence(self, vms: int) -> None:
        self.read()


class Year:
    """How long does a trend of so many days take?"""

    params = ([30, 400],)
    param_names = ("days",)

    def setup(self, days: int) -> None:
        self.days = np.arange(days, dtype=np.float64)
        self.values = 1000.0 - self.days + np.random.default_rng(1).normal(0, 5, days)
        if not -1.2 < trend(self.days, self.values).slope < -0.8:
            raise AssertionError("the slope is not the one that was put in")

    def time_trend(self, days: int) -> None:
        trend(self.days, self.values)
