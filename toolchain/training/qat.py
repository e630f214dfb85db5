"""Quantisation-aware training: a student that rounds where its plan will, with steps it learns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir

from ..engine import Array
from ..errors import InputError, UsageError
from ..frontend.torch_graph import Tensor, import_torch
from .lsq import Grid, bounded, fake_quantise, first_step
from .student import Student, write_back


@dataclass(frozen=True, slots=True, eq=False)
class QuantWeight:
    """A weight that the device will have rounded.

    Attributes:
        name: Of the constant.
        axis: Of the channels that have a scale each; None for one scale.
        grid: What it is rounded to, symmetric around 0.
        scale: What to begin with, shape (channels,) or (); None for LSQ's own choice, which is
            better for 4 bits and fewer.
        coarse: Whether its scales are kept as bfloat16, as in a storage format.
    """

    name: str
    axis: int | None
    grid: Grid
    scale: Array | None = None
    coarse: bool = False


@dataclass(frozen=True, slots=True)
class QuantActivation:
    """A tensor that the device will have as integers.

    Attributes:
        tensor: Its name.
        scale: Stays what it is, like the zero point, unless it is learnt.
        zero_point: The integer that stands for 0.
        unsigned: Whether the integers start at 0.
        bits: Of a number.
        readers: Names of the nodes that read it as integers; none means all, and the outputs.
        learnt: Whether the scale is.
    """

    tensor: str
    scale: float
    zero_point: int = 0
    unsigned: bool = True
    bits: int = 8
    readers: tuple[str, ...] = ()
    learnt: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Quantised:
    """A student in quantisation-aware training.

    Attributes:
        student: What `train` takes. Its graph rounds; its `to_model` would compare with a graph
            that does not, so `to_model` of this is to be used.
        weights: What is rounded.
        activations: What is rounded.
        steps: The learnt steps, by the name of a weight or tensor.
    """

    student: Student
    weights: Sequence[QuantWeight]
    activations: Sequence[QuantActivation]
    steps: Mapping[str, Tensor]

    def scales(self) -> dict[str, Array]:
        """The learnt scales by name: shape (channels,), or () where there is one."""
        of_weights = {
            weight.name: self._step(weight).reshape(-1 if self.steps[weight.name].ndim else ())
            for weight in self.weights
        }
        names = [it.tensor for it in self.activations if it.tensor in self.steps]
        found = of_weights | {name: self.steps[name].abs() for name in names}
        return {name: step.detach().numpy().copy() for name, step in found.items()}

    def to_model(self) -> ir.Model:
        """The graph with the trained weights, rounded, still float32.

        Rounding a rounded weight again, by the same grid and the step that its largest number
        needs, changes nothing.
        """
        trained, torch = self.student.weights(), import_torch()
        for weight in self.weights:
            with torch.no_grad():
                value, step = self.student.graph.weights[weight.name], self._step(weight)
                made = fake_quantise(value, step, weight.grid, 1)
            trained[weight.name] = made.contiguous().numpy().copy()
        return write_back(self.student.model, trained)

    def _step(self, weight: QuantWeight) -> Tensor:
        value = self.student.graph.weights[weight.name]
        step = self.steps[weight.name]
        return bounded(step, value, weight.grid, coarse=weight.coarse).detach()


def quantise(
    student: Student, weights: Sequence[QuantWeight], activations: Sequence[QuantActivation]
) -> Quantised:
    """Put rounding into a student; its torch module is changed.

    Args:
        student: Without norms: a plan rounds weights with norms folded in.
        weights: What becomes integers; each is trained.
        activations: What becomes integers.

    Raises:
        InputError: The graph does not have a weight or tensor, or torch has it in another form.
        UsageError: The student has norms.
    """
    if student.norms:
        raise UsageError("quantisation-aware training with batch norms", "set norms to False")
    editor = _Editor(student)
    steps: dict[str, Tensor] = {}
    for weight in weights:
        steps[weight.name] = editor.round_weight(weight)
    for activation in activations:
        step = editor.round_activation(activation)
        if activation.learnt:
            steps[activation.tensor] = step
    student.graph.module.graph.lint()
    student.graph.module.recompile()
    rounding = f"{[(w.name, w.axis, w.grid, w.coarse) for w in weights]} {list(activations)}"
    made = replace(student, steps=tuple(steps.values()), rounding=rounding)
    return Quantised(made, tuple(weights), tuple(activations), steps)


class _Editor:
    """Puts rounding into the graph of a student's module."""

    def __init__(self, student: Student) -> None:
        self.student = student
        self.module = student.graph.module
        nodes = list(self.module.graph.nodes)
        self.by_node = {n.meta.get("onnx_name"): n for n in nodes if n.op == "call_function"}
        self.by_target = {str(n.target): n for n in nodes if n.op == "get_attr"}
        places = (n for n in nodes if n.op == "placeholder")
        self.inputs = dict(zip(student.graph.inputs, places, strict=True))

    def round_weight(self, weight: QuantWeight) -> Tensor:
        """Round a constant for all that read it."""
        tensor = self.student.graph.weights.get(weight.name)
        node = self.by_target.get(self.student.graph.attributes.get(weight.name, ""))
        if tensor is None or node is None or weight.name not in self.student.learnt:
            raise InputError(
                f"weight {weight.name!r} cannot be trained to be rounded",
                "leave it out of the quantised weights",
            )
        grid, coarse = weight.grid, weight.coarse
        step = first_step(tensor, grid, weight.axis)
        if weight.scale is not None:
            given = np.asarray(weight.scale, np.float32).reshape(tuple(step.shape))
            step = import_torch().from_numpy(given.copy())
        count = tensor.numel() // step.numel()

        def round_weight(value: Tensor, step: Tensor) -> Tensor:
            return fake_quantise(value, bounded(step, value, grid, coarse=coarse), grid, count)

        return self._insert(node, (), step, round_weight)

    def round_activation(self, activation: QuantActivation) -> Tensor:
        """Round a tensor for those that read it as integers."""
        torch, node, point = import_torch(), self._made_by(activation.tensor), activation.zero_point
        grid = Grid.of(activation.bits, unsigned=activation.unsigned, zero_point=point)

        def round_activation(value: Tensor, step: Tensor) -> Tensor:
            return fake_quantise(value, step, grid, max(value[:1].numel(), 1))

        step = torch.tensor(activation.scale, dtype=torch.float32)
        held = self._insert(node, activation.readers, step, round_activation)
        held.requires_grad_(activation.learnt)
        return held

    def _made_by(self, tensor: str) -> Any:  # noqa: ANN401 - of torch.fx
        """The node of torch's graph that makes a tensor."""
        node = self.inputs.get(tensor)
        for owner in self.student.model.graph:
            if len(owner.outputs) == 1 and owner.outputs[0].name == tensor:
                node = self.by_node.get(owner.name)
        if node is None:
            raise InputError(
                f"tensor {tensor!r} is not in the torch form of the graph",
                "leave it out of the quantised activations",
            )
        return node

    def _insert(
        self,
        node: Any,  # noqa: ANN401 - of torch.fx
        readers: Sequence[str],
        step: Tensor,
        rounding: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor:
        """Put rounding behind a node, and give its step."""
        graph, name = self.module.graph, f"lsq{len(list(self.module.parameters()))}"
        parameter = import_torch().nn.Parameter(step)
        self.module.register_parameter(name, parameter)
        with graph.inserting_after(node):
            held = graph.get_attr(name)
        with graph.inserting_after(held):
            behind = graph.call_function(rounding, (node, held))

        def reads(user: Any) -> bool:  # noqa: ANN401 - of torch.fx
            return user is not behind and (not readers or user.meta.get("onnx_name") in readers)

        node.replace_all_uses_with(behind, delete_user_cb=reads)
        return parameter
