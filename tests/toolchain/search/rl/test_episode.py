"""Episodes keep their budgets, never stick, and see what they should."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import log

import numpy as np
import pytest
from hwc.toolchain.errors import ConstraintError
from hwc.toolchain.search.problem import Indices, Objective, Problem, allowed
from hwc.toolchain.search.rl.bounds import Bounds
from hwc.toolchain.search.rl.episode import CONTEXT, OPTION, WIDTH, Episodes, split
from hwc.toolchain.search.rl.features import K_MAX, LIMIT
from hwc.toolchain.search.rl.task import RandomBudgets, Start, Task
from hypothesis import given, settings
from hypothesis import strategies as st

MakeProblem = Callable[..., Problem]
EveryPlan = Callable[[Problem], Indices]
LATENCY, SIZE, DROP = Objective.LATENCY, Objective.SIZE, Objective.DROP
ENERGY = Objective.ENERGY


def draw(masks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random allowed choice of each lane."""
    choices: np.ndarray = (rng.random(masks.shape) * masks).argmax(axis=1)
    return choices


def play(episodes: Episodes, rng: np.random.Generator) -> np.ndarray:
    """Random allowed choices until every lane is done; the rewards, summed."""
    total = np.zeros(len(episodes))
    while not episodes.done.all():
        total += episodes.step(draw(episodes.masks(), rng))[0]
    return total


def figures(task: Task, plans: Sequence[Indices] | Indices) -> np.ndarray:
    """The limited figures of plans; shape (B, R)."""
    found = task.problem.figures(np.array(plans))
    return np.stack([found[figure] for figure in task.bounds.limited], axis=1)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), slots=st.integers(1, 6), share=st.floats(0.0, 1.0))
def test_a_choice_is_allowed_where_some_completion_fits_and_nowhere_else(
    random_problem: MakeProblem, every_plan: EveryPlan, *, seed: int, slots: int, share: float
) -> None:
    problem = random_problem(seed, slots)
    plans = every_plan(problem)
    prices = problem.cost.price(plans)
    limit = float(np.quantile(prices, share, method="lower"))
    episodes = Episodes([Task.of(problem)], [Start(0, (limit,), 1.0)])
    fitting = plans[prices <= limit]
    rng = np.random.default_rng(seed)
    for slot in range(slots):
        fits = np.isin(np.arange(K_MAX), fitting[:, slot])
        near = plans[prices <= allowed(limit) * (1 + 1e-12)]
        near = near[(near[:, :slot] == fitting[0, :slot]).all(axis=1)]
        mask = episodes.masks()[0]
        assert (mask >= fits).all()
        assert (mask <= np.isin(np.arange(K_MAX), near[:, slot])).all()
        chosen = int(rng.choice(np.flatnonzero(fits)))
        episodes.step(np.array([chosen]))
        fitting = fitting[fitting[:, slot] == chosen]


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    shares=st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)),
    limited=st.sampled_from([(LATENCY, SIZE), (LATENCY, ENERGY), (SIZE, ENERGY)]),
)
def test_two_limits_are_kept_together(
    random_problem: MakeProblem,
    *,
    seed: int,
    shares: tuple[float, float],
    limited: tuple[Objective, Objective],
) -> None:
    task = Task.of(random_problem(seed, 7), limited=limited)
    totals = task.bounds.totals()[:, :2]
    least = totals[seed % task.bounds.frugal]
    limits = least + np.array(shares) * (totals.max(axis=0) - least)
    episodes = Episodes([task], [Start(0, tuple(limits), 1.0)] * 50)
    play(episodes, np.random.default_rng(seed))
    got = figures(task, [episodes.plan(lane) for lane in range(50)])
    assert (got <= [allowed(limit) for limit in limits]).all()


def test_the_least_latency_within_a_drop(random_problem: MakeProblem) -> None:
    problem = random_problem(5, 8)
    task = Task.of(problem, limited=(DROP,), objective=LATENCY)
    worst = float(task.bounds.totals()[:, 0].max())
    limits = np.linspace(0.0, worst, 40)
    episodes = Episodes([task], [Start(0, (limit,), 1.0) for limit in limits])
    while not episodes.done.all():
        episodes.step(episodes.guided())
    plans = np.array([episodes.plan(lane) for lane in range(40)])
    assert (figures(task, plans)[:, 0] <= limits * (1 + 1e-5)).all()
    us = problem.cost.price(plans)
    assert us[0] > us[-1]
    assert us[-1] == pytest.approx(Bounds.of(problem).totals()[0, 0])


@pytest.mark.parametrize("most", [1, 4])
def test_settled_tensors_keep_budgets_too(random_problem: MakeProblem, most: int) -> None:
    for seed in range(6):
        problem = random_problem(seed, 9)
        bounds = Bounds.of(problem, most=most)
        task = replace(Task.of(problem), bounds=bounds)
        limit = float(bounds.totals()[0, 0]) * 1.02
        episodes = Episodes([task], [Start(0, (limit,), 1.0)] * 200)
        play(episodes, np.random.default_rng(seed))
        plans = [episodes.plan(lane) for lane in range(200)]
        assert (figures(task, plans) <= allowed(limit)).all()


