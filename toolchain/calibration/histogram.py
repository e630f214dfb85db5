"""One histogram for each activation tensor, collected in two streaming passes over the samples."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..engine import Array, Feeds, Runner
from ..errors import InputError
from ..progress import Progress

BINS = 2048
_CHUNK = 1 << 16  # elements binned at once: the temporary arrays stay in cache, memory stays flat

Samples = Callable[[], Iterable[Feeds]]


@dataclass(slots=True, eq=False)
class Histogram:
    """How the values of one tensor are spread; it grows as samples are added.

    Attributes:
        low: Lower end of the first bin, at most 0 (0 must be representable after quantisation).
        high: Upper end of the last bin, at least 0.
        counts: Values in each bin; shape (BINS,), int64.
    """

    low: float = 0.0
    high: float = 0.0
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))

    @property
    def width(self) -> float:
        """Width of one bin; 0 where every value is 0."""
        return (self.high - self.low) / BINS

    @property
    def centers(self) -> npt.NDArray[np.float64]:
        """The middle of each bin; shape (BINS,)."""
        return self.low + self.width * (np.arange(BINS, dtype=np.float64) + 0.5)

    def bins_of(self, values: Array) -> npt.NDArray[np.intp]:
        """The bin of each value, shape (size,); values beyond the ends go into the end bins."""
        if self.width == 0.0:
            return np.zeros(values.size, np.intp)
        # in float64: a span of subnormal or near-maximal float32 values must not overflow
        places = (values.ravel().astype(np.float64) - self.low) * (1.0 / self.width)
        return np.clip(places, 0, BINS - 1, out=places).astype(np.intp)

    def widen(self, values: Array) -> None:
        """Pass 1: stretch the ends to hold `values`."""
        if values.size:
            self.low = min(self.low, float(values.min()))
            self.high = max(self.high, float(values.max()))

    def add(self, values: Array) -> None:
        """Pass 2: count `values`."""
        flat = values.reshape(-1)
        for start in range(0, flat.size, _CHUNK):
            bins = self.bins_of(flat[start : start + _CHUNK])
            self.counts += np.bincount(bins, minlength=BINS)

    def folded(self) -> "Histogram":
        """The histogram of the absolute values: bins from 0 to the largest magnitude."""
        if self.low == 0.0:
            return self
        top = max(-self.low, self.high)
        edges = np.linspace(self.low, self.high, BINS + 1)
        below = np.concatenate(([0], np.cumsum(self.counts)))
        upper = np.linspace(0.0, top, BINS + 1)
        # interpolating the cumulative counts spreads each bin evenly over the bins it overlaps
        inside = np.interp(upper, edges, below) - np.interp(-upper, edges, below)
        return Histogram(0.0, top, np.diff(np.rint(inside)).astype(np.int64))


def collect(
    runner: Runner, samples: Samples, *, tensors: Sequence[str], progress: Progress
) -> dict[str, Histogram]:
    """Run every sample twice: first for the ends of each histogram, then to count.

    Memory holds one sample's tensors and the histograms, however many samples there are. A tensor
    that holds NaN or infinity for a sample, as masked attention does, is left out: no 8 bits do.

    Args:
        runner: Returns at least the named tensors.
        samples: Makes a fresh iterator over the same feeds each time it is called.
        tensors: Names of the float tensors to observe.
        progress: Told of both passes.

    Raises:
        InputError: There is no sample.
    """
    if not tensors:
        return {}
    histograms = {name: Histogram() for name in tensors}
    count = 0
    with progress.stage("calibrate: ranges") as step:
        for outputs in map(runner, samples()):
            count += 1
            for name in [name for name in histograms if not _is_finite(outputs[name])]:
                del histograms[name]
            for name, histogram in histograms.items():
                histogram.widen(outputs[name])
            step()
    if not count:
        raise InputError("there are no calibration samples", "give at least one")
    with progress.stage("calibrate: histograms", count) as step:
        for outputs in map(runner, samples()):
            for name, histogram in histograms.items():
                histogram.add(outputs[name])
            step()
    return histograms


def _is_finite(values: Array) -> bool:
    """Whether there is no NaN or infinity: both show in the extremes, so no mask is needed."""
    return not values.size or bool(np.isfinite(values.min()) and np.isfinite(values.max()))
