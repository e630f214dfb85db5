"""What a search minimises: a smooth loss where outputs allow one, of every sample by itself.

A loss is the mean of its samples', so that plans can be compared sample by sample. It is zero for
the original and falls below that only where a plan answers labels better than the original does.
"""

import hashlib
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from ..engine import Array
from .counted import Changed
from .divergence import Divergence
from .explained import Explained, Unexplained
from .intervals import Scored, value_of
from .kinds import Kind, OutputKind, kind_of
from .labelled import Likelihood, TopK, UserMetric
from .measure import LossMeasure
from .metric import Metric, Outputs, Rows
from .metrics import EXAMPLES

_VERSION = 1  # of all losses together: a stored one of another version counts for nothing
_GROUPS = 20  # parts of the data that are left out in turn where single samples have no score

Judgement = Callable[[Iterable[Outputs]], Array]  # the loss of each sample, shape (n,)


@dataclass(frozen=True, slots=True)
class Answers:
    """What outputs are compared with.

    Attributes:
        reference: What the original gives for each sample.
        labels: The right answer for each sample, or None.
    """

    reference: Rows
    labels: Sequence[Array | None]


class PlanLoss(Protocol):
    """A way to judge outputs; lower is better."""

    @property
    def name(self) -> str:
        """What reports call it; of losses with the same name, samples have equal losses."""
        ...

    def bind(self, answers: Answers) -> Judgement:
        """Make ready to judge outputs for some samples.

        Raises:
            InputError: The labels do not fit.
        """
        ...


@dataclass(frozen=True, slots=True)
class Distance:
    """How far outputs are from the original's: KL divergence of classes, FVU of values; summed.

    Attributes:
        measures: Output and measure.
    """

    measures: Sequence[tuple[str, LossMeasure]]

    @property
    def name(self) -> str:
        """The measures by output."""
        parts = (f"{type(measure).__name__.lower()} of {name}" for name, measure in self.measures)
        return f"{' + '.join(parts)}, v{_VERSION}"

    @classmethod
    def of(cls, reference: Rows) -> Self:
        """The distances that fit the original's outputs, judged by a few of them."""
        step = max(1, len(reference) // EXAMPLES)
        rows = [reference[index] for index in range(0, len(reference), step)][:EXAMPLES]
        kinds = {name: kind_of([row[name] for row in rows]) for name in rows[0]}
        return cls([(name, m) for name, kind in kinds.items() for m in _measures(kind)])

    def bind(self, answers: Answers) -> Judgement:
        """Compare with the original's outputs."""
        return lambda outputs: self._losses(outputs, answers.reference)

    def _losses(self, outputs: Iterable[Outputs], reference: Rows) -> Array:
        tallies: list[list[Array]] = [[] for _ in self.measures]
        for index, output in enumerate(outputs):
            expected = reference[index]
            for rows, (name, measure) in zip(tallies, self.measures, strict=True):
                rows.append(measure.tally(output[name], expected[name]))
        losses = [m.losses(np.array(r)) for r, (_, m) in zip(tallies, self.measures, strict=True)]
        total: Array = np.sum(losses, axis=0)
        return total


@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """How much less likely the right classes are than the original has them, in nats.

    Attributes:
        metric: Knows the output with the class scores.
    """

    metric: Likelihood

    @property
    def name(self) -> str:
        """The output that it is of."""
        return f"cross-entropy of {self.metric.output}, v{_VERSION}"

    def bind(self, answers: Answers) -> Judgement:
        """Score the original."""
        rows = (answers.reference[index] for index in range(len(answers.reference)))
        original = self._surprise(rows, answers.labels)
        return lambda outputs: self._surprise(outputs, answers.labels) - original

    def _surprise(self, outputs: Iterable[Outputs], labels: Sequence[Array | None]) -> Array:
        pairs = zip(outputs, labels, strict=True)
        return np.array([self.metric.surprise(out, label) for out, label in pairs])


@dataclass(frozen=True, slots=True)
class MetricDrop:
    """How much of a metric's score is lost; where it has no score of single samples, by groups.

    Those get the pseudo-values of the grouped jackknife (Shao and Tu 1995, section 2.1), which the
    samples of a group share.
    """

    metric: Metric

    @property
    def name(self) -> str:
        """The metric, and which code it is if it is the user's."""
        return f"drop of {self.metric.name}{_code(self.metric)}, v{_VERSION}"

    def bind(self, answers: Answers) -> Judgement:
        """Score the original."""
        reference, labels = answers.reference, answers.labels

        def scores(outputs: Iterable[Outputs]) -> Array:
            rows = (reference[index] for index in range(len(reference)))
            return _each(self.metric.score(outputs, rows, labels))

        original = scores(reference[index] for index in range(len(reference)))
        return lambda outputs: original - scores(outputs)


def choose_loss(metric: Metric, reference: Rows) -> PlanLoss:
    """The loss that stands for a metric.

    Cross-entropy where classes are counted by labels, since counts are too coarse to rank plans;
    the drop of a user's metric itself; and the distance from the original without labels.
    """
    match metric:
        case TopK(output=output):
            kind = kind_of([reference[i][output] for i in range(min(EXAMPLES, len(reference)))])
            return CrossEntropy(Likelihood(output, kind.probabilities))
        case Likelihood():
            return CrossEntropy(metric)
        case UserMetric():
            return MetricDrop(metric)
        case _:
            return Distance.of(reference)


def _measures(kind: OutputKind) -> list[LossMeasure]:
    match kind.kind:
        case Kind.CLASSES | Kind.SEQUENCE | Kind.MAP:
            return [Divergence(kind)]
        case Kind.DISCRETE:
            return [Changed()]
        case Kind.VALUES:
            explained = (Explained(axis, size, kind.one_unit) for axis, size in kind.channels)
            return [Unexplained(part) for part in explained]


def _each(scored: Scored) -> Array:
    """Scores of each sample, of which the mean is the value."""
    n, value = len(scored), value_of(scored)
    if scored.per_sample is not None:
        return np.asarray(scored.per_sample, np.float64)
    groups = np.arange(n) % min(_GROUPS, n)
    count = int(groups.max()) + 1
    if count == 1:
        return np.full(n, value)
    left = scored.values((groups[None] != np.arange(count)[:, None]).astype(np.float64))
    pseudo = np.where(np.isfinite(left), count * value - (count - 1) * left, value)[groups]
    each: Array = pseudo + (value - pseudo.mean())
    return each


def _code(metric: Metric) -> str:
    """A digest of the file that a user's function is in."""
    if not isinstance(metric, UserMetric):
        return ""
    try:
        file = inspect.getsourcefile(inspect.unwrap(metric.function))
    except TypeError:  # an object that can be called
        file = inspect.getsourcefile(type(metric.function))
    if file is None or not Path(file).is_file():
        return ""
    return f" ({hashlib.sha256(Path(file).read_bytes()).hexdigest()[:12]})"
