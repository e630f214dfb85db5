"""Scoring plans and engines against the original model, on data, never one twice."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from ..engine import Array, Runner
from ..errors import InputError
from ..plan import Plan
from ..report import Quality
from ..timing import Interval
from .blocks import PlanRunner, Rebuild
from .drop import Drop
from .fidelity import Fidelity, FidelityMeter
from .intervals import Scored, drop_interval, score_interval, value_of
from .metric import Metric, Outputs
from .samples import Samples, each
from .spool import Spool


@dataclass(frozen=True, slots=True)
class Reference:
    """One part of the data with what the original model gives for it.

    Attributes:
        samples: The data.
        outputs: The original's outputs, a row a sample, kept in memory or on disk.
        split: Which part of the data it is: `search`, `report`.
    """

    samples: Samples
    outputs: Spool
    split: str

    @classmethod
    def of(cls, runner: Runner, samples: Samples, split: str) -> Self:
        """Run the original model once on every sample.

        Raises:
            InputError: It gives NaN, so there is nothing to compare with.
        """
        return cls(samples, Spool.of(_sound(runner, samples)), split)

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self.samples)

    def score(self, metric: Metric, outputs: Iterable[Outputs]) -> Scored:
        """Score outputs for these samples."""
        return metric.score(outputs, _rows(self.outputs), (s.label for s in each(self.samples)))


@dataclass(frozen=True, slots=True)
class Measurement:
    """An engine against the original.

    Attributes:
        drop: What it costs.
        original: The original's own score; for an agreement it is 1.
        compiled: The engine's score.
        fidelity: How near the numbers are.
    """

    drop: Drop
    original: Quality
    compiled: Quality
    fidelity: Fidelity


def measure(runner: Runner, reference: Reference, metric: Metric) -> Measurement:
    """Run an engine on all samples and score it, with intervals.

    Raises:
        InputError: The metric cannot be computed.
    """
    meter = FidelityMeter(reference.outputs[0])
    compiled = reference.score(metric, _watched(runner, reference, meter))
    original = reference.score(metric, _rows(reference.outputs))
    drop = drop_interval(original, compiled)
    return Measurement(
        _drop(drop, reference, metric),
        _quality(original, reference, metric),
        _quality(compiled, reference, metric),
        meter.result(),
    )


class Evaluator:
    """Scores plans on one part of the data; a plan that was scored before costs nothing."""

    def __init__(
        self,
        realise: Callable[[Plan], Runner],
        reference: Reference,
        metric: Metric,
        *,
        runner: PlanRunner | None = None,
    ) -> None:
        """Prepare.

        Args:
            realise: Makes a runner of a plan: the deploy graph, built and loaded.
            reference: The data with the original's outputs.
            metric: What counts.
            runner: Gives the same outputs at less cost; None: every plan is realised.
        """
        self.realise = realise
        self.runner: PlanRunner = runner or Rebuild(realise)
        self.reference = reference
        self.metric = metric
        self._original: float | None = None
        self._drops: dict[str, Drop] = {}

    @property
    def evaluations(self) -> int:
        """How many plans were truly run: what a search's budget counts."""
        return len(self._drops)

    def score(self, plan: Plan) -> Drop:
        """The drop of a plan, without an interval (its bounds are infinite).

        Raises:
            BackendError: The plan cannot be built.
            InputError: The metric cannot be computed.
        """
        key = plan.digest
        if key not in self._drops:
            got = self.runner.outputs(plan, self.reference.samples)
            scored = self.reference.score(self.metric, got)
            value = self._original_score() - value_of(scored)
            unknown = Interval(value, -float("inf"), float("inf"))
            self._drops[key] = _drop(unknown, self.reference, self.metric)
        return self._drops[key]

    def _original_score(self) -> float:
        if self._original is None:
            rows = _rows(self.reference.outputs)
            self._original = value_of(self.reference.score(self.metric, rows))
        return self._original


def _watched(
    runner: Runner, reference: Reference, meter: FidelityMeter
) -> Iterator[dict[str, Array]]:
    """A runner's outputs, which the meter sees as they pass."""
    for index, sample in enumerate(each(reference.samples)):
        got = runner(sample.feeds)
        meter.add(got, reference.outputs[index])
        yield got


def _sound(runner: Runner, samples: Samples) -> Iterator[dict[str, Array]]:
    """The original's outputs for each sample, none of them NaN."""
    for index, sample in enumerate(each(samples)):
        row = runner(sample.feeds)
        for name, array in row.items():
            if array.dtype.kind == "f" and np.isnan(array).any():
                raise InputError(
                    f"the original model gives NaN for sample {index} (output '{name}')",
                    "check the model, the data and its preprocessing",
                )
        yield row


def _rows(spool: Spool) -> Iterator[dict[str, Array]]:
    """All rows of a spool, one at a time."""
    return (spool[index] for index in range(len(spool)))


def _drop(interval: Interval, reference: Reference, metric: Metric) -> Drop:
    return Drop(
        interval.value,
        interval.low,
        interval.high,
        n=len(reference),
        metric=metric.name,
        split=reference.split,
    )


def _quality(scored: Scored, reference: Reference, metric: Metric) -> Quality:
    return Quality(metric.name, score_interval(scored), len(scored), reference.split)
