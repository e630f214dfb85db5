"""How much each choice of each slot hurts by itself: the table that the search adds up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from ..engine import Feeds, Runner
from ..errors import BackendError
from ..kernels import MOVES
from ..plan import NodeChoice, Plan
from ..progress import Progress, Silent
from ..slots import SlotGraph
from .agreement import loss_measures
from .evaluator import Evaluator, Reference
from .judge import Judge
from .kinds import kind_of
from .losses import Distance
from .measure import Measure
from .metric import Outputs
from .samples import Sample

Table = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Loss:
    """A smooth distance from the original's outputs on a few samples, summed over the outputs.

    KL divergence for sequences and maps of classes, fraction of variance unexplained otherwise:
    top-1 agreement on a few samples is too coarse to rank the choices of single slots.

    Attributes:
        feeds: The samples.
        reference: The original's outputs for them.
        measures: Output and measure.
    """

    feeds: Sequence[Feeds]
    reference: Sequence[Outputs]
    measures: Sequence[tuple[str, Measure]]

    @classmethod
    def of(cls, reference: Reference, count: int) -> Self:
        """Take evenly spaced samples; there may be fewer than `count`."""
        size = len(reference)
        indices = np.unique(np.linspace(0, size - 1, min(count, size)).astype(int)).tolist()
        rows = [reference.outputs[index] for index in indices]
        kinds = {name: kind_of([row[name] for row in rows]) for name in rows[0]}
        measures = [(name, m) for name, kind in kinds.items() for m in loss_measures(kind)]
        return cls([reference.samples[index].feeds for index in indices], rows, measures)

    def __call__(self, runner: Runner) -> float:
        """The loss of an engine."""
        return self.of_outputs([runner(feeds) for feeds in self.feeds])

    def of_outputs(self, outputs: Sequence[Outputs]) -> float:
        """The loss of what an engine gave for all samples."""
        return sum(self._figure(name, measure, outputs) for name, measure in self.measures)

    def _figure(self, name: str, measure: Measure, outputs: Sequence[Outputs]) -> float:
        pairs = zip(outputs, self.reference, strict=True)
        tallies = [measure.tally(got[name], expected[name]) for got, expected in pairs]
        return float(measure.finish(np.sum(tallies, axis=0)[None])[0])


def sensitivity(
    evaluator: Evaluator,
    graph: SlotGraph,
    *,
    wanted: npt.NDArray[np.bool_] | None = None,
    count: int = 16,
    progress: Progress | None = None,
) -> Table:
    """Change one slot at a time from the fp32 plan, and measure the loss.

    Kernels that only move numbers lose nothing by themselves: what it costs to hold a tensor in
    fewer bits is counted where it is computed with.

    The fp32 plan's own loss (the backend's rounding) is the noise floor and is subtracted, so a
    loss of 0 means that nothing beyond it was seen.

    Args:
        evaluator: Runs plans and has the data; its count of evaluations is not touched.
        graph: The slots.
        wanted: Which choices to measure, shape (slots, most choices); None measures all.
        count: How many samples to use.
        progress: Told of each step.

    Returns:
        Losses, shape (slots, most choices): column k is for `slot.choices[k]`; 0 for fp32,
        infinite where the backend refuses the choice, NaN where a slot has no such choice or it
        was not wanted.
    """
    loss = Loss.of(evaluator.reference, count)
    samples = [Sample(feeds) for feeds in loss.feeds]

    def loss_of(plan: Plan) -> float:
        return loss.of_outputs(list(evaluator.runner.outputs(plan, samples)))

    return _swept(loss_of, graph, wanted, progress or Silent())


def judged(
    judge: Judge,
    graph: SlotGraph,
    *,
    wanted: npt.NDArray[np.bool_] | None = None,
    count: int = 16,
    progress: Progress | None = None,
) -> Table:
    """The table of `sensitivity`, by the true losses of a judge, which keeps and counts them.

    The loss is the distance from the original's outputs, whatever the judge's own is: that of
    labels is too noisy on a few samples to rank the choices of single slots.

    Args:
        judge: Judges plans, with a count of its own for this.
        graph: The slots.
        wanted: Which choices to measure, shape (slots, most choices); None measures all.
        count: How many samples to use.
        progress: Told of each step.

    Raises:
        BackendError: The backend refuses even the plan that changes nothing.
    """
    few = judge.by(Distance.of(judge.reference.outputs)).at(count)
    return _swept(lambda plan: next(few([plan])), graph, wanted, progress or Silent())


def _swept(
    loss_of: Callable[[Plan], float],
    graph: SlotGraph,
    wanted: npt.NDArray[np.bool_] | None,
    progress: Progress,
) -> Table:
    """Change one slot at a time."""
    base = Plan.of((slot.name, slot.choices[0]) for slot in graph.slots)
    table = np.full(
        (len(graph.slots), max((len(s.choices) for s in graph.slots), default=1)), np.nan
    )
    table[:, 0] = 0.0
    for row, slot in enumerate(graph.slots):
        if slot.op in MOVES:
            table[row, : len(slot.choices)] = 0.0
    steps = [
        (row, column)
        for row, slot in enumerate(graph.slots)
        for column in range(1, len(slot.choices))
        if np.isnan(table[row, column]) and (wanted is None or wanted[row, column])
    ]
    with progress.stage("sensitivity", len(steps) + 1) as step:
        floor = loss_of(base) if steps else 0.0
        if not np.isfinite(floor):
            raise BackendError("the backend refuses the plan that changes nothing")
        step()
        for row, column in steps:
            plan = _changed(base, row, graph.slots[row].choices[column])
            try:
                table[row, column] = max(0.0, loss_of(plan) - floor)
            except BackendError:
                table[row, column] = np.inf
            step()
    return table


def _changed(base: Plan, row: int, choice: NodeChoice) -> Plan:
    """The plan with another choice for one slot."""
    choices = list(base.choices)
    choices[row] = (choices[row][0], choice)
    return Plan(tuple(choices))
