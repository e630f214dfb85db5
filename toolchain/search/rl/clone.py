"""Imitation: teaches a policy the choices of exact solutions (behavioural cloning)."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from .episode import CONTEXT, OPTION
from .lessons import Lessons
from .policy import Policy
from .torch_policy import TorchPolicy

_FLAT = 1e-3  # a feature that varies less than this says nothing


@dataclass(frozen=True, slots=True)
class Cloning:
    """How to teach.

    Attributes:
        hidden: Sizes of the hidden layers.
        epochs: How often all lessons are gone through.
        batch: Lessons a step.
        rate: The highest learning rate; it grows and falls (Smith and Topin 2018).
        decay: Weight decay.
    """

    hidden: tuple[int, ...] = (64, 64)
    epochs: int = 20
    batch: int = 512
    rate: float = 3e-3
    decay: float = 1e-2


def clone(lessons: Lessons, *, seed: int, how: Cloning | None = None) -> Policy:
    """Teach a new policy; equal seeds give equal policies on one machine."""
    how = how or Cloning()
    net = TorchPolicy(_untrained(lessons, how.hidden, np.random.default_rng(seed)))
    generator = torch.Generator().manual_seed(seed)
    starts = range(0, len(lessons), how.batch)
    optimizer = torch.optim.AdamW(net.parameters(), how.rate, weight_decay=how.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, how.rate, total_steps=how.epochs * len(starts)
    )
    context, options, masks, chosen = map(
        torch.from_numpy, (lessons.context, lessons.options, lessons.masks, lessons.chosen)
    )
    for _ in range(how.epochs):
        order = torch.randperm(len(lessons), generator=generator)
        for start in starts:
            rows = order[start : start + how.batch]
            scores = net(context[rows], options[rows]).masked_fill(~masks[rows], -torch.inf)
            loss = torch.nn.functional.cross_entropy(scores, chosen[rows])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    return net.trained()


def _untrained(lessons: Lessons, hidden: tuple[int, ...], rng: np.random.Generator) -> Policy:
    """A policy that knows no more than the mean and spread of each feature."""
    exists = lessons.options[lessons.options[..., OPTION.index("exists")] > 0.0]
    mean = np.concatenate([lessons.context.mean(axis=0), exists.mean(axis=0)])
    spread = np.concatenate([lessons.context.std(axis=0), exists.std(axis=0)])
    policy = Policy.drawn(CONTEXT, OPTION, hidden=hidden, rng=rng)
    return replace(policy, mean=mean, spread=np.where(spread < _FLAT, np.float32(1.0), spread))
