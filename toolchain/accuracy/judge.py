"""Judges plans by their true loss: each one once, counted, and kept for a search that goes on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from ..engine import Array
from ..errors import BackendError
from ..plan import Plan
from .blocks import PlanRunner
from .evaluator import Reference
from .identity import data_digest
from .losses import Answers, Judgement, PlanLoss
from .metric import Outputs, Rows
from .samples import Sample, Samples, Subset, each
from .store import Context, Kept, LossStore

FIDELITIES = (64, 256, 1024)  # samples: for many plans, for the good ones, for the last ranking
_HELD = 256 * 2**20  # bytes of samples that are read once and held


@dataclass(frozen=True, slots=True)
class Memory:
    """Where losses are kept between searches.

    Attributes:
        store: The open file.
        model: Digest of all that losses depend on beside data and plan (`model_digest`).
    """

    store: LossStore
    model: str


class PlanJudge:
    """Measures true losses of plans on some samples; a plan that was judged before costs nothing.

    Args:
        runner: Gives the outputs of plans.
        reference: The data with the original's outputs.
        loss: What counts.
        count: How many samples to use, evenly spaced; None, or more than there are: all.
        memory: Where losses are kept on disk; None: nowhere.
    """

    def __init__(
        self,
        runner: PlanRunner,
        reference: Reference,
        loss: PlanLoss,
        *,
        count: int | None = None,
        memory: Memory | None = None,
    ) -> None:
        self.reference = reference
        self.loss = loss
        self.memory = memory
        self.evaluations = 0
        self._runner = runner
        self._known: dict[str, Kept] = {}
        size = len(reference)
        wanted = np.linspace(0, size - 1, min(count or size, size)).round().astype(int)
        self._indices: list[int] = np.unique(wanted).tolist()

    def __call__(self, plans: Sequence[Plan]) -> Iterator[float]:
        """The losses of plans, in order, each as soon as it is known.

        A plan that the backend refuses has an infinite loss.

        Raises:
            InputError: The loss cannot be computed.
        """
        return (self._judged(plan).loss for plan in plans)

    def per_sample(self, plans: Sequence[Plan]) -> Array:
        """Losses of each sample, shape (plans, samples), float32; their means are the losses."""
        return np.array([self._judged(plan).samples for plan in plans]).reshape(
            len(plans), self.samples
        )

    def at(self, count: int) -> Self:
        """The same judge on so many samples, or on all where there are fewer; it counts anew."""
        return type(self)(self._runner, self.reference, self.loss, count=count, memory=self.memory)

    @property
    def samples(self) -> int:
        """How many samples decide."""
        return len(self._indices)

    @cached_property
    def context(self) -> Context:
        """What the losses hold for.

        Raises:
            ValueError: There is no memory, so nobody said which model it is.
        """
        if self.memory is None:
            raise ValueError("a judge without memory")
        return Context(self.memory.model, data_digest(self._data), self.loss.name)

    def _judged(self, plan: Plan) -> Kept:
        key = plan.digest
        if key not in self._known:
            kept = self.memory.store.get(self.context, key) if self.memory else None
            if kept is None:
                losses = self._measured(plan)
                kept = Kept(float(losses.mean()), losses.astype(np.float32))
                self.evaluations += 1
                if self.memory:
                    self.memory.store.put(self.context, key, losses)
            self._known[key] = kept
        return self._known[key]

    def _measured(self, plan: Plan) -> Array:
        try:
            return self._judgement(self._runner.outputs(plan, self._data))
        except BackendError:
            return np.full(self.samples, np.inf)

    @cached_property
    def _data(self) -> Samples:
        """The samples; held in memory where they are not too large, since each is used often."""
        part = Subset(self.reference.samples, self._indices)
        size = sum(array.nbytes for array in part[0].feeds.values())
        if size * len(part) > _HELD:
            return part
        held: list[Sample] = list(each(part))
        return held

    @cached_property
    def _judgement(self) -> Judgement:
        labelled = self._data[0].label is not None
        labels = [s.label for s in each(self._data)] if labelled else [None] * self.samples
        return self.loss.bind(Answers(_Picked(self.reference.outputs, self._indices), labels))


@dataclass(frozen=True, slots=True)
class _Picked:
    """Some rows of others."""

    rows: Rows
    indices: Sequence[int]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Outputs:
        return self.rows[self.indices[index]]
