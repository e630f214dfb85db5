"""Agreement that is counted sample by sample."""

import numpy as np
import pytest
from hwc.toolchain.accuracy.counted import Changed, Exact, MapOverlap, SameSequence, Top1
from hwc.toolchain.accuracy.measure import Measure
from hwc.toolchain.engine import Array


def value(measure: Measure, outputs: Array, reference: Array) -> float:
    """The figure of samples along the first axis (each keeps a batch axis of one)."""
    tallies = [measure.tally(o[None], r[None]) for o, r in zip(outputs, reference, strict=True)]
    return float(measure.finish(np.sum(tallies, axis=0)[None])[0])


def one_hot(classes: list[int], size: int) -> Array:
    """Class scores with these winners, shape (len, size)."""
    return np.eye(size)[classes]


def test_top1() -> None:
    """Half of the winners changed."""
    assert value(Top1(), one_hot([0, 1, 2, 3], 4), one_hot([0, 1, 3, 2], 4)) == 0.5


@pytest.mark.parametrize(
    ("path", "agrees"),
    [
        pytest.param([0, 1, 1, 0, 2], 1.0, id="same"),
        pytest.param([1, 1, 0, 0, 2], 1.0, id="other timing"),
        pytest.param([0, 1, 0, 1, 2], 0.0, id="one more"),
        pytest.param([0, 1, 0, 0, 0], 0.0, id="one less"),
        pytest.param([0, 1, 1, 0, 3], 0.0, id="another"),
    ],
)
def test_sequence(path: list[int], agrees: float) -> None:
    """What counts is the decoded sequence."""
    reference = one_hot([0, 1, 1, 0, 2], 4)[None]
    assert value(SameSequence(common=0), one_hot(path, 4)[None], reference) == agrees


def test_map_overlap_sees_small_objects() -> None:
    """Losing a small object is not hidden by the background."""
    reference = np.zeros((1, 10, 10), int)
    reference[0, 0, :2] = 1
    lost = np.zeros_like(reference)
    scores = [np.moveaxis(np.eye(2)[m], -1, 1) for m in (lost, reference)]
    assert value(MapOverlap(1), *scores) == pytest.approx((98 / 100 + 0) / 2)
    assert value(MapOverlap(1), scores[1], scores[1]) == 1.0


def test_exact_and_changed() -> None:
    """Discrete values are the same or not."""
    a, b = np.array([[1], [2]]), np.array([[1], [3]])
    assert value(Exact(), a, b) == value(Changed(), a, b) == 0.5
