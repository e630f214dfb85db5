"""Rows of a latency table as SQLite columns, and back: what a file says is checked."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import Any, Generic, TypeVar

from ..errors import InputError
from ..origin import Origin
from ..plan import Precision
from ..slots import Work
from .rows import BoundaryRow, BuildRow, KernelRow
from .timing import HINT, Setting, Timing

T = TypeVar("T")
Columns = Sequence[Any]  # of a row as SQLite hands it back: anything may be in them
_TIMING = "median_us, p10_us, p90_us, runs, cpu_us, date, source"
_SHOWN = 100  # characters of a damaged row's key that its message has


@dataclass(frozen=True, slots=True)
class Record(Generic[T]):
    """How one kind of row lies in its table.

    Attributes:
        table: The table's name.
        columns: What it is read from, comma-separated; the setting is not among it.
        keys: How many of the first columns tell a row from the others of its setting.
        read: The row of such columns; raises InputError or ValueError where they make none.
    """

    table: str
    columns: str
    keys: int
    read: Callable[[Setting, Columns], T]

    def rows(self, setting: Setting, found: Iterable[Columns]) -> Iterator[T]:
        """The rows of what a query found.

        Raises:
            InputError: A row is not valid; the message says which.
        """
        for columns in found:
            try:
                row = self.read(setting, columns)
            except (InputError, ValueError) as cause:
                key = " ".join(str(column) for column in columns[: self.keys])
                short = key if len(key) <= _SHOWN else f"{key[:_SHOWN]}..."
                reason = cause.message if isinstance(cause, InputError) else cause
                raise InputError(f"row {short!r} of {self.table}: {reason}", HINT) from cause
            yield row


def build_columns(row: BuildRow) -> Columns:
    """A build as the columns of its record."""
    return astuple(row)


def kernel_columns(build: str, row: KernelRow) -> Columns:
    """A kernel that a build showed, as the columns of its record."""
    work = row.work.macs, row.work.weights, row.work.reads, row.work.writes
    return (build, row.key, row.choice, row.kind, *work, *_timing_columns(row.timing))


def boundary_columns(build: str, row: BoundaryRow) -> Columns:
    """A boundary that a build showed, as the columns of its record."""
    return (build, row.before, row.after, row.elements, *_timing_columns(row.timing))


def _timing_columns(timing: Timing) -> Columns:
    times = (timing.median_us, timing.p10_us, timing.p90_us)
    return (*times, timing.runs, timing.cpu_us, timing.date, timing.source)


def _read_build(setting: Setting, columns: Columns) -> BuildRow:
    del setting
    return BuildRow(*columns)


def _read_kernel(setting: Setting, columns: Columns) -> tuple[str, KernelRow]:
    build, key, choice, kind, macs, weights, reads, writes, *timing = columns
    work = Work(macs, weights, reads, writes)
    return build, KernelRow(key, choice, kind, work, _read_timing(setting, timing))


def _read_boundary(setting: Setting, columns: Columns) -> tuple[str, BoundaryRow]:
    build, before, after, elements, *timing = columns
    formats = Precision(before), Precision(after)
    return build, BoundaryRow(*formats, elements, _read_timing(setting, timing))


def _read_timing(setting: Setting, columns: Columns) -> Timing:
    median, p10, p90, runs, cpu, date, source = columns
    return Timing(median, p10, p90, runs, cpu, setting, date, Origin(source))


BUILDS = Record("builds", "id, model, path, plan, total_us, runs, date", 1, _read_build)
KERNELS = Record(
    "kernels",
    f"build, key, choice, kind, macs, weights, reads, writes, {_TIMING}",
    3,
    _read_kernel,
)
BOUNDARIES = Record("boundaries", f"build, before, after, elements, {_TIMING}", 4, _read_boundary)
