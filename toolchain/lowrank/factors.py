"""What stands for a weight once it is factorised: chains of small convolutions that add up."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Shape = tuple[int, ...]
Ranks = tuple[int, ...]


class Method(StrEnum):
    """How a weight is factorised."""

    SVD = "svd"
    SPATIAL = "spatial"
    TUCKER = "tucker"
    CP = "cp"
    HIERARCHICAL = "hierarchical"


@dataclass(frozen=True, slots=True)
class Form:
    """What a factor looks like, before its numbers are known.

    Attributes:
        shape: Of its weight: (out, in / groups, *kernel); a matrix has no kernel.
        axes: The spatial axes whose stride, padding and dilation it takes over from the original,
            counted from 0; along the others its kernel is 1 wide and moves by one.
        groups: Groups of channels that do not mix.
    """

    shape: Shape
    axes: tuple[int, ...] = ()
    groups: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """One small convolution, or matrix product, without bias.

    Attributes:
        form: What it looks like.
        weight: Shape `form.shape`.
    """

    form: Form
    weight: Floats

    def after(self, before: Floats) -> Floats:
        """The weight of what `before` computes, and then this factor.

        Args:
            before: Shape (in, inputs of the chain, *kernel), one wide where this one is wider.

        Returns:
            Shape (out, inputs of the chain, *kernel).
        """
        groups = self.form.groups
        own, other = _taps_first(self.weight), _taps_first(before)
        own = own.reshape(*own.shape[:-2], groups, -1, own.shape[-1])
        other = other.reshape(*other.shape[:-2], groups, -1, other.shape[-1])
        made = own @ other
        made = made.reshape(*made.shape[:-3], -1, made.shape[-1])
        return np.moveaxis(made, (-2, -1), (0, 1))


@dataclass(frozen=True, slots=True, eq=False)
class Factorisation:
    """A sum of chains that stands for a weight.

    Attributes:
        method: Where it comes from.
        ranks: What it was asked for.
        branches: Each a chain of factors, the one that reads the input first.
    """

    method: Method
    ranks: Ranks
    branches: tuple[tuple[Factor, ...], ...]

    @classmethod
    def of(
        cls, method: Method, ranks: Ranks, forms: Sequence[Form], arrays: Sequence[Floats]
    ) -> "Factorisation":
        """One chain."""
        pairs = zip(forms, arrays, strict=True)
        chain = tuple(Factor(form, array.reshape(form.shape)) for form, array in pairs)
        return cls(method, ranks, (chain,))

    @property
    def forms(self) -> tuple[tuple[Form, ...], ...]:
        """What the factors look like, by branch."""
        return tuple(tuple(factor.form for factor in chain) for chain in self.branches)

    def weight(self) -> Floats:
        """The weight that it computes with, shape (out, in, *kernel)."""
        total: Floats = np.asarray(sum(_product(chain) for chain in self.branches))
        return total


@dataclass(frozen=True, slots=True)
class Whole:
    """A node as it is before it is factorised.

    Attributes:
        node: Its name.
        shape: Of its weight: (out, in, *kernel); a matrix has no kernel.
        read: Positions of the input: sizes of its spatial axes; of a matrix product, how many
            vectors it multiplies, as one number.
        written: The same of the output.
    """

    node: str
    shape: Shape
    read: Shape
    written: Shape

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return math.prod(self.shape) * math.prod(self.written)

    def macs_of(self, branches: Iterable[Sequence[Form]]) -> int:
        """Multiply-accumulates of one inference, with factors in its place."""
        return sum(self._chain(chain) for chain in branches)

    def _chain(self, chain: Sequence[Form]) -> int:
        """A factor shrinks the axes that it takes over; those before it see them as they are."""
        sizes, total = list(self.read), 0
        for form in chain:
            for axis in form.axes:
                sizes[axis] = self.written[axis]
            total += math.prod(form.shape) * math.prod(sizes)
        return total


def _product(chain: Sequence[Factor]) -> Floats:
    first, *rest = chain
    weight = first.after(_identity(first))
    for factor in rest:
        weight = factor.after(weight)
    return weight


def _identity(first: Factor) -> Floats:
    inputs = first.form.shape[1] * first.form.groups
    return np.eye(inputs).reshape(inputs, inputs, *[1] * (len(first.form.shape) - 2))


def _taps_first(weight: Floats) -> Floats:
    """Shape (*kernel, out, in): numpy then multiplies all taps at once."""
    return np.moveaxis(weight, (0, 1), (-2, -1))
