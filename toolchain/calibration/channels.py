"""The range of every channel of an activation, collected in one streaming pass over the samples."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from ..engine import Array, Runner
from ..errors import InputError
from ..progress import Progress
from .histogram import Samples

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ChannelRanges:
    """How the values of each channel of one tensor are spread; all of shape (channels,).

    Attributes:
        low: The lowest value.
        high: The highest value.
        square: The mean of the squares.
    """

    low: Vector
    high: Vector
    square: Vector

    @classmethod
    def of(cls, values: Array, axis: int) -> Self:
        """Read them off an array; `axis` holds the channels."""
        rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1).astype(np.float64)
        return cls(rows.min(1), rows.max(1), np.square(rows).mean(1))

    @property
    def magnitude(self) -> Vector:
        """The largest absolute value of each channel."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    def divided(self, factors: Vector) -> "ChannelRanges":
        """The ranges after each channel is divided by its positive factor."""
        return ChannelRanges(self.low / factors, self.high / factors, self.square / factors**2)


class _Growing:
    """The ranges of the samples so far; a sample weighs by its number of positions."""

    def __init__(self) -> None:
        self._ranges: ChannelRanges | None = None
        self._count = 0

    def add(self, values: Array, axis: int) -> None:
        """Take in one sample; one without values says nothing."""
        if not values.size:
            return
        new, old = ChannelRanges.of(values, axis), self._ranges
        count = values.size // values.shape[axis]
        if old is not None:
            share = count / (self._count + count)
            square = old.square + (new.square - old.square) * share
            low, high = np.minimum(old.low, new.low), np.maximum(old.high, new.high)
            new = ChannelRanges(low, high, square)
        self._ranges, self._count = new, self._count + count

    @property
    def finite(self) -> ChannelRanges | None:
        """What was seen; None where that is nothing, NaN or infinity."""
        seen = self._ranges
        return seen if seen is not None and np.isfinite(seen.square).all() else None


def collect_channels(
    runner: Runner, samples: Samples, *, tensors: Mapping[str, int], progress: Progress
) -> dict[str, ChannelRanges]:
    """Run every sample once; memory holds one sample's tensors, however many samples there are.

    A tensor that holds NaN or infinity for a sample is left out.

    Args:
        runner: Returns at least the named tensors.
        samples: Makes an iterator over feeds.
        tensors: The channel axis of each tensor, by name.
        progress: Told of each sample.

    Raises:
        InputError: There is no sample.
    """
    if not tensors:
        return {}
    growing = {name: _Growing() for name in tensors}
    count = 0
    with progress.stage("calibrate: channels") as step:
        for outputs in map(runner, samples()):
            count += 1
            for name, axis in tensors.items():
                growing[name].add(outputs[name], axis)
            step()
    if not count:
        raise InputError("there are no calibration samples", "give at least one")
    return {name: seen for name, each in growing.items() if (seen := each.finite) is not None}
