"""What training minimises: distance from a teacher, from labels, and between features inside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from ..accuracy.kinds import Kind, OutputKind, kind_of
from ..accuracy.metric import Outputs
from ..engine import Array
from ..errors import InputError
from ..frontend.torch_graph import Tensor, import_torch
from .recipe import Recipe

_TINY = 1e-9  # the smallest probability that is seen
_OF_MEAN = 1e-3  # of the mean variance of channels: one that hardly varies does not rule the loss

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Loss:
    """The loss of a batch: a mean over its samples.

    Outputs of classes are compared by the divergence of their probabilities at a temperature
    (Hinton et al. 2015), values by the mean square of their error over the variance that they have.

    Attributes:
        recipe: The shares of the parts.
        kinds: What each output of the teacher is.
        variances: Of each output of values: what its error is measured by, to be broadcast.
        features: Names of tensors inside that are compared, too.
        classes: The output that labels are about; empty where none is.
    """

    recipe: Recipe
    kinds: Mapping[str, OutputKind]
    variances: Mapping[str, Array]
    features: tuple[str, ...] = ()
    classes: str = ""

    @classmethod
    def of(cls, recipe: Recipe, rows: Sequence[Outputs], features: Sequence[str] = ()) -> Self:
        """Find what fits the teacher's outputs.

        Args:
            recipe: The shares of the parts.
            rows: What the teacher gives for some samples, one by one.
            features: Names of tensors inside to compare, if the recipe gives them a weight.

        Raises:
            InputError: No output can be learnt from.
        """
        kinds = {name: kind_of([row[name] for row in rows]) for name in rows[0]}
        kinds = {name: kind for name, kind in kinds.items() if kind.kind is not Kind.DISCRETE}
        if not kinds:
            raise InputError(
                "all outputs are discrete values, which have no derivative",
                "leave recovery out, or give a model that returns scores",
            )
        values = {name: kind for name, kind in kinds.items() if kind.kind is Kind.VALUES}
        variances = {n: _variance([row[n] for row in rows], k) for n, k in values.items()}
        classes = next((n for n, kind in kinds.items() if kind.kind is Kind.CLASSES), "")
        return cls(recipe, kinds, variances, tuple(features) if recipe.features else (), classes)

    def __call__(self, got: Tensors, wanted: Tensors, labels: Array | None) -> Tensor:
        """The loss of a batch.

        Args:
            got: What the student gives, outputs and features.
            wanted: What the teacher gives.
            labels: The right class of each sample, shape (n,), or None.
        """
        loss = sum(self._distance(name, got[name], wanted[name]) for name in self.kinds)
        if labels is not None and self.classes:
            hard = self.cross_entropy(got[self.classes], labels, self.recipe.smoothing)
            loss = self.recipe.alpha * loss + (1.0 - self.recipe.alpha) * hard
        for name in self.features:
            share = self.recipe.features / len(self.features)
            loss = loss + share * feature_distance(got[name], wanted[name])
        return loss

    def cross_entropy(self, got: Tensor, labels: Array, smoothing: float = 0.0) -> Tensor:
        """Cross-entropy with labels, in nats."""
        torch = import_torch()
        logits = _logits(got, self.kinds[self.classes])
        wanted = torch.from_numpy(labels)
        return torch.nn.functional.cross_entropy(logits, wanted, label_smoothing=smoothing)

    def hits(self, got: Tensors, labels: Array) -> int:
        """How many samples of a batch have the right class."""
        rows = _logits(got[self.classes], self.kinds[self.classes])
        return int((rows.argmax(1).numpy() == labels).sum())

    def check_labels(self, labels: Array | None) -> None:
        """Refuse labels that are no classes.

        Raises:
            InputError: One is negative, or not below the number of classes.
        """
        if labels is None or not self.classes:
            return
        size = self.kinds[self.classes].size
        odd = labels[(labels < 0) | (labels >= size)]
        if odd.size:
            raise InputError(
                f"{odd.size} of {labels.size} training labels, such as {odd[0]}, are no classes of "
                f"output '{self.classes}' (0 to {size - 1})",
                "number the classes as the model does, from 0",
            )

    def _distance(self, name: str, got: Tensor, wanted: Tensor) -> Tensor:
        kind = self.kinds[name]
        if kind.kind is Kind.VALUES:
            scale = import_torch().from_numpy(self.variances[name])
            return ((got.float() - wanted.float()) ** 2 / scale).mean()
        return divergence(_logits(got, kind), _logits(wanted, kind), self.recipe.temperature)


def divergence(got: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """T^2 KL(teacher || student) of softened probabilities, mean over the rows [n, classes].

    The square keeps the gradient's size at any temperature (Hinton et al. 2015, section 2).
    """
    functional = import_torch().nn.functional
    mine = functional.log_softmax(got / temperature, 1)
    theirs = functional.log_softmax(wanted / temperature, 1)
    kl = functional.kl_div(mine, theirs, reduction="batchmean", log_target=True)
    return kl * temperature**2


def feature_distance(got: Tensor, wanted: Tensor) -> Tensor:
    """Squared distance between features of unit length, mean over the samples; 0 to 4.

    Where only the number of channels differs, between maps of attention: the sum of squares over
    the channels (Zagoruyko and Komodakis 2017, "Paying more attention to attention", equation 2).
    """
    if got.shape != wanted.shape:
        got, wanted = (x.float().square().sum(1) for x in (got, wanted))
    axes = tuple(range(1, got.ndim))
    mine, theirs = got.float(), wanted.float()  # not flattened: that would copy channels-last maps
    lengths = [x.square().sum(axes).clamp(min=_TINY).sqrt() for x in (mine, theirs)]
    cosine = (mine * theirs).sum(axes) / (lengths[0] * lengths[1])
    return (2.0 - 2.0 * cosine).mean()


def alignable(got: Tensor, wanted: Tensor) -> bool:
    """Whether features can be compared: equal shapes, or all but the channels (axis 1)."""
    if got.shape == wanted.shape:
        return bool(got.ndim > 1)
    return bool(
        got.ndim > 2  # noqa: PLR2004 - batch, channels, positions
        and got.ndim == wanted.ndim
        and got.shape[:1] == wanted.shape[:1]
        and got.shape[2:] == wanted.shape[2:]
    )


def nuclear_norm(weights: Sequence[Tensor]) -> Tensor:
    """The sum of the singular values of weights [out, ...], each as a matrix of its outputs.

    It is the convex stand-in for the rank (Fazel et al. 2001, "A rank minimization heuristic").
    """
    linalg = import_torch().linalg
    return sum(linalg.matrix_norm(weight.flatten(1), "nuc") for weight in weights)


def _logits(tensor: Tensor, kind: OutputKind) -> Tensor:
    """Class scores as rows [n, classes], of each sample or of each of its positions."""
    tensor = tensor.float()
    if kind.probabilities:
        tensor = tensor.clamp(min=_TINY).log()
    if kind.kind is Kind.CLASSES:
        return tensor.reshape(1, -1) if tensor.ndim == 1 else tensor.flatten(1)
    return tensor.movedim(kind.axis, -1).reshape(-1, kind.size)


def _variance(arrays: Sequence[Array], kind: OutputKind) -> Array:
    """What errors of values are measured by: variance by channel, of the fewest channels there are.

    One number for all where they have the same unit or no axis counts channels.
    """
    axis, size = min(kind.channels, key=lambda pair: pair[1])
    first = arrays[0].astype(np.float64)
    if kind.one_unit or size <= 1 or len({array.shape for array in arrays}) > 1:
        flat = np.concatenate([array.ravel().astype(np.float64) for array in arrays])
        return np.array(max(float(flat.var()), _TINY), np.float32)
    axis %= first.ndim
    others = (0, *(1 + index for index in range(first.ndim) if index != axis))
    variance = np.stack(arrays).astype(np.float64).var(axis=others)
    floor = max(_OF_MEAN * float(variance.mean()), _TINY)
    shape = [size if index == axis else 1 for index in range(first.ndim)]
    made: Array = np.maximum(variance, floor).reshape(shape).astype(np.float32)
    return made