@pytest.mark.parametrize(("figure", "count"), [(LATENCY, 100_000), (ENERGY, 20_000)], ids=str)
def test_a_hundred_thousand_random_episodes_keep_their_budgets(
    random_problem: MakeProblem, figure: Objective, count: int
) -> None:
    rng = np.random.default_rng(0)
    problems = [random_problem(seed, 3 + seed % 7) for seed in range(20)]
    tasks = [Task.of(problem, limited=(figure,)) for problem in problems]
    sampler = RandomBudgets(tasks, tightest=0.0, loosest=0.6)
    lanes = 1000
    starts = [sampler.draw(rng) for _ in range(lanes)]
    episodes, turned = Episodes(tasks, starts), np.zeros(lanes)
    played = 0
    while played < count:
        for lane, start in enumerate(starts):
            turned[lane] = start.limits[0]
        play(episodes, rng)
        for which, task in enumerate(tasks):
            here = [lane for lane, start in enumerate(starts) if start.task == which]
            prices = figures(task, [episodes.plan(lane) for lane in here])[:, 0]
            assert (prices <= turned[here] * (1 + 1e-5)).all()
        played += lanes
        order = rng.permutation(lanes)
        starts = [starts[i] for i in order]
        episodes.reset(np.arange(lanes), starts)


def test_a_forbidden_choice_becomes_the_cheapest_completions(random_problem: MakeProblem) -> None:
    problem = random_problem(3, 6)
    task = Task.of(problem)
    limit = float(task.bounds.totals()[0, 0])
    episodes = Episodes([task], [Start(0, (limit,), 1.0)] * K_MAX)
    while not episodes.done.all():
        masks = episodes.masks()
        _, taken = episodes.step(np.arange(K_MAX))
        assert masks[np.arange(K_MAX), taken].all()
        kept = masks[np.arange(K_MAX), np.arange(K_MAX)]
        assert (taken[kept] == np.arange(K_MAX)[kept]).all()
    for lane in range(K_MAX):
        assert problem.cost.price(episodes.plan(lane)[None])[0] <= allowed(limit)


def test_rewards_compare_with_the_reference_once_at_the_end(random_problem: MakeProblem) -> None:
    problem = random_problem(4, 5)
    task = Task.of(problem)
    episodes = Episodes([task], [Start(0, (1e9,), 0.25)])
    plan = np.array([len(slot.choices) - 1 for slot in problem.graph.slots])
    rewards = [float(episodes.step(plan[slot : slot + 1])[0][0]) for slot in range(5)]
    loss = problem.drops[np.arange(5), plan].sum()
    assert rewards[:-1] == [0.0] * 4
    assert rewards[-1] == pytest.approx(log((0.25 + task.epsilon) / (loss + task.epsilon)))
    assert episodes.step(np.zeros(1, np.intp))[0][0] == 0.0
    assert (episodes.plan(0) == plan).all()


def test_true_losses_are_asked_for_all_lanes_that_end_together(random_problem: MakeProblem) -> None:
    asked: list[int] = []

    def losses(plans: Indices) -> np.ndarray:
        asked.append(len(plans))
        return np.asarray(plans.sum(axis=1), float)

    task = replace(Task.of(random_problem(4, 5), losses), epsilon=0.5)
    episodes = Episodes([task], [Start(0, (1e9,), 2.0)] * 7)
    total = play(episodes, np.random.default_rng(0))
    assert asked == [7]
    for lane in range(7):
        loss = float(episodes.plan(lane).sum())
        assert total[lane] == pytest.approx(log(2.5 / (loss + 0.5)))


def test_following_the_guide_gives_the_best_plan_at_a_corner_of_the_front(
    random_problem: MakeProblem,
) -> None:
    for seed in range(5):
        problem = random_problem(seed, 9)
        task = Task.of(problem)
        totals = task.bounds.totals()
        starts = [Start(0, (float(us),), 1.0) for us in totals[:, 0]]
        episodes = Episodes([task], starts)
        while not episodes.done.all():
            episodes.step(episodes.guided())
        plans = np.array([episodes.plan(lane) for lane in range(len(starts))])
        got = task.losses(plans)
        assert (got <= totals[:, 1] + 1e-12).all()
        np.testing.assert_allclose(got[1:], totals[1:, 1], rtol=1e-4, atol=1e-12)


def test_lanes_do_not_mix(random_problem: MakeProblem) -> None:
    tasks = [Task.of(random_problem(seed, slots)) for seed, slots in ((1, 4), (2, 9), (3, 6))]
    sampler, rng = RandomBudgets(tasks), np.random.default_rng(7)
    starts = [sampler.draw(rng) for _ in range(6)]
    together = Episodes(tasks, starts)
    alone = [Episodes(tasks, [start]) for start in starts]
    while not together.done.all():
        actions = draw(together.masks(), rng)
        for lane, single in enumerate(alone):
            np.testing.assert_array_equal(single.masks()[0], together.masks()[lane])
            np.testing.assert_array_equal(single.observe()[0], together.observe()[lane])
        rewards, taken = together.step(actions)
        for lane, single in enumerate(alone):
            reward, own = single.step(actions[lane : lane + 1])
            assert (reward[0], own[0]) == (rewards[lane], taken[lane])


