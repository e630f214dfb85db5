"""Proximal policy optimisation: a cloned policy plays many problems and learns from its losses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import Schedule

from .episode import CONTEXT, WIDTH
from .features import K_MAX
from .lessons import Example
from .policy import Policy
from .task import Start
from .torch_policy import TorchPolicy
from .vector import PlanVecEnv

_ADAM_EPS = 1e-5  # as the base class has it


@dataclass(frozen=True, slots=True)
class Refining:
    """How to learn; names as in `MaskablePPO` where they are not explained.

    Attributes:
        steps: Slots that are decided in all, over all lanes.
        lanes: Episodes that are played at once.
        steps_a_lane: Between two updates.
        heat: What the cloned policy's scores are divided by, for good: one that is sure of itself
            tries nothing new, and collapses; and the best of many plans needs them to differ.
        critic_first: Share of the steps in which only the critic learns: it starts from nothing,
            and would lead a policy astray that already knows much.
        critic: Units of each of the critic's two hidden layers.
    """

    steps: int = 100_000
    lanes: int = 64
    steps_a_lane: int = 64
    batch_size: int = 512
    n_epochs: int = 4
    learning_rate: float = 3e-4
    gae_lambda: float = 0.98
    ent_coef: float = 1e-2
    clip_range: float = 0.1
    target_kl: float = 0.02
    heat: float = 2.0
    critic_first: float = 0.15
    critic: int = 64


def refine(
    policy: Policy,
    examples: Sequence[Example],
    *,
    seed: int,
    how: Refining | None = None,
    told: Callable[[int], None] = lambda _: None,
) -> Policy:
    """Go on from a cloned policy by playing.

    Args:
        policy: Where to start.
        examples: What is played: all limit the same figures. The reward of a plan is
            log(best loss / loss), at most 0.
        seed: Equal seeds give equal policies on one machine.
        how: Settings.
        told: Called now and then with the steps so far.
    """
    how = how or Refining()
    tasks, starts = zip(
        *(example.opening(number=i) for i, example in enumerate(examples)), strict=True
    )
    env = PlanVecEnv(tasks, _Starts(starts), count=how.lanes, seed=seed)
    model = MaskablePPO(
        _ChoicePolicy,
        env,
        learning_rate=how.learning_rate,
        n_steps=how.steps_a_lane,
        batch_size=how.batch_size,
        n_epochs=how.n_epochs,
        gamma=1.0,
        gae_lambda=how.gae_lambda,
        ent_coef=how.ent_coef,
        clip_range=how.clip_range,
        target_kl=how.target_kl,
        policy_kwargs={"start": policy, "how": how},
        seed=seed,
        device="cpu",
    )
    networks = _networks(model)
    first = int(how.steps * how.critic_first)
    networks.actor.requires_grad_(requires_grad=False)
    model.learn(first, callback=_Told(told))
    networks.actor.requires_grad_(requires_grad=True)
    model.learn(how.steps - first, callback=_Told(told), reset_num_timesteps=False)
    return networks.actor.trained()


class _Starts:
    """Draws among given starts, evenly."""

    def __init__(self, starts: Sequence[Start]) -> None:
        self._starts = starts

    def draw(self, rng: np.random.Generator) -> Start:
        return self._starts[int(rng.integers(len(self._starts)))]


class _Networks(torch.nn.Module):
    """The actor, whose output are the scores of the choices, and the body of the critic."""

    latent_dim_pi = K_MAX

    def __init__(self, policy: Policy, *, heat: float, critic: int) -> None:
        super().__init__()
        self.latent_dim_vf = critic
        self.actor = TorchPolicy(policy)
        self.actor.soften(heat)
        self.critic = torch.nn.Sequential(
            torch.nn.Linear(WIDTH, critic),
            torch.nn.Tanh(),
            torch.nn.Linear(critic, critic),
            torch.nn.Tanh(),
        )

    def forward(self, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores of the choices, and what the value is computed from."""
        return self.forward_actor(seen), self.forward_critic(seen)

    def forward_actor(self, seen: torch.Tensor) -> torch.Tensor:
        """Scores of the choices; shape (N, K_MAX)."""
        context, options = seen[:, : len(CONTEXT)], seen[:, len(CONTEXT) :]
        scores: torch.Tensor = self.actor(context, options.reshape(len(seen), K_MAX, -1))
        return scores

    def forward_critic(self, seen: torch.Tensor) -> torch.Tensor:
        """What the value is computed from; shape (N, latent_dim_vf)."""
        latent: torch.Tensor = self.critic(seen)
        return latent


class _ChoicePolicy(MaskableActorCriticPolicy):
    """Scores each choice by itself with the network of a `Policy`."""

    def __init__(
        self,
        observations: spaces.Space[Any],
        actions: spaces.Space[Any],
        rate: Schedule,
        *,
        start: Policy,
        how: Refining,
    ) -> None:
        self._start, self._how = start, how
        super().__init__(observations, actions, rate, ortho_init=False)

    def _build_mlp_extractor(self) -> None:
        networks = _Networks(self._start, heat=self._how.heat, critic=self._how.critic)
        self.mlp_extractor = networks  # type: ignore[assignment]  # all that is used of it

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        self.action_net = torch.nn.Identity()  # the scores are the logits
        self.optimizer = torch.optim.Adam(self.parameters(), lr=lr_schedule(1.0), eps=_ADAM_EPS)


def _networks(model: MaskablePPO) -> _Networks:
    networks = model.policy.mlp_extractor
    assert isinstance(networks, _Networks)  # noqa: S101 - `_ChoicePolicy` made it
    return networks


class _Told(BaseCallback):
    """Says how far the learning is."""

    def __init__(self, told: Callable[[int], None]) -> None:
        super().__init__()
        self._told = told

    def _on_step(self) -> bool:
        self._told(int(self.num_timesteps))
        return True
