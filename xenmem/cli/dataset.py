"""Folders of snapshots where a command takes them: which moments are meant, and the fleets of these, one at a time."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from xenmem.fleet import Fleet

if TYPE_CHECKING:
    from xenmem.dataset import DataSet

_AGO: Final = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


class Moment(click.ParamType[datetime]):
    """A time in UTC, such as 2026-11-01, 2026-11-01T04:00:00Z, or 7d for so long ago."""

    name = "moment"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """As a time with a zone."""
        if isinstance(value, datetime):
            return value
        text = str(value)
        if text[-1:] in _AGO and text[:-1].isascii() and text[:-1].isdigit() and len(text) < 8:
            return datetime.now(UTC) - timedelta(seconds=int(text[:-1]) * _AGO[text[-1]])
        with suppress(ValueError, OverflowError):
            found = datetime.fromisoformat(text)
            return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone(UTC)
        self.fail(f"{text!r} is not a time such as 2026-11-01, 2026-11-01T04:00:00Z or 7d", param, ctx)


MOMENT: Final = Moment()


def opened(folder: str) -> "DataSet":
    """The data set in a folder."""
    from xenmem.dataset import DataSet

    if not Path(folder).is_dir():
        raise click.ClickException(f"{folder}: is no folder of snapshots")
    return DataSet(folder)


def dates_of(data: "DataSet", pools: Sequence[str]) -> dict[str, list[datetime]]:
    """The moments of which there are snapshots, by pool.

    Parameters
    ----------
    pools : uuids, or beginnings of them; none for all
    """
    known = data.pools()
    found = []
    for asked in pools:
        meant = [uuid for uuid in known if uuid.startswith(asked)]
        if len(meant) != 1:
            what = f"{len(meant)} pools begin" if meant else "no pool begins"
            raise click.ClickException(f"{data.path}: {what} with {asked!r}: {', '.join(known[:10])}")
        found += meant
    chosen = list(dict.fromkeys(found)) or known
    if not chosen:
        raise click.ClickException(f"{data.path}: there are no snapshots")
    return {uuid: data.dates(uuid) for uuid in chosen}


def snapshots(data: "DataSet", dates: dict[str, list[datetime]]) -> Iterator[tuple[datetime, Fleet]]:
    """Each snapshot of each pool, in the order of time."""
    for when, uuid in sorted((when, uuid) for uuid, moments in dates.items() for when in moments):
        yield when, data.fleet([uuid], at=when)
