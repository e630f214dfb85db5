"""A problem with limits as the task and the start of an episode."""

from dataclasses import replace
from math import inf

import numpy as np

from ..problem import Objective, Problem
from ..typical import typical
from .task import Losses, Start, Task


def limited_figures(problem: Problem) -> tuple[Objective, ...]:
    """Which figures a problem limits beside its objective; one of no consequence if it has none."""
    idle = Objective.LATENCY if problem.objective is not Objective.LATENCY else Objective.SIZE
    figures = (figure for figure in Objective if figure is not problem.objective)
    return tuple(figure for figure in figures if problem.limit(figure) < inf) or (idle,)


def opening(
    problem: Problem, losses: Losses | None = None, *, number: int = 0, reference: float = 1.0
) -> tuple[Task, Start]:
    """Make a problem ready for episodes within its limits.

    Where no sensitivities were measured the typical ones stand for them.

    Args:
        problem: What is limited is what its limits say.
        losses: Judges plans; None: by the objective as it is predicted.
        number: Which of several tasks it will be.
        reference: See `Start`.

    Raises:
        ValueError: The problem asks for a weighted sum: an episode keeps one figure low.
    """
    if problem.weights:
        raise ValueError("an episode keeps one figure low, not a weighted sum")
    if problem.sensitivity is None:
        problem = replace(problem, sensitivity=typical(problem.graph))
    limited = limited_figures(problem)
    task = Task.of(problem, losses, limited=limited, objective=problem.objective)
    limits = tuple(min(problem.limit(figure), _most(problem, figure)) for figure in limited)
    return task, Start(number, limits, reference)


def _most(problem: Problem, figure: Objective) -> float:
    """At least what any plan takes of a figure, so that a limit is finite."""
    dearest = np.where(problem.legal, problem.tables[figure], -inf).argmax(axis=1)
    most = float(problem.figures(dearest[None])[figure][0])
    if figure is Objective.LATENCY:
        most += float(problem.cost.wiring.conversion_us.max(axis=(1, 2)).sum())
    return most
