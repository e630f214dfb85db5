"""The actor and the critic of DDPG, as stable-baselines3 builds them, and a step of learning."""

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.utils import polyak_update
from stable_baselines3.td3.policies import TD3Policy
from torch.nn import functional

from ..problem import Floats
from .episode import CONTEXT, Bools, Observations
from .features import LIMIT


class Learner:
    """Learns actions in [0, 1].

    The networks are `TD3Policy` with one critic, which is what `stable_baselines3.DDPG` has; its
    own loop would put the actor's action into the replay buffer, not the executed one.

    Args:
        hidden: Units of each of two hidden layers.
        seed: Of the first weights; equal seeds learn equally on one machine.
        rates: Of learning, of the actor and of the critic; AMC's ratio is 1 to 10: an actor that
            outruns its critic ends where its tanh is flat, and stays there.
        tau: How far the target networks follow in a step.
    """

    def __init__(
        self,
        hidden: int,
        *,
        seed: int,
        rates: tuple[float, float] = (3e-4, 3e-3),
        tau: float = 0.01,
    ) -> None:
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            self._policy = TD3Policy(
                spaces.Box(-LIMIT, LIMIT, (len(CONTEXT),), np.float32),
                spaces.Box(0.0, 1.0, (1,), np.float32),
                lambda _: rates[1],
                net_arch=[hidden, hidden],
                n_critics=1,
            )
        self._policy.actor.optimizer.param_groups[0]["lr"] = rates[0]
        self._tau = tau

    def act(self, seen: Observations) -> Floats:
        """The actor's actions; from (N, CONTEXT) to (N,)."""
        with torch.no_grad():
            scaled = self._policy.actor(torch.from_numpy(seen))[:, 0].numpy()
        actions: Floats = np.clip(0.5 * (scaled.astype(np.float64) + 1.0), 0.0, 1.0)
        return actions

    def learn(
        self,
        seen: Observations,
        actions: Floats,
        rewards: Floats,
        then: Observations,
        last: Bools,
    ) -> None:
        """Learn from N transitions (Lillicrap et al. 2016, algorithm 1), undiscounted.

        Args:
            seen: Before the step; shape (N, CONTEXT).
            actions: What was executed, in [0, 1]; shape (N,).
            rewards: Shape (N,).
            then: After the step; shape (N, CONTEXT).
            last: Whether nothing follows; shape (N,).
        """
        policy, before, after = self._policy, torch.from_numpy(seen), torch.from_numpy(then)
        scaled = _column(2.0 * actions - 1.0)
        with torch.no_grad():
            (following,) = policy.critic_target(after, policy.actor_target(after))
            target = _column(rewards) + _column(np.where(last, 0.0, 1.0)) * following
        (value,) = policy.critic(before, scaled)
        _descend(policy.critic.optimizer, functional.mse_loss(value, target))
        _descend(
            policy.actor.optimizer, -policy.critic.q1_forward(before, policy.actor(before)).mean()
        )
        for part, slow in (
            (policy.critic, policy.critic_target),
            (policy.actor, policy.actor_target),
        ):
            polyak_update(part.parameters(), slow.parameters(), self._tau)


def _column(values: Floats) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32))[:, None]


def _descend(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]  # of torch
    optimizer.step()
