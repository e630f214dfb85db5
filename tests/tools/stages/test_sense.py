"""Sensitivities by name: measured through the judge, or estimated without an evaluation."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hwc.backends import ort
from hwc.toolchain.accuracy import derivatives
from hwc.toolchain.accuracy.blocks import BlockRunner, PlanRunner
from hwc.toolchain.accuracy.evaluator import Reference
from hwc.toolchain.accuracy.judge import Memory, PlanJudge
from hwc.toolchain.accuracy.losses import Distance
from hwc.toolchain.accuracy.metric import Outputs
from hwc.toolchain.accuracy.store import LossStore
from hwc.toolchain.errors import InputError
from hwc.toolchain.plan import Plan
from hwc.toolchain.progress import Silent
from hwc.tools.stages.decide import PlanSpace, find_space, reference
from hwc.tools.stages.sense import How, sense

if TYPE_CHECKING:
    from hwc.tests.tools.stages.conftest import Begun
    from hwc.toolchain.accuracy.samples import Samples
    from hwc.toolchain.engine import Feeds

Begin = Callable[..., "Begun"]


class Notes(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        """Keep it."""
        self.lines.append(text)


def space_of(begun: "Begun") -> PlanSpace:
    return find_space(begun.request, begun.target, begun.prepared, Silent())


class Counting:
    """Counts the plans that are run."""

    def __init__(self, runner: PlanRunner) -> None:
        self.runner = runner
        self.plans = 0

    def outputs(self, plan: Plan, samples: "Samples") -> Iterator[Outputs]:
        """The outputs for each sample."""
        self.plans += 1
        return self.runner.outputs(plan, samples)


def judge_of(
    begun: "Begun", space: PlanSpace, memory: Memory | None = None
) -> tuple[PlanJudge, Counting]:
    samples = begun.prepared.splits.search
    part = Reference.of(reference(begun.prepared.original), samples, "search")
    integers = begun.target.backend.name == "ort"
    options = ort.Options(1, integers=integers, arena=False)
    runner = Counting(BlockRunner(space.simulator, lambda model: ort.Session(model, options)))
    return PlanJudge(runner, part, Distance.of(part.outputs), memory=memory), runner


@pytest.mark.parametrize("device", ["host", "a100"])
@pytest.mark.parametrize("how", list(How))
def test_tables(begin: Begin, how: How, device: str) -> None:
    """Each is finite and not negative where there is a choice, and only measuring runs plans."""
    begun = begin(device)
    space = space_of(begun)
    judge, ran = judge_of(begun, space)
    notes = Notes()
    table = sense(space, judge, how=how, progress=notes)
    for row, slot in zip(table, space.slots.slots, strict=True):
        assert row[0] == 0.0
        assert (row[: len(slot.choices)] >= 0.0).all()
        assert np.isfinite(row[: len(slot.choices)]).all()
        assert np.isnan(row[len(slot.choices) :]).all()
    assert np.nanmax(table) > 0.0
    assert (ran.plans > 0) is (how is How.MEASURED)
    assert not notes.lines


def test_int8_loses_more_than_fp16(begin: Begin) -> None:
    """On every product, however it is estimated."""
    begun = begin("a100")
    space = space_of(begun)
    judge, _ = judge_of(begun, space)
    for how in (How.AUTO, How.MEASURED, How.PROPAGATED):
        table = sense(space, judge, how=how, progress=Silent())
        for row, slot in zip(table, space.slots.slots, strict=True):
            by = {c.precision.value: loss for c, loss in zip(slot.choices, row, strict=False)}
            if slot.work.macs and "int8" in by:
                assert by["int8"] > by["fp16"] > 0.0, (how, slot.name)


@pytest.mark.parametrize("how", [How.AUTO, How.FISHER, How.COMPOSITE])
def test_without_derivatives(begin: Begin, monkeypatch: pytest.MonkeyPatch, how: How) -> None:
    """Propagated noise takes their place, and a note says why."""

    def missing(*_: object) -> None:
        raise InputError("PyTorch is not installed", "pip install")

    monkeypatch.setattr(derivatives, "to_torch", missing)
    begun = begin()
    space = space_of(begun)
    (judge, _), notes = judge_of(begun, space), Notes()
    table = sense(space, judge, how=how, progress=notes)
    plain = sense(space, judge, how=How.PROPAGATED, progress=Silent())
    assert np.array_equal(table, plain, equal_nan=True)
    (line,) = notes.lines
    assert "PyTorch is not installed" in line


def test_a_sweep_is_kept(begin: Begin, tmp_path: Path) -> None:
    """Another one finds all losses in the store, and runs nothing."""
    begun = begin()
    space = space_of(begun)
    with LossStore(tmp_path / "losses.sqlite") as store:
        first, _ = judge_of(begun, space, Memory(store, "m"))
        table = sense(space, first, how=How.MEASURED, progress=Silent())
        again, ran = judge_of(begun, space, Memory(store, "m"))
        kept = sense(space, again, how=How.MEASURED, progress=Silent())
        assert np.array_equal(table, kept, equal_nan=True)
        assert ran.plans == 0


def test_calibration_says_what_the_tensors_are(begin: Begin) -> None:
    """Their moments are those of the calibration samples."""
    begun = begin()
    space = space_of(begun)
    samples: Samples = begun.prepared.splits.calibrate
    feeds: list[Feeds] = [samples[i].feeds for i in range(len(samples))]
    square = float(np.mean([np.square(feed["x"]).mean() for feed in feeds]))
    assert space.activations.moments["x"].square == pytest.approx(square, rel=1e-3)
    assert 0.0 < space.activations.int8["x"] < 1e-3 * square
