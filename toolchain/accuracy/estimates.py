"""Sensitivities without building a plan: methods by name, each a table like the measured one."""

from collections.abc import Callable, Collection, Mapping, Sequence
from enum import StrEnum

import numpy as np

from ..progress import Progress
from .derivatives import Derivatives, derivatives
from .evaluator import Reference
from .perturbation import Rounding, Table
from .proxies import noise, propagated


class Estimate(StrEnum):
    """How a sensitivity is estimated."""

    NOISE = "noise"  # 1 / SQNR of the slot's output
    PROPAGATED = "propagated"  # the same, as far as it reaches the model's outputs
    GRADIENT = "gradient"
    FISHER = "fisher"
    SNIP = "snip"
    HESSIAN = "hessian"
    COMPOSITE = "composite"  # geometric mean of propagated noise, Fisher, SNIP and Hessian


_FROM_NUMBERS: dict[Estimate, Callable[[Rounding], Table]] = {
    Estimate.NOISE: noise,
    Estimate.PROPAGATED: propagated,
}
_FROM_DERIVATIVES: dict[Estimate, Callable[[Rounding, Derivatives], Table]] = {
    Estimate.GRADIENT: lambda _, found: found.gradient,
    Estimate.FISHER: lambda _, found: found.fisher,
    Estimate.SNIP: lambda _, found: found.snip,
    Estimate.HESSIAN: lambda _, found: found.hessian,
    Estimate.COMPOSITE: lambda rounding, found: composite(
        [propagated(rounding), found.fisher, found.snip, found.hessian]
    ),
}
NEED_TORCH = frozenset(_FROM_DERIVATIVES)


def estimate(
    methods: Collection[Estimate],
    rounding: Rounding,
    reference: Reference,
    *,
    count: int = 16,
    progress: Progress | None = None,
) -> Mapping[Estimate, Table]:
    """Estimate the sensitivity of every slot and choice; derivatives are taken once for all.

    Args:
        methods: Which ones; without any of `NEED_TORCH` neither torch nor data is touched.
        rounding: The model and what its choices do.
        reference: Samples with the original's outputs.
        count: How many of them derivatives are taken of.
        progress: Told of each sample.

    Returns:
        Tables, shape (slots, most choices): 0 for fp32 and for slots that only move numbers, NaN
        where a slot has no such choice. Each method has a scale of its own; for all but SNIP and
        the composite, sums over slots mean something.

    Raises:
        InputError: As `derivatives` does.
    """
    tables = {
        method: _FROM_NUMBERS[method](rounding) for method in methods if method in _FROM_NUMBERS
    }
    wanted = [method for method in methods if method in NEED_TORCH]
    if wanted:
        found = derivatives(rounding, reference, count=count, progress=progress)
        tables |= {method: _FROM_DERIVATIVES[method](rounding, found) for method in wanted}
    return tables


def composite(tables: Sequence[Table]) -> Table:
    """The geometric mean of tables of different scales: 0 where one of them is 0."""
    with np.errstate(divide="ignore"):
        mean: Table = np.exp(np.mean([np.log(table) for table in tables], axis=0))
    return mean
