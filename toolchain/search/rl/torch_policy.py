"""The policy's network in torch, for training; the numbers are the same as the policy's own."""

from dataclasses import replace

import numpy as np
import torch

from .policy import Layer, Policy


class TorchPolicy(torch.nn.Module):
    """A `Policy` whose weights can be trained."""

    mean: torch.Tensor
    spread: torch.Tensor

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self._policy = policy
        self.register_buffer("mean", torch.from_numpy(policy.mean.copy()))
        self.register_buffer("spread", torch.from_numpy(policy.spread.copy()))
        self.layers = torch.nn.ModuleList(_linear(layer) for layer in policy.layers)

    def forward(self, context: torch.Tensor, options: torch.Tensor) -> torch.Tensor:
        """The score of each choice: from (N, D) and (N, K, C) to (N, K)."""
        shared = context.shape[1]
        first, *inner, last = self._linears()
        weights = first.weight.T
        common = (context - self.mean[:shared]) / self.spread[:shared] @ weights[:shared]
        own = (options - self.mean[shared:]) / self.spread[shared:] @ weights[shared:]
        values = torch.relu(own + common[:, None] + first.bias)
        for layer in inner:
            values = torch.relu(layer(values))
        scores: torch.Tensor = last(values).squeeze(-1)
        return scores

    def soften(self, heat: float) -> None:
        """Divide all scores: a policy that is sure of itself explores nothing, and collapses."""
        last = self._linears()[-1]
        with torch.no_grad():
            last.weight.div_(heat)
            last.bias.div_(heat)

    def trained(self) -> Policy:
        """The policy with the weights as they are now."""
        layers = tuple(Layer(_numpy(part.weight.T), _numpy(part.bias)) for part in self._linears())
        return replace(self._policy, layers=layers)

    def _linears(self) -> list[torch.nn.Linear]:
        return [part for part in self.layers if isinstance(part, torch.nn.Linear)]


def _linear(layer: Layer) -> torch.nn.Linear:
    linear = torch.nn.Linear(*layer.weights.shape)
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(layer.weights.T.copy()))
        linear.bias.copy_(torch.from_numpy(layer.bias.copy()))
    return linear


def _numpy(tensor: torch.Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.ascontiguousarray(tensor.detach().numpy(), np.float32)
