"""Which channels matter, by the criterion that was asked for."""

from collections.abc import Callable, Mapping, Sequence

import onnx_ir as ir

from ...toolchain.accuracy.evaluator import Reference
from ...toolchain.errors import UsageError
from ...toolchain.frontend.load import load_model
from ...toolchain.progress import Progress, Silent
from ...toolchain.structure.evidence import by_activations, by_gradients
from ...toolchain.structure.groups import ChannelGroup, Indices
from ...toolchain.structure.importance import (
    NEEDS_GRADIENTS,
    Importance,
    Scores,
    by_weights,
    ranked,
)
from .compilation import Compilation
from .decide import reference
from .rewrite import rewrite

Ranking = Callable[[ir.Model, Sequence[ChannelGroup]], Mapping[str, Indices]]


def ranking(begun: Compilation, progress: Progress) -> Ranking:
    """What ranks the units of groups.

    Raises:
        UsageError: Movement is asked for, but not what there was before.
    """
    how, request = Importance(begun.request.importance), begun.request
    if (how is Importance.MOVEMENT) != (request.initial is not None):
        raise UsageError(
            "--importance movement compares with the weights before training",
            "give --initial MODEL with it, and only with it",
        )
    before = _initial(begun) if request.initial else None
    samples = begun.prepared.splits.calibrate

    def scores(model: ir.Model, groups: Sequence[ChannelGroup]) -> Scores:
        if how in NEEDS_GRADIENTS:
            taught = Reference.of(reference(begun.prepared.original), samples, "calibrate")
            return by_gradients(model, groups, how, reference=taught, progress=progress)
        if how is Importance.ACTIVATION:
            return by_activations(model, groups, samples, reference)
        return by_weights(model, groups, how, initial=before)

    return lambda model, groups: ranked(scores(model, groups))


def _initial(begun: Compilation) -> ir.Model:
    """The network before it was trained, after the same passes."""
    request = begun.request
    model = load_model(str(request.initial), inputs=request.inputs, surgery=request.surgery)
    return rewrite(model, begun.target.dialect, Silent())[0]
