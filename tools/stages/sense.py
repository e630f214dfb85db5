"""How much each choice of each slot loses by itself: measured, or estimated without running it."""

from enum import StrEnum
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ...passes.apply import PlanWriter
from ...passes.rounded import rounded_constants
from ...toolchain.accuracy.estimates import NEED_TORCH, Estimate, estimate
from ...toolchain.accuracy.judge import Judge
from ...toolchain.accuracy.perturbation import Activations, Rounding, Table
from ...toolchain.accuracy.proxies import propagated
from ...toolchain.accuracy.sensitivity import judged
from ...toolchain.errors import InputError
from ...toolchain.progress import Progress
from ...toolchain.slots import SlotGraph


class How(StrEnum):
    """Where sensitivities come from; all but `measured` take no evaluation."""

    AUTO = "auto"  # Fisher, or propagated noise where no derivative can be had
    MEASURED = "measured"  # every choice is run by itself
    NOISE = Estimate.NOISE
    PROPAGATED = Estimate.PROPAGATED
    GRADIENT = Estimate.GRADIENT
    FISHER = Estimate.FISHER
    SNIP = Estimate.SNIP
    HESSIAN = Estimate.HESSIAN
    COMPOSITE = Estimate.COMPOSITE


class Space(Protocol):
    """What may be chosen, as `PlanSpace` and `Decisions` hold it."""

    @property
    def slots(self) -> SlotGraph:
        """The slots."""
        ...

    @property
    def writer(self) -> PlanWriter:
        """Writes plans for the device."""
        ...

    @property
    def activations(self) -> Activations:
        """What calibration says of the tensors."""
        ...


def sense(
    space: Space,
    judge: Judge,
    *,
    how: How,
    progress: Progress,
    wanted: npt.NDArray[np.bool_] | None = None,
) -> Table:
    """Find the sensitivity of every slot and choice.

    Where a derivative is asked for and cannot be had, propagated noise takes its place, and a note
    says so: torch or the extra `gradients` is not installed, an operator has no torch form, or no
    output has a derivative.

    Args:
        space: The slots, and what is known of them.
        judge: Has the samples with the original's outputs, and judges plans where these are run.
        how: Where the figures come from.
        progress: Told of each step.
        wanted: Which choices to measure, shape (slots, most choices); None measures all.

    Returns:
        Shape (slots, most choices): 0 for fp32 and for slots that only move numbers, infinite where
        the backend refuses a choice, NaN where a slot has no such choice or
        it was not measured.
    """
    if how is How.MEASURED:
        return judged(judge, space.slots, wanted=wanted, progress=progress)
    dialect = space.writer.dialect
    rounded = partial(rounded_constants, dialect=dialect)
    rounding = Rounding(space.writer.model, space.slots, dialect, space.activations, rounded)
    method = Estimate.FISHER if how is How.AUTO else Estimate(how)
    try:
        return estimate([method], rounding, judge.reference, progress=progress)[method]
    except InputError as cause:
        if method not in NEED_TORCH:
            raise
        progress.note(f"no derivatives, so propagated noise instead: {cause.message}")
    return propagated(rounding)
