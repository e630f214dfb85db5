"""What a histogram says about a tensor's numbers: their moments, and what rounding does to them."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from ..calibration import BINS, Histogram, Range, quantization_parameters

_POINTS = 4  # of each bin, at which the error of rounding is taken
# Mean square of the relative rounding error, in units of the spacing at 1: uniform within a step
# (1 / 12), mean of 1 / m^2 over significands m in [1, 2) that are spread as in log scale.
_FLOAT_ERROR = (1 - 2.0**-2) / (2 * np.log(2.0)) / 12


@dataclass(frozen=True, slots=True)
class Moments:
    """The first moments of a tensor's numbers.

    Attributes:
        mean: Their mean.
        square: The mean of their squares.
        zeros: The part of them that is exactly 0, as behind a ReLU.
    """

    mean: float
    square: float
    zeros: float = 0.0

    @property
    def variance(self) -> float:
        """Mean squared distance from the mean."""
        return max(self.square - self.mean**2, 0.0)

    @classmethod
    def of(cls, histogram: Histogram) -> Self:
        """Read them off a histogram."""
        total = histogram.counts.sum()
        if not total:
            return cls(0.0, 0.0)
        counts, zeros = _without_zeros(histogram)
        centers = histogram.centers
        return cls(
            float(counts @ centers / total),
            float(counts @ (centers**2 + histogram.width**2 / 12) / total),
            float(zeros / total),
        )


def rounding_error(histogram: Histogram, range_: Range, *, unsigned: bool) -> float:
    """Mean squared error of a tensor in 8 bits: of rounding, and of clipping to the range.

    Zeros have none. Numbers much smaller than a step are rounded to 0, so a wide range costs them
    their square and not the step's 1 / 12.

    Args:
        histogram: How its numbers are spread.
        range_: What the 8 bits cover.
        unsigned: uint8 with a zero point; otherwise int8 with zero point 0.
    """
    total = histogram.counts.sum()
    if not total or histogram.width == 0.0:
        return 0.0
    scale, zero = quantization_parameters(range_, unsigned=unsigned)
    lowest, highest = (0, 255) if unsigned else (-128, 127)
    inside = (np.arange(_POINTS) + 0.5) / _POINTS - 0.5
    values = histogram.centers[:, None] + histogram.width * inside
    steps = np.clip(np.rint(values / float(scale)) + zero, lowest, highest) - zero
    error = ((values - steps * float(scale)) ** 2).mean(axis=1)
    counts, _ = _without_zeros(histogram)
    return float(counts @ error / total)


def float_error(significand_bits: int) -> float:
    """Mean squared error of rounding to a float type, relative to the mean square.

    Args:
        significand_bits: Stored ones: 10 of float16, 7 of bfloat16.
    """
    return float(_FLOAT_ERROR * 4.0**-significand_bits)


def _without_zeros(histogram: Histogram) -> tuple[npt.NDArray[np.float64], float]:
    """The counts with the bin of 0 levelled to its neighbours, and what that took away."""
    counts = histogram.counts.astype(np.float64)
    place = int(histogram.bins_of(np.zeros(1))[0])
    around = counts[[i for i in (place - 1, place + 1) if 0 <= i < BINS]].mean()
    zeros = max(float(counts[place] - around), 0.0)
    counts[place] -= zeros
    return counts, zeros
