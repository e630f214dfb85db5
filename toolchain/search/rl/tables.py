"""The tables of several tasks, one after another, so that lanes on all of them share a look-up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ..problem import Floats
from .features import Features32
from .task import EPSILON, Task

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """States and rows of all tasks: a row is a slot, and each task has one more row for its end.

    K is the most choices that a slot of any of the tasks has.

    Attributes:
        states: The first state of each task.
        rows: The first row of each task.
        after, boundary_us, togo: As in `Frontier` and `Bounds`, by state.
        price: What each choice takes; shape (rows, K, R), infinite where there is none.
        formats: The format of each choice; shape (rows, K).
        told: Format, weight bits / 32 and activation bits / 32 of each choice; (rows, K, 3).
        charges: As in `Bounds`.
        producers: The positions that a slot reads from, one beyond its task's plan for the outside;
            shape (rows, W), padded.
        weights: The share of the elements read that each producer wrote; shape (rows, W).
        slots, choices, times: Features by row.
        unit: The mean time of a slot in fp32, in microseconds, by task.
        epsilon: A loss that is as good as none, by the objective as it is predicted, by task.
    """

    states: npt.NDArray[np.intp]
    rows: npt.NDArray[np.intp]
    after: npt.NDArray[np.intp]
    boundary_us: Floats
    togo: Floats
    price: Floats
    formats: npt.NDArray[np.intp]
    told: Floats
    charges: npt.NDArray[np.bool_]
    producers: npt.NDArray[np.intp]
    weights: Floats
    slots: Features32
    choices: Features32
    times: Features32
    unit: Floats
    epsilon: Floats

    @classmethod
    def of(cls, tasks: Sequence[Task]) -> "Tables":
        """Lay out the tables of tasks.

        Raises:
            ValueError: They do not limit the same figures.
        """
        if len({task.bounds.limited for task in tasks}) != 1:
            raise ValueError("tasks of one engine limit the same figures in the same order")
        states = np.cumsum([0, *(len(task.bounds.togo) for task in tasks)])[:-1]
        rows = np.cumsum([0, *(len(task.problem.graph.slots) + 1 for task in tasks)])[:-1]
        sources = [_sources(task) for task in tasks]
        widest = max(producers.shape[1] for producers, _ in sources)
        most = max(task.bounds.price.shape[1] for task in tasks)

        return cls(
            states=states,
            rows=rows,
            after=np.concatenate(
                [t.bounds.frontier.after + s for t, s in zip(tasks, states, strict=True)]
            ),
            boundary_us=_joined(tasks, lambda t: t.bounds.frontier.boundary_us),
            togo=_joined(tasks, lambda t: t.bounds.togo),
            price=_joined(tasks, lambda t: _price(t, most)),
            formats=_joined(tasks, lambda t: _formats(t, most)),
            told=_joined(tasks, lambda t: _told(t, most)),
            charges=tasks[0].bounds.charges,
            producers=np.concatenate([_widened(p, widest, -1) for p, _ in sources]),
            weights=np.concatenate([_widened(w, widest, 0) for _, w in sources]),
            slots=_joined(tasks, lambda t: _ended(t.features.slots)),
            choices=_joined(tasks, lambda t: _ended(t.features.choices[:, :most])),
            times=_joined(tasks, lambda t: _ended(t.features.times[:, :most])),
            unit=np.array([t.features.fp32_us / max(1, len(t.features.slots)) for t in tasks]),
            epsilon=np.array([EPSILON * t.bounds.worst() for t in tasks]),
        )


def _sources(task: Task) -> tuple[npt.NDArray[np.intp], Floats]:
    """Who writes what each row reads, -1 for the outside, and in which shares; (rows, W) each."""
    wiring, graph = task.problem.cost.wiring, task.problem.graph
    found: list[list[tuple[int, float]]] = [[] for _ in range(len(graph.slots) + 1)]
    for edge, reader in zip(wiring.owners, wiring.readers, strict=True):
        if reader < len(graph.slots):
            producer = int(wiring.producers[edge])
            elements = float(graph.edges[wiring.edges[edge]].elements) or 1.0
            found[reader].append((producer if producer < len(graph.slots) else -1, elements))
    width = max(map(len, found))
    producers = np.full((len(found), width), -1, np.intp)
    weights = np.zeros((len(found), width))
    for row, sources in enumerate(found):
        total = sum(elements for _, elements in sources)
        for column, (producer, elements) in enumerate(sources):
            producers[row, column], weights[row, column] = producer, elements / total
    return producers, weights


def _price(task: Task, most: int) -> Floats:
    """Prices with the choices padded; at the end, the first choice is free."""
    slots, columns, figures = task.bounds.price.shape
    price = np.full((slots + 1, most, figures), np.inf)
    price[:slots, :columns] = task.bounds.price
    price[slots, 0] = 0.0
    return price


def _formats(task: Task, most: int) -> npt.NDArray[np.intp]:
    own = task.problem.cost.wiring.formats
    formats = np.zeros((len(task.problem.graph.slots) + 1, most), np.intp)
    formats[: len(formats) - 1, : own.shape[1]] = own[: len(formats) - 1]
    return formats


def _told(task: Task, most: int) -> Floats:
    told = np.zeros((len(task.problem.graph.slots) + 1, most, 3))
    told[..., 0] = _formats(task, most)
    for s, slot in enumerate(task.problem.graph.slots):
        for k, choice in enumerate(slot.choices):
            precision = choice.precision
            told[s, k, 1:] = precision.weight_bits / 32.0, precision.activation_bits / 32.0
    return told


def _ended(features: Features32) -> Features32:
    """Features with a row of zeros for the end."""
    return np.concatenate([features, np.zeros((1, *features.shape[1:]), np.float32)])


def _joined(
    tasks: Sequence[Task], make: Callable[[Task], npt.NDArray[Scalar]]
) -> npt.NDArray[Scalar]:
    """One table of each task, one after another."""
    return np.concatenate([make(task) for task in tasks])


def _widened(array: npt.NDArray[Scalar], width: int, fill: int) -> npt.NDArray[Scalar]:
    """More columns."""
    return np.pad(array, ((0, 0), (0, width - array.shape[1])), constant_values=fill)
