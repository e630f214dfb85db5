"""The accuracy that a compilation costs."""

import math
from dataclasses import dataclass

from ..errors import UsageError
from ..timing import Interval


@dataclass(frozen=True, slots=True)
class Drop:
    """Score of the original minus score of what was compiled, in the metric's own unit.

    For an agreement this is 1 - agreement: the original agrees with itself.

    Attributes:
        value: The drop; negative where the compiled model scores better.
        low: Lower bound of the 95 % interval; minus infinity where it was not estimated.
        high: Upper bound; infinity where it was not estimated.
        n: How many samples it was measured on.
        metric: Name of the metric.
        split: Which part of the data: `search`, `report`.
    """

    value: float
    low: float
    high: float
    n: int
    metric: str
    split: str

    @property
    def interval(self) -> Interval:
        """Value and bounds."""
        return Interval(self.value, self.low, self.high)


def parse_drop(text: str) -> float:
    """Read `--max-drop`: `1%` and `0.01` are both one point in a hundred.

    Raises:
        UsageError: It is not a number from 0 to 1, or a percentage from 0 to 100.
    """
    percent = text.strip().endswith("%")
    try:
        number = float(text.strip().removesuffix("%"))
    except ValueError:
        number = math.nan
    value = number / 100 if percent else number
    if not 0 <= value <= 1:
        raise UsageError(f"--max-drop {text!r} is not from 0 to 100 %", "write 1% or 0.01")
    return value
