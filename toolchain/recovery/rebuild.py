"""Constants of a plan fitted block by block: what layers leave when each is fitted by itself."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from .. import kernels
from ..engine import Array, Feeds
from ..frontend.torch_graph import batches, to_torch
from ..observe import OpenRunner
from ..progress import Progress, Silent
from .adaquant import Choice, Lesson, Soft, error, learn, named
from .blocks import Block
from .layers import Layer
from .walk import Walk, stretch


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What became of one block.

    Attributes:
        name: Of the block.
        before: Mean squared error of its output on samples that were not fitted to.
        after: With what was learnt.
        constants: Arrays for `PlanWriter.recovered`; empty where nothing is better.
    """

    name: str
    before: float
    after: float
    constants: Mapping[str, Array]


@dataclass(frozen=True, slots=True, eq=False)
class Rebuilder:
    """Fits the blocks of one written plan, one after the other.

    Attributes:
        original: The graph after the passes.
        written: What a plan made of it; constants that are better are put in.
        open_runner: Opens a graph.
        updates: Of each block.
        progress: Told of each block.
    """

    original: ir.Model
    written: ir.Model
    open_runner: OpenRunner
    updates: int
    progress: Progress = field(default_factory=Silent)

    def run(
        self, blocks: Sequence[Block], feeds: Sequence[Feeds], fitted: int
    ) -> Iterator[Rebuilt]:
        """Fit every block to what it reads once all blocks before it are fitted.

        Args:
            blocks: In topological order.
            feeds: Samples: first those to fit to, then those to judge by.
            fitted: How many are fitted to.

        Raises:
            InputError: torch is not installed, or cannot run a block.
        """
        sources = dict.fromkeys(name for block in blocks for name in block.sources.values())
        real = Walk(self.written, feeds, list(sources), self.open_runner)
        exact = Walk(self.original, feeds, [block.output for block in blocks], self.open_runner)
        held: dict[str, list[Array]] = {}
        with self.progress.stage("recover blocks", len(blocks)) as step:
            for place, block in enumerate(blocks):
                read = dict.fromkeys(block.sources.values())
                held |= {name: real.to(name) for name in read if name not in held}
                rows = [
                    {name: held[source][index] for name, source in block.sources.items()}
                    for index in range(len(feeds))
                ]
                wanted = exact.to(block.output)
                yield self._rebuilt(block, rows, wanted, fitted)
                later = {name for other in blocks[place + 1 :] for name in other.sources.values()}
                held = {name: arrays for name, arrays in held.items() if name in later}
                step()

    def _rebuilt(
        self, block: Block, rows: Sequence[Feeds], wanted: Sequence[Array], fitted: int
    ) -> Rebuilt:
        """Learn one block, and put what is better into the written graph."""
        graph = to_torch(stretch(self.original, block.inputs, [block.output], rows[0]))
        together = _alike(rows) and batches(graph, rows[0], rows[-1])
        fit = Lesson(rows[:fitted], wanted[:fitted], together)
        judge = Lesson(rows[fitted:], wanted[fitted:], together)
        layers = [self._soft(layer) for layer in block.layers]
        now, new = [soft.held() for soft in layers], learn(graph, layers, fit, self.updates)
        before, after = (error(graph, named(layers, made), judge) for made in (now, new))
        constants = _constants(layers, new) if after < before else {}
        for name, array in constants.items():
            self.written.graph.initializers[name].const_value = ir.tensor(array, name=name)
        return Rebuilt(block.name, before, after, constants)

    def _soft(self, layer: Layer) -> Soft:
        """A layer with the constants that it has in the original."""
        node = next(node for node in self.original.graph if node.name == layer.name)
        weight, bias = (node.inputs[i] if i < len(node.inputs) else None for i in (1, 2))
        tensor = kernels.constant(weight)
        assert weight is not None and tensor is not None  # noqa: PT018, S101 - `find_layers`
        rows_first = node.op_type == "Conv" or bool(node.attributes.get_int("transB", 0))
        learnt = bias is not None and kernels.constant(bias) is not None
        return Soft.of(
            layer,
            weight=str(weight.name),
            bias=str(bias.name) if bias is not None and learnt else "",
            shape=tuple(tensor.numpy().shape),
            flipped=not rows_first,
        )


def _alike(rows: Sequence[Feeds]) -> bool:
    """Whether all samples have one shape."""
    return len({tuple(array.shape for array in row.values()) for row in rows}) == 1


def _constants(layers: Sequence[Soft], choices: Sequence[Choice]) -> dict[str, Array]:
    """Integers and biases as the written graph holds them."""
    made: dict[str, Array] = {}
    for soft, choice in zip(layers, choices, strict=True):
        made[soft.layer.weight] = soft.layer.constant(choice.steps)
        if choice.bias is not None and soft.layer.bias is not None:
            made[soft.layer.bias.name] = soft.layer.bias.constant(choice.bias)
    return made
