"""The policy: a small network that scores each choice of a slot by what is seen of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Floats32 = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """An affine map: weights of shape (inputs, outputs), and a bias of shape (outputs,)."""

    weights: Floats32
    bias: Floats32


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A perceptron with rectifiers, the same for every choice of every slot.

    It sees D features that all choices share and C of one choice, and gives that choice a score.
    So it serves any number of choices, and permuting them permutes the scores.

    Attributes:
        context: Names of the features that all choices share, in order.
        option: Names of the features of one choice, in order.
        mean: What each feature was in the mean, in training; shape (D + C,), context first.
        spread: Its standard deviation; shape (D + C,), positive.
        layers: From the features to one score.
    """

    context: tuple[str, ...]
    option: tuple[str, ...]
    mean: Floats32
    spread: Floats32
    layers: tuple[Layer, ...]

    @classmethod
    def drawn(
        cls,
        context: Sequence[str],
        option: Sequence[str],
        *,
        hidden: Iterable[int],
        rng: np.random.Generator,
    ) -> Self:
        """An untrained policy with hidden layers of these sizes (He et al. 2015, equation 10)."""
        count = len(context) + len(option)
        sizes = [count, *hidden, 1]
        layers = [
            Layer(
                rng.normal(0.0, np.sqrt(2.0 / inputs), (inputs, outputs)).astype(np.float32),
                np.zeros(outputs, np.float32),
            )
            for inputs, outputs in pairwise(sizes)
        ]
        zeros, ones = np.zeros(count, np.float32), np.ones(count, np.float32)
        return cls(tuple(context), tuple(option), zeros, ones, tuple(layers))

    @property
    def hidden(self) -> tuple[int, ...]:
        """The sizes of the hidden layers."""
        return tuple(len(layer.bias) for layer in self.layers[:-1])

    def scores(
        self, context: npt.NDArray[np.floating[Any]], options: npt.NDArray[np.floating[Any]]
    ) -> Floats32:
        """The score of each choice: the higher, the likelier.

        Args:
            context: What all choices share; shape (N, D).
            options: What is seen of each choice; shape (N, K, C).

        Returns:
            Shape (N, K); the logits of a softmax over the choices.
        """
        shared = len(self.context)
        first, *inner, last = self.layers
        common = (context - self.mean[:shared]) / self.spread[:shared] @ first.weights[:shared]
        own = (options - self.mean[shared:]) / self.spread[shared:] @ first.weights[shared:]
        values = np.maximum(own + common[:, None] + first.bias, 0.0)
        for layer in inner:
            values = np.maximum(values @ layer.weights + layer.bias, 0.0)
        scores: Floats32 = (values @ last.weights + last.bias)[..., 0]
        return scores


def highest(scores: Floats32, mask: Mask) -> npt.NDArray[np.intp]:
    """The allowed choice with the highest score; from shapes (..., K), at least one allowed."""
    chosen: npt.NDArray[np.intp] = np.where(mask, scores, -np.inf).argmax(axis=-1)
    return chosen


def draw(
    scores: Floats32, mask: Mask, rng: np.random.Generator, *, heat: float = 1.0
) -> npt.NDArray[np.intp]:
    """A choice of each softmax of `scores / heat` over what is allowed; from shapes (..., K).

    The highest of the scores with Gumbel noise is such a draw (Gumbel-max).
    """
    noise = rng.gumbel(size=scores.shape).astype(np.float32)
    return highest(scores / np.float32(heat) + noise, mask)
