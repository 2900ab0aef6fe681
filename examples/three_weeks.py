"""A folder of snapshots of a made-up pool: three weeks in which one VM grows day by day.

Usage, in the folder of the project: python examples/three_weeks.py FOLDER. A day that has a snapshot stays as it is.
"""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import xenmem

GIB = 1 << 30
FIRST = datetime(2026, 11, 1, 4, tzinfo=UTC)


def main(folder: str) -> None:
    """Append one snapshot a day."""
    pool = xenmem.read("examples/three-hosts.json")
    data = xenmem.DataSet(folder)
    there = {when for uuid in data.pools() for when in data.dates(uuid)} if Path(folder).is_dir() else set()
    for day in range(21):
        when = FIRST + timedelta(days=day)
        if when not in there:
            data.append(pool.resized({"cache": 3 * GIB + day * (GIB // 16)}), when)


if __name__ == "__main__":
    main(sys.argv[1])
