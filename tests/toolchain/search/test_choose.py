"""Choosing by true evaluations: few of them, and what is chosen was evaluated."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hwc.toolchain.errors import ConstraintError
from hwc.toolchain.plan import Plan
from hwc.toolchain.search.choose import EVALUATIONS, choose
from hwc.toolchain.search.exact import Exact
from hwc.toolchain.search.front import front
from hwc.toolchain.search.greedy import Greedy
from hwc.toolchain.search.nearest import unreachable
from hwc.toolchain.search.problem import Limits, Objective, Problem, Strategy, fp32_everywhere

MakeProblem = Callable[..., Problem]


@dataclass
class Judge:
    """The true drop is a multiple of the predicted one, with a bump now and then."""

    problem: Problem
    factor: float = 1.0
    bump: float = 0.0
    seen: list[Plan] = field(default_factory=list)

    def __call__(self, plan: Plan) -> float:
        """Score one plan."""
        assert plan not in self.seen, "a plan was evaluated twice"
        self.seen.append(plan)
        drop = self.problem.proposal(self.problem.indices(plan), "true").predicted_drop or 0.0
        return drop * self.factor + (self.bump if int(plan.digest, 16) % 3 == 0 else 0.0)


@pytest.mark.parametrize("strategy", [Exact(), Greedy()], ids=["exact", "greedy"])
@pytest.mark.parametrize("factor", [0.1, 3.0, 30.0])
@pytest.mark.parametrize("bump", [0.0, 0.004], ids=["monotone", "bumpy"])
def test_the_choice_was_evaluated_and_holds(
    random_problem: MakeProblem, strategy: Strategy, factor: float, bump: float
) -> None:
    problem = random_problem(11, 30)
    judge = Judge(problem, factor, bump)
    choice = choose(problem, strategy, score=judge, max_drop=0.02)
    first, last = choice.candidates[0], choice.candidates[-1]
    assert choice.evaluations == len(judge.seen) <= EVALUATIONS
    assert first.drop is not None
    assert first.drop <= 0.02
    assert last.proposal.indices == fp32_everywhere(problem).indices
    assert last.drop == 0.0
    times = [c.proposal.predicted_us for c in choice.candidates[:-1]]
    assert times == sorted(times)
    assert all(c.drop is None or c.drop <= 0.02 for c in choice.candidates)


def test_is_as_fast_as_the_best_plan_for_the_true_drop(random_problem: MakeProblem) -> None:
    problem = random_problem(11, 30)
    choice = choose(problem, Exact(), score=Judge(problem, factor=5.0), max_drop=0.02)
    (ideal,) = Exact().propose(problem.within(drop=0.02 / 5.0))
    plain = fp32_everywhere(problem).predicted_us
    gained = plain - choice.candidates[0].proposal.predicted_us
    assert gained >= 0.9 * (plain - ideal.predicted_us)


def test_one_evaluation_where_the_fastest_holds(random_problem: MakeProblem) -> None:
    problem = random_problem(11, 30)
    choice = choose(problem, Exact(), score=Judge(problem), max_drop=10.0)
    assert choice.evaluations == 1
    assert choice.candidates[0].proposal == front(problem, Exact())[0]
    assert len(choice.candidates) > 2


def test_works_without_sensitivities(random_problem: MakeProblem) -> None:
    problem = replace(random_problem(11, 30), sensitivity=None)
    (fastest,) = Exact().propose(problem)
    good = choose(problem, Exact(), score=lambda _: 0.01, max_drop=0.02)
    assert [c.proposal.indices for c in good.candidates] == [
        fastest.indices,
        fp32_everywhere(problem).indices,
    ]
    bad = choose(problem, Exact(), score=lambda _: 0.03, max_drop=0.02)
    assert [c.proposal for c in bad.candidates] == [fp32_everywhere(problem)]
    assert good.evaluations == bad.evaluations == 1


@pytest.mark.parametrize("wrong", [1.0, float("nan")], ids=["all wrong", "nan"])
def test_falls_back_to_fp32(random_problem: MakeProblem, wrong: float) -> None:
    problem = random_problem(11, 30)
    plain = fp32_everywhere(problem)
    choice = choose(problem, Exact(), score=lambda _: wrong, max_drop=0.02)
    assert [c.proposal for c in choice.candidates] == [plain]
    assert choice.evaluations <= 10


def test_the_smallest_plan_that_holds(random_problem: MakeProblem) -> None:
    problem = replace(random_problem(11, 30), objective=Objective.SIZE)
    choice = choose(problem, Exact(), score=Judge(problem), max_drop=0.02)
    sizes = [c.proposal.size for c in choice.candidates[:-1]]
    assert sizes == sorted(sizes)
    assert sizes[0] < fp32_everywhere(problem).size


def test_a_weighted_sum_is_traded_for_the_drop(random_problem: MakeProblem) -> None:
    weights = ((Objective.LATENCY, 1.0, 10.0), (Objective.ENERGY, 0.5, 100.0))
    problem = replace(random_problem(11, 30), weights=weights)
    choice = choose(problem, Exact(), score=Judge(problem, factor=5.0), max_drop=0.02)
    (ideal,) = Exact().propose(problem.within(drop=0.02 / 5.0))
    plain, found = fp32_everywhere(problem), choice.candidates[0].proposal
    gained, most = (problem.value(plain) - problem.value(each) for each in (found, ideal))
    assert 0.9 * most <= gained <= most * 1.0001
    values = [problem.value(c.proposal) for c in choice.candidates[:-1]]
    assert values == sorted(values)


def test_the_safest_plan_within_a_latency(random_problem: MakeProblem) -> None:
    free = random_problem(11, 30)
    points = front(free, Exact())
    limit = (points[0].predicted_us + points[-1].predicted_us) / 2
    problem = replace(free, limits=Limits(latency_us=limit), objective=Objective.DROP)
    choice = choose(problem, Exact(), score=Judge(problem), max_drop=1.0)
    assert choice.candidates[0].proposal.predicted_us <= limit * 1.0001
    assert choice.candidates[-1].proposal == fp32_everywhere(problem)


def _fastest(problem: Problem) -> float:
    return next(Exact().propose(problem)).predicted_us


def test_an_impossible_latency_names_the_fastest(random_problem: MakeProblem) -> None:
    problem = random_problem(11, 30)
    fastest = f"{_fastest(problem) / 1e3:.4g} ms"
    impossible = problem.within(latency_us=1.0)
    with pytest.raises(ConstraintError, match=f"latency of 0.001 ms: .* {fastest}"):
        choose(impossible, Exact(), score=Judge(problem), max_drop=0.02)


def test_nothing_is_found_where_nothing_is_limited(random_problem: MakeProblem) -> None:
    error = unreachable(random_problem(11, 30), Exact(seconds=0.0))
    assert "though nothing is limited" in error.message
    assert not error.hint


def test_an_impossible_size_names_the_smallest(random_problem: MakeProblem) -> None:
    impossible = random_problem(11, 30).within(size=10)
    with pytest.raises(ConstraintError, match="size of 1e-05 MB: the nearest has"):
        choose(impossible, Exact(), score=Judge(impossible), max_drop=0.02)


def test_an_impossible_energy_names_the_thriftiest(random_problem: MakeProblem) -> None:
    problem = random_problem(11, 30)
    least = next(Exact().propose(replace(problem, objective=Objective.ENERGY))).predicted_uj
    assert least
    impossible = problem.within(energy_uj=least * 0.9)
    with pytest.raises(
        ConstraintError, match=f"a predicted energy of .* and {least / 1e3:.4g} mJ"
    ) as error:
        choose(impossible, Exact(), score=Judge(impossible), max_drop=0.02)
    assert error.value.hint.startswith("allow a larger --max-energy, or")


def test_limits_that_are_impossible_together_name_the_fastest_within_the_rest(
    random_problem: MakeProblem,
) -> None:
    problem = random_problem(11, 30)
    smallest = next(Exact().propose(replace(problem, objective=Objective.SIZE)))
    both = problem.within(latency_us=_fastest(problem) * 1.001, size=smallest.size)
    with pytest.raises(ConstraintError, match=r"at once: the least latency beside the rest"):
        choose(both, Exact(), score=Judge(problem), max_drop=0.02)


def test_no_plan_within_the_drop_names_the_nearest(random_problem: MakeProblem) -> None:
    problem = random_problem(11, 30)
    limited = problem.within(latency_us=_fastest(problem) * 1.02)  # fp32 is too slow
    with pytest.raises(ConstraintError, match=r"within 2\.000%: the nearest drops .*%, with"):
        choose(limited, Exact(), score=lambda _: 0.5, max_drop=0.02)
