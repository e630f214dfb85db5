"""What a choice does to the numbers of a slot: errors of its constants and of its activations."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from .. import kernels
from ..calibration import Histogram, Range
from ..dialect import Dialect
from ..engine import Array
from ..plan import NodeChoice, Precision
from ..slots import Slot, SlotGraph
from .moments import Moments, float_error, rounding_error

# The constants of a node, by name, as a choice holds them; those that it does not touch are absent.
Rounded = Callable[[ir.Node, NodeChoice], Mapping[str, Array]]
Table = npt.NDArray[np.float64]

_SIGNIFICAND = {Precision.FP16: 10, Precision.BF16: 7}  # stored bits


@dataclass(frozen=True, slots=True)
class Activations:
    """What is known of the tensors of a model from its calibration.

    Attributes:
        moments: Mean and mean square of a tensor, by name.
        int8: Mean squared error of a tensor in 8 bits, by name.
    """

    moments: Mapping[str, Moments]
    int8: Mapping[str, float]

    @classmethod
    def of(
        cls, histograms: Mapping[str, Histogram], ranges: Mapping[str, Range], *, unsigned: bool
    ) -> Self:
        """Read them off the histograms, and off the ranges that were chosen from these."""
        moments = {name: Moments.of(histogram) for name, histogram in histograms.items()}
        shared = [name for name in ranges if name in histograms]
        errors = {n: rounding_error(histograms[n], ranges[n], unsigned=unsigned) for n in shared}
        return cls(moments, errors)

    def error(self, tensor: str, precision: Precision) -> float:
        """Mean squared error of a tensor in a precision; 0 where nothing is known of it."""
        if precision is Precision.INT8:
            return self.int8.get(tensor, 0.0)
        if precision in _SIGNIFICAND and tensor in self.moments:
            return float_error(_SIGNIFICAND[precision]) * self.moments[tensor].square
        return 0.0


@dataclass(frozen=True, slots=True)
class Perturbation:
    """The errors that one choice of one slot brings in.

    Attributes:
        row: Index of the slot.
        column: Index of the choice.
        slot: The slot.
        constants: Error of each element of a constant, by name: rounded minus exact.
        activations: Mean squared error of a tensor, by name; independent from element to element.
    """

    row: int
    column: int
    slot: Slot
    constants: Mapping[str, Array]
    activations: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Rounding:
    """A model whose choices are judged without running them.

    Attributes:
        model: The graph after the passes.
        graph: Its slots.
        dialect: How the backend writes a choice.
        activations: What calibration says of its tensors.
        rounded: The constants of a node as a choice holds them.
    """

    model: ir.Model
    graph: SlotGraph
    dialect: Dialect
    activations: Activations
    rounded: Rounded

    def nodes(self) -> dict[str, ir.Node]:
        """The nodes of the main graph by name."""
        return {str(node.name): node for node in self.model.graph}

    def table(self) -> Table:
        """A table to fill in, shape (slots, most choices).

        As in `sensitivity`: 0 for fp32 and for slots that only move numbers, else NaN.
        """
        slots = self.graph.slots
        table = np.full((len(slots), max((len(s.choices) for s in slots), default=1)), np.nan)
        table[:, 0] = 0.0
        for row, slot in enumerate(slots):
            if slot.op in kernels.MOVES:
                table[row, : len(slot.choices)] = 0.0
        return table

    def perturbations(self) -> Iterator[Perturbation]:
        """One for each choice but fp32, of every slot that computes."""
        nodes = self.nodes()
        for row, slot in enumerate(self.graph.slots):
            if slot.op in kernels.MOVES:
                continue
            own = [nodes[name] for name in slot.nodes]
            for column, choice in enumerate(slot.choices[1:], start=1):
                constants = dict(self._constants(own, choice))
                activations = dict(self._activations(slot, choice.precision))
                yield Perturbation(row, column, slot, constants, activations)

    def _constants(self, nodes: list[ir.Node], choice: NodeChoice) -> Iterator[tuple[str, Array]]:
        for node in nodes:
            held = self.rounded(node, choice)
            for value in node.inputs:
                tensor = kernels.constant(value)
                if value is not None and tensor is not None and value.name in held:
                    exact = tensor.numpy().astype(np.float32)
                    yield str(value.name), held[str(value.name)] - exact

    def _activations(self, slot: Slot, precision: Precision) -> Iterator[tuple[str, float]]:
        """The tensors that are rounded beside fp32 neighbours, with their errors."""
        float_written = not self.dialect.quantized_outputs or slot.op in self.dialect.float_outputs
        kept = slot.outputs if precision is Precision.INT8 and float_written else ()
        for tensor in dict.fromkeys(slot.tensors):
            error = self.activations.error(tensor, precision)
            if error > 0.0 and tensor not in kept:
                yield tensor, error
