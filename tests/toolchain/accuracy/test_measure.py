"""What holds for every measure: broken outputs are worst."""

import numpy as np
import pytest
from hwc.toolchain.accuracy.counted import MapOverlap, SameSequence, Top1
from hwc.toolchain.accuracy.divergence import Divergence
from hwc.toolchain.accuracy.explained import Explained, Unexplained
from hwc.toolchain.accuracy.kinds import Kind, OutputKind
from hwc.toolchain.accuracy.measure import Measure
from hwc.toolchain.engine import Array


def value(measure: Measure, outputs: Array, reference: Array) -> float:
    """The figure of samples along the first axis (each keeps a batch axis of one)."""
    tallies = [measure.tally(o[None], r[None]) for o, r in zip(outputs, reference, strict=True)]
    return float(measure.finish(np.sum(tallies, axis=0)[None])[0])


MEASURES = [
    pytest.param(Top1(), 0.0, id="top-1"),
    pytest.param(Explained(-1, 3), 0.0, id="explained"),
    pytest.param(Unexplained(Explained(-1, 3)), 1.0, id="unexplained"),
    pytest.param(Divergence(OutputKind(Kind.CLASSES, size=3)), -np.log(1e-9), id="divergence"),
]


@pytest.mark.parametrize(("measure", "worst"), MEASURES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite_is_worst(measure: Measure, worst: float, bad: float) -> None:
    """One NaN spoils the sample, and for values everything."""
    reference = np.random.default_rng(0).normal(size=(1, 3))
    output = reference.copy()
    output[0, 1] = bad
    assert value(measure, output, reference) == pytest.approx(worst)


@pytest.mark.parametrize(
    "measure",
    [Top1(), SameSequence(0), MapOverlap(1), Explained(-1, 3)],
    ids=["top-1", "sequence", "map", "explained"],
)
def test_another_shape_is_worst(measure: Measure) -> None:
    """Outputs that cannot be compared do not agree."""
    rng = np.random.default_rng(0)
    reference, output = rng.normal(size=(4, 1, 6, 3)), rng.normal(size=(4, 1, 5, 3))
    if isinstance(measure, Top1):
        reference, output = reference[:, 0, 0], output[:, 0, 0, :2]
    assert value(measure, output, reference) <= 0.5
    assert measure.tally(output, reference)[0] != 1.0
