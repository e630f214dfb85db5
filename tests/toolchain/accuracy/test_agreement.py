"""Each measure finds what it is for, and is not fooled by broken outputs."""

import numpy as np
import pytest
from hwc.toolchain.accuracy.agreement import (
    Changed,
    Divergence,
    Exact,
    Explained,
    MapOverlap,
    Measure,
    Sequence1,
    Top1,
    Unexplained,
    agreement_measures,
    loss_measures,
)
from hwc.toolchain.accuracy.kinds import Kind, OutputKind, kind_of
from hwc.toolchain.engine import Array
from hypothesis import given
from hypothesis import strategies as st


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
    assert value(Sequence1(common=0), one_hot(path, 4)[None], reference) == agrees


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


def test_explained_is_the_mean_over_channels() -> None:
    """Noise of a tenth of the variance in one of two channels leaves 95 %."""
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(4000, 2)) * (1, 100) + (5, -3)
    noise = rng.normal(size=4000) * np.sqrt(0.1)
    output = reference.copy()
    output[:, 0] += noise
    assert value(Explained(-1, 2), output, reference) == pytest.approx(0.95, abs=0.003)
    output[:, 1] += noise * 100
    assert value(Explained(-1, 2), output, reference) == pytest.approx(0.90, abs=0.006)
    assert value(Unexplained(Explained(-1, 2)), output, reference) == pytest.approx(0.1, abs=0.006)


@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-100, 100))
def test_explained_does_not_depend_on_the_unit(scale: float, shift: float) -> None:
    """Scaling and shifting both outputs changes nothing."""
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(50, 3))
    output = reference + rng.normal(size=(50, 3)) * 0.1
    moved = value(Explained(-1, 3), (output + shift) * scale, (reference + shift) * scale)
    assert moved == pytest.approx(value(Explained(-1, 3), output, reference), rel=1e-6)


def test_explained_without_variance() -> None:
    """Constant outputs are compared by their energy; dead channels are left out."""
    constant = np.full((5, 1), 3.0)
    assert value(Explained(-1, 1), constant, constant) == 1.0
    assert value(Explained(-1, 1), constant * 1.1, constant) == pytest.approx(0.99)
    assert value(Explained(-1, 1), constant, constant * 0) == 0.0
    dead = np.random.default_rng(0).normal(size=(100, 2)) * [1, 0]
    assert value(Explained(-1, 2), dead, dead) == 1.0


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


def test_one_unit() -> None:
    """In an embedding a channel that hardly varies hardly counts."""
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(500, 2)) * [1, 1e-3] + [5, -5]
    output = reference + np.array([0, 1e-3])
    assert value(Explained(-1, 2), output, reference) == pytest.approx(0.5, abs=0.05)
    together = value(Explained(-1, 2, one_unit=True), output, reference)
    assert together == pytest.approx(1.0, abs=1e-5)
    moved = output + np.array([1, 0])
    assert value(Explained(-1, 2, one_unit=True), moved, reference) < 0.1


def test_channels_of_feature_maps() -> None:
    """Rank 4 has its channels on axis 1."""
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(3, 2, 8, 8))
    output = reference.copy()
    output[:, 0] = reference[:, 0].mean()
    assert value(Explained(1, 2), output, reference) == pytest.approx(0.5, abs=0.02)


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


def test_one_nan_among_many_values_spoils_all() -> None:
    """A mean over channels would hide it."""
    reference = np.random.default_rng(0).normal(size=(50, 100))
    output = reference.copy()
    output[7, 3] = np.nan
    assert value(Explained(-1, 100), output, reference) == 0.0


def test_infinite_where_the_original_is() -> None:
    """A mask of minus infinity in the original is no fault."""
    reference = np.random.default_rng(0).normal(size=(5, 4))
    reference[:, 2] = -np.inf
    assert value(Explained(-1, 4), reference.copy(), reference) == 1.0


@pytest.mark.parametrize(
    "measure",
    [Top1(), Sequence1(0), MapOverlap(1), Explained(-1, 3)],
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


LOGITS = OutputKind(Kind.CLASSES, size=3, channels=((1, 3),))
PROBABILITIES = OutputKind(Kind.CLASSES, size=3, probabilities=True)
TWO_AXES = OutputKind(Kind.VALUES, channels=((1, 4), (2, 3)))


@pytest.mark.parametrize(
    ("kind", "names", "loss"),
    [
        pytest.param(LOGITS, ["top-1", "1 - FVU"], [Divergence], id="logits"),
        pytest.param(PROBABILITIES, ["top-1"], [Divergence], id="probabilities"),
        pytest.param(OutputKind(Kind.SEQUENCE), ["sequence"], [Divergence], id="sequence"),
        pytest.param(OutputKind(Kind.MAP, 1), ["class map IoU"], [Divergence], id="map"),
        pytest.param(OutputKind(Kind.VALUES), ["1 - FVU"], [Unexplained], id="values"),
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
