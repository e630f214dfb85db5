"""Stage 1b: rewrites that compute the same in fp32, and of which 8 bits keep more.

Which of them helps cannot be said beforehand: cross-layer equalisation suits one network and hurts
the next. So each is judged by what int8 then loses, on samples that none of them was made from, and
the graph stays as it was unless one is better than that beyond chance.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from ...backends import ort
from ...passes.duplicates import MergeDuplicates
from ...passes.equalize import equalize
from ...passes.find_links import find_links
from ...passes.journal import Note, Noted
from ...passes.noops import remove_noops
from ...passes.smooth import insert_scales, smooth, smoothable, twin_norms
from ...toolchain.accuracy.evaluator import Reference
from ...toolchain.accuracy.losses import Answers, Distance
from ...toolchain.accuracy.samples import Samples, Subset, each
from ...toolchain.calibration import ChannelRanges, collect_channels
from ...toolchain.dialect import Dialect
from ...toolchain.engine import Array
from ...toolchain.observe import observer
from ...toolchain.plan import NodeChoice, Plan, Precision
from ...toolchain.progress import Progress, Silent
from ...toolchain.search.bootstrap import simultaneous
from ...toolchain.slots import SlotGraph
from ..request import Recover, Request
from .billing import Biller
from .compilation import Compilation
from .decide import PlanSpace, find_space, reference
from .prepare import Prepared
from .target import Target

PLAIN = "as it is"
ALPHAS: tuple[float | None, ...] = (0.3, 0.5, 0.7, None)
CALIBRATE, JUDGE = 32, 64  # samples
DEAREST = 1.02  # times the time of the plain graph
_INT8 = NodeChoice(Precision.INT8)

Judge = Callable[[ir.Model], Array]  # what int8 loses of each sample, shape (samples,)


@dataclass(frozen=True, slots=True)
class Trial:
    """One rewrite, judged.

    Attributes:
        name: What was done.
        loss: Mean over the samples.
        gain: How much less than the plain graph's that is.
        sure: Of how much of it one can be sure (95 %, all trials together).
    """

    name: str
    loss: float
    gain: float
    sure: float


@dataclass(frozen=True, slots=True, eq=False)
class Conditioned:
    """A graph that computes the same as before.

    Attributes:
        model: The graph; the very one that came in where nothing was better.
        chosen: What was done to it.
        notes: What was done to which node, and where it could not be.
        trials: All that was tried, the plain graph first.
    """

    model: ir.Model
    chosen: str
    notes: tuple[Note, ...]
    trials: tuple[Trial, ...]


@dataclass(frozen=True, slots=True)
class Int8Judge:
    """Says what is lost of each sample when all matrix products run in int8.

    The other kernels are the search's business: what they lose, no rewrite of weights changes.

    Attributes:
        request: What was asked.
        target: The device.
        prepared: The model with its data; calibration is done anew for each graph.
        samples: What it judges by, with the outputs of the original.
    """

    request: Request
    target: Target
    prepared: Prepared
    samples: Reference

    def __call__(self, model: ir.Model) -> Array:
        """Calibrate, quantise and run a graph of the same function."""
        space = self.space(model)
        run = ort.Session(space.simulator.write(in_int8(space.slots)), self._options())
        outputs = [run(sample.feeds) for sample in each(self.samples.samples)]
        rows = self.samples.outputs
        answers = Answers(rows, [None] * len(rows))
        return Distance.of(rows).bind(answers)(outputs)

    def space(self, model: ir.Model) -> PlanSpace:
        """What could be chosen, were this the model."""
        prepared = replace(self.prepared, model=model)
        return find_space(self.request, self.target, prepared, Silent())

    def _options(self) -> ort.Options:
        return ort.Options(threads=1, integers=self.target.dialect.name == ort.Ort.name)


def conditioned(begun: Compilation, progress: Progress) -> tuple[ir.Model, tuple[str, ...]]:
    """The model as 8 bits keep most of it, where it is to be recovered; and what was done to it.

    A rewrite may add kernels: one that takes longer than what it wins back is worth is left out.
    """
    request, target, prepared = begun.request, begun.target, begun.prepared
    if request.recovery is Recover.NONE or not prepared.real:
        return prepared.model, ()
    calibrate = _few(prepared.splits.calibrate, CALIBRATE)
    search = Reference.of(reference(prepared.original), _few(begun.search.samples, JUDGE), "search")
    few = replace(prepared, splits=replace(prepared.splits, calibrate=calibrate))
    judge = Int8Judge(request, target, few, search)
    plan = in_int8(judge.space(prepared.model).slots)
    if not any(choice == _INT8 for _, choice in plan.choices):
        return prepared.model, ()
    found = condition(
        prepared.model, calibrate, judge=judge, dialect=target.dialect, progress=progress
    )
    if found.model is prepared.model:
        return found.model, ()
    biller = Biller.fastest(begun, Silent())
    ratio = biller.bill(found.model).us / biller.bill(prepared.model).us
    if ratio > DEAREST:
        why = f"{found.chosen} would keep more in 8 bits, but take {ratio:.2f} times as long"
        return prepared.model, (why,)
    losses = f"{found.trials[0].loss:.3g} to {min(t.loss for t in found.trials):.3g}"
    return found.model, (f"{found.chosen}: the loss of 8 bits falls from {losses}",)


def _few(samples: Samples, most: int) -> Samples:
    """Evenly spaced samples, no more than so many."""
    count = min(most, len(samples))
    indices = np.linspace(0, len(samples) - 1, count).round().astype(int)
    return Subset(samples, np.unique(indices).tolist())


def in_int8(slots: SlotGraph) -> Plan:
    """The plan with int8 in every matrix product that may run in it."""
    return Plan.of(
        (slot.name, _INT8 if slot.work.macs and _INT8 in slot.choices else NodeChoice())
        for slot in slots.slots
    )


def condition(
    model: ir.Model, calibrate: Samples, *, judge: Judge, dialect: Dialect, progress: Progress
) -> Conditioned:
    """Try every rewrite, and keep the best where it is better than none beyond chance.

    Args:
        model: The graph after the graph passes; it is not changed.
        calibrate: Where the ranges of channels come from; the judge must have other samples.
        judge: What int8 loses with a graph.
        dialect: Of the graph.
        progress: Told of each trial.
    """
    names, models, losses = [PLAIN], [model], [judge(model)]
    notes = [find_links(model).skipped]
    with progress.stage("condition") as step:
        for name, made in _candidates(model, calibrate, dialect):
            names.append(name)
            models.append(made.model)
            notes.append(made.notes)
            losses.append(judge(made.model))
            step()
    gains = losses[0] - np.array(losses)
    sure, _ = simultaneous(gains, np.random.default_rng(0))
    trials = tuple(
        Trial(name, float(loss.mean()), float(gain.mean()), float(bound))
        for name, loss, gain, bound in zip(names, losses, gains, sure, strict=True)
    )
    for trial in trials:
        progress.note(f"condition: {trial.name}: loss {trial.loss:.3g}")
    best = max(range(len(trials)), key=lambda i: trials[i].gain if trials[i].sure > 0 else 0.0)
    return Conditioned(models[best], names[best], tuple(notes[best]), trials)


def _candidates(
    model: ir.Model, calibrate: Samples, dialect: Dialect
) -> Iterator[tuple[str, Noted]]:
    """Every rewrite that changes something, one at a time."""
    equal = equalize(model, dialect.opset_max)
    if equal.modified:
        yield "equalised", equal
    yield from _smoothed(model, "smoothed", calibrate, dialect, ALPHAS)
    twins = twin_norms(model, dialect.opset_max)
    if twins.modified:
        yield from _smoothed(twins.model, "smoothed with twins", calibrate, dialect, ALPHAS)
    scales = insert_scales(twins.model, dialect.opset_max)
    if scales.modified:
        yield from _smoothed(
            scales.model, "smoothed with more kernels", calibrate, dialect, (None,)
        )


def _smoothed(
    model: ir.Model,
    name: str,
    calibrate: Samples,
    dialect: Dialect,
    alphas: tuple[float | None, ...],
) -> Iterator[tuple[str, Noted]]:
    """The graph smoothed by each alpha, without the kernels that were added for nothing."""
    channels = ranges_of(model, calibrate)
    for alpha in alphas if channels else ():
        made = smooth(model, channels, opset_max=dialect.opset_max, alpha=alpha)
        if made.modified:
            MergeDuplicates(dialect)(made.model)
            remove_noops(dialect)(made.model)
            yield f"{name}, alpha {'by expected error' if alpha is None else alpha}", made


def ranges_of(model: ir.Model, samples: Samples) -> dict[str, ChannelRanges]:
    """The ranges of all channels that could be smoothed."""
    tensors = smoothable(model)
    return collect_channels(
        observer(model, list(tensors), reference),
        lambda: (sample.feeds for sample in each(samples)),
        tensors=tensors,
        progress=Silent(),
    )
