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
            if not isinstance(text, str) or len(text) > LONGEST_TEXT:
                raise InputError("a latency row has a setting that is not a short text", HINT)
        if not isinstance(self.threads, int) or self.threads < 0:
            raise InputError(f"a latency row has {self.threads!r} threads", HINT)


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
        times = (self.p10_us, self.median_us, self.p90_us, self.cpu_us or 0.0)
        for time in times:
            if not isinstance(time, int | float) or not 0.0 <= time <= LONGEST_US:
                raise InputError(f"a latency row says {time!r} microseconds", HINT)
        if not self.p10_us <= self.median_us <= self.p90_us:
            raise InputError("a latency row's percentiles are out of order", HINT)
        if not isinstance(self.runs, int) or self.runs < (self.source is not Origin.ESTIMATED):
            raise InputError(f"a latency row counts {self.runs!r} runs", HINT)
        _check_date(self.date)

    @classmethod
    def measured(
        cls, us: npt.NDArray[np.float64], setting: Setting, *, cpu_us: float | None = None
    ) -> Self:
        """The timing of these runs (shape (runs,), microseconds), dated now."""
        p10, median, p90 = (float(value) for value in np.percentile(us, (10, 50, 90)))
        return cls(median, p10, p90, len(us), cpu_us, setting, _now(), Origin.MEASURED)

    @classmethod
    def estimated(cls, us: float, setting: Setting) -> Self:
        """An estimate, dated now."""
        return cls(us, us, us, 0, None, setting, _now(), Origin.ESTIMATED)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _check_date(text: str) -> None:
    try:
        datetime.fromisoformat(text)
    except (ValueError, TypeError) as cause:
        raise InputError(f"a latency row is dated {text!r}", HINT) from cause
