"""Judges plans by their true loss: each one once, counted, and kept for a search that goes on."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from ..engine import Array
from ..plan import Plan
from ..slots import SlotGraph
from .blocks import PlanRunner
from .evaluator import Reference
from .exam import Exam, Picked
from .identity import data_digest
from .losses import PlanLoss
from .samples import Samples, Subset, each
from .store import Context, Kept, LossStore

FIDELITIES = (64, 256, 1024)  # samples: for many plans, for the good ones, for the last ranking
_WORK = 25_000_000_000  # multiplications and additions of one evaluation, beyond the 64th sample
_HELD = 256 * 2**20  # bytes of samples that are read once and held


def searched_on(graph: SlotGraph) -> int:
    """How many samples a search judges plans of a model on: 64, or more where these take no time.

    A search finds what is best on its samples, and with few of them that is partly chance: on
    ResNet-20 with weights of 2 to 8 bits the best plan on 64 samples lost 6 % less than the
    solver's on others, the best on 256 lost 25 % less (`tests/bench/search.py`).
    """
    macs = sum(slot.work.macs for slot in graph.slots)
    return max(FIDELITIES[0], min(FIDELITIES[1], _WORK // max(1, macs)))


@dataclass(frozen=True, slots=True)
class Memory:
    """Where losses are kept between searches.

    Attributes:
        store: The open file.
        model: Digest of all that losses depend on beside data and plan (`model_digest`).
    """

    store: LossStore
    model: str


class Judge(ABC):
    """True losses of plans on some samples; a plan that was judged before costs nothing.

    Args:
        reference: The data with the original's outputs.
        loss: What counts.
        count: How many samples to use, evenly spaced; None, or more than there are: all.
        memory: Where losses are kept on disk; None: nowhere.
    """

    def __init__(
        self,
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
        return (kept.loss for kept in self._judged(plans))

    def per_sample(self, plans: Sequence[Plan]) -> Array:
        """Losses of each sample, shape (plans, samples), float32; their means are the losses."""
        return np.array([kept.samples for kept in self._judged(plans)]).reshape(
            len(plans), self.samples
        )

    def at(self, count: int) -> Self:
        """The same judge on so many samples, or on all where there are fewer; it counts anew."""
        return self._like(self.loss, count)

    def by(self, loss: PlanLoss) -> Self:
        """The same judge by another loss; it counts anew."""
        return self._like(loss, self.samples)

    @abstractmethod
    def _like(self, loss: PlanLoss, count: int) -> Self:
        """A judge with the same runner, data and memory."""

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
        return Context(self.memory.model, data_digest(self.exam.samples), self.loss.name)

    @cached_property
    def exam(self) -> Exam:
        """The samples; held in memory where they are not too large, since each is used often."""
        part: Samples = Subset(self.reference.samples, self._indices)
        size = sum(array.nbytes for array in part[0].feeds.values())
        if size * len(part) <= _HELD:
            part = list(each(part))
        return Exam(part, Picked(self.reference.outputs, self._indices), self.loss)

    @abstractmethod
    def _measured(self, plans: Sequence[Plan]) -> Iterator[tuple[int, Array]]:
        """The losses of each sample under every plan, with the plan's place, as they come."""

    def _judged(self, plans: Sequence[Plan]) -> Iterator[Kept]:
        """In order, though what was measured is kept in the order in which it comes."""
        keys = [plan.digest for plan in plans]
        new = {k: plan for k, plan in zip(keys, plans, strict=True) if not self._remembers(k)}
        names, measured = list(new), self._measured(list(new.values()))
        for key in keys:
            while key not in self._known:
                place, losses = next(measured)
                self._keep(names[place], losses)
            yield self._known[key]

    def _remembers(self, key: str) -> bool:
        """Whether a plan was judged, in this search or an earlier one."""
        if key not in self._known and self.memory is not None:
            kept = self.memory.store.get(self.context, key)
            if kept is not None:
                self._known[key] = kept
        return key in self._known

    def _keep(self, key: str, losses: Array) -> None:
        self._known[key] = Kept(float(losses.mean()), losses.astype(np.float32))
        self.evaluations += 1
        if self.memory is not None:
            self.memory.store.put(self.context, key, losses)


class PlanJudge(Judge):
    """Judges plans in this process, one after the other.

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
        super().__init__(reference, loss, count=count, memory=memory)
        self._runner = runner

    def _like(self, loss: PlanLoss, count: int) -> Self:
        return type(self)(self._runner, self.reference, loss, count=count, memory=self.memory)

    def _measured(self, plans: Sequence[Plan]) -> Iterator[tuple[int, Array]]:
        return ((k, self.exam.losses(self._runner, plan)) for k, plan in enumerate(plans))
