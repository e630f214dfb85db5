"""Each kind of output is held to what fits it."""

import numpy as np
import pytest
from hwc.toolchain.accuracy.agreement import agreement_measures, loss_measures
from hwc.toolchain.accuracy.counted import Changed
from hwc.toolchain.accuracy.divergence import Divergence
from hwc.toolchain.accuracy.explained import Unexplained
from hwc.toolchain.accuracy.kinds import Kind, OutputKind, kind_of
from hwc.toolchain.accuracy.measure import Measure
from hwc.toolchain.engine import Array


def value(measure: Measure, outputs: Array, reference: Array) -> float:
    """The figure of samples along the first axis (each keeps a batch axis of one)."""
    tallies = [measure.tally(o[None], r[None]) for o, r in zip(outputs, reference, strict=True)]
    return float(measure.finish(np.sum(tallies, axis=0)[None])[0])


@pytest.mark.parametrize("boxes_last", [False, True], ids=["[1, n, 6]", "[1, 6, n]"])
def test_scores_beside_pixels_count(boxes_last: bool) -> None:  # noqa: FBT001 - a table
    """Scores may be wrong by themselves, however large the box coordinates beside them are."""
    rng = np.random.default_rng(0)
    boxes, scores = rng.uniform(0, 640, (20, 50, 4)), rng.uniform(0, 0.1, (20, 50, 2)) ** 2
    reference = np.concatenate([boxes, scores], -1)
    output = np.concatenate([boxes, scores * 0], -1)
    if boxes_last:
        reference, output = reference.swapaxes(1, 2), output.swapaxes(1, 2)
    kind = kind_of([row[None] for row in reference])
    worst = min(value(measure, output, reference) for _, measure in agreement_measures(kind))
    assert worst < 0.7


LOGITS = OutputKind(Kind.CLASSES, size=3, channels=((1, 3),))
PROBABILITIES = OutputKind(Kind.CLASSES, size=3, channels=(), probabilities=True)
ONE_AXIS = OutputKind(Kind.VALUES, channels=((1, 4),))
TWO_AXES = OutputKind(Kind.VALUES, channels=((1, 4), (2, 3)))


@pytest.mark.parametrize(
    ("kind", "names", "loss"),
    [
        pytest.param(LOGITS, ["top-1", "1 - FVU"], [Unexplained], id="logits"),
        pytest.param(PROBABILITIES, ["top-1"], [Divergence], id="probabilities"),
        pytest.param(OutputKind(Kind.SEQUENCE), ["sequence"], [Divergence], id="sequence"),
        pytest.param(OutputKind(Kind.MAP, 1), ["class map IoU"], [Divergence], id="map"),
        pytest.param(ONE_AXIS, ["1 - FVU"], [Unexplained], id="values"),
        pytest.param(TWO_AXES, ["1 - FVU"] * 2, [Unexplained] * 2, id="two axes"),
        pytest.param(OutputKind(Kind.DISCRETE), ["exact"], [Changed], id="discrete"),
    ],
)
def test_choice(kind: OutputKind, names: list[str], loss: list[type[Measure]]) -> None:
    """Each kind has its measures and its losses; only true means are counted."""
    measures = agreement_measures(kind)
    assert [name for name, _ in measures] == names
    assert all(measure.counted == (name != "1 - FVU") for name, measure in measures)
    assert [type(measure) for measure in loss_measures(kind)] == loss
    assert not any(measure.counted for measure in loss_measures(kind))
