"""Integers and biases of a block's layers learnt together, through the rounding.

A number is kept for each weight, which is rounded on the way forward and changed by the gradient as
if it were not (Hubara et al. 2021, "Accurate post training quantization with small calibration
sets", section 3.1). What is minimised is the error of the whole block's output (Li et al. 2021,
"BRECQ", equation 10, without its weights). It begins where each layer by itself is best, and gives
the best that it saw: unlike soft rounding (Nagel et al. 2020, "AdaRound"), which needs thousands of
updates until every weight has come to an integer, it may end at any time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from ..engine import Array
from ..frontend.torch_graph import Tensor, TorchGraph, import_torch, tensors_of
from .layers import Layer
from .rounding import Floats, Steps

_RATE = 0.004  # of Adam, in units of a weight's step; it falls to 0 along a cosine
_BIAS_RATE = 1e-3  # in units of the output's size
_BATCH = 16  # samples
_LOOK = 25  # updates between two looks at the error on all samples
_TINY = 1e-12
_CELL = 0.3  # of a step: how far from its integer a number may begin; noise moves nearer ones over

Feeds = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Choice:
    """Integers and bias of a layer.

    Attributes:
        steps: Shape (groups, channels, depth).
        bias: Shape (groups, channels), as it is held; None where it has none of its own.
    """

    steps: Steps
    bias: Floats | None


@dataclass(frozen=True, slots=True, eq=False)
class Soft:
    """A layer whose weights are learnt.

    Attributes:
        layer: The layer.
        weight: Name of its weight in the original.
        bias: Name of its bias there; empty where it is not learnt.
        shape: Of that weight.
        flipped: Whether that weight has the channels last.
        number: Before rounding, in steps: what is learnt, shape (groups, channels, depth).
        shift: The bias, shape (groups, channels): what is learnt, too, where it has a name.
    """

    layer: Layer
    weight: str
    bias: str
    shape: tuple[int, ...]
    flipped: bool
    number: Tensor
    shift: Tensor

    @classmethod
    def of(
        cls, layer: Layer, *, weight: str, bias: str, shape: tuple[int, ...], flipped: bool
    ) -> Self:
        """A layer with the integers that it has, each as near the original as it rounds to it."""
        steps = layer.grid.steps
        near = np.clip(layer.original / layer.grid.scale, steps - _CELL, steps + _CELL)
        return cls(
            layer,
            weight,
            bias if layer.bias is not None else "",
            shape,
            flipped,
            _tensor(near).requires_grad_(),
            _tensor(layer.offset).requires_grad_(),
        )

    @property
    def learnt(self) -> tuple[Tensor, ...]:
        """Its bias, where that is learnt."""
        return (self.shift,) if self.bias else ()

    @property
    def steps(self) -> Tensor:
        """The integers now; the gradient goes through to the numbers that may change."""
        grid = self.layer.grid
        free, kept = _tensor(grid.free), _tensor(grid.steps)
        rounded = self.number.round().clamp(grid.low, grid.high)
        return free * (self.number + (rounded - self.number).detach()) + (1.0 - free) * kept

    def now(self) -> dict[str, Tensor]:
        """Weight and bias on their way, by name."""
        return self._named(self.steps, self.shift)

    def chosen(self) -> Choice:
        """What it has come to."""
        bias = self.layer.bias
        shift = self.shift.detach().double().numpy()
        return Choice(
            np.rint(self.steps.detach().numpy()).astype(np.int32),
            bias.held(shift) if self.bias and bias is not None else None,
        )

    def held(self) -> Choice:
        """What the written graph has."""
        return Choice(self.layer.grid.steps, self.layer.offset if self.bias else None)

    def at(self, choice: Choice) -> dict[str, Tensor]:
        """Weight and bias of a choice, by name."""
        bias = self.layer.offset if choice.bias is None else choice.bias
        return self._named(_tensor(choice.steps), _tensor(bias))

    def _named(self, steps: Tensor, shift: Tensor) -> dict[str, Tensor]:
        """Weight and bias as the original graph has them."""
        rows = (steps * _tensor(self.layer.grid.scale)).flatten(0, 1)
        if self.flipped:
            made = rows.T
        elif len(self.shape) > rows.ndim:  # of a Conv, which may have been given zero channels
            made = rows.reshape(len(rows), -1, *self.shape[2:])[:, : self.shape[1]]
        else:
            made = rows
        held = {self.weight: made.reshape(self.shape)}
        return {**held, self.bias: shift.flatten()} if self.bias else held


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """What a block should do.

    Attributes:
        feeds: What it reads, of each sample: each has its batch axis.
        wanted: What it should give.
        together: Whether several samples may be run at once.
    """

    feeds: Sequence[Feeds]
    wanted: Sequence[Array]
    together: bool

    def batches(self, count: int) -> Iterator[list[tuple[Feeds, Array]]]:
        """So many batches, drawn at random."""
        rng = np.random.default_rng(0)
        for _ in range(count):
            yield self.parts(rng.permutation(len(self.feeds))[:_BATCH].tolist())

    def all(self) -> Iterator[list[tuple[Feeds, Array]]]:
        """Every sample once."""
        for start in range(0, len(self.feeds), _BATCH):
            yield self.parts(range(start, min(start + _BATCH, len(self.feeds))))

    def parts(self, chosen: Sequence[int]) -> list[tuple[Feeds, Array]]:
        """Some samples, in one part where they may be run together."""
        if not self.together:
            return [(self.feeds[index], self.wanted[index]) for index in chosen]
        rows = [self.feeds[index] for index in chosen]
        feeds = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        return [(feeds, np.concatenate([self.wanted[index] for index in chosen]))]


def learn(graph: TorchGraph, layers: Sequence[Soft], lesson: Lesson, updates: int) -> list[Choice]:
    """The integers and biases that together leave the least error of those seen on the way.

    Args:
        graph: The block.
        layers: Its layers; they are changed.
        lesson: What it should do.
        updates: So many.
    """
    torch = import_torch()
    size = max(float(np.sqrt(np.mean([np.square(it).mean() for it in lesson.wanted]))), _TINY)
    groups = [{"params": [soft.number for soft in layers], "lr": _RATE}]
    shifts = [shift for soft in layers for shift in soft.learnt]
    groups += [{"params": shifts, "lr": _BIAS_RATE * size}] if shifts else []
    adam = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, updates)
    best = [soft.held() for soft in layers]
    least = error(graph, named(layers, best), lesson)
    for count, parts in enumerate(lesson.batches(updates), 1):
        adam.zero_grad(set_to_none=True)
        held = {name: tensor for soft in layers for name, tensor in soft.now().items()}
        (_squares(graph, held, parts) / size**2).backward()
        adam.step()
        schedule.step()
        if count % _LOOK == 0 or count == updates:
            choices = [soft.chosen() for soft in layers]
            now = error(graph, named(layers, choices), lesson)
            if now < least:
                best, least = choices, now
    return best


def named(layers: Sequence[Soft], choices: Sequence[Choice]) -> dict[str, Tensor]:
    """Weights and biases of some choices, by name."""
    pairs = zip(layers, choices, strict=True)
    return {name: tensor for soft, it in pairs for name, tensor in soft.at(it).items()}


def error(graph: TorchGraph, held: Mapping[str, Tensor], lesson: Lesson) -> float:
    """Mean squared error of a block's output with some weights."""
    with import_torch().no_grad():
        sums = [float(_squares(graph, held, parts)) * _size(parts) for parts in lesson.all()]
    return sum(sums) / sum(wanted.size for wanted in lesson.wanted)


def _size(parts: Sequence[tuple[Feeds, Array]]) -> int:
    """How many numbers should come out."""
    return sum(wanted.size for _, wanted in parts)


def _squares(
    graph: TorchGraph, held: Mapping[str, Tensor], parts: Sequence[tuple[Feeds, Array]]
) -> Tensor:
    """Mean squared error over some samples."""
    torch, total = import_torch(), 0.0
    for feeds, wanted in parts:
        (got,) = graph(tensors_of(feeds), held).values()
        total = total + (got - torch.from_numpy(wanted)).square().sum()
    return total / _size(parts)


def _tensor(array: Array) -> Tensor:
    return import_torch().from_numpy(np.ascontiguousarray(array, np.float32).copy())
