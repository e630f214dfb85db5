"""Stage 3b: better constants for a plan that is about to be built: roundings and biases."""

from dataclasses import replace

import onnx_ir as ir

from ...backends import ort
from ...toolchain.accuracy.samples import Samples
from ...toolchain.plan import Plan, Precision
from ...toolchain.progress import Progress
from ...toolchain.recovery.recover import Recovery
from .decide import Decisions

_ROUNDED = frozenset({Precision.INT8, Precision.INT4})


def refitted(
    decisions: Decisions, plan: Plan, samples: Samples, progress: Progress
) -> tuple[Decisions, tuple[str, ...]]:
    """Decisions that are written with constants fitted to a plan, and what that won back.

    Args:
        decisions: What there is to decide.
        plan: What was decided.
        samples: To fit to, without labels: those of the calibration.
        progress: Told of each layer.
    """
    if not any(choice.precision in _ROUNDED for _, choice in plan.choices):
        return decisions, ()
    own = decisions.simulator.dialect.name == ort.Ort.name

    def open_runner(model: ir.Model) -> ort.Session:
        return ort.Session(model, ort.Options(threads=1, integers=own))

    found = Recovery(decisions.simulator, plan, samples, open_runner, progress).run()
    if not found.constants:
        return decisions, ("rounding and biases: nothing better was found",)
    kept = sum(layer.kept for layer in found.layers)
    note = (
        f"rounding and biases of {kept} of {len(found.layers)} layers were fitted: the distance "
        f"from the original fell from {found.before:.3g} to {found.after:.3g} on samples that were "
        "not fitted to"
    )
    return replace(
        decisions,
        writer=decisions.writer.recovered(found.constants),
        simulator=decisions.simulator.recovered(found.constants),
    ), (note,)
