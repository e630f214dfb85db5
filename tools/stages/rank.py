"""Which channels matter, by the criterion that was asked for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from ...toolchain.accuracy.evaluator import Reference
from ...toolchain.engine import Array
from ...toolchain.frontend.load import load_model
from ...toolchain.progress import Progress, Silent
from ...toolchain.structure.deviation import by_deviations
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
    """What ranks the units of groups."""
    how = Importance(begun.request.importance)
    samples = begun.prepared.splits.calibrate
    if how is Importance.MOVEMENT:
        return Followed(_initial(begun))

    def scores(model: ir.Model, groups: Sequence[ChannelGroup]) -> Scores:
        if how in NEEDS_GRADIENTS:
            taught = Reference.of(reference(model), samples, "calibrate")
            return by_gradients(model, groups, how, reference=taught, progress=progress)
        if how is Importance.ACTIVATION:
            return by_activations(model, groups, samples, reference)
        if how is Importance.BN_SCALE:
            return by_deviations(model, groups, samples, reference)
        return by_weights(model, groups, how)

    return lambda model, groups: ranked(scores(model, groups))


@dataclass(slots=True, eq=False)
class Followed:
    """Ranks by movement once, and follows the units through what is cut after that.

    A graph that was cut no longer has the shapes of the one before training. What is cut is the end
    of the last ranking, and the units that are left keep their order of place.

    Attributes:
        initial: The graph before it was trained, after the same passes.
        scores: Of the units that were left when it last ranked, by group.
    """

    initial: ir.Model
    scores: dict[str, Array] = field(default_factory=dict)

    def __call__(self, model: ir.Model, groups: Sequence[ChannelGroup]) -> Mapping[str, Indices]:
        """The units of each group from the most important down."""
        first, order = not self.scores, ranked(self.scores)
        for group in groups:
            before = self.scores.get(group.name)
            if before is not None and len(before) >= group.units:
                kept = np.sort(order[group.name][: group.units])
                self.scores[group.name] = before[kept]
            else:  # named anew, since the branch that it was named after is gone
                how = Importance.MOVEMENT if first else Importance.L2
                self.scores |= by_weights(model, [group], how, initial=self.initial)
        return ranked({group.name: self.scores[group.name] for group in groups})


def _initial(begun: Compilation) -> ir.Model:
    """The network before it was trained, after the same passes."""
    request = begun.request
    model = load_model(str(request.initial), inputs=request.inputs, surgery=request.surgery)
    return rewrite(model, begun.target.dialect, Silent())[0]
