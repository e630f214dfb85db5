"""The methods, and which weights each can take apart."""

from typing import Protocol

from ..errors import InputError
from .cp import Cp
from .factors import Factorisation, Floats, Form, Method, Ranks
from .hierarchical import Hierarchical
from .spatial import Spatial
from .svd import Svd
from .tucker import Tucker

_PLANE = 4  # axes of a convolution's weight over two spatial axes


class Decomposition(Protocol):
    """One weight as a method sees it, to be cut off at ranks."""

    @property
    def method(self) -> Method:
        """How it is factorised."""
        ...

    @property
    def full(self) -> Ranks:
        """The ranks at which nothing is lost."""
        ...

    @property
    def spectra(self) -> tuple[Floats, ...]:
        """Singular values for each rank, largest first; empty where there are none."""
        ...

    def forms(self, ranks: Ranks) -> tuple[tuple[Form, ...], ...]:
        """What the factors look like, by branch."""
        ...

    def truncate(self, ranks: Ranks) -> Factorisation:
        """The factors of these ranks, each at most the full one."""
        ...


def methods_of(shape: tuple[int, ...]) -> tuple[Method, ...]:
    """The methods that can do something for a weight of shape (out, in, *kernel)."""
    kernel = shape[2:]
    if all(size == 1 for size in kernel):
        return (Method.SVD,)
    found = [Method.SVD, Method.TUCKER, Method.CP]
    if len(shape) == _PLANE and min(kernel) > 1:
        found += [Method.SPATIAL, Method.HIERARCHICAL]
    return tuple(found)


def decompose(weight: Floats, method: Method, moments: Floats | None = None) -> Decomposition:
    """Look at a weight as a method sees it.

    Args:
        weight: Shape (out, in, *kernel); a matrix has no kernel.
        method: One of `methods_of` its shape.
        moments: Mean of x x' over the inputs x of one position, shape (in * taps,) twice, the taps
            last: SVD then loses least of the outputs; other methods have no closed form for it.
    """
    match method:
        case Method.SVD:
            return Svd.of(weight, moments)
        case Method.SPATIAL:
            return Spatial.of(weight)
        case Method.TUCKER:
            return Tucker.of(weight)
        case Method.CP:
            return Cp.of(weight)
        case Method.HIERARCHICAL:
            return Hierarchical.of(weight)


def factorise(decomposition: Decomposition, ranks: Ranks, *, node: str) -> Factorisation:
    """The factors of given ranks.

    Args:
        decomposition: Of the weight.
        ranks: One for each of its full ranks; 0 leaves out a level of a hierarchy.
        node: The name of the node, for what is said where they are refused.

    Raises:
        InputError: There are too few or too many ranks, one is above the full rank of the weight,
            or they leave nothing.
    """
    full, method = decomposition.full, decomposition.method
    given, most = ", ".join(map(str, ranks)), ", ".join(map(str, full))
    if len(ranks) != len(full):
        message = f"{node}: {method} takes {len(full)} ranks, not {len(ranks)}"
        raise InputError(message, f"give one for each of the full ranks {most}")
    if any(rank > limit for rank, limit in zip(ranks, full, strict=True)):
        message = f"{node}: rank {given} is above the full rank {most} of its weight"
        raise InputError(message, "give a smaller rank, or leave the node whole")
    least = 0 if method is Method.HIERARCHICAL else 1
    if min(ranks) < least or not decomposition.forms(ranks):
        message = f"{node}: rank {given} leaves nothing of its weight"
        raise InputError(message, "give ranks of 1 or more, or leave the node whole")
    return decomposition.truncate(ranks)
