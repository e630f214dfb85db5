"""Lanes for the learners of stable-baselines3."""

from collections.abc import Callable

import numpy as np
import pytest
from hwc.toolchain.search.problem import Problem, allowed
from hwc.toolchain.search.rl.episode import WIDTH
from hwc.toolchain.search.rl.features import K_MAX
from hwc.toolchain.search.rl.task import RandomBudgets, Task

sb3_contrib = pytest.importorskip("sb3_contrib", reason="the extra [rl] is not installed")

from hwc.toolchain.search.rl.vector import PlanVecEnv  # noqa: E402 - only where it is installed
from sb3_contrib.common.maskable.utils import (  # noqa: E402
    get_action_masks,
    is_masking_supported,
)

MakeProblem = Callable[..., Problem]
LANES = 6


@pytest.fixture
def tasks(random_problem: MakeProblem) -> list[Task]:
    return [Task.of(random_problem(seed, slots)) for seed, slots in ((1, 4), (2, 7))]


@pytest.fixture
def env(tasks: list[Task]) -> PlanVecEnv:
    return PlanVecEnv(tasks, RandomBudgets(tasks), count=LANES, seed=3)


def play(env: PlanVecEnv, steps: int) -> list[tuple[np.ndarray, ...]]:
    """What random allowed choices lead to."""
    rng = np.random.default_rng(0)
    seen: list[tuple[np.ndarray, ...]] = []
    for _ in range(steps):
        masks = get_action_masks(env)
        observations, rewards, done, _ = env.step((rng.random(masks.shape) * masks).argmax(axis=1))
        assert isinstance(observations, np.ndarray)
        seen.append((observations, rewards, done))
    return seen


def test_masks_are_found_by_the_learner(env: PlanVecEnv) -> None:
    assert is_masking_supported(env)
    masks = get_action_masks(env)
    assert masks.shape == (LANES, K_MAX)
    assert masks.any(axis=1).all()
    assert not env.has_attr("no_such_thing")


def test_lanes_that_are_done_start_anew(env: PlanVecEnv, tasks: list[Task]) -> None:
    assert env.reset().shape == (LANES, WIDTH)
    ended = 0
    for _ in range(30):
        masks = env.action_masks()
        observations, rewards, done, infos = env.step(masks.argmax(axis=1))
        assert not env.episodes.done.any()
        assert isinstance(observations, np.ndarray)
        for lane in np.flatnonzero(done):
            info, start = infos[lane], infos[lane]["start"]
            task = tasks[start.task]
            assert info["episode"] == {"r": pytest.approx(rewards[lane]), "l": len(info["plan"])}
            assert info["terminal_observation"].shape == (WIDTH,)
            assert task.problem.cost.price(info["plan"][None])[0] <= allowed(start.limits[0])
            ended += 1
        assert (rewards[~done] == 0.0).all()
    assert ended > LANES


def test_the_same_seed_plays_the_same(tasks: list[Task]) -> None:
    sampler = RandomBudgets(tasks)
    runs = []
    for _ in range(2):
        env = PlanVecEnv(tasks, sampler, count=LANES, seed=1)
        env.seed(9)
        first = env.reset()
        assert isinstance(first, np.ndarray)
        runs.append([(first,), *play(env, 20)])
    for one, other in zip(*runs, strict=True):
        for left, right in zip(one, other, strict=True):
            np.testing.assert_array_equal(left, right)


def test_a_masked_learner_learns_on_it(tasks: list[Task]) -> None:
    env = PlanVecEnv(tasks, RandomBudgets(tasks), count=LANES)
    learner = sb3_contrib.MaskablePPO(
        "MlpPolicy",
        env,
        n_steps=16,
        batch_size=32,
        n_epochs=1,
        policy_kwargs={"net_arch": [8]},
        seed=0,
        device="cpu",
    )
    learner.learn(2 * 16 * LANES)
    assert len(learner.ep_info_buffer) > 0
    assert all(np.isfinite(info["r"]) for info in learner.ep_info_buffer)


def test_lanes_have_no_attributes_of_their_own(env: PlanVecEnv) -> None:
    with pytest.raises(AttributeError, match="anything"):
        env.set_attr("anything", 1)
    assert env.env_is_wrapped(object) == [False] * LANES
    env.close()
