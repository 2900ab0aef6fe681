"""Print the tables: ``make bench``, or some: ``make bench RATIOS='numbers --vms-in-dump 100000'``."""

import argparse
import os
import platform

import numpy as np

from ratios.kernels import numbers
from ratios.messages import messages
from ratios.plans import plans
from ratios.table import heading
from xenmem.answers import info


def main() -> None:
    parser = argparse.ArgumentParser(prog="ratios", description=__doc__)
    parser.add_argument("--vms-in-dump", type=int, default=5_000, help="size of the dump that is read (default 5000)")
    tables = {
        "numbers": lambda: numbers(options.vms_in_dump),
        "messages": messages,
        "plans": plans,
    }
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"{', '.join(tables)}; all by default")
    options = parser.parse_args()
    unknown = set(options.tables) - set(tables)
    if unknown:
        parser.error(f"no table {', '.join(sorted(unknown))}")
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}"
    print(f"{info().cpu}, {len(os.sched_getaffinity(0))} CPUs, {versions}")
    for name, measure in tables.items():
        if not options.tables or name in options.tables:
            heading()
            measure()


main()
