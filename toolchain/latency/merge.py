"""Several latency tables in one: all settings, and of each build the newest."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import OutputError
from ..output import atomic_output
from .schema import beside
from .table import LatencyTable, Mode
from .timing import moment


@dataclass(frozen=True, slots=True)
class Merged:
    """What came together.

    Attributes:
        settings: Settings in the new table.
        builds: Builds in the new table.
        older: Builds that were left out for a newer measurement of the same.
    """

    settings: int
    builds: int
    older: int


def merge_tables(paths: Iterable[Path], output: Path, *, force: bool = False) -> Merged:
    """Write a new table of others' builds, whole or not at all.

    Args:
        paths: The tables; each is read to its last row before anything takes the output's place.
        output: Where to; it may be one of the tables.
        force: Replace what is there.

    Raises:
        InputError: One of the tables is not valid; nothing is written.
        OutputError: The output exists and `force` is off, or it cannot be written.
    """
    with atomic_output(output, force=force) as stage:
        with LatencyTable.open(stage, Mode.WRITE) as merged:
            seen = sum(_add(path, merged) for path in paths)
            settings = merged.settings()
            builds = sum(len(merged.builds(setting)) for setting in settings)
        _settle(output)
    return Merged(len(settings), builds, seen - builds)


def _add(path: Path, merged: LatencyTable) -> int:
    """Add the builds of a table that are new or newer; how many it has."""
    count = 0
    with LatencyTable.open(path) as table:
        for setting in table.settings():
            known = {build.id: moment(build.date) for build in merged.builds(setting)}
            for found in table.observations(setting):
                build = found.build
                if build.id not in known or known[build.id] < moment(build.date):
                    merged.put_build(setting, build, found.kernels, found.boundaries)
                count += 1
    return count


def _settle(output: Path) -> None:
    """Fold the journal of a table that is to be replaced into it: SQLite takes it by its name.

    Raises:
        OutputError: Another process has that table open.
    """
    journal, _ = beside(output)
    if journal.exists():
        LatencyTable.open(output, Mode.WRITE).close()
    if journal.exists():
        raise OutputError(f"{output}: another program uses it", "try again after it, or change -o")
