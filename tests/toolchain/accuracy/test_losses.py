"""Losses are means of their samples', zero for the original, and what fits the metric is chosen."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hwc.toolchain.accuracy.counted import Changed
from hwc.toolchain.accuracy.divergence import Divergence
from hwc.toolchain.accuracy.explained import Explained, Unexplained
from hwc.toolchain.accuracy.kinds import Kind, OutputKind
from hwc.toolchain.accuracy.labelled import Likelihood, TopK, UserMetric
from hwc.toolchain.accuracy.losses import (
    Answers,
    CrossEntropy,
    Distance,
    MetricDrop,
    PlanLoss,
    choose_loss,
)
from hwc.toolchain.accuracy.measure import LossMeasure
from hwc.toolchain.accuracy.metrics import agreement
from hwc.toolchain.engine import Array
from hwc.toolchain.errors import InputError

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(40, 1, 5)) * 5
VALUES = RNG.normal(size=(40, 1, 6, 7)) * np.arange(1, 8)
LABELS = [np.asarray(row.argmax()) for row in LOGITS]


def rows(array: Array) -> list[dict[str, Array]]:
    return [{"y": row} for row in array]


def judged(loss: PlanLoss, got: Array, original: Array, labels: Sequence[Array | None]) -> Array:
    return loss.bind(Answers(rows(original), labels))(iter(rows(got)))


@pytest.mark.parametrize(
    ("measure", "original"),
    [
        (Divergence(OutputKind(Kind.CLASSES, size=5)), LOGITS),
        (Unexplained(Explained(-1, 7)), VALUES),
        (Unexplained(Explained(1, 6, one_unit=True)), VALUES),
        (Unexplained(Explained(-1, 1)), VALUES),
        (Changed(), LOGITS),
    ],
    ids=["divergence", "channels", "one unit", "one channel", "changed"],
)
@pytest.mark.parametrize("noise", [0.0, 0.1, 3.0, np.nan], ids=["none", "some", "much", "nan"])
def test_losses_of_samples_have_the_figure_as_their_mean(
    measure: LossMeasure, original: Array, noise: float
) -> None:
    """Also where the error is larger than the variance, or not finite in some of the samples."""
    got = original.copy()
    got[::3] += noise * RNG.normal(size=got[::3].shape)
    if isinstance(measure, Changed):
        got = np.rint(got * 5)
        original = np.rint(original * 5)
    tallies = np.array([measure.tally(g, o) for g, o in zip(got, original, strict=True)])
    losses = measure.losses(tallies)
    figure = float(measure.finish(tallies.sum(0)[None])[0])
    assert losses.shape == (40,)
    assert losses.mean() == pytest.approx(figure, rel=1e-9, abs=1e-12)
    assert (losses[1::3] <= 1e-12).all()
    assert (losses.mean() > 1e-6) == (noise != 0)


def test_cross_entropy_of_the_right_class() -> None:
    """As much worse as the right class is less likely; better than the original is below zero."""
    loss = CrossEntropy(Likelihood("y", probabilities=False))
    assert judged(loss, LOGITS, LOGITS, LABELS) == pytest.approx(0)
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
    right = np.array([row[0, label] for row, label in zip(p, LABELS, strict=True)])
    got = judged(loss, LOGITS * 0, LOGITS, LABELS)
    assert got == pytest.approx(np.log(right) - np.log(0.2))
    assert (judged(loss, LOGITS * 2, LOGITS, LABELS) <= 0).all()
    assert judged(
        CrossEntropy(Likelihood("y", probabilities=True)), p, p * 3, LABELS
    ) == pytest.approx(0)
    assert np.isfinite(judged(loss, LOGITS * np.nan, LOGITS, LABELS)).all()


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (None, "cross-entropy needs one integer label for each sample, got none"),
        (np.asarray(0.5), "got float64"),
        (np.asarray([1, 2]), r"got int64 \(2,\)"),
        (np.asarray(5), r"labels \[5\] are no classes of output 'y' \(0 to 4\)"),
    ],
    ids=["none", "float", "two", "too large"],
)
def test_labels_that_do_not_fit(label: Array | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        judged(CrossEntropy(Likelihood("y", probabilities=False)), LOGITS, LOGITS, [label] * 40)


def mean_right(outputs: list[dict[str, Array]], labels: list[Array]) -> float:
    """Not a mean of samples, as far as anybody can see from outside."""
    return float(np.mean([o["y"].argmax() == int(k) for o, k in zip(outputs, labels, strict=True)]))


def test_drop_of_a_metric_of_samples() -> None:
    """Each sample loses its own hit."""
    got = LOGITS.copy()
    got[:10] *= -1
    losses = judged(MetricDrop(TopK(1, "y", "top1")), got, LOGITS, LABELS)
    assert losses.tolist() == [1.0] * 10 + [0.0] * 30


def test_drop_of_a_function_of_the_user() -> None:
    """Groups of samples get pseudo-values; the mean is the drop."""
    got = LOGITS.copy()
    got[:10] *= -1
    losses = judged(MetricDrop(UserMetric(mean_right, "mine")), got, LOGITS, LABELS)
    assert losses.mean() == pytest.approx(0.25)
    # sample 0 is in a group with sample 20, of which one is lost; 15 and 35 lost nothing
    assert losses[0] == losses[20] == pytest.approx(0.5)
    assert losses[15] == losses[35] == pytest.approx(0)


def test_drop_of_a_function_on_one_sample() -> None:
    loss = MetricDrop(UserMetric(mean_right, "mine"))
    assert judged(loss, -LOGITS[:1], LOGITS[:1], LABELS[:1]).tolist() == [1.0]


def test_choice() -> None:
    """Cross-entropy with labels, the user's metric, KL of classes and FVU of values without."""
    logits, values = rows(LOGITS), rows(VALUES)
    assert choose_loss(TopK(1, "y", "top1"), logits) == CrossEntropy(
        Likelihood("y", probabilities=False)
    )
    user = UserMetric(mean_right, "mine")
    assert choose_loss(user, logits) == MetricDrop(user)
    classes = choose_loss(agreement(logits), logits)
    assert isinstance(classes, Distance)
    assert [type(measure) for _, measure in classes.measures] == [Divergence]
    boxes = choose_loss(agreement(values), values)
    assert isinstance(boxes, Distance)
    assert {type(measure) for _, measure in boxes.measures} == {Unexplained}


