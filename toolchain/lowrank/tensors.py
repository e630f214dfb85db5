"""Tensor decompositions: the one place that knows tensorly."""

from contextlib import AbstractContextManager
from types import ModuleType

import numpy as np

from ..errors import InputError
from .factors import Floats

_SEED = 0  # of columns that start at random, where a rank is above a dimension
_ROUNDS = 200
_TOLERANCE = 1e-7  # change of the relative error at which a fit has settled
_RIDGE = 3e-4  # of a tensor of norm 1: components that cancel each other cost something
_LEAST_RIDGE = 1e-10  # keeps parallel components solvable
_LAST_ROUNDS = 20  # without the ridge: it keeps a fit from being exact


def partial_tucker(
    tensor: Floats, ranks: tuple[int, ...], modes: tuple[int, ...]
) -> tuple[Floats, list[Floats]]:
    """Core and orthonormal factors of the modes, by higher-order orthogonal iteration.

    Raises:
        InputError: tensorly is not installed.
    """
    if not tensor.any():  # nothing to settle on: tensorly divides by its norm
        pairs = tuple(zip(modes, ranks, strict=True))
        factors = [np.eye(tensor.shape[mode], rank) for mode, rank in pairs]
        for mode, rank in pairs:
            tensor = tensor.take(range(rank), axis=mode)
        return tensor, factors
    tensorly, numpy_inside = _tensorly()
    with numpy_inside:
        (core, factors), _ = tensorly.decomposition.partial_tucker(
            tensor, list(ranks), list(modes), n_iter_max=_ROUNDS, tol=_TOLERANCE, random_state=_SEED
        )
    return core, factors


def parafac(tensor: Floats, rank: int) -> list[Floats]:
    """A factor of shape (size, rank) for each mode, by alternating least squares.

    Raises:
        InputError: tensorly is not installed.
    """
    scale = float(np.linalg.norm(tensor))
    if not scale:
        return [np.zeros((size, rank)) for size in tensor.shape]
    factors = _start(tensor / scale, rank)
    tensorly, numpy_inside = _tensorly()
    with numpy_inside:
        for ridge, rounds in ((_RIDGE, _ROUNDS), (_LEAST_RIDGE, _LAST_ROUNDS)):
            _, factors = tensorly.decomposition.parafac(
                tensor / scale,
                rank,
                n_iter_max=rounds,
                tol=_TOLERANCE,
                init=(None, factors),
                l2_reg=ridge,
            )
    return _balanced(factors, scale)


def _tensorly() -> tuple[ModuleType, AbstractContextManager[None]]:
    """The library, and a context in which it computes with numpy."""
    try:
        import tensorly  # noqa: PLC0415 - optional, and only where it is used
        import tensorly.decomposition  # noqa: PLC0415
    except ImportError as cause:
        hint = "pip install 'hwc-compiler[lowrank]', or factorise by svd or spatial"
        raise InputError("Tucker and CP need tensorly, which is not installed", hint) from cause
    return tensorly, tensorly.backend_context("numpy", local_threadsafe=True)


def _start(tensor: Floats, rank: int) -> list[Floats]:
    """The first singular vectors of each unfolding, and random columns where there are too few.

    tensorly's own start asks for more vectors than there are, and warns of it.
    """
    rng = np.random.default_rng(_SEED)
    factors = []
    for mode, size in enumerate(tensor.shape):
        rows = np.moveaxis(tensor, mode, 0).reshape(size, -1)
        left, _, _ = np.linalg.svd(rows, full_matrices=False)
        more = rng.standard_normal((size, max(0, rank - left.shape[1]))) / np.sqrt(size)
        factors.append(np.concatenate([left[:, :rank], more], axis=1))
    return factors


def _balanced(factors: list[Floats], scale: float) -> list[Floats]:
    """The same components, each of equal weight in all factors."""
    sizes = [np.linalg.norm(factor, axis=0) for factor in factors]
    level = (scale * np.prod(sizes, axis=0)) ** (1 / len(factors))
    pairs = zip(factors, sizes, strict=True)
    return [factor * (level / np.where(size, size, 1.0)) for factor, size in pairs]
