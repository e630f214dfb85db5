"""Actions that are executed, exploration, and what goes into the replay buffer."""

import numpy as np
import pytest
from hwc.toolchain.search.rl.ddpg import Ladder, Replay, truncated_normal
from hwc.toolchain.search.rl.ddpg_learner import Learner
from hwc.toolchain.search.rl.episode import CONTEXT

LADDER = Ladder(np.array([[2, 1, 0, 3]]), np.array([3]))  # choice 3 is not legal


@pytest.mark.parametrize(
    ("wanted", "allowed", "choice", "executed"),
    [
        (0.0, {0, 1, 2}, 2, 0.0),
        (0.4, {0, 1, 2}, 1, 0.4),
        (1.0, {0, 1, 2}, 0, 1.0),
        (1.0, {2}, 2, 1 / 6),
        (0.1, {0, 1}, 1, 0.5),
    ],
    ids=["least safe", "middle", "safest", "far from allowed", "nearest allowed"],
)
def test_what_is_executed(wanted: float, allowed: set[int], choice: int, executed: float) -> None:
    masks = np.array([[k in allowed for k in range(8)]])
    choices, actions = LADDER.executed(0, np.array([wanted]), masks)
    assert choices.tolist() == [choice]
    assert actions == pytest.approx([executed])
    again, same = LADDER.executed(0, actions, masks)  # what is executed stands for itself
    assert (again.tolist(), same.tolist()) == ([choice], actions.tolist())


def test_exploration_is_a_truncated_normal() -> None:
    drawn = truncated_normal(np.full(20_000, 0.2), 0.5, np.random.default_rng(0))
    assert drawn.min() >= 0.0
    assert drawn.max() <= 1.0
    assert drawn.mean() == pytest.approx(0.4246, abs=0.01)  # by numerical integration


def test_transitions_are_in_order() -> None:
    replay = Replay(0.95)
    for number in range(3):
        seen = np.zeros((2, 4, len(CONTEXT)), np.float32)
        seen[:, :3, 0] = [[number, number + 0.1, number + 0.2]] * 2
        actions = np.full((2, 3), number / 10)
        replay.add(seen, actions, np.full((2, 3), number))
    rewards = np.array([0.0, np.nan, 3.0, np.nan, 6.0, np.nan])
    seen, actions, gains, then, last = replay.draw(rewards, np.random.default_rng(0), 200)
    number = np.floor(seen[:, 0] + 0.01)
    assert set(number.tolist()) == {0.0, 1.0, 2.0}
    assert actions == pytest.approx(number / 10)
    assert gains == pytest.approx(number)  # a third of the reward of the episode
    assert (then[last] == 0.0).all()
    assert then[~last, 0] == pytest.approx(seen[~last, 0] + 0.1)


def test_the_actor_moves_to_what_is_rewarded() -> None:
    learner, rng = Learner(32, seed=0), np.random.default_rng(0)
    seen = np.zeros((64, len(CONTEXT)), np.float32)
    for _ in range(300):
        actions = rng.random(64)
        learner.learn(seen, actions, -10.0 * (actions - 0.8) ** 2, seen, np.ones(64, bool))
    assert learner.act(seen[:1]) == pytest.approx([0.8], abs=0.1)