def test_losses_of_outputs_are_summed() -> None:
    original = [{"a": a, "b": b} for a, b in zip(LOGITS, VALUES, strict=True)]
    got = [{"a": row["a"] * 1.1, "b": row["b"] + 0.1} for row in original]
    both = Distance.of(original)
    parts = [Distance([pair]) for pair in both.measures]
    answers = Answers(original, [None] * 40)
    summed = sum(part.bind(answers)(iter(got)) for part in parts)
    assert both.bind(answers)(iter(got)) == pytest.approx(summed)
    assert len(parts) > 1


@pytest.fixture
def user_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], UserMetric]:
    """A metric of a module with this text."""
    monkeypatch.syspath_prepend(tmp_path)

    def written(text: str) -> UserMetric:
        (tmp_path / "theirs.py").write_text(f"def f(outputs, labels):\n    return {text}\n")
        sys.modules.pop("theirs", None)
        return UserMetric(__import__("theirs").f, "theirs:f")

    return written


def test_names_tell_losses_apart(user_code: Callable[[str], UserMetric]) -> None:
    """What is kept under one name must stay true: other code has another name."""
    first = MetricDrop(user_code("1.0")).name
    assert first == MetricDrop(user_code("1.0")).name
    assert first != MetricDrop(user_code("2.0")).name
    assert first.startswith("drop of theirs:f (")
    names = {choose_loss(TopK(1, "y", "top1"), rows(LOGITS)).name, Distance.of(rows(LOGITS)).name}
    assert len(names | {first, Distance.of(rows(VALUES)).name}) == 4
