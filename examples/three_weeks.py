"""A folder of snapshots of a made-up pool: three weeks in which one VM grows day by day.

Usage: python examples/three_weeks.py FOLDER. A day of which there is a snapshot already is left as it is.
"""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import xenmem

GIB = 1 << 30
FIRST = datetime(2026, 11, 1, 4, tzinfo=UTC)


def main(folder: str) -> None:
    """Append one snapshot a day."""
    pool = xenmem.read(Path(__file__).parent / "three-hosts.json")
    data = xenmem.DataSet(folder)
    there = {when for uuid in data.pools() for when in data.dates(uuid)} if Path(folder).is_dir() else set()
    for day in range(21):
        when = FIRST + timedelta(days=day)
        if when not in there:
            data.append(pool.resized({"cache": 4 * GIB + day * (GIB // 8)}), when)


if __name__ == "__main__":
    main(sys.argv[1])
