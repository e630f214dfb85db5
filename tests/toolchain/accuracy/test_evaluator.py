"""Plans are scored once, against the original, on their part of the data."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hwc.toolchain.accuracy.evaluator import Evaluator, Reference, measure
from hwc.toolchain.accuracy.metrics import choose_metric
from hwc.toolchain.accuracy.samples import Sample
from hwc.toolchain.engine import Array, Feeds
from hwc.toolchain.errors import InputError
from hwc.toolchain.plan import NodeChoice, Plan, Precision

WEIGHT = np.random.default_rng(0).normal(size=(8, 5)) * 3


class Data:
    """Forty samples, labelled with what the original answers for three of four."""

    def __len__(self) -> int:
        """How many there are."""
        return 40

    def __getitem__(self, index: int) -> Sample:
        """Make one."""
        x = np.random.default_rng(index).normal(size=(1, 8))
        right = int((x @ WEIGHT).argmax())
        return Sample({"x": x}, np.asarray(right if index % 4 else (right + 1) % 5))


def model(sigma: float = 0.0) -> Callable[[Feeds], dict[str, Array]]:
    """The original, or one with noise in its weight."""
    weight = WEIGHT + sigma * np.random.default_rng(9).normal(size=WEIGHT.shape)
    return lambda feeds: {"y": feeds["x"] @ weight}


def plan(precision: Precision) -> Plan:
    """A plan of one slot."""
    return Plan.of({"a": NodeChoice(precision)})


SIGMA = {Precision.FP32: 0.0, Precision.FP16: 0.01, Precision.INT8: 3.0}


@pytest.fixture
def reference() -> Reference:
    """The original's outputs."""
    return Reference.of(model(), Data(), "search")


def test_measure_with_labels(reference: Reference) -> None:
    """Scores, paired drop and side figures."""
    metric = choose_metric("top1", [reference.outputs[0]], labelled=True)
    same = measure(model(), reference, metric)
    assert same.original.value.value == same.compiled.value.value == 0.75
    assert same.original.value.low == pytest.approx(0.598, abs=1e-3)
    assert same.drop.value == 0
    assert same.drop.high == pytest.approx(0.0876, abs=1e-3)
    assert (same.drop.n, same.drop.metric, same.drop.split) == (40, "top1", "search")
    assert same.fidelity.sqnr_db == math.inf
    worse = measure(model(3.0), reference, metric)
    assert 0 < worse.drop.low < worse.drop.value < worse.drop.high
    assert worse.fidelity.sqnr_db < 20


def test_measure_without_labels(reference: Reference) -> None:
    """The original agrees with itself."""
    metric = choose_metric("auto", [reference.outputs[i] for i in range(40)], labelled=False)
    result = measure(model(3.0), reference, metric)
    assert result.original.value.value == 1
    assert result.drop.value == pytest.approx(1 - result.compiled.value.value)
    assert result.drop.value > 0.2


def test_plans_are_scored_once(reference: Reference) -> None:
    """Equal plans cost one evaluation, whatever object they are."""
    realised = []

    def realise(chosen: Plan) -> Callable[[Feeds], dict[str, Array]]:
        realised.append(chosen)
        return model(SIGMA[chosen.choices[0][1].precision])

    metric = choose_metric("top1", [reference.outputs[0]], labelled=True)
    evaluator = Evaluator(realise, reference, metric)
    drops = [evaluator.score(plan(p)) for p in (*SIGMA, *SIGMA)]
    assert drops[:3] == drops[3:]
    assert evaluator.evaluations == len(realised) == 3
    assert drops[0].value == 0
    assert drops[2].value == pytest.approx(measure(model(3.0), reference, metric).drop.value)
    assert (drops[0].low, drops[0].high) == (-math.inf, math.inf)


def test_a_broken_original_is_refused() -> None:
    """Nothing can be compared with NaN."""
    with pytest.raises(InputError, match=r"gives NaN for sample 0 \(output 'y'\)"):
        Reference.of(lambda feeds: {"y": feeds["x"] * np.nan}, Data(), "search")
