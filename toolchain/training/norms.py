"""Batch norms put back behind convolutions while a graph is trained, and folded away after it.

Deployed graphs have them folded into the weights. Without them steps must be small, since a
weight's scale then has a say in all that is behind it (Ioffe and Szegedy 2015, "Batch
normalization").
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from ..engine import Array
from ..frontend.torch_graph import Tensor, TorchGraph, import_torch

_KINDS = {3: "BatchNorm1d", 4: "BatchNorm2d", 5: "BatchNorm3d"}  # by the weight's rank
_LEAST = 1e-5  # of the mean scale of a layer's channels: a dead channel is not blown up


@dataclass(frozen=True, slots=True, eq=False)
class Norm:
    """A batch norm behind one convolution.

    Attributes:
        conv: Name of the node.
        weight: Name of its weight in the graph; axis 0 counts the channels.
        bias: Name of its bias.
        module: The torch.nn.BatchNorm; it does nothing before training, in evaluation mode.
        path: Name of the module inside the graph's module.
    """

    conv: str
    weight: str
    bias: str
    module: Any
    path: str

    def fold(self, weights: Mapping[str, Array]) -> dict[str, Array]:
        """The convolution's weight and bias with the norm multiplied in, by running statistics.

        Args:
            weights: The split weights, by name.
        """
        mean, variance, gamma, beta = (
            tensor.detach().double().numpy()
            for tensor in (
                self.module.running_mean,
                self.module.running_var,
                self.module.weight,
                self.module.bias,
            )
        )
        factor = gamma / np.sqrt(variance + self.module.eps)
        weight, bias = weights[self.weight], weights[self.bias]
        shape = (-1, *[1] * (weight.ndim - 1))
        return {
            self.weight: (weight * factor.reshape(shape)).astype(np.float32),
            self.bias: ((bias - mean) * factor + beta).astype(np.float32),
        }


def places(model: ir.Model) -> list[ir.Node]:
    """Convolutions that can have a norm: constants that nobody else reads, float32 weights."""
    return [node for node in model.graph if node.op_type == "Conv" and _owns(node)]


def with_biases(model: ir.Model) -> ir.Model:
    """A copy in which every convolution that can have a norm has a bias, zero where it had none."""
    copy = model.clone()
    for node in places(copy):
        if len(node.inputs) > 2 and node.inputs[2] is not None:  # noqa: PLR2004 - x, w, bias
            continue
        weight = node.inputs[1]
        assert weight is not None and weight.const_value is not None  # noqa: PT018, S101 - `places`
        name = _free(copy, f"{weight.name}.bias")
        zeros = np.zeros(len(weight.const_value.numpy()), np.float32)
        bias = ir.Value(name=name, const_value=ir.tensor(zeros, name=name))
        bias.shape, bias.dtype = ir.Shape(zeros.shape), ir.DataType.FLOAT
        copy.graph.register_initializer(bias)
        node.resize_inputs(3)
        node.replace_input_with(2, bias)
    return copy


def insert(graph: TorchGraph, model: ir.Model) -> tuple[Norm, ...]:
    """Put a norm behind every convolution that can have one; the torch module is changed.

    Until `calibrate` has been called the graph is another function.

    Args:
        graph: The converted graph.
        model: What it was converted from, `with_biases`.
    """
    torch = import_torch()
    nodes = {node.meta.get("onnx_name"): node for node in graph.module.graph.nodes}
    norms: list[Norm] = []
    for conv in places(model):
        weight, bias = (str(value.name) for value in conv.inputs[1:3] if value is not None)
        tensor = graph.weights.get(weight)
        if conv.name not in nodes or tensor is None or tensor.ndim not in _KINDS:
            continue
        path = f"norm{len(norms)}"
        module = getattr(torch.nn, _KINDS[tensor.ndim])(len(tensor)).eval()
        graph.module.add_submodule(path, module)
        node = nodes[conv.name]
        with graph.module.graph.inserting_after(node):
            behind = graph.module.graph.call_module(path, (node,))
        node.replace_all_uses_with(behind, delete_user_cb=lambda user, own=behind: user is not own)
        graph.weights[bias].requires_grad_(False)  # the norm takes its mean away  # noqa: FBT003 - torch's
        norms.append(Norm(str(conv.name), weight, bias, module, path))
    graph.module.graph.lint()
    graph.module.recompile()
    return tuple(norms)


def calibrate(graph: TorchGraph, norms: Sequence[Norm], run: Callable[[], None]) -> None:
    """Give every norm the statistics of its input, and make it the identity at these.

    The convolution is divided by the length of each channel's weights, as fresh ones would be: the
    norm undoes that. So all layers learn at one rate whatever was folded into them.

    Args:
        graph: Its weights are split in place.
        norms: What `insert` gave.
        run: Calls the graph on calibration samples.
    """
    torch = import_torch()
    moments = [_Moments() for _ in norms]
    hooks = [n.module.register_forward_hook(m) for n, m in zip(norms, moments, strict=True)]
    try:
        with torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    for norm, moment in zip(norms, moments, strict=True):
        _split(graph, norm, *moment.finish())


@dataclass(slots=True, eq=False)
class _Moments:
    """A hook that lets a norm's input pass as it is, and sums it up by channel."""

    count: int = 0
    sums: list[Tensor] = field(default_factory=lambda: [0.0, 0.0])

    def __call__(self, _module: object, args: tuple[Tensor, ...], _output: Tensor) -> Tensor:
        """Take one batch [n, channels, ...]."""
        x = args[0].double()
        axes = [axis for axis in range(x.ndim) if axis != 1]
        self.count += x.numel() // x.shape[1]
        self.sums = [self.sums[0] + x.sum(axes), self.sums[1] + (x * x).sum(axes)]
        return args[0]

    def finish(self) -> tuple[Tensor, Tensor]:
        """Mean and variance by channel."""
        mean, square = (total / max(self.count, 1) for total in self.sums)
        return mean, (square - mean * mean).clamp(min=0)


def _split(graph: TorchGraph, norm: Norm, mean: Tensor, variance: Tensor) -> None:
    """Divide a convolution's channels by their lengths, and have the norm undo it."""
    torch = import_torch()
    weight, bias, module = graph.weights[norm.weight], graph.weights[norm.bias], norm.module
    with torch.no_grad():
        length = weight.double().flatten(1).norm(dim=1)
        scale = length.clamp(min=_LEAST * max(float(length.mean()), _LEAST))
        weight.div_(scale.reshape(-1, *[1] * (weight.ndim - 1)))
        bias.div_(scale)
        module.running_mean.copy_(mean / scale)
        module.running_var.copy_(variance / scale**2)
        module.weight.copy_(scale * (variance / scale**2 + module.eps).sqrt())
        module.bias.copy_(mean)


def _owns(node: ir.Node) -> bool:
    """Whether weight and bias are float32 constants that only this node reads."""
    constants = [value for value in node.inputs[1:] if value is not None]
    return all(
        value.is_initializer()
        and value.const_value is not None
        and value.const_value.dtype == ir.DataType.FLOAT
        and len(value.uses()) == 1
        and not value.is_graph_output()
        for value in constants
    )


def _free(model: ir.Model, wanted: str) -> str:
    """A name that no value of the graph has."""
    taken = {str(out.name) for node in model.graph.all_nodes() for out in node.outputs}
    taken |= {str(value.name) for value in model.graph.inputs} | set(model.graph.initializers)
    while wanted in taken:
        wanted += "_"
    return wanted
