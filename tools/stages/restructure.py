"""Stage 1b: a smaller graph: channels left out and weights factorised, as far as the drop allows.

Structure is cut in stages, each a share of what is left. A stage searches for the cut that loses
least, wins back what it can, and is judged on data that it has not seen; one that loses too much is
undone, and half of it tried once. The first stage is made twice, with all that may go within reach,
and with whole branches alone: what loses less in the end is how it goes on.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

import onnx_ir as ir

from ...backends import ort
from ...toolchain.accuracy.evaluator import Reference, measure
from ...toolchain.accuracy.losses import choose_loss
from ...toolchain.observe import annotate
from ...toolchain.plan import NodeChoice
from ...toolchain.progress import Progress, Silent
from ...toolchain.report import Report, StageRow, StructureRow
from ...toolchain.search.problem import Objective
from ...toolchain.structure.remains import Extent, kept_channels
from ...toolchain.structure.site import Bill
from ..request import Recover
from .billing import Biller
from .compilation import Compilation
from .cut import Cut, Cutter, Reach
from .decide import reference
from .prepare import Prepared
from .rank import ranking
from .recover import Recovery
from .sites import SiteFinder, channel_multiple

STAGES = 12
SHARE = 0.85  # of the latency, or the size, that is left: what a stage aims at
HALF = (1.0 + SHARE) / 2


@dataclass(frozen=True, slots=True)
class State:
    """A model on its way.

    Attributes:
        model: The graph.
        bill: What it takes.
        drop: What it has lost of the metric.
        choices: What is left at each node that was changed: `keep` and `rank` of a choice.
    """

    model: ir.Model
    bill: Bill
    drop: float = 0.0
    choices: dict[str, NodeChoice] = field(default_factory=dict)

    def after(self, cut: Cut, model: ir.Model, drop: float) -> "State":
        """What it is after a cut."""
        choices = dict(self.choices)
        for node, choice in cut.choices.items():
            before = choices.get(node, NodeChoice())
            choices[node] = replace(
                before,
                keep=before.keep * choice.keep,
                rank=choice.rank or before.rank,
                factors=choice.factors or before.factors,
            )
        return State(model, cut.bill, drop, choices)


@dataclass(frozen=True, slots=True)
class _Trial:
    """A cut that was tried, and what came of it.

    Attributes:
        reach: What might go.
        cut: What went.
        state: The model, recovered.
    """

    reach: Reach
    cut: Cut
    state: State


@dataclass(frozen=True, slots=True)
class Structured:
    """What became of the structure.

    Attributes:
        model: The graph as it is now.
        choices: What is left at each node that was changed.
        stages: Every stage, also those that were undone.
        notes: What the user should know.
    """

    model: ir.Model
    choices: dict[str, NodeChoice] = field(default_factory=dict)
    stages: tuple[StageRow, ...] = ()
    notes: tuple[str, ...] = ()

    def undone(self, whole: ir.Model) -> "Structured":
        """The whole structure after all, since no plan of the smaller one passed the gate."""
        note = "structure: no plan of the smaller graph passed the gate: the whole one is compiled"
        return Structured(whole, stages=self.stages, notes=(*self.notes, note))

    def described(self, report: Report, prepared: Prepared) -> Report:
        """A report with the structure before and after, and how it came to that."""
        before, after = (
            annotate(model, reference, prepared.feeds) for model in (prepared.model, self.model)
        )
        extents = [asdict(Extent.of(model)) for model in (before, after)]
        return replace(
            report,
            original=replace(report.original, **extents[0]),
            compiled=replace(report.compiled, **extents[1]),
            structure=self._rows(before, after),
            stages=self.stages,
        )

    def _rows(self, before: ir.Model, after: ir.Model) -> tuple[StructureRow, ...]:
        """The nodes with a weight that were changed, in the order of the graph."""
        if not self.choices:
            return ()
        rows = []
        for node, keep in kept_channels(before, after).items():
            choice = self.choices.get(node, NodeChoice())
            if keep < 1.0 or choice.rank:
                rows.append(StructureRow(node, keep, choice.rank, choice.factors))
        return tuple(rows)


def restructured(
    begun: Compilation, regained: Recovery, judge: Reference, progress: Progress
) -> Structured:
    """What becomes of the structure of a model; nothing where no method may change it.

    Args:
        begun: The compilation.
        regained: Wins back what a cut lost.
        judge: Data that nothing is fitted to, with the original's outputs.
        progress: Told of each stage.
    """
    request, prepared, search = begun.request, begun.prepared, begun.search
    if not request.restructures:
        return Structured(prepared.model)
    with progress.stage("structure: what kernels take"):
        biller = Biller.fastest(begun, Silent())
    loss = choose_loss(begun.metric, search.outputs)
    fitted = prepared.splits.calibrate if request.recovery is not Recover.NONE else ()
    multiple = channel_multiple(begun.target.profile, biller.precision)
    ranks = ranking(begun, progress)
    finder = SiteFinder(prepared.feeds, multiple, request.methods, ranks, fitted)
    cutter = Cutter(request, finder, biller, search, loss, progress)
    return Restructuring(begun, cutter, biller, regained, judge, progress).run()


@dataclass(frozen=True, slots=True, eq=False)
class Restructuring:
    """The structure of one compilation.

    Attributes:
        begun: The compilation.
        cutter: Finds cuts.
        biller: Says what graphs take.
        recovery: Wins back what a cut lost.
        judge: Data that nothing is fitted to, with the original's outputs.
        progress: Told of each stage.
    """

    begun: Compilation
    cutter: Cutter
    biller: Biller
    recovery: Recovery
    judge: Reference
    progress: Progress

    def run(self) -> Structured:
        """Cut until a stage loses too much, the limits are met, or nothing is left to cut."""
        model = self.begun.prepared.model
        states = [State(model, self.biller.bill(model))]
        rows: list[StageRow] = []
        for share in (SHARE, HALF):
            reaches = tuple(Reach)
            while len(rows) < STAGES and not self._enough(states[-1].bill):
                trials = self._tried(states[-1], share, reaches)
                best = self._best(trials)
                rows.extend(self._row(trial, kept=trial is best) for trial in trials)
                if best is None:
                    break
                states.append(best.state)
                reaches = (best.reach,)
        end = self._finished(states, rows)
        return Structured(end.model, end.choices, tuple(rows), self.cutter.notes)

    def _tried(self, state: State, share: float, reaches: Sequence[Reach]) -> list[_Trial]:
        """A cut of a state within each reach, recovered."""
        trials: list[_Trial] = []
        for reach in reaches:
            cut = self.cutter.cut(
                state.model, state.bill, figure=self._figure(), share=share, reach=reach
            )
            if cut is None or any(cut.choices == trial.cut.choices for trial in trials):
                continue
            model = self.recovery.stage(cut.model)
            trials.append(_Trial(reach, cut, state.after(cut, model, self._drop(model))))
        return trials

    def _best(self, trials: Sequence[_Trial]) -> _Trial | None:
        """The one that loses least, if it may stay."""
        limit = self.begun.request.max_drop * self.recovery.patience
        best = min(trials, key=lambda trial: trial.state.drop, default=None)
        return best if best is not None and best.state.drop <= limit else None

    def _row(self, trial: _Trial, *, kept: bool) -> StageRow:
        """What is said of a cut."""
        bill, drop, name = trial.cut.bill, trial.state.drop, f"cut: {trial.reach}"
        verdict = "kept" if kept else "undone"
        self.progress.note(f"{name}: {bill.us:.0f} µs, drop {drop:.2%}: {verdict}")
        return StageRow(name, bill.us, bill.weights, trial.cut.loss, drop, kept=kept)

    def _finished(self, states: Sequence[State], rows: list[StageRow]) -> State:
        """The smallest model that keeps within the drop once all is won back that can be."""
        for state in reversed(states[1:]):
            model = self.recovery.final(state.model)
            drop = self._drop(model) if model is not state.model else state.drop
            kept = drop <= self.begun.request.max_drop
            bill = state.bill
            rows.append(StageRow("recovered", bill.us, bill.weights, None, drop, kept=kept))
            if kept:
                return replace(state, model=model, drop=drop)
        return states[0]

    def _drop(self, model: ir.Model) -> float:
        """What a model has lost of the metric."""
        runner = ort.Session(model, ort.Options(self.begun.request.threads))
        return measure(runner, self.judge, self.begun.metric).drop.value

    def _figure(self) -> Objective:
        """What is cut: the size where that is asked for, else the latency."""
        return (
            Objective.SIZE if self.begun.request.objective is Objective.SIZE else Objective.LATENCY
        )

    def _enough(self, bill: Bill) -> bool:
        """Whether there are limits, and they are met."""
        request, bits = self.begun.request, self.biller.precision.weight_bits
        limits = [
            (request.max_latency_ms and request.max_latency_ms * 1e3, bill.us),
            (request.max_size, bill.weights * bits / 8),
        ]
        asked = [(limit, have) for limit, have in limits if limit]
        return bool(asked) and all(have <= limit for limit, have in asked)
