"""Better constants for a chosen plan, from samples without labels: rounding and biases."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

import numpy as np
import onnx_ir as ir

from ..accuracy.losses import Answers, Distance
from ..accuracy.samples import Samples, Subset, each
from ..engine import Array
from ..errors import InputError
from ..observe import OpenRunner
from ..plan import Plan
from ..progress import Progress, Silent
from ..search.bootstrap import simultaneous
from ..slots import SlotGraph
from .blocks import find_blocks
from .layers import Layer, find_layers
from .moments import Moments
from .rebuild import Rebuilder
from .rounding import Floats, Steps, Target, recovered
from .walk import Walk

_HELD = 4  # every so many-th sample judges, and is not fitted to
_FEWEST = 2  # samples: one to fit to, one to judge
_COARSE = 64  # integers: weights of more are rounded well enough layer by layer
_POSITIONS = 1024  # products of one sample that count at most; more say little that is new


class Writer(Protocol):
    """Writes plans of one model, as `PlanWriter` does."""

    model: ir.Model
    slots: SlotGraph

    def write(self, plan: Plan) -> ir.Model:
        """The deploy graph of a plan."""
        ...

    def recovered(self, constants: Mapping[str, Array]) -> Self:
        """A writer whose graphs hold these constants, by the name of the initialiser."""
        ...


@dataclass(frozen=True, slots=True)
class Effort:
    """What is done, and how thoroughly.

    Attributes:
        samples: At most so many are used, a quarter of them to judge.
        rounding: Whether integers of weights are chosen.
        bias: Whether biases are.
        updates: Of the integers and biases of each block together, after those of its layers, where
            weights have 6 bits or fewer; 0 for none.
    """

    samples: int = 48
    rounding: bool = True
    bias: bool = True
    updates: int = 0


BIAS = Effort(rounding=False)
FAST = Effort()
FULL = Effort(samples=128, updates=300)


@dataclass(frozen=True, slots=True)
class Fitted:
    """One layer.

    Attributes:
        name: Of its node.
        before: Mean squared error of its output on samples that were not fitted to.
        after: With its constants recovered.
    """

    name: str
    before: float
    after: float

    @property
    def kept(self) -> bool:
        """Whether the recovered constants are better."""
        return self.after < self.before


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a recovery found.

    Attributes:
        constants: Arrays for `PlanWriter.recovered`; empty where nothing helps.
        layers: Every layer that was looked at.
        blocks: Every block, where what was fitted to them is in the constants.
        note: Why it is not, though that was asked for.
        before: Distance of the model's outputs from the original's, on samples that were not
            fitted to (KL divergence of classes, unexplained variance of values).
        after: With the constants that were found.
    """

    constants: Mapping[str, Array]
    layers: tuple[Fitted, ...]
    before: float
    after: float
    blocks: tuple[Fitted, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Recovery:
    """A plan whose constants are to be recovered.

    Attributes:
        writer: Writes it so that `open_runner` runs it.
        plan: The plan.
        samples: Unlabelled samples, such as those of the calibration.
        open_runner: Opens a graph.
        progress: Told of each part.
    """

    writer: Writer
    plan: Plan
    samples: Samples
    open_runner: OpenRunner
    progress: Progress = field(default_factory=Silent)

    def run(self, effort: Effort = FAST) -> Recovered:
        """Recover layer after layer, then block after block, and keep what is better.

        What is better is said by samples that were not fitted to. Blocks must be so beyond chance:
        they have more freedom than layers to suit the samples that they are fitted to.

        Raises:
            InputError: There are fewer than two samples.
        """
        splits = self._parted(effort.samples)
        constants, fitted = self._fit(splits, effort)
        plain, better = self._distances(splits[1], {}, constants)
        before, after = float(plain.mean()), float(better.mean())
        if after >= before:  # layers gained, the model did not
            constants, after = {}, before
        found = Recovered(constants, tuple(fitted), before, after)
        return self._rebuilt(found, splits, effort.updates) if effort.updates else found

    def _rebuilt(
        self, found: Recovered, splits: tuple[Samples, Samples], updates: int
    ) -> Recovered:
        """What was found layer by layer, and blocks fitted on top of it if surely better."""
        try:
            constants, blocks = self._rebuild(splits, found.constants, updates)
        except InputError as cause:  # what torch cannot run stays as it is
            return replace(found, note=f"not fitted block by block: {cause.message}")
        if not blocks:
            return found
        alone, after = self._distances(splits[1], found.constants, constants)
        if _surely_less(after, alone):
            return replace(found, constants=constants, after=float(after.mean()), blocks=blocks)
        note = f"fitted block by block, {found.after:.3g} would have become {after.mean():.3g}"
        return replace(found, note=f"{note}, which is not surely better: not taken")

    def _fit(
        self, splits: tuple[Samples, Samples], effort: Effort
    ) -> tuple[dict[str, Array], list[Fitted]]:
        """The constants of each layer that fit better, given those of all layers before it."""
        model, written = self.writer.model, self.writer.write(self.plan)
        layers = find_layers(model, self.writer.slots, self.plan, written)
        feeds = [sample.feeds for part in splits for sample in each(part)]
        real = Walk(written, feeds, [layer.read for layer in layers], self.open_runner)
        exact = Walk(model, feeds, [layer.written for layer in layers], self.open_runner)
        constants: dict[str, Array] = {}
        fitted: list[Fitted] = []
        with self.progress.stage("recover layers", len(layers)) as step:
            for layer in layers:
                pairs = list(zip(real.to(layer.read), exact.to(layer.written), strict=True))
                own = len(splits[0])
                learn, hold = _moments(layer, pairs[:own]), _moments(layer, pairs[own:])
                better, result = recover_layer(layer, learn, hold, effort)
                for name, array in better.items():
                    written.graph.initializers[name].const_value = ir.tensor(array, name=name)
                constants |= better
                fitted.append(result)
                step()
        return constants, fitted

    def _rebuild(
        self, splits: tuple[Samples, Samples], constants: Mapping[str, Array], updates: int
    ) -> tuple[dict[str, Array], tuple[Fitted, ...]]:
        """All constants after those of each block were fitted together."""
        writer = self.writer.recovered(constants)
        model, written = writer.model, writer.write(self.plan)
        found = find_layers(model, writer.slots, self.plan, written)
        layers = [layer for layer in found if layer.grid.free.any() and _coarse(layer)]
        blocks = find_blocks(model, written, layers)
        feeds = [sample.feeds for part in splits for sample in each(part)]
        rebuilder = Rebuilder(model, written, self.open_runner, updates, self.progress)
        rebuilt = list(rebuilder.run(blocks, feeds, len(splits[0])))
        made = {name: array for block in rebuilt for name, array in block.constants.items()}
        fitted = tuple(Fitted(block.name, block.before, block.after) for block in rebuilt)
        return {**constants, **made}, fitted

    def _parted(self, most: int) -> tuple[Samples, Samples]:
        """Samples to fit to, and others to judge."""
        total = len(self.samples)
        if total < _FEWEST:
            raise InputError(
                f"{total} samples: recovery fits to some and judges on others",
                "give at least two, better 64, with --data",
            )
        chosen = np.linspace(0, total - 1, min(most, total)).round().astype(int).tolist()
        judge = chosen[1::_HELD]
        fit = [index for index in chosen if index not in set(judge)]
        return Subset(self.samples, fit), Subset(self.samples, judge)

    def _distances(self, judge: Samples, *several: Mapping[str, Array]) -> list[Array]:
        """Distance of each sample's outputs from the original's, with each of some constants."""
        original = self.open_runner(self.writer.model)
        rows = [original(sample.feeds) for sample in each(judge)]
        distance = Distance.of(rows).bind(Answers(rows, [None] * len(rows)))

        def measured(constants: Mapping[str, Array]) -> Array:
            run = self.open_runner(self.writer.recovered(constants).write(self.plan))
            return distance(run(sample.feeds) for sample in each(judge))

        return [measured(constants) for constants in several]


def _surely_less(new: Array, old: Array) -> bool:
    """Whether the mean fell, beyond chance, from that of the same samples."""
    gains = old - new
    if not np.isfinite(gains).all():
        return False
    (low,), _ = simultaneous(gains[None], np.random.default_rng(0))
    return bool(low > 0.0)


def recover_layer(
    layer: Layer, learn: Moments, hold: Moments, effort: Effort
) -> tuple[dict[str, Array], Fitted]:
    """The constants that are best on `hold` of those fitted to `learn`, by initialiser; or none."""
    found = list(_candidates(layer, learn, effort))
    errors = [_error(layer, hold, *candidate) for candidate in found]
    best = int(np.argmin(errors))
    result = Fitted(layer.name, errors[0], errors[best])
    if best == 0:
        return {}, result
    steps, bias = found[best]
    constants = {layer.weight: layer.constant(steps)} if steps is not layer.grid.steps else {}
    if layer.bias is not None:
        constants[layer.bias.name] = layer.bias.constant(bias)
    return constants, result


def _candidates(layer: Layer, learn: Moments, effort: Effort) -> Iterator[tuple[Steps, Floats]]:
    """Integers and biases: first those that are there."""
    grid, free_bias = layer.grid, effort.bias and layer.bias is not None
    yield grid.steps, layer.offset
    if free_bias:
        yield grid.steps, _held(layer, learn.bias(grid.weight))
    if effort.rounding and grid.free.any():
        square, cross = learn.centred() if free_bias else learn.given(layer.offset)
        steps = recovered(grid, Target.of(square, cross, layer.original))
        bias = learn.bias(steps * grid.scale) if free_bias else layer.offset
        yield steps, _held(layer, bias)


def _coarse(layer: Layer) -> bool:
    """Whether rounding a layer's weights leaves enough for its block to make up for."""
    return layer.grid.high - layer.grid.low < _COARSE


def _held(layer: Layer, bias: Floats) -> Floats:
    return bias if layer.bias is None else layer.bias.held(bias)


def _error(layer: Layer, hold: Moments, steps: Steps, bias: Floats) -> float:
    return float(hold.error(steps * layer.grid.scale, bias).mean())


def _moments(layer: Layer, pairs: Sequence[tuple[Array, Array]]) -> Moments:
    """Of what a layer reads and should write, sample by sample."""
    moments = Moments()
    for index, (x, y) in enumerate(pairs):
        chosen = np.random.default_rng(index).permutation(layer.positions(y))[:_POSITIONS]
        moments.add(layer.rows(x, y, chosen))
    return moments
