"""The loss near the original, as torch sees it: what its derivatives by weights are taken of.

Without labels the gradient of any distance from the original's own outputs is 0, and what is left
is its curvature: J^T M^2 J, with J the outputs' derivative and M what the loss makes of an output's
error (Gauss-Newton; for class probabilities it is Fisher's information, Martens 2020, "New insights
and perspectives on the natural gradient method"). Outputs that are scaled by M and projected on
random signs have gradients whose mean square is just that. So no label has to be sampled, which
would work for classes only and vary more; and the most likely class alone has next to no gradient
where the original is sure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ..engine import Array
from ..errors import InputError
from ..frontend.torch_graph import import_torch
from .agreement import loss_measures
from .divergence import Divergence
from .explained import Explained, Unexplained
from .kinds import Kind, OutputKind, kind_of
from .metric import Outputs

_TINY = 1e-9  # the smallest probability that is seen
_ROUNDING = 1e-12  # variance that is none, relative to the mean square
_SIGNS = np.array([-1.0, 1.0], np.float32)

Tensor = Any  # torch.Tensor, which is not imported for a type


@dataclass(frozen=True, slots=True)
class Objective:
    """What an error of the outputs costs.

    Attributes:
        kinds: What each output is.
        spreads: Output, axis of its channels, and what one unit of squared error costs there.
        divergences: Output and class axis of those that are compared as probabilities.
    """

    kinds: Mapping[str, OutputKind]
    spreads: Sequence[tuple[str, int, Array]]
    divergences: Sequence[tuple[str, OutputKind]]

    @classmethod
    def of(cls, rows: Sequence[Outputs]) -> Self:
        """Find what the loss of a sweep (`sensitivity.Loss`) makes of the errors of each output.

        Args:
            rows: What the original gives for some samples.

        Raises:
            InputError: All outputs are discrete: they have no derivative.
        """
        kinds = {name: kind_of([row[name] for row in rows]) for name in rows[0]}
        spreads: list[tuple[str, int, Array]] = []
        divergences: list[tuple[str, OutputKind]] = []
        for name, kind in kinds.items():
            arrays = [row[name] for row in rows]
            for measure in loss_measures(kind):
                if isinstance(measure, Unexplained):
                    spreads.append((name, measure.explained.axis, _cost(measure.explained, arrays)))
                elif isinstance(measure, Divergence):
                    divergences.append((name, kind))
        if not spreads and not divergences:
            raise InputError(
                f"no output has a derivative ({', '.join(kinds)})", "use the noise proxies"
            )
        return cls(kinds, spreads, divergences)

    def projection(
        self, outputs: Mapping[str, Tensor], rng: np.random.Generator, *, labelled: bool = False
    ) -> Tensor:
        """A number whose gradients have the loss's curvature as their mean square.

        Args:
            outputs: What the graph gives for one sample.
            rng: Where the signs come from.
            labelled: Whether the loss is cross-entropy; otherwise distance from the original.
        """
        errors = self._class_errors(outputs) if labelled else self._errors(outputs)
        return sum((error * signs(error, rng)).sum() for error in errors)

    def cross_entropy(self, outputs: Mapping[str, Tensor], label: Array) -> Tensor:
        """The loss of the right answer, in nats.

        Raises:
            InputError: The label does not fit the classes.
        """
        torch = import_torch()
        name, kind, logits = self._logits(outputs)
        wanted = np.atleast_1d(label).ravel()
        if len(wanted) != len(logits) or wanted.min() < 0 or wanted.max() >= kind.size:
            raise InputError(
                f"labels {wanted.tolist()} are not among the {kind.size} classes of {name!r}",
                "number the classes as the model does, from 0",
            )
        target = torch.from_numpy(wanted.astype(np.int64))
        return torch.nn.functional.cross_entropy(logits, target)

    def takes(self, label: Array | None) -> bool:
        """Whether there is a class label, and an output that it is for."""
        integral = label is not None and label.dtype.kind in "iu"
        return integral and any(kind.kind is Kind.CLASSES for kind in self.kinds.values())

    def _logits(self, outputs: Mapping[str, Tensor]) -> tuple[str, OutputKind, Tensor]:
        """The output that labels are for, as logits of shape (positions, classes)."""
        name, kind = next((n, k) for n, k in self.kinds.items() if k.kind is Kind.CLASSES)
        rows = outputs[name].reshape(-1, kind.size)
        return name, kind, rows.clamp_min(_TINY).log() if kind.probabilities else rows

    def _class_errors(self, outputs: Mapping[str, Tensor]) -> Sequence[Tensor]:
        """Logits, scaled by a root of half of cross-entropy's curvature, diag(p) - p p^T."""
        _, _, logits = self._logits(outputs)
        p = logits.detach().softmax(-1)
        centred = logits - (p * logits).sum(-1, keepdim=True)
        return [centred * (p / (2.0 * len(logits))).sqrt()]

    def _errors(self, outputs: Mapping[str, Tensor]) -> Sequence[Tensor]:
        """Outputs, scaled so that the squares of their errors add up to the loss."""
        torch = import_torch()
        found = []
        for name, axis, cost in self.spreads:
            y = outputs[name]
            shape = [1] * y.ndim
            shape[axis] = len(cost)
            scale = np.sqrt(cost * len(cost) / y.numel()).astype(np.float32)
            found.append(y * torch.from_numpy(scale).reshape(shape))
        for name, kind in self.divergences:
            y = outputs[name]
            share = 2.0 * (y.numel() / kind.size) * y.detach().clamp_min(_TINY)
            found.append(y / share.sqrt())
        return found


def _cost(explained: Explained, arrays: Sequence[Array]) -> Array:
    """What one unit of mean squared error in each channel costs; shape (channels,)."""
    sums: Array = np.sum([explained.tally(array, array) for array in arrays], axis=0)
    _, mean, square = np.split(sums[:-1] / sums[-1], 3)
    variance = square - mean**2
    varies = variance > _ROUNDING * square
    if explained.one_unit:
        return np.full(len(variance), 1.0 / variance[varies].sum() if varies.any() else 0.0)
    cost: Array = np.where(varies, 1.0 / np.where(varies, variance, 1.0), 0.0)
    return cost / max(int(varies.sum()), 1)


def signs(like: Tensor, rng: np.random.Generator) -> Tensor:
    """Random signs: of all numbers of variance 1 they vary the least (Hutchinson 1989)."""
    torch = import_torch()
    return torch.from_numpy(rng.choice(_SIGNS, tuple(like.shape)))
