"""A time and where it comes from: measured, borrowed from another setting, or estimated."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..origin import Origin

LONGEST_US = 1e9  # a kernel of a quarter of an hour is a damaged row, not a kernel
LONGEST_TEXT = 256
MOST = (1 << 63) - 1  # of anything that is counted: what SQLite can hold
HINT = "delete the table, or name another with --table"


@dataclass(frozen=True, slots=True)
class Setting:
    """What a time holds for.

    Attributes:
        device: Name of the device profile.
        runtime: Name of the runtime, such as `onnxruntime`.
        version: The runtime's version.
        threads: Threads that the runtime used.
        power_mode: The device's power mode; empty where it has none.
    """

    device: str
    runtime: str
    version: str
    threads: int
    power_mode: str = ""

    def __post_init__(self) -> None:
        for text in (self.device, self.runtime, self.version, self.power_mode):
            check_text(text, "setting")
        check_count(self.threads, "threads")

    def __str__(self) -> str:
        mode = f", {self.power_mode}" if self.power_mode else ""
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.device}{mode}, {self.runtime} {self.version}, {threads}"


@dataclass(frozen=True, slots=True)
class Timing:
    """One time with its spread and its origin; refuses what cannot be.

    Attributes:
        median_us: Median of the runs, in microseconds of wall time.
        p10_us: 10th percentile.
        p90_us: 90th percentile.
        runs: How many runs were timed; 0 only for an estimate.
        cpu_us: CPU time of one run over all threads, in microseconds; None where not recorded.
        setting: What it holds for.
        date: When, as ISO 8601.
        source: Where it comes from.
    """

    median_us: float
    p10_us: float
    p90_us: float
    runs: int
    cpu_us: float | None
    setting: Setting
    date: str
    source: Origin

    def __post_init__(self) -> None:
        for us in (self.p10_us, self.median_us, self.p90_us, self.cpu_us or 0.0):
            check_us(us)
        if not self.p10_us <= self.median_us <= self.p90_us:
            raise InputError("a latency row's percentiles are out of order", HINT)
        check_count(self.runs, "runs", least=self.source is not Origin.ESTIMATED)
        check_date(self.date)

    @classmethod
    def measured(
        cls, us: npt.NDArray[np.float64], setting: Setting, *, cpu_us: float | None = None
    ) -> Self:
        """The timing of these runs (shape (runs,), microseconds), dated now."""
        p10, median, p90 = (float(value) for value in np.percentile(us, (10, 50, 90)))
        return cls(median, p10, p90, len(us), cpu_us, setting, now(), Origin.MEASURED)

    @classmethod
    def estimated(cls, us: float, setting: Setting) -> Self:
        """An estimate, dated now."""
        return cls(us, us, us, 0, None, setting, now(), Origin.ESTIMATED)


def now() -> str:
    """This moment, as the rows of a table have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def moment(date: str) -> datetime:
    """A row's date as a point in time: without a time zone it is UTC."""
    when = datetime.fromisoformat(date)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def check_us(us: object) -> None:
    """Refuse what is no duration in microseconds."""
    if not isinstance(us, int | float) or not 0.0 <= us <= LONGEST_US:
        raise InputError(f"a latency row says {us!r} microseconds", HINT)


def check_count(count: object, what: str, *, least: int = 0) -> None:
    """Refuse what is no number of something, or of fewer than `least`."""
    if not isinstance(count, int) or not least <= count <= MOST:
        raise InputError(f"a latency row counts {count!r} {what}", HINT)


def check_text(text: object, what: str, longest: int = LONGEST_TEXT) -> None:
    """Refuse what is no text, or one of more than `longest` characters."""
    if not isinstance(text, str) or len(text) > longest:
        raise InputError(f"a latency row's {what} is no text of up to {longest} characters", HINT)


def check_date(date: str) -> None:
    """Refuse what is no date in ISO 8601; a row from a file may hold anything."""
    try:
        moment(date)
    except (ValueError, TypeError) as cause:
        raise InputError(f"a latency row is dated {date!r}", HINT) from cause
