"""KL of class probabilities."""

import numpy as np
import pytest
from hwc.toolchain.accuracy.divergence import Divergence
from hwc.toolchain.accuracy.kinds import Kind, OutputKind
from hwc.toolchain.accuracy.measure import Measure
from hwc.toolchain.engine import Array


def value(measure: Measure, outputs: Array, reference: Array) -> float:
    """The figure of samples along the first axis (each keeps a batch axis of one)."""
    tallies = [measure.tally(o[None], r[None]) for o, r in zip(outputs, reference, strict=True)]
    return float(measure.finish(np.sum(tallies, axis=0)[None])[0])


def test_divergence() -> None:
    """KL of two coins, from logits and from probabilities; 0 for equal."""
    q, p = np.array([[0.5, 0.5]]), np.array([[0.9, 0.1]])
    expected = 0.5 * np.log(0.5 / 0.9) + 0.5 * np.log(0.5 / 0.1)
    probabilities = Divergence(OutputKind(Kind.CLASSES, size=2, probabilities=True))
    logits = Divergence(OutputKind(Kind.CLASSES, size=2))
    assert value(probabilities, p, q) == pytest.approx(expected)
    assert value(logits, np.log(p) + 7, np.log(q)) == pytest.approx(expected)
    assert value(logits, q * 0, q * 0) == 0.0
    certain = np.array([[1.0, 0.0]])
    assert np.isfinite(value(probabilities, certain[:, ::-1], certain))
