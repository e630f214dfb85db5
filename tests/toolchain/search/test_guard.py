"""The guard: luck on the search data never replaces the exact plan, a better plan does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, nan

import numpy as np
import pytest
from hwc.toolchain.codec import canonical
from hwc.toolchain.plan import Plan
from hwc.toolchain.search.goal import Goal, Trial
from hwc.toolchain.search.guard import Guard
from hwc.toolchain.search.problem import Floats, Limits, Objective, Problem
from hwc.toolchain.search.verdict import Verdict

SLOTS = 12
EXACT = (0,) * SLOTS


@dataclass(frozen=True)
class World:
    """Plans whose losses on any sample are a truth and luck, both known.

    Attributes:
        problem: Its plans.
        truth: The expected loss by plan; 1 for all others.
        luck: Standard deviation of a sample's loss that plans do not share.
        seed: Of the luck.
    """

    problem: Problem
    truth: dict[tuple[int, ...], float]
    luck: float = 0.5
    seed: int = 0

    def losses(self, plans: Sequence[Plan], samples: int, seed: int) -> Floats:
        """Skewed losses of shape (plans, samples); what plans share is most of them."""
        shared = np.random.default_rng([self.seed, seed]).exponential(1.0, samples)
        rows = []
        for plan in plans:
            indices = self.problem.indices(plan)
            own = np.random.default_rng([self.seed, seed, *indices]).exponential(1.0, samples)
            truth = self.truth.get(indices, 1.0)
            rows.append(truth * shared + self.luck * (own - 1.0))
        return np.array(rows)

    def trials(self, plans: Sequence[tuple[int, ...]], samples: int = 64) -> list[Trial]:
        """What a search on a few samples of its own sees."""
        losses = self.losses([self.problem.plan_of(p) for p in plans], samples, 1).mean(axis=1)
        prices = self.problem.cost.price(np.array(plans))
        return [
            Trial(i, plan, float(loss), float(us), 1, f"s{i % 2}")
            for i, (plan, loss, us) in enumerate(zip(plans, losses, prices, strict=True))
        ]

    def judge(self, trials: Sequence[Trial], samples: int = 256, resamples: int = 300) -> Verdict:
        """The verdict on fresh samples."""
        guard = Guard(
            self.problem,
            Goal(),
            lambda plans: self.losses(plans, samples, 2),
            resamples=resamples,
        )
        return guard.judge(trials, EXACT, np.random.default_rng(self.seed))


@pytest.fixture(scope="module")
def problem(random_problem: Callable[..., Problem]) -> Problem:
    return random_problem(1, SLOTS)


def others(problem: Problem, count: int) -> list[tuple[int, ...]]:
    """Plans that are not the exact one."""
    rng = np.random.default_rng(5)
    legal = problem.legal.sum(axis=1)
    found = {tuple(int(k) for k in rng.integers(0, legal)) for _ in range(3 * count)} - {EXACT}
    return sorted(found)[:count]


def test_luck_on_the_search_data_replaces_nothing(problem: Problem) -> None:
    plans = [EXACT, *others(problem, 60)]
    runs, replaced, lucky, naive = 120, 0, 0, 0
    for seed in range(runs):
        world = World(problem, {}, seed=seed)
        trials = world.trials(plans)
        lucky += min(trials[1:], key=lambda t: t.loss).loss < trials[0].loss
        verdict = world.judge(trials, samples=128)
        replaced += verdict.replaced
        best = verdict.finalists[0]
        naive += best != verdict.exact and best.loss < 0.95 * verdict.exact.loss
    assert lucky > 0.95 * runs, "the search data must tempt"
    assert naive > 0.3 * runs, "so must the best of the fresh means"
    assert replaced <= 0.06 * runs  # 2.5 % is what the interval promises


@pytest.mark.parametrize("seed", range(5))
def test_a_better_plan_wins_with_its_interval(problem: Problem, seed: int) -> None:
    plans = others(problem, 40)
    world = World(problem, {plans[7]: 0.7}, seed=seed)
    verdict = world.judge(world.trials([EXACT, *plans]), samples=1024, resamples=2000)
    assert verdict.winner.indices == plans[7]
    assert verdict.winner.strategies == ("s0",)
    assert verdict.winner.difference.low < -0.3 < verdict.winner.difference.high < 0.0
    assert verdict.text().startswith("s0 beats exact by ")
    assert "on 1024 fresh samples" in verdict.text()


def test_a_worse_plan_never_wins(problem: Problem) -> None:
    plans = others(problem, 20)
    world = World(problem, dict.fromkeys(plans, 1.2))
    verdict = world.judge(world.trials(plans), samples=1024)
    assert not verdict.replaced
    assert verdict.finalists[0] == verdict.exact
    assert "nothing surely beats exact" in verdict.text()


def test_only_the_best_of_the_search_enter_each_once(problem: Problem) -> None:
    plans = others(problem, 40)
    world = World(problem, {})
    trials = world.trials([EXACT, *plans])
    verdict = world.judge([*trials, *trials[:3]])
    entered = {finalist.indices for finalist in verdict.finalists}
    best = sorted(trials[1:], key=lambda t: t.loss)[:16]
    assert entered == {EXACT, *(trial.indices for trial in best)}
    assert len(verdict.finalists) == 17


def test_names_all_who_found_a_plan(problem: Problem) -> None:
    world, plan = World(problem, {}), others(problem, 1)[0]
    (trial,) = world.trials([plan])
    again = Trial(0, plan, trial.loss, trial.us, 1, "rl")
    verdict = world.judge([trial, again, again])
    assert {f.indices: f.strategies for f in verdict.finalists} == {
        EXACT: (),
        plan: ("s0", "rl"),
    }


def test_nothing_but_exact(problem: Problem) -> None:
    verdict = World(problem, {}).judge([])
    assert not verdict.replaced
    assert verdict.finalists == (verdict.exact,)
    assert verdict.text() == "no other plan was compared with exact on 256 fresh samples"


def test_the_same_plan_in_other_words_is_no_better(problem: Problem) -> None:
    plan = others(problem, 1)[0]
    same = np.random.default_rng(1).exponential(1.0, 64)
    guard = Guard(problem, Goal(), lambda plans: np.tile(same, (len(plans), 1)))
    verdict = guard.judge([Trial(0, plan, 0.1, 1.0, 1, "rl")], EXACT, np.random.default_rng(1))
    assert not verdict.replaced
    (other,) = [f for f in verdict.finalists if f != verdict.exact]
    assert (other.difference.low, other.difference.high) == (0.0, 0.0)


@pytest.mark.parametrize("broken", [inf, nan])
def test_a_plan_that_cannot_be_built_never_wins(problem: Problem, broken: float) -> None:
    plan, rng = others(problem, 1)[0], np.random.default_rng(1)

    def fresh(plans: Sequence[Plan]) -> Floats:
        losses = rng.exponential(1.0, (len(plans), 64))
        losses[1, 3] = broken
        return losses

    guard = Guard(problem, Goal(), fresh)
    verdict = guard.judge([Trial(0, plan, 0.1, 1.0, 1, "rl")], EXACT, rng)
    assert not verdict.replaced
    assert verdict.finalists[-1].loss == inf


def test_an_exact_plan_that_cannot_be_built_is_replaced(problem: Problem) -> None:
    plan, rng = others(problem, 1)[0], np.random.default_rng(1)

    def fresh(plans: Sequence[Plan]) -> Floats:
        losses = rng.exponential(1.0, (len(plans), 64))
        losses[0] = inf
        return losses

    verdict = Guard(problem, Goal(), fresh).judge([Trial(0, plan, 0.1, 1.0, 1, "rl")], EXACT, rng)
    assert verdict.winner.indices == plan
    assert verdict.text() == "rl replaces exact, which could not be built"


@pytest.mark.parametrize(
    ("loss", "replaced"),
    [(0.5, True), (0.995, False), (1.5, False)],
    ids=["holds", "near", "breaks"],
)
def test_a_faster_plan_must_hold_the_limit_surely(
    problem: Problem, *, loss: float, replaced: bool
) -> None:
    prices = {plan: problem.cost.price(np.array([plan]))[0] for plan in others(problem, 60)}
    plan = min(prices, key=lambda p: prices[p])
    assert prices[plan] < problem.cost.price(np.array([EXACT]))[0]
    rng = np.random.default_rng(3)

    def fresh(plans: Sequence[Plan]) -> Floats:
        means = np.array([0.2, loss])[: len(plans), None]
        return means * rng.exponential(1.0, (len(plans), 512))

    goal = Goal(Limits(drop=1.0), Objective.LATENCY)
    trial = Trial(0, plan, 0.1, float(prices[plan]), 1, "rl")
    verdict = Guard(problem, goal, fresh).judge([trial], EXACT, rng)
    assert verdict.replaced is replaced
    if replaced:
        change = prices[plan] - verdict.exact.us
        assert verdict.winner.difference.value == pytest.approx(change)
        assert verdict.winner.difference.high == pytest.approx(change)


def test_an_exact_plan_that_breaks_the_limit_gives_way_to_a_slower_one(problem: Problem) -> None:
    prices = {plan: problem.cost.price(np.array([plan]))[0] for plan in others(problem, 60)}
    fastest, slowest = min(prices, key=lambda p: prices[p]), max(prices, key=lambda p: prices[p])
    rng = np.random.default_rng(3)
    goal = Goal(Limits(drop=1.0), Objective.LATENCY)
    guard = Guard(
        problem, goal, lambda _: np.array([[2.0], [0.5]]) * rng.exponential(1.0, (2, 512))
    )
    trial = Trial(0, slowest, 0.1, float(prices[slowest]), 1, "rl")
    assert guard.judge([trial], fastest, rng).winner.indices == slowest


@pytest.mark.parametrize("shape", [(2,), (1, 9), (3, 9), (2, 0)])
def test_losses_of_another_shape_are_refused(problem: Problem, shape: tuple[int, ...]) -> None:
    guard = Guard(problem, Goal(), lambda _: np.zeros(shape))
    trial = Trial(0, others(problem, 1)[0], 0.1, 1.0, 1, "rl")
    with pytest.raises(ValueError, match="for 2 plans"):
        guard.judge([trial], EXACT, np.random.default_rng(1))


def test_the_same_seed_gives_the_same_verdict(problem: Problem) -> None:
    world = World(problem, {})
    trials = world.trials(others(problem, 20))
    assert canonical(world.judge(trials)) == canonical(world.judge(trials))


@pytest.mark.parametrize(
    ("factor", "replaced"),
    [(0.5, True), (1.0, True), (1.2, False)],
    ids=["loses less", "loses as much", "loses more"],
)
def test_with_a_margin_a_faster_plan_may_lose_as_much(
    problem: Problem, factor: float, *, replaced: bool
) -> None:
    prices = {plan: float(problem.cost.price(np.array([plan]))[0]) for plan in others(problem, 60)}
    slow = max(prices, key=lambda plan: prices[plan])
    fast = min(prices, key=lambda plan: prices[plan])
    world = World(problem, {fast: factor, slow: 1.0}, luck=0.01)
    guard = Guard(
        problem,
        Goal(Limits(drop=1.0), Objective.LATENCY),
        lambda plans: world.losses(plans, 256, 2),
        margin=0.05,
        resamples=300,
    )
    verdict = guard.judge(world.trials([slow, fast]), slow, np.random.default_rng(0))
    assert verdict.replaced == replaced
    assert not guard.judge(world.trials([slow, fast]), fast, np.random.default_rng(0)).replaced
