"""The gymnasium environment, under the checkers of gymnasium and stable-baselines3."""

from collections.abc import Callable

import numpy as np
import pytest
from hwc.toolchain.search.problem import Problem, allowed
from hwc.toolchain.search.rl.task import RandomBudgets, Task

gymnasium = pytest.importorskip("gymnasium", reason="the extra [rl] is not installed")
stable_baselines3 = pytest.importorskip("stable_baselines3", reason="the extra [rl] is missing")

from gymnasium.utils import env_checker  # noqa: E402 - only where it is installed
from hwc.toolchain.search.rl.environment import PlanEnv  # noqa: E402
from stable_baselines3.common import env_checker as baselines_checker  # noqa: E402

MakeProblem = Callable[..., Problem]


@pytest.fixture
def tasks(random_problem: MakeProblem) -> list[Task]:
    return [Task.of(random_problem(seed, slots)) for seed, slots in ((1, 4), (2, 7))]


@pytest.fixture
def env(tasks: list[Task]) -> PlanEnv:
    return PlanEnv(tasks, RandomBudgets(tasks))


def test_gymnasium_finds_no_fault(env: PlanEnv) -> None:
    env_checker.check_env(env, skip_render_check=True)


def test_stable_baselines_finds_no_fault(env: PlanEnv) -> None:
    baselines_checker.check_env(env)


def test_an_episode_is_a_plan_within_its_budget(env: PlanEnv, tasks: list[Task]) -> None:
    rng = np.random.default_rng(0)
    for seed in range(10):
        _, info = env.reset(seed=seed)
        task, (limit,) = tasks[info["task"]], info["limits"]
        steps, done, rewards = 0, False, []
        while not done:
            action = int(rng.choice(np.flatnonzero(env.action_masks())))
            _, reward, done, truncated, step = env.step(action)
            assert not truncated
            assert step["taken"] == action
            rewards.append(reward)
            steps += 1
        assert steps == len(step["plan"]) == len(task.problem.graph.slots)
        assert rewards[:-1] == [0.0] * (steps - 1)
        assert task.problem.cost.price(step["plan"][None])[0] <= allowed(limit)


def test_a_forbidden_choice_says_what_was_taken_instead(env: PlanEnv) -> None:
    env.reset(seed=1)
    masks = env.action_masks()
    forbidden = int(np.flatnonzero(~masks)[-1])
    *_, info = env.step(forbidden)
    assert masks[info["taken"]]


def test_a_step_before_the_first_reset_is_refused(env: PlanEnv) -> None:
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(0)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.action_masks()
