"""Each slot and choice is measured by itself."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hwc.toolchain.accuracy.blocks import Rebuild
from hwc.toolchain.accuracy.evaluator import Evaluator, Reference
from hwc.toolchain.accuracy.metrics import agreement
from hwc.toolchain.accuracy.samples import Sample
from hwc.toolchain.accuracy.sensitivity import Loss, sensitivity
from hwc.toolchain.engine import Array, Feeds
from hwc.toolchain.errors import BackendError
from hwc.toolchain.plan import NodeChoice, Plan, Precision
from hwc.toolchain.slots import Slot, SlotGraph, Work

FP32, FP16, INT8 = (NodeChoice(p) for p in (Precision.FP32, Precision.FP16, Precision.INT8))
NOISE = {FP32: 1e-6, FP16: 1e-3, INT8: 3e-2}
SCALE = {"a": 1.0, "b": 10.0, "c": 1.0, "d": 0.0}


def slot(name: str, *choices: NodeChoice) -> Slot:
    """A slot of which only name and choices count."""
    return Slot(name, "Conv", ((name,),), (), (), (), "", "conv", Work(0, 0, 0, 0), choices)


GRAPH = SlotGraph(
    (slot("a", FP32, FP16, INT8), slot("b", FP32, INT8), slot("c", FP32), slot("d", FP32, FP16)), ()
)


class Data:
    """Thirty samples."""

    def __len__(self) -> int:
        """How many there are."""
        return 30

    def __getitem__(self, index: int) -> Sample:
        """Make one."""
        return Sample({"x": np.random.default_rng(index).normal(size=(1, 6, 7))})


def realise(plan: Plan) -> Callable[[Feeds], dict[str, Array]]:
    """A model whose slots add noise by their precision."""
    rng = np.random.default_rng(0)
    sigma = sum(SCALE[name] * NOISE[choice] for name, choice in plan.choices)
    return lambda feeds: {"y": feeds["x"] + sigma * rng.normal(size=feeds["x"].shape)}


class Counting:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.total: int | None = 0
        self.steps = 0

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Callable[[], None]]:  # noqa: ARG002 - the protocol's signature
        """Count."""
        self.total = total
        yield self._step

    def _step(self) -> None:
        self.steps += 1

    def remark(self, text: str) -> None:
        """Nothing is remarked."""

    def note(self, text: str) -> None:
        """Nothing is noted."""


@pytest.fixture
def evaluator() -> Evaluator:
    """An evaluator of the noisy model."""
    reference = Reference.of(lambda feeds: {"y": feeds["x"]}, Data(), "search")
    return Evaluator(realise, reference, agreement([reference.outputs[0]]))


def test_table(evaluator: Evaluator) -> None:
    """Losses are the noise each choice adds; what a slot does not offer is NaN."""
    progress = Counting()
    table = sensitivity(evaluator, GRAPH, progress=progress)
    assert table.shape == (4, 3)
    assert (table[:, 0] == 0).all()
    assert np.isnan(table[[1, 2, 2, 3], [2, 1, 2, 2]]).all()
    # two axes may count the channels: twice the fraction of variance, which is sigma squared here
    assert table[0, 1] == pytest.approx(2e-6, rel=0.2)
    assert table[0, 2] == pytest.approx(2 * 9e-4, rel=0.2)
    assert table[1, 1] == pytest.approx(2 * 9e-2, rel=0.2)
    assert table[3, 1] < 1e-10
    assert progress.steps == progress.total == 5
    assert evaluator.evaluations == 0


def test_refused_choices_are_infinite(evaluator: Evaluator) -> None:
    """A choice that the backend cannot build costs everything."""

    def refusing(plan: Plan) -> Callable[[Feeds], dict[str, Array]]:
        if plan.as_dict()["b"] == INT8:
            raise BackendError("no int8 here")
        return realise(plan)

    evaluator.runner = Rebuild(refusing)
    table = sensitivity(evaluator, GRAPH)
    assert table[1, 1] == np.inf
    assert np.isfinite(table[0, 2])


def test_nothing_to_choose(evaluator: Evaluator) -> None:
    """No slot, no build."""

    def never(plan: Plan) -> Callable[[Feeds], dict[str, Array]]:
        raise AssertionError(plan)

    evaluator.runner = Rebuild(never)
    assert sensitivity(evaluator, SlotGraph((), ())).shape == (0, 1)
    assert sensitivity(evaluator, SlotGraph((slot("c", FP32),), ())).tolist() == [[0.0]]


@pytest.mark.parametrize(("count", "used"), [(16, 16), (1, 1), (100, 30)])
def test_samples_are_spread_over_the_data(evaluator: Evaluator, count: int, used: int) -> None:
    """As many as asked, or all."""
    loss = Loss.of(evaluator.reference, count)
    assert len(loss.feeds) == len(loss.reference) == used
    assert loss(lambda feeds: {"y": feeds["x"]}) == 0


def test_losses_of_outputs_add_up() -> None:
    """KL of the classes and FVU of the values."""
    rng = np.random.default_rng(0)
    rows = [{"y": rng.normal(size=(1, 9)) * 9, "v": rng.normal(size=(1, 3, 3))} for _ in range(30)]
    reference = Reference.of(lambda feeds: rows[int(feeds["x"][0, 0, 0] * 0)], Data(), "search")
    both = Loss.of(reference, 30)
    same = rows[0]
    assert both(lambda _: same) == pytest.approx(0, abs=1e-9)
    assert both(lambda _: {**same, "v": same["v"] + 1}) > 0.01
    assert both(lambda _: {**same, "y": same["y"][:, ::-1]}) > 0.1
