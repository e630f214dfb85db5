"""Problems: figures, limits, and the way between indices and plans."""

from collections.abc import Callable
from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hwc.toolchain.plan import Plan
from hwc.toolchain.search.problem import Limits, Objective, Problem, Weights, fp32_everywhere

MakeProblem = Callable[..., Problem]


def test_plans_and_indices_are_inverse(random_problem: MakeProblem) -> None:
    problem = random_problem(1, 6)
    proposal = problem.proposal([len(s.choices) - 1 for s in problem.graph.slots], "test")
    assert problem.indices(problem.plan(proposal)) == proposal.indices
    assert problem.indices(Plan.of({})) == fp32_everywhere(problem).indices


def test_fp32_everywhere_drops_nothing(random_problem: MakeProblem) -> None:
    problem = random_problem(1, 6)
    plain = fp32_everywhere(problem)
    assert plain.predicted_drop == 0.0
    assert set(problem.plan(plain).counts()) == {"fp32"}


def test_an_unmeasured_drop_is_none(random_problem: MakeProblem) -> None:
    problem = replace(random_problem(1, 6), sensitivity=None, limits=Limits(drop=0.0))
    proposal = fp32_everywhere(problem)
    assert proposal.predicted_drop is None
    assert proposal.figure(Objective.DROP) == 0.0
    assert problem.meets(proposal)


def test_an_energy_that_is_not_known_is_none_and_adds_nothing(random_problem: MakeProblem) -> None:
    problem = replace(random_problem(1, 6), energy=None, limits=Limits(energy_uj=0.0))
    proposal = fp32_everywhere(problem)
    assert proposal.predicted_uj is None
    assert proposal.figure(Objective.ENERGY) == 0.0
    assert problem.meets(proposal)


def test_deltas_are_differences_of_figures(random_problem: MakeProblem) -> None:
    problem, rng = random_problem(2, 7), np.random.default_rng(0)
    plan = np.array([rng.integers(len(slot.choices)) for slot in problem.graph.slots])
    before, deltas = problem.figures(plan[None]), problem.deltas(plan)
    for s, k in np.argwhere(problem.legal):
        changed = plan.copy()
        changed[s] = k
        for figure, after in problem.figures(changed[None]).items():
            assert deltas[figure][s, k] == pytest.approx(after[0] - before[figure][0], abs=1e-9)


@pytest.mark.parametrize(
    "weights",
    [((Objective.DROP, 0.0, 1.0),), ((Objective.DROP, 1.0, 1.0), (Objective.LATENCY, -1.0, 1.0))],
    ids=["nothing", "negative"],
)
def test_weights_that_ask_for_nothing_are_refused(
    random_problem: MakeProblem, weights: Weights
) -> None:
    with pytest.raises(ValueError, match="weights are at least 0"):
        replace(random_problem(1), weights=weights)


def test_the_tighter_of_two_limits() -> None:
    one, other = Limits(drop=0.1, size=10), Limits(drop=0.2, energy_uj=5.0)
    assert one.both(other) == other.both(one) == Limits(drop=0.1, size=10, energy_uj=5.0)


@pytest.mark.parametrize("objective", list(Objective))
@pytest.mark.parametrize(("factor", "expected"), [(1.0, True), (0.99, False), (inf, True)])
def test_limits(
    random_problem: MakeProblem, objective: Objective, factor: float, *, expected: bool
) -> None:
    problem = random_problem(6, 6)
    proposal = problem.proposal([len(s.choices) - 1 for s in problem.graph.slots], "test")
    limits = problem.limits.at(objective, proposal.figure(objective) * factor)
    limited = replace(problem, limits=limits)
    assert proposal.figure(objective) > 0
    assert limited.meets(proposal) is expected


def test_illegal_choices_meet_nothing(random_problem: MakeProblem) -> None:
    problem = random_problem(1, 6)
    s = next(i for i, slot in enumerate(problem.graph.slots) if not problem.legal[i].all())
    indices = np.zeros(6, int)
    indices[s] = len(problem.graph.slots[s].choices)
    assert not problem.meets(problem.proposal(indices, "test"))


def test_tables_must_fit(random_problem: MakeProblem) -> None:
    problem = random_problem(1, 6)
    with pytest.raises(ValueError, match="one figure for each choice"):
        replace(problem, sizes=problem.sizes[1:])
