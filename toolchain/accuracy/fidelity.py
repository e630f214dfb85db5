"""How near outputs are to the original's over a whole data set: side figures for the report."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..engine import Array
from .divergence import Divergence
from .kinds import Kind, kind_of

_FLOAT = "f"


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Distances of all samples' outputs together; of several outputs the worst.

    Attributes:
        sqnr_db: Signal to quantisation noise: 10 log10(sum r^2 / sum (r - g)^2); inf if equal.
        cosine: Mean cosine of the samples' angles.
        kl: Mean divergence of the class probabilities, in nats; None without such an output.
    """

    sqnr_db: float
    cosine: float
    kl: float | None


def fidelity(
    outputs: Iterable[Mapping[str, Array]], reference: Sequence[Mapping[str, Array]]
) -> Fidelity:
    """Measure how near outputs are to the reference, sample by sample."""
    meter = FidelityMeter(reference[0])
    for got, ref in zip(outputs, (reference[i] for i in range(len(reference))), strict=True):
        meter.add(got, ref)
    return meter.result()


class FidelityMeter:
    """Adds up distances as samples stream by."""

    def __init__(self, example: Mapping[str, Array]) -> None:
        kinds = {name: kind_of([a]) for name, a in example.items() if a.dtype.kind == _FLOAT}
        classes = (Kind.CLASSES, Kind.SEQUENCE, Kind.MAP)
        self._kl = {n: Divergence(kind) for n, kind in kinds.items() if kind.kind in classes}
        self._near = {name: np.zeros(4) for name in kinds}  # signal, noise, sum of cosines, samples
        self._apart = {name: np.zeros(2) for name in self._kl}

    def add(self, output: Mapping[str, Array], reference: Mapping[str, Array]) -> None:
        """Take in one sample."""
        for name in self._near:
            self._near[name] += _near(output[name], reference[name])
        for name, divergence in self._kl.items():
            self._apart[name] += divergence.tally(output[name], reference[name])

    def result(self) -> Fidelity:
        """The figures of all samples so far."""
        near, apart = self._near.values(), self._apart.values()
        return Fidelity(
            sqnr_db=min(
                (_decibel(signal, noise) for signal, noise, _, _ in near), default=math.inf
            ),
            cosine=min((float(cos / n) for _, _, cos, n in near), default=1.0),
            kl=max((float(total / n) for total, n in apart), default=None),
        )


def _near(output: Array, reference: Array) -> Array:
    """[signal, noise, cosine, 1] of one output of one sample."""
    r = np.nan_to_num(reference.astype(np.float64).ravel())
    if output.shape != reference.shape or not np.isfinite(output).all():
        return np.array([r @ r, np.inf, 0.0, 1.0])
    g = output.astype(np.float64).ravel()
    lengths = float(np.linalg.norm(r) * np.linalg.norm(g))
    cosine = float(r @ g) / lengths if lengths else float(np.array_equal(r, g))
    return np.array([r @ r, (r - g) @ (r - g), cosine, 1.0])


def _decibel(signal: float, noise: float) -> float:
    """A ratio of energies in decibel."""
    if not noise:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 and noise < math.inf else -math.inf
