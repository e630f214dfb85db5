"""The metric that fits a model is chosen, and says why."""

from pathlib import Path

import numpy as np
import pytest
from hwc.toolchain.accuracy.intervals import drop_interval, score_interval, value_of
from hwc.toolchain.accuracy.metric import Outputs
from hwc.toolchain.accuracy.metrics import agreement, choose_metric
from hwc.toolchain.errors import HwcError, InputError, UsageError

RNG = np.random.default_rng(0)
LOGITS: list[Outputs] = [{"logits": RNG.normal(size=(1, 10)) * 8} for _ in range(40)]
BOXES: list[Outputs] = [{"boxes": RNG.normal(size=(1, 20, 6))} for _ in range(10)]
TWO: list[Outputs] = [
    {"score": RNG.normal(size=(1, 1)), "state": RNG.normal(size=(2, 1, 4))} for _ in range(10)
]


def noisy(rows: list[Outputs], name: str, sigma: float) -> list[Outputs]:
    """Add noise to one output."""
    rng = np.random.default_rng(1)
    return [{**row, name: row[name] + sigma * rng.normal(size=row[name].shape)} for row in rows]


def drop(rows: list[Outputs], changed: list[Outputs]) -> float:
    """The drop of an agreement."""
    metric, none = agreement(rows), [None] * len(rows)
    before, after = (metric.score(out, rows, none) for out in (rows, changed))
    interval = drop_interval(before, after)
    assert value_of(before) == 1.0
    assert interval.low <= interval.value <= interval.high
    return interval.value


@pytest.mark.parametrize(
    ("spec", "rows", "labelled", "name", "why"),
    [
        ("auto", LOGITS, True, "top1", "labels, and logits holds class scores"),
        ("auto", LOGITS, False, "agreement (top-1, 1 - FVU)", "no labels; logits [1, 10]"),
        ("auto", BOXES, False, "agreement (1 - FVU)", "boxes [1, 20, 6] is values"),
        ("auto", BOXES, True, "agreement (1 - FVU)", "labels are not used"),
        ("auto", TWO, False, "agreement (1 - FVU)", "state [2, 1, 4] is values"),
        ("top1", LOGITS, True, "top1", "asked for"),
        ("top5", LOGITS, True, "top5", "asked for"),
        ("cross-entropy", LOGITS, True, "cross-entropy", "asked for: exp(-cross-entropy)"),
        ("statistics:mean", LOGITS, True, "statistics:mean", "asked for"),
    ],
)
def test_choice(spec: str, rows: list[Outputs], labelled: bool, name: str, why: str) -> None:  # noqa: FBT001 - a table
    """By outputs and labels."""
    metric = choose_metric(spec, rows, labelled=labelled)
    assert metric.name == name
    assert why in metric.why


@pytest.mark.parametrize(
    ("spec", "rows", "labelled", "error", "message"),
    [
        ("top1", LOGITS, False, UsageError, "--metric top1 needs labels"),
        ("top1", BOXES, True, InputError, "not boxes [1, 20, 6]"),
        ("best", LOGITS, True, UsageError, "unknown metric 'best'"),
        ("no_module_here:f", LOGITS, True, InputError, "there is no module 'no_module_here'"),
    ],
)
def test_refused(
    spec: str,
    rows: list[Outputs],
    labelled: bool,  # noqa: FBT001 - a table
    error: type[HwcError],
    message: str,
) -> None:
    """Each says why."""
    with pytest.raises(error) as caught:
        choose_metric(spec, rows, labelled=labelled)
    assert message in caught.value.message


def test_top5_of_three_classes_is_top3() -> None:
    """There are no more."""
    rows = [{"y": np.array([[1.0, 2.0, 3.0]])}]
    metric = choose_metric("top5", rows, labelled=True)
    assert value_of(metric.score(rows, rows, [np.asarray(0)])) == 1.0


def test_more_noise_is_a_larger_drop() -> None:
    """From none to all, for classes, values and several outputs."""
    for rows, name in ((LOGITS, "logits"), (BOXES, "boxes"), (TWO, "state"), (TWO, "score")):
        drops = [drop(rows, noisy(rows, name, sigma)) for sigma in (0, 0.3, 3, 300)]
        assert drops[0] == 0.0
        assert drops == sorted(drops)
        assert drops[-1] > 0.7


def test_a_regression_that_looks_like_logits_is_held_to_its_numbers() -> None:
    """The largest coordinate stays the largest while all are wrong."""
    steps = np.arange(10) * 25.0
    landmarks = [{"points": RNG.normal(size=(1, 10)) * 3 + steps} for _ in range(30)]
    wrong: list[Outputs] = [{"points": steps[None]}] * 30
    assert "top-1" in agreement(landmarks).name
    assert drop(landmarks, wrong) > 0.9


def test_perfect_agreement_of_few_is_not_certain() -> None:
    """10 of 10 alike leave 28 points open."""
    rows = LOGITS[:10]
    metric = agreement(rows)
    score = metric.score(noisy(rows, "logits", 1e-3), rows, [None] * 10)
    interval = drop_interval(metric.score(rows, rows, [None] * 10), score)
    assert interval.value < 1e-6
    assert interval.high == pytest.approx(0.2775, abs=1e-3)
    assert score_interval(score).low == pytest.approx(0.7225, abs=1e-3)


def test_user_metric_of_a_file(tmp_path: Path) -> None:
    """Outputs are a list of dicts, labels a list."""
    (tmp_path / "mine.py").write_text(
        "def f(outputs, labels):\n"
        "    return sum(o['y'].argmax() == t for o, t in zip(outputs, labels)) / len(labels)\n"
    )
    rows = [{"y": np.eye(3)[[i]]} for i in range(3)]
    labels = [np.asarray(i) for i in (0, 1, 1)]
    metric = choose_metric(f"{tmp_path}/mine.py:f", rows, labelled=True)
    assert value_of(metric.score(rows, rows, labels)) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("samples", "name"),
    [
        pytest.param(99, "agreement (1 - FVU)", id="one answer is more than the drop"),
        pytest.param(100, "top1", id="one answer is the drop"),
    ],
)
def test_few_samples_are_judged_by_numbers(samples: int, name: str) -> None:
    rng = np.random.default_rng(0)
    rows = [{"logits": 9 * rng.standard_normal((1, 10))} for _ in range(samples)]
    assert choose_metric("auto", rows, labelled=True, max_drop=0.01).name == name
