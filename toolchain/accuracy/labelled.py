"""Metrics of labelled data: top-k accuracy, and a function of the user."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine import Array
from ..errors import InputError
from ..frontend.user_code import attempt
from .intervals import Scored
from .kinds import class_rows
from .metric import Outputs, Tallied

_TINY = 1e-9  # the smallest probability that is seen


@dataclass(frozen=True, slots=True)
class TopK:
    """The part of the samples whose label is among the k most likely classes."""

    k: int
    output: str
    name: str
    why: str = "asked for"

    def score(
        self,
        outputs: Iterable[Outputs],
        reference: Iterable[Outputs],  # noqa: ARG002 - the labels decide
        labels: Iterable[Array | None],
    ) -> Scored:
        """Compare with the labels."""
        pairs = zip(outputs, labels, strict=True)
        hits = np.array([self._hit(out[self.output], label) for out, label in pairs])
        return Tallied(hits[:, None], _first_mean(len(hits)), hits)

    def _hit(self, output: Array, label: Array | None) -> float:
        """The part of one sample's batch that is right."""
        rows = class_rows(output)
        wanted = right_classes(rows, label, self.name, self.output)
        if not np.isfinite(rows).all():
            return 0.0
        best = np.argpartition(-rows, self.k - 1, axis=1)[:, : self.k]
        return float((best == wanted[:, None]).any(axis=1).mean())


def right_classes(rows: Array, label: Array | None, name: str, output: str) -> Array:
    """The right class of each row of class scores, shape (rows,).

    Args:
        rows: Class scores, shape (rows, classes).
        label: What the data says.
        name: What needs it, for the message.
        output: Where the rows come from, for the message.

    Raises:
        InputError: There is no label, or it is no class.
    """
    wanted = None if label is None else np.atleast_1d(label).ravel()
    if wanted is None or wanted.dtype.kind not in "iu" or len(wanted) != len(rows):
        raise InputError(
            f"{name} needs one integer label for each sample, got "
            f"{'none' if wanted is None else f'{wanted.dtype} {wanted.shape}'}",
            "give labels, or a metric of your own: --metric module:function",
        )
    if wanted.min() < 0 or wanted.max() >= rows.shape[1]:
        raise InputError(
            f"labels {wanted.tolist()} are no classes of output '{output}' "
            f"(0 to {rows.shape[1] - 1})",
            "number the classes as the model does, from 0",
        )
    return wanted


@dataclass(frozen=True, slots=True)
class Likelihood:
    """exp(-cross-entropy): the geometric mean of the right classes' probabilities.

    It falls by 1 % of itself where the cross-entropy rises by 0.01 nats.

    Attributes:
        output: The output with the class scores.
        probabilities: Whether these are probabilities rather than logits.
    """

    output: str
    probabilities: bool
    name: str = "cross-entropy"
    why: str = "asked for: exp(-cross-entropy)"

    def score(
        self,
        outputs: Iterable[Outputs],
        reference: Iterable[Outputs],  # noqa: ARG002 - the labels decide
        labels: Iterable[Array | None],
    ) -> Scored:
        """Compare with the labels."""
        pairs = zip(outputs, labels, strict=True)
        nats = np.array([self.surprise(out, label) for out, label in pairs])
        return Tallied(nats[:, None], lambda sums: np.exp(-_first_mean(len(nats))(sums)))

    def surprise(self, outputs: Outputs, label: Array | None) -> float:
        """Cross-entropy of one sample, in nats; mean over its batch.

        Raises:
            InputError: There is no label, or it is no class.
        """
        rows = class_rows(outputs[self.output])
        wanted = right_classes(rows, label, "cross-entropy", self.output)
        if not np.isfinite(rows).all():
            return -float(np.log(_TINY))
        scores = rows.astype(np.float64)
        if not self.probabilities:
            scores = np.exp(scores - scores.max(1, keepdims=True))
        right = scores[np.arange(len(wanted)), wanted.astype(np.intp)] / scores.sum(1)
        return float(-np.log(np.maximum(right, _TINY)).mean())


@dataclass(frozen=True, slots=True)
class UserMetric:
    """A function of the user: f(outputs, labels) -> float, higher is better.

    It gets all outputs (a list of dicts of arrays) and labels of a data set at once, so these are
    held in memory. For the interval it is called again on 19 of 20 parts of the data.
    """

    function: Callable[[list[Outputs], list[Array]], Any]
    name: str
    why: str = "asked for"

    def score(
        self,
        outputs: Iterable[Outputs],
        reference: Iterable[Outputs],  # noqa: ARG002 - the labels decide
        labels: Iterable[Array | None],
    ) -> Scored:
        """Keep the outputs; the function is called when a value is asked for."""
        pairs = [(out, label) for out, label in zip(outputs, labels, strict=True)]
        known = [(out, label) for out, label in pairs if label is not None]
        if len(known) != len(pairs):
            raise InputError(f"{self.name}: {len(pairs) - len(known)} samples have no label")
        return _Called(self, known)

    def __call__(self, pairs: Sequence[tuple[Outputs, Array]]) -> float:
        """Call the function.

        Raises:
            InputError: It raises, or does not return a finite number.
        """
        with attempt(f"running {self.name}"):
            value = self.function([out for out, _ in pairs], [label for _, label in pairs])
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = float("nan")
        if not np.isfinite(number):
            raise InputError(f"{self.name} returned {value!r:.80}", "return a finite number")
        return number


@dataclass(frozen=True, slots=True)
class _Called:
    """The outputs that a user's function scores; may not be repeated, it may compare them."""

    metric: UserMetric
    pairs: Sequence[tuple[Outputs, Array]]
    per_sample: None = None
    repeatable: bool = False

    def __len__(self) -> int:
        return len(self.pairs)

    def values(self, weights: Array) -> Array:
        """Call the function once for each row of weights; NaN where it cannot do with a part."""
        return np.array([self._value(row) for row in weights])

    def _value(self, row: Array) -> float:
        chosen = [pair for pair, weight in zip(self.pairs, row, strict=True) if weight]
        if len(chosen) == len(self.pairs):
            return self.metric(chosen)
        try:
            return self.metric(chosen)
        except InputError:
            return float("nan")  # a part may lack a class: then the interval is not known


def _first_mean(n: int) -> Callable[[Array], Array]:
    """The mean of n samples from the sums of one column."""

    def finish(sums: Array) -> Array:
        mean: Array = sums[:, 0] / n
        return mean

    return finish
