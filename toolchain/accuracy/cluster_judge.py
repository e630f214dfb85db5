"""Judges plans on a cluster, several side by side, with the numbers that one process would get."""

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from types import ModuleType
from typing import Self

from ..cluster import Cluster, Shared
from ..crew import Crew
from ..engine import Array
from ..plan import Plan
from .blocks import PlanRunner
from .evaluator import Reference
from .exam import Exam
from .judge import Judge, Memory
from .labelled import UserMetric
from .losses import MetricDrop, PlanLoss
from .samples import each

PlanCrew = Crew[Exam, Plan, Array]


def plan_crew(
    cluster: Cluster,
    factory: Callable[[], PlanRunner],
    *,
    told: Callable[[str], None] = lambda _: None,
    workers: int | None = None,
) -> PlanCrew:
    """Workers that run plans.

    Args:
        cluster: Where they are.
        factory: Makes a runner in each of them. It travels, so it has to be picklable. What a plan
            gives may depend on nothing but the plan, since any worker may get it.
        told: Told of workers that were lost.
        workers: How many there are; None: as many as CPUs.
    """
    return Crew(cluster, partial(_examiner, factory), told=told, workers=workers)


class ClusterJudge(Judge):
    """Judges plans on a cluster; what is known, and where it is kept, stays in this process.

    The samples, the original's outputs and the loss are sent to each machine once. A loss is kept
    as soon as it arrives, whichever plan it is of, and is given out in the order of the plans.

    The numbers are those of one process where all machines compute alike: kernels for other
    instruction sets may round in another way.

    Args:
        crew: Runs plans; judges on other samples can share it.
        reference: The data with the original's outputs.
        loss: What counts.
        count: How many samples to use, evenly spaced; None, or more than there are: all.
        memory: Where losses are kept on disk; None: nowhere.
    """

    def __init__(
        self,
        crew: PlanCrew,
        reference: Reference,
        loss: PlanLoss,
        *,
        count: int | None = None,
        memory: Memory | None = None,
    ) -> None:
        super().__init__(reference, loss, count=count, memory=memory)
        self._crew = crew

    def _like(self, loss: PlanLoss, count: int) -> Self:
        return type(self)(self._crew, self.reference, loss, count=count, memory=self.memory)

    def _measured(self, plans: Sequence[Plan]) -> Iterator[tuple[int, Array]]:
        return self._crew.each(self._shared, plans) if plans else iter(())

    @cached_property
    def _shared(self) -> Shared[Exam]:
        exam = self.exam
        rows = [exam.reference[index] for index in range(len(exam.reference))]
        whole = Exam(list(each(exam.samples)), rows, self.loss)
        return self._crew.cluster.share(whole, *_modules(self.loss))


def _examiner(factory: Callable[[], PlanRunner]) -> Callable[[Exam, Plan], Array]:
    """What a worker does."""
    runner = factory()
    return lambda exam, plan: exam.losses(runner, plan)


def _modules(loss: PlanLoss) -> list[ModuleType]:
    """The module of the user's own function: other machines cannot import it."""
    match loss:
        case MetricDrop(metric=UserMetric(function=function)):
            module = sys.modules.get(function.__module__)
            return [module] if module is not None else []
        case _:
            return []
