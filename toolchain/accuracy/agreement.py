"""Which measures an output is held to, and which losses steer the search, by its kind."""

from .counted import Changed, Exact, MapOverlap, SameSequence, Top1
from .divergence import Divergence
from .explained import Explained, Unexplained
from .kinds import Kind, OutputKind
from .measure import Measure


def agreement_measures(kind: OutputKind) -> list[tuple[str, Measure]]:
    """The named measures of which the worst decides how well an output of this kind agrees.

    Logits are held to their numbers as well: a regression in pixels looks like them, and its
    largest element need not move when all others do. For true logits this costs nothing, since
    small errors change more classes than variance.
    """
    explained: list[tuple[str, Measure]] = [("1 - FVU", part) for part in _explained(kind)]
    match kind.kind:
        case Kind.CLASSES:
            return [("top-1", Top1()), *([] if kind.probabilities else explained)]
        case Kind.SEQUENCE:
            return [("sequence", SameSequence(kind.common))]
        case Kind.MAP:
            return [("class map IoU", MapOverlap(kind.axis))]
        case Kind.DISCRETE:
            return [("exact", Exact())]
        case Kind.VALUES:
            return explained


def loss_measures(kind: OutputKind) -> list[Measure]:
    """The losses that are added up: smooth, but for discrete values, which have no such."""
    match kind.kind:
        case Kind.DISCRETE:
            return [Changed()]
        case Kind.VALUES | Kind.CLASSES if _explained(kind):
            # Variances of independent rounding errors add up, so the loss of a plan is near the
            # sum of its slots' losses; KL divergence is not that linear.
            return [Unexplained(part) for part in _explained(kind)]
        case _:
            return [Divergence(kind)]


def _explained(kind: OutputKind) -> list[Explained]:
    """Explained variance along each axis that may count channels."""
    return [Explained(axis, size, kind.one_unit) for axis, size in kind.channels]