def test_a_lane_starts_anew_as_if_it_were_the_first_time(random_problem: MakeProblem) -> None:
    tasks = [Task.of(random_problem(seed, slots)) for seed, slots in ((1, 4), (2, 9))]
    starts = [Start(0, (1e9,), 1.0), Start(1, (1e9,), 1.0)]
    fresh, used = Episodes(tasks, starts[::-1]), Episodes(tasks, starts)
    play(used, np.random.default_rng(1))
    assert (used.observe() == 0.0).all()
    used.reset(np.array([1, 0]), starts)
    for _ in range(5):
        np.testing.assert_array_equal(used.observe(), fresh.observe())
        actions = draw(used.masks(), np.random.default_rng(2))
        used.step(actions)
        fresh.step(actions)


def test_observations_are_finite_bounded_and_split(random_problem: MakeProblem) -> None:
    problems = [random_problem(1, 12), replace(random_problem(2, 3), sensitivity=None)]
    problems.append(random_problem(3, 1))
    tasks = [Task.of(problem) for problem in problems]
    sampler, rng = RandomBudgets(tasks, tightest=0.0), np.random.default_rng(0)
    episodes = Episodes(tasks, [sampler.draw(rng) for _ in range(30)])
    while not episodes.done.all():
        seen = episodes.observe()
        assert seen.shape == (30, WIDTH)
        assert seen.dtype == np.float32
        assert np.isfinite(seen).all()
        assert np.abs(seen).max() <= LIMIT
        context, options = split(seen)
        assert context.shape == (30, len(CONTEXT))
        assert options.shape == (30, K_MAX, len(OPTION))
        going = ~episodes.done
        fits = options[..., OPTION.index("fits")].astype(bool)
        assert (fits[going] == episodes.masks()[going]).all()
        assert (options[options[..., OPTION.index("exists")] == 0.0] == 0.0).all()
        assert (options[going, :, OPTION.index("cheapest")].sum(axis=1) == 1.0).all()
        episodes.step(draw(episodes.masks(), rng))


def test_what_is_seen_does_not_depend_on_units(random_problem: MakeProblem) -> None:
    problem = random_problem(6, 10)
    cost = problem.cost
    slow = replace(
        cost,
        node_us=cost.node_us * 1000,
        boundary_us=cost.boundary_us * 1000,
        fixed_us=cost.fixed_us * 1000,
    )
    other = replace(problem, cost=slow, sensitivity=problem.drops * 50)
    limit = float(Bounds.of(problem).totals()[0, 0]) * 1.1
    here = Episodes([Task.of(problem)], [Start(0, (limit,), 1.0)])
    there = Episodes([Task.of(other)], [Start(0, (limit * 1000,), 1.0)])
    rng = np.random.default_rng(0)
    while not here.done.all():
        np.testing.assert_allclose(there.observe(), here.observe(), atol=1e-4)
        actions = draw(here.masks(), rng)
        here.step(actions)
        there.step(actions)


def test_the_state_says_what_was_decided(random_problem: MakeProblem) -> None:
    problem = random_problem(6, 10)
    episodes = Episodes([Task.of(problem)], [Start(0, (1e9,), 1.0)])
    wiring, rng = problem.cost.wiring, np.random.default_rng(0)
    for slot in range(10):
        context = dict(zip(CONTEXT, split(episodes.observe())[0][0].tolist(), strict=True))
        plan = episodes.plan(0)
        sources = wiring.producers[wiring.owners[wiring.readers == slot]]
        formats = [int(wiring.formats[s, plan[s]]) if s < 10 else 0 for s in sources]
        for f, name in enumerate(("fp32", "fp16", "bf16", "int8")):
            assert context[f"reads_{name}"] == pytest.approx(formats.count(f) / len(formats))
        if slot:
            choice = problem.graph.slots[slot - 1].choices[plan[slot - 1]]
            bits = choice.precision.weight_bits / 32
            assert context["last_weight_bits"] == pytest.approx(bits)
        else:
            assert context["last_weight_bits"] == 1.0
        assert context["left"] == pytest.approx(context["to_go"] + context["slack"], abs=1e-5)
        episodes.step(draw(episodes.masks(), rng))


def test_a_budget_that_no_plan_keeps_names_the_nearest(random_problem: MakeProblem) -> None:
    task = Task.of(random_problem(1, 5))
    least = float(task.bounds.totals()[0, 0])
    with pytest.raises(ConstraintError, match=f"nearest has a latency of {least:.6g}"):
        Episodes([task], [Start(0, (least * 0.9,), 1.0)])


def test_tasks_with_other_limits_do_not_go_together(random_problem: MakeProblem) -> None:
    problem = random_problem(1, 5)
    tasks = [Task.of(problem), Task.of(problem, limited=(SIZE,))]
    with pytest.raises(ValueError, match="same figures"):
        Episodes(tasks, [Start(0, (1e9,), 1.0)])
