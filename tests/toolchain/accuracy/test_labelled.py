"""Metrics of labelled data."""

import numpy as np
import pytest
from hwc.toolchain.accuracy.intervals import drop_interval, score_interval, value_of
from hwc.toolchain.accuracy.labelled import Likelihood, TopK, UserMetric
from hwc.toolchain.engine import Array
from hwc.toolchain.errors import InputError

SCORES = [np.array([[0.1, 0.7, 0.2]]), np.array([[0.5, 0.1, 0.4]]), np.array([[0.1, 0.2, 0.7]])]
OUTPUTS = [{"logits": scores} for scores in SCORES]


@pytest.mark.parametrize(("k", "right"), [(1, [1, 0, 0]), (2, [1, 1, 1]), (3, [1, 1, 1])])
def test_top_k(k: int, right: list[int]) -> None:
    """The label is among the k best."""
    labels = [np.asarray(1), np.asarray([2]), np.asarray(1, np.uint8)]
    score = TopK(k, "logits", "top").score(OUTPUTS, OUTPUTS, labels)
    assert score.per_sample is not None
    assert score.per_sample.tolist() == right
    assert value_of(score) == pytest.approx(np.mean(right))


def test_nan_is_wrong() -> None:
    """NaN is never right, whatever argmax says."""
    score = TopK(1, "y", "top1").score([{"y": np.array([[np.nan, 1.0]])}], [], [np.asarray(0)])
    assert value_of(score) == 0.0


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (None, "got none"),
        (np.asarray(1.0), "got float64"),
        (np.asarray([1, 2]), r"got int64 \(2,\)"),
        (np.asarray(3), r"labels \[3\] are no classes of output 'logits' \(0 to 2\)"),
        (np.asarray(-1), r"labels \[-1\]"),
        (np.asarray("cat"), "got <U3"),
    ],
)
def test_bad_labels(label: Array | None, message: str) -> None:
    """Each mistake is named."""
    with pytest.raises(InputError, match=message):
        TopK(1, "logits", "top1").score(OUTPUTS[:1], OUTPUTS[:1], [label])


def auc(outputs: list[dict[str, Array]], labels: list[Array]) -> float:
    """The part of pairs in the right order; fails without both classes."""
    positive = [float(o["y"]) for o, label in zip(outputs, labels, strict=True) if label]
    negative = [float(o["y"]) for o, label in zip(outputs, labels, strict=True) if not label]
    return float(np.mean([p > n for p in positive for n in negative]) / bool(positive and negative))


def test_user_function() -> None:
    """Called on everything, and on parts for the interval."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 100)
    good = [{"y": np.asarray(t + rng.normal() * 0.5)} for t in truth]
    bad = [{"y": np.asarray(t + rng.normal() * 2)} for t in truth]
    labels = [np.asarray(t) for t in truth]
    metric = UserMetric(auc, "mine:auc")  # type: ignore[arg-type]
    original, compiled = (metric.score(out, good, labels) for out in (good, bad))
    drop = drop_interval(original, compiled)
    assert drop.value == pytest.approx(auc(good, labels) - auc(bad, labels))
    assert 0 < drop.low < drop.value < drop.high < 0.6
    assert 0.8 < score_interval(original).low < 1


def test_parts_that_cannot_be_scored() -> None:
    """A part without both classes leaves the interval open, not the value."""
    outputs = [{"y": np.asarray(float(i))} for i in range(3)]
    labels = [np.asarray(i == 2) for i in range(3)]
    metric = UserMetric(auc, "mine:auc")  # type: ignore[arg-type]
    with np.errstate(all="ignore"):
        interval = score_interval(metric.score(outputs, outputs, labels))
    assert interval.value == 1.0
    assert interval.high == np.inf


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda o, _: o["gone"], "running mine:f failed: TypeError"),
        (lambda *_: float("nan"), "mine:f returned nan"),
        (lambda *_: "good", "mine:f returned 'good'"),
        (lambda *_: None, "mine:f returned None"),
    ],
    ids=["raises", "nan", "text", "none"],
)
def test_bad_functions(result: object, message: str) -> None:
    """What is not a finite number is refused."""
    metric = UserMetric(result, "mine:f")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message):
        value_of(metric.score(OUTPUTS, OUTPUTS, [np.asarray(0)] * 3))


def test_user_function_needs_labels() -> None:
    """All samples, not some."""
    with pytest.raises(InputError, match="1 samples have no label"):
        UserMetric(auc, "mine:auc").score(OUTPUTS[:2], [], [None, np.asarray(1)])  # type: ignore[arg-type]


@pytest.mark.parametrize("probabilities", [False, True], ids=["logits", "probabilities"])
def test_cross_entropy_as_a_score(*, probabilities: bool) -> None:
    """The geometric mean of what the right classes are given."""
    rng = np.random.default_rng(0)
    given = rng.dirichlet(np.ones(4), 30)
    labels = [np.asarray(k) for k in rng.integers(0, 4, 30)]
    rows = given if probabilities else np.log(given)
    outputs = [{"y": row[None].astype(np.float32)} for row in rows]
    metric = Likelihood("y", probabilities=probabilities)
    right = [row[int(label)] for row, label in zip(given, labels, strict=True)]
    expected = np.exp(np.mean(np.log(right)))
    assert value_of(metric.score(outputs, outputs, labels)) == pytest.approx(expected, rel=1e-5)
