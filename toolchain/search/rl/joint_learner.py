"""The network of `Joint`: a trunk, a head for each factor, a critic; and a step of learning."""

import numpy as np
import torch
from torch import nn

from ..problem import Floats
from .episode import Bools, Observations
from .joint import Factors, Joint, Steps
from .sight import SIGHT


class _Heads(nn.Module):
    def __init__(self, factors: Factors, hidden: int) -> None:
        super().__init__()
        self.parts = torch.from_numpy(factors.values)
        self.trunk = nn.Sequential(
            nn.Linear(SIGHT, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh()
        )
        self.heads = nn.ModuleList(nn.Linear(hidden, size) for size in factors.sizes)
        self.fuse = nn.Linear(hidden, 1)
        self.critic = nn.Linear(hidden, 1)
        for head in (*self.heads, self.fuse, self.critic):
            nn.init.orthogonal_(head.weight, 0.01)  # at first all is equally likely
            nn.init.zeros_(head.bias)

    def forward(
        self, slots: torch.Tensor, seen: torch.Tensor, kept: torch.Tensor, masks: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities of the choices, (N, K_MAX), and values, (N,); slots has shape (N,)."""
        body = self.trunk(seen)
        scores = self.fuse(body) * kept
        for factor, head in enumerate(self.heads):
            scores = scores + head(body).gather(1, self.parts[slots, :, factor])
        scores = scores.masked_fill(~masks, -1e9)
        return torch.log_softmax(scores, dim=1), self.critic(body)[:, 0]


class Learner:
    """Plays and learns with the clipped objective (Schulman et al. 2017, equation 9).

    Args:
        factors: A head for each of them.
        how: The settings.
        seed: Of the first weights; equal seeds learn equally on one machine.
    """

    def __init__(self, factors: Factors, how: Joint, *, seed: int) -> None:
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            self._heads = _Heads(factors, how.hidden)
        self._how = how
        self._optimizer = torch.optim.Adam(self._heads.parameters(), how.rate)

    def judge(
        self, slot: int, seen: Observations, kept: Observations, masks: Bools
    ) -> tuple[Floats, Floats]:
        """Log-probabilities of the choices of a slot, (N, K_MAX), and what to expect, (N,)."""
        slots = torch.full((len(seen),), slot)
        with torch.no_grad():
            logs, values = self._heads(slots, *map(torch.from_numpy, (seen, kept, masks)))
        return logs.numpy().astype(np.float64), values.numpy().astype(np.float64)

    def learn(self, steps: Steps, gains: Floats) -> None:
        """Learn from episodes; those whose advantages (N, S) are not known are left out."""
        known = np.isfinite(gains).all(axis=1)
        if not known.any():
            return
        count, depth = gains[known].shape
        seen, kept, masks, taken, before = (
            torch.from_numpy(np.ascontiguousarray(array[known])).flatten(0, 1)
            for array in (steps.seen, steps.kept, steps.masks, steps.taken, steps.likelihoods)
        )
        slots = torch.arange(depth).repeat(count)
        aims = torch.from_numpy((gains + steps.values)[known]).flatten().float()
        gain = torch.from_numpy(gains[known]).flatten().float()
        gain = (gain - gain.mean()) / (gain.std(correction=0) + 1e-8)
        for _ in range(self._how.epochs):
            logs, values = self._heads(slots, seen, kept, masks)
            ratio = (logs.gather(1, taken[:, None])[:, 0] - before.float()).exp()
            clipped = ratio.clamp(1.0 - self._how.clip, 1.0 + self._how.clip)
            surprise = -(logs.exp() * logs).sum(dim=1).mean()
            loss = -torch.minimum(ratio * gain, clipped * gain).mean()
            loss = loss + 0.5 * (values - aims).square().mean() - self._how.entropy * surprise
            self._optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self._heads.parameters(), 0.5)
            self._optimizer.step()
