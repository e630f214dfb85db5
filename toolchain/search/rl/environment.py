"""One episode at a time, as gymnasium environments are."""

from typing import Any, SupportsInt

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from .episode import WIDTH, Bools, Episodes, Observations
from .features import K_MAX, LIMIT
from .task import Sampler, Task


def observation_space() -> spaces.Box:
    """What `Episodes.observe` shows of one lane."""
    return spaces.Box(-LIMIT, LIMIT, (WIDTH,), np.float32)


def action_space() -> spaces.Discrete:
    """The index of a choice."""
    return spaces.Discrete(K_MAX)


class PlanEnv(gymnasium.Env[npt.NDArray[Any], np.int64]):
    """Makes one plan an episode, one slot a step.

    `action_masks` says what may be chosen. A choice that is forbidden is replaced by the first step
    of the cheapest completion; `info["taken"]` is what was really chosen, and belongs in a replay
    buffer. The last step's info holds the `plan`.

    Args:
        tasks: What may be played; see `Episodes`.
        sampler: Draws the episodes, from the environment's own random numbers.
    """

    def __init__(self, tasks: list[Task], sampler: Sampler) -> None:
        self.observation_space = observation_space()
        self.action_space = action_space()
        self._sampler = sampler
        self._tasks = tasks
        self._episode: Episodes | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Draw the next episode; there are no options."""
        super().reset(seed=seed, options=options)
        start = self._sampler.draw(self.np_random)
        if self._episode is None:
            self._episode = Episodes(self._tasks, [start])
        else:
            self._episode.reset(np.zeros(1, np.intp), [start])
        return self._episode.observe()[0], {"task": start.task, "limits": start.limits}

    def step(self, action: SupportsInt) -> tuple[Observations, float, bool, bool, dict[str, Any]]:
        """Decide the next slot."""
        episode = self._playing()
        rewards, taken = episode.step(np.array([int(action)]))
        done = bool(episode.done[0])
        info: dict[str, Any] = {"taken": int(taken[0])}
        if done:
            info["plan"] = episode.plan(0)
        return episode.observe()[0], float(rewards[0]), done, False, info

    def action_masks(self) -> Bools:
        """Which choices leave a plan that can be finished within its limits; shape (K_MAX,)."""
        masks: Bools = self._playing().masks()[0]
        return masks

    def _playing(self) -> Episodes:
        if self._episode is None:
            raise gymnasium.error.ResetNeeded("call reset before the first step")
        return self._episode
