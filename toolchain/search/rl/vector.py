"""Many episodes at once, as the learners of stable-baselines3 want them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from ..problem import Indices
from .environment import action_space, observation_space
from .episode import WIDTH, Bools, Episodes, Observations
from .task import Sampler, Task


class PlanVecEnv(VecEnv):
    """N lanes of `PlanEnv` over one engine; a lane that is done starts its next episode at once.

    The info of a lane that is done holds `plan`, its `start`, `episode` (reward and length) and
    `terminal_observation`.

    Args:
        tasks: What may be played; see `Episodes`.
        sampler: Draws the episodes.
        count: How many lanes.
        seed: Of the sampler.
    """

    render_mode = None

    def __init__(
        self, tasks: Sequence[Task], sampler: Sampler, *, count: int, seed: int = 0
    ) -> None:
        super().__init__(count, observation_space(), action_space())
        self._sampler = sampler
        self._rng = np.random.default_rng(seed)
        self._actions: Indices = np.zeros(count, np.intp)
        self.starts = [sampler.draw(self._rng) for _ in range(count)]
        self.episodes = Episodes(tasks, self.starts)

    def reset(self) -> Observations:
        """Start every lane anew."""
        if self._seeds[0] is not None:
            self._rng = np.random.default_rng(self._seeds[0])
        self._reset_seeds()
        self._reset_options()
        self._restart(np.arange(self.num_envs))
        return self.episodes.observe()

    def step_async(self, actions: Indices) -> None:
        """Take what each lane chooses; shape (N,)."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Decide a slot of each lane, and start anew those that are done."""
        rewards, taken = self.episodes.step(self._actions)
        done = self.episodes.done
        infos: list[dict[str, Any]] = [{"taken": choice} for choice in taken.tolist()]
        ended = np.flatnonzero(done)
        for lane in ended.tolist():
            plan = self.episodes.plan(lane)
            infos[lane] |= {
                "plan": plan,
                "start": self.starts[lane],
                "episode": {"r": float(rewards[lane]), "l": len(plan)},
                "terminal_observation": np.zeros(WIDTH, np.float32),
                "TimeLimit.truncated": False,
            }
        self._restart(ended)
        return self.episodes.observe(), rewards.astype(np.float32), done, infos

    def action_masks(self) -> Bools:
        """Which choices leave a plan that can be finished within its limits; (N, K_MAX)."""
        return self.episodes.masks()

    def close(self) -> None:
        """Nothing is held open."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The attribute that all lanes share."""
        value = getattr(self, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:  # noqa: ANN401 - the base class's signature
        """Lanes have no attributes of their own."""
        raise AttributeError(f"{attr_name} of lanes {indices} cannot be set to {value!r}")

    def env_method(
        self,
        method_name: str,
        *method_args: Any,  # noqa: ANN401 - the base class's signature
        indices: VecEnvIndices = None,
        **method_kwargs: Any,  # noqa: ANN401
    ) -> list[Any]:
        """Call a method that answers for all lanes at once."""
        answers = getattr(self, method_name)(*method_args, **method_kwargs)
        return [answers[lane] for lane in self._get_indices(indices)]

    def env_is_wrapped(
        self,
        wrapper_class: type[Any],  # noqa: ARG002 - never
        indices: VecEnvIndices = None,
    ) -> list[bool]:
        """No lane is."""
        return [False for _ in self._get_indices(indices)]

    def _restart(self, lanes: Indices) -> None:
        for lane in lanes.tolist():
            self.starts[lane] = self._sampler.draw(self._rng)
        self.episodes.reset(lanes, [self.starts[lane] for lane in lanes])
