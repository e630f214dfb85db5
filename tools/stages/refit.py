"""Stage 3b: better constants for a plan that is about to be built: roundings, biases, weights."""

from dataclasses import dataclass, replace

import onnx_ir as ir

from ...backends import ort
from ...toolchain.accuracy.evaluator import Reference, measure
from ...toolchain.accuracy.metric import Metric
from ...toolchain.accuracy.samples import Samples
from ...toolchain.plan import Plan, Precision
from ...toolchain.progress import Progress
from ...toolchain.recovery.recover import FAST, FULL, Effort, Recovered
from ...toolchain.recovery.recover import Recovery as Rounding
from .decide import Decisions
from .recover import Recovery

_ROUNDED = frozenset({Precision.INT8, Precision.INT4})


@dataclass(frozen=True, slots=True, eq=False)
class Refit:
    """Fits constants to plans, and trains weights for them where that is asked for.

    Attributes:
        samples: To fit to, without labels: those of the calibration; none: nothing is fitted.
        recovery: Trains.
        judge: Data that nothing is fitted to, with the original's outputs.
        metric: What counts.
        threads: Of one inference.
        progress: Told of each layer and step.
        full: Whether there is time to fit blocks, after layers.
    """

    samples: Samples
    recovery: Recovery
    judge: Reference
    metric: Metric
    threads: int
    progress: Progress
    full: bool = False

    def fitted(self, decisions: Decisions, plan: Plan) -> tuple[Decisions, tuple[str, ...]]:
        """Decisions that are written with the better constants, and what that won back."""
        fitted, notes = decisions, tuple[str, ...]()
        if len(self.samples):
            fitted, notes = refitted(
                decisions, plan, self.samples, self.progress, effort=FULL if self.full else FAST
            )
        trained = self.recovery.rounded(decisions, plan)
        if trained is None:
            return fitted, notes
        before, after = self._drop(fitted, plan), self._drop(trained, plan)
        note = (
            f"training with the plan's rounding: a drop of {before:.2%} became {after:.2%} on "
            f"{len(self.judge)} samples that were not trained on"
        )
        self.progress.note(note)
        if after < before:
            return trained, (note,)
        return fitted, (*notes, f"{note}: not taken")

    def _drop(self, decisions: Decisions, plan: Plan) -> float:
        return measure(decisions.simulate(plan, self.threads), self.judge, self.metric).drop.value


def refitted(
    decisions: Decisions,
    plan: Plan,
    samples: Samples,
    progress: Progress,
    *,
    effort: Effort = FAST,
) -> tuple[Decisions, tuple[str, ...]]:
    """Decisions that are written with constants fitted to a plan, and what that won back.

    Args:
        decisions: What there is to decide.
        plan: What was decided.
        samples: To fit to, without labels: those of the calibration.
        progress: Told of each layer and block.
        effort: How thoroughly.
    """
    if not any(choice.precision in _ROUNDED for _, choice in plan.choices):
        return decisions, ()
    own = decisions.simulator.dialect.name == ort.Ort.name

    def open_runner(model: ir.Model) -> ort.Session:
        return ort.Session(model, ort.Options(threads=1, integers=own))

    found = Rounding(decisions.simulator, plan, samples, open_runner, progress).run(effort)
    notes = tuple(filter(None, (_note(found), found.note)))
    if not found.constants:
        return decisions, notes
    return replace(
        decisions,
        writer=decisions.writer.recovered(found.constants),
        simulator=decisions.simulator.recovered(found.constants),
    ), notes


def _note(found: Recovered) -> str:
    """What was fitted, and what that won back."""
    if not found.constants:
        return "rounding and biases: nothing better was found"
    counts = [
        f"{sum(one.kept for one in fitted)} of {len(fitted)} {what}"
        for what, fitted in (("layers", found.layers), ("blocks", found.blocks))
        if fitted
    ]
    return (
        f"rounding and biases of {' and '.join(counts)} were fitted: the distance from the "
        f"original fell from {found.before:.3g} to {found.after:.3g} on samples that were not "
        "fitted to"
    )
