"""What is searched: the choices, what they take, and what is asked of a plan."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ...toolchain.errors import UsageError
from ...toolchain.latency.cost import CostModel
from ...toolchain.latency.energy_table import energy_table
from ...toolchain.plan import NodeChoice
from ...toolchain.search.problem import Limits, Objective, Problem, Weights
from ...toolchain.slots import Slot, SlotGraph
from ...toolchain.storage.formats import Format
from ..request import Request
from .decide import Decisions


def problem_of(request: Request, decisions: Decisions) -> Problem:
    """What is searched, before anything is known of losses.

    Raises:
        UsageError: Energy is to be limited or minimised, but nothing is known of it.
    """
    limits = Limits(
        latency_us=(request.max_latency_ms or np.inf) * 1e3,
        size=np.inf if request.max_size is None else request.max_size,
        energy_uj=(request.max_energy_mj or np.inf) * 1e3,
    )
    problem = Problem(
        decisions.cost, weight_bytes(decisions.slots), limits=limits, objective=request.objective
    )
    figures = {request.objective, *request.weights}
    if Objective.ENERGY in figures or request.max_energy_mj is not None:
        problem = replace(problem, energy=_energy(decisions, decisions.cost))
    return replace(problem, weights=_weights(request, problem))


def _energy(decisions: Decisions, cost: CostModel) -> npt.NDArray[np.float64]:
    """What each choice takes in energy; shape (slots, most choices).

    Raises:
        UsageError: Nothing is known of the device's power.
    """
    table = energy_table(cost, decisions.profile)
    if table is None:
        raise UsageError(
            f"nothing is known of the power of {decisions.profile.name}, so of no plan's energy",
            "give its profile a `power` section, or choose another objective",
        )
    return table


def _weights(request: Request, problem: Problem) -> Weights:
    """The terms of the weighted sum, each in units of what fp32 takes, or of the drop allowed."""
    plain = problem.figures(np.zeros((1, len(problem.graph.slots)), np.intp))
    units = {figure: float(values[0]) for figure, values in plain.items()}
    units[Objective.DROP] = request.max_drop
    return tuple((figure, w, units[figure] or 1.0) for figure, w in request.weights.items())


def priced(problem: Problem, cost: CostModel, decisions: Decisions) -> Problem:
    """A problem with other prices; its energy follows from them."""
    problem = replace(problem, cost=cost)
    if problem.energy is None:
        return problem
    return replace(problem, energy=_energy(decisions, cost))


def weight_bytes(slots: SlotGraph) -> npt.NDArray[np.int64]:
    """Bytes of each slot's weights in each choice; shape (slots, most choices)."""
    most = max((len(slot.choices) for slot in slots.slots), default=1)
    table = np.zeros((len(slots.slots), most), np.int64)
    for row, slot in enumerate(slots.slots):
        for column, choice in enumerate(slot.choices):
            table[row, column] = _bytes(slot, choice)
    return table


def _bytes(slot: Slot, choice: NodeChoice) -> int:
    if choice.storage:
        return Format.parse(choice.storage).bytes(slot.work.weights, slot.work.channels)
    return slot.work.weights * choice.weight_bits // 8
