"""Constants are fitted where that helps, and trained weights are taken where they lose less."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.backends.ort import Options, Session
from hwc.toolchain import kernels
from hwc.toolchain.accuracy.evaluator import Reference, measure
from hwc.toolchain.accuracy.metrics import choose_metric
from hwc.toolchain.accuracy.samples import Sample, Samples
from hwc.toolchain.engine import Array
from hwc.toolchain.latency.probes import uniform
from hwc.toolchain.plan import Plan, Precision
from hwc.toolchain.progress import Progress, Silent
from hwc.tools.stages.decide import Decisions, decide, reference
from hwc.tools.stages.recover import Untrained
from hwc.tools.stages.refit import Refit, refitted

if TYPE_CHECKING:
    from hwc.tests.tools.stages.conftest import Begun

Begin = Callable[..., "Begun"]


@dataclass(frozen=True)
class Off:
    """Decisions whose every plan is off by a factor."""

    model: ir.Model
    factor: float

    def simulate(self, _plan: Plan, _threads: int) -> Session:
        """The original with other weights."""
        copy = self.model.clone()
        value = copy.graph.initializers["v"]
        tensor = kernels.constant(value)
        assert tensor is not None
        value.const_value = ir.tensor(tensor.numpy() * np.float32(self.factor), name="v")
        return Session(copy, Options(1))


@dataclass(frozen=True)
class Training(Untrained):
    """A training that ends in these decisions."""

    made: object = None

    def rounded(self, decisions: Decisions, plan: Plan) -> Any:  # noqa: ANN401, ARG002 - stand-ins
        """What was trained."""
        return self.made


@dataclass
class Told(Silent):
    """Remembers what it was told."""

    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Keep it."""
        self.notes.append(text)


@dataclass(frozen=True)
class Bench:
    """A model with fresh samples that judge."""

    model: ir.Model
    judge: Reference
    decisions: Decisions
    calibration: list[Sample]

    def refit(
        self, recovery: Untrained, samples: Samples = (), progress: Progress | None = None
    ) -> Refit:
        """What fits and judges."""
        metric = choose_metric("auto", self.judge.outputs, labelled=False)
        return Refit(samples, recovery, self.judge, metric, 1, progress or Silent())

    def drop(self, decisions: Decisions, plan: Plan) -> float:
        """The drop on the samples that judge."""
        metric = choose_metric("auto", self.judge.outputs, labelled=False)
        return measure(decisions.simulate(plan, 1), self.judge, metric).drop.value


@pytest.fixture
def bench(begin: Begin) -> Bench:
    begun = begin("jetson_orin")
    model = begun.prepared.original
    rng = np.random.default_rng(5)
    rows = rng.standard_normal((96, 1, 64)).astype(np.float32)
    fresh = [Sample({"x": x}) for x in rows[:48]]
    judge = Reference.of(reference(model), fresh, "validation")
    decisions = decide(begun.request, begun.target, begun.prepared, Silent())
    return Bench(model, judge, decisions, [Sample({"x": x}) for x in rows[48:]])


def int8(decisions: Decisions) -> Plan:
    return uniform(decisions.slots, Precision.INT8)


@pytest.mark.parametrize(
    ("before", "after", "taken"),
    [
        pytest.param(0.5, 0.9, True, id="better"),
        pytest.param(0.9, 0.5, False, id="worse"),
        pytest.param(0.9, 0.9, False, id="the same"),
    ],
)
def test_trained_weights_are_taken_where_they_lose_less(
    bench: Bench, before: float, after: float, *, taken: bool
) -> None:
    """By samples that nothing was fitted to."""
    untrained, trained = cast("Any", Off(bench.model, before)), Off(bench.model, after)
    told, plan = Told(), int8(bench.decisions)
    made, notes = bench.refit(Training(made=trained), progress=told).fitted(untrained, plan)
    assert made is (trained if taken else untrained)
    drops = bench.drop(untrained, plan), bench.drop(cast("Any", trained), plan)
    assert (drops[1] < drops[0]) == taken
    wanted = (
        f"a drop of {drops[0]:.2%} became {drops[1]:.2%} on 48 samples that were not trained on"
    )
    assert wanted in notes[-1]
    assert notes[-1].endswith(": not taken") != taken
    assert any(wanted in note for note in told.notes)


def test_without_training_nothing_is_judged(bench: Bench) -> None:
    decisions = cast("Any", Off(bench.model, 0.5))
    assert bench.refit(Untrained()).fitted(decisions, int8(bench.decisions)) == (decisions, ())


def test_constants_are_fitted_without_training(bench: Bench) -> None:
    plan = int8(bench.decisions)
    made, notes = bench.refit(Untrained(), bench.calibration).fitted(bench.decisions, plan)
    assert made is not bench.decisions
    assert len(notes) == 1
    assert "of 2 layers were fitted" in notes[0]
    assert bench.drop(made, plan) < bench.drop(bench.decisions, plan)


def test_what_is_fitted_is_in_both_graphs(bench: Bench) -> None:
    """In what is built for the device, and in what this machine computes in its place."""
    plan = int8(bench.decisions)
    made, _ = refitted(bench.decisions, plan, bench.calibration, Silent())
    for name in ("writer", "simulator"):
        before, after = (
            constants(getattr(each, name).write(plan)) for each in (bench.decisions, made)
        )
        changed = [key for key in after if not np.array_equal(after[key], before.get(key, ()))]
        assert changed, name


def constants(model: ir.Model) -> dict[str, Array]:
    """The constants of a graph by name."""
    tensors = {str(n): kernels.constant(v) for n, v in model.graph.initializers.items()}
    return {name: tensor.numpy() for name, tensor in tensors.items() if tensor is not None}


def test_a_better_training_leaves_out_what_was_fitted(bench: Bench) -> None:
    trained, plan = cast("Any", Off(bench.model, 1.0)), int8(bench.decisions)
    made, notes = bench.refit(Training(made=trained), bench.calibration).fitted(
        bench.decisions, plan
    )
    assert made is trained
    assert [note.split(":")[0] for note in notes] == ["training with the plan's rounding"]


def test_a_worse_training_leaves_what_was_fitted(bench: Bench) -> None:
    trained, plan = Off(bench.model, 0.2), int8(bench.decisions)
    made, notes = bench.refit(Training(made=trained), bench.calibration).fitted(
        bench.decisions, plan
    )
    assert bench.drop(made, plan) < bench.drop(bench.decisions, plan)
    assert [note.split(" ")[0] for note in notes] == ["rounding", "training"]


def test_a_plan_that_rounds_nothing_is_left_alone(bench: Bench) -> None:
    for precision in (Precision.FP32, Precision.FP16):
        plan = uniform(bench.decisions.slots, precision)
        found = refitted(bench.decisions, plan, bench.calibration, Silent())
        assert found == (bench.decisions, ())


def test_where_nothing_is_better_that_is_said(bench: Bench, begin: Begin, files: Path) -> None:
    """Weights that are on the grid already."""
    model = onnx.load(files / "mlp.onnx")
    for tensor in model.graph.initializer:
        zeros = np.zeros(tuple(tensor.dims), np.float32)
        tensor.CopyFrom(onnx.numpy_helper.from_array(zeros, tensor.name))
    onnx.save(model, files / "mlp.onnx")
    begun = begin("jetson_orin")
    decisions = decide(begun.request, begun.target, begun.prepared, Silent())
    made, notes = refitted(decisions, int8(decisions), bench.calibration, Silent())
    assert made is decisions
    assert notes == ("rounding and biases: nothing better was found",)
