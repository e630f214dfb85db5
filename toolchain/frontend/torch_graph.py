"""An ONNX graph as a function that torch can differentiate, checked to be the same function."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import onnx_ir as ir

from ..engine import Array, Feeds
from ..errors import InputError
from ..kernels import is_float
from .torch_module import quiet
from .torch_ready import make_ready
from .user_code import attempt

_ALIKE = 1e-3  # of it: a hundred layers, with norms, in float32, and batches of two sizes
SAME = 1e-4  # of an output's largest number: two runtimes add up in different orders
_HINT = (
    "compile the torch module itself (package.module:factory), or do without training and "
    "gradients (--recover fast, --sensitivity noise, --importance l2)"
)
_INSTALL = "pip install 'hwc-compiler[gradients]'"

Tensor = Any  # torch.Tensor, which is not imported for a type


@dataclass(frozen=True, slots=True)
class TorchGraph:
    """A converted graph.

    Attributes:
        module: Calls the graph, with inputs in order.
        weights: Its float initialisers, by their name in the ONNX graph; none requires a gradient.
        inputs: Names of the inputs, in order.
        outputs: Names of what it returns, in order: the graph's outputs, and tensors asked for.
        attributes: The module's own name of each weight.
    """

    module: Any
    weights: Mapping[str, Tensor]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, str]

    def __call__(
        self, feeds: Mapping[str, Tensor], weights: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Run the graph, with other weights where these are given.

        Raises:
            InputError: The converted graph cannot run.
        """
        torch = import_torch()
        held = {self.attributes[name]: tensor for name, tensor in (weights or {}).items()}
        args = tuple(feeds[name] for name in self.inputs)
        with attempt("running the graph in torch", _HINT):
            got = torch.func.functional_call(self.module, held, args)
        made = got if isinstance(got, (tuple, list)) else (got,)
        return dict(zip(self.outputs, made, strict=True))


def import_torch() -> ModuleType:
    """The torch module, for those who compute with a converted graph.

    Raises:
        InputError: It is not installed.
    """
    try:
        import torch  # noqa: PLC0415 - heavy and optional
    except ImportError as cause:
        raise InputError("PyTorch is not installed", _INSTALL) from cause
    return torch


def to_torch(model: ir.Model, tensors: Sequence[str] = ()) -> TorchGraph:
    """Convert a graph with onnx2fx.

    Args:
        model: The graph; it is not changed.
        tensors: Names of values to return beside the outputs, so that one can differentiate
            by them.

    Raises:
        InputError: torch or onnx2fx is missing, or an operator cannot be converted.
    """
    import_torch()
    try:
        with quiet():
            import onnx2fx  # noqa: PLC0415 - optional, only used here
    except ImportError as cause:
        raise InputError("onnx2fx is not installed", _INSTALL) from cause
    copy = model.clone()
    written = {str(out.name): out for node in copy.graph for out in node.outputs if out.name}
    present = {value.name for value in copy.graph.outputs}
    copy.graph.outputs.extend(written[n] for n in tensors if n in written and n not in present)
    make_ready(copy)
    outputs = tuple(str(value.name) for value in copy.graph.outputs)
    inputs = tuple(str(value.name) for value in copy.graph.inputs if not value.is_initializer())
    weights = _rename(copy)
    with attempt("converting the graph to torch", _HINT), quiet():
        try:
            module = onnx2fx.convert(ir.to_proto(copy))
        except onnx2fx.UnsupportedOpError as cause:
            raise _unsupported(copy, cause) from cause
    held = dict(module.named_buffers())
    found = {name: held[plain] for name, plain in weights.items() if plain in held}
    return TorchGraph(module, found, inputs, outputs, {name: weights[name] for name in found})


def _unsupported(model: ir.Model, cause: Any) -> InputError:  # noqa: ANN401 - onnx2fx's error
    """What to say of an operator that onnx2fx has no counterpart of, by its first node."""
    op = f"{cause.domain}.{cause.op_type}" if cause.domain else cause.op_type
    nodes = (
        node
        for node in model.graph.all_nodes()
        if (node.domain, node.op_type) == (cause.domain, cause.op_type)
    )
    node = next(nodes, None)
    where = f"node {node.name!r}" if node and node.name else "a function of the model"
    return InputError(f"torch cannot run {where}: onnx2fx has no {op}", _HINT)


def check_same(
    graph: TorchGraph, feeds: Feeds, expected: Mapping[str, Array], same: float = SAME
) -> float:
    """Compare a converted graph with the original on one sample.

    Args:
        graph: The converted graph.
        feeds: The sample.
        expected: What the original gives for it, by output.
        same: The largest error that two runtimes of one function may make, relative as below.

    Returns:
        The largest error of any output, relative to that output's largest number.

    Raises:
        InputError: It is another function: its gradients would mean nothing.
    """
    torch = import_torch()
    with torch.no_grad():
        got = graph(tensors_of(feeds))
    worst = 0.0
    for name, array in expected.items():
        error = _difference(got[name].numpy(), array)
        if not error <= same:
            raise InputError(
                f"the graph in torch is another function: output {name!r} is off by {error:.1%}",
                _HINT,
            )
        worst = max(worst, error)
    return worst


def tensors_of(feeds: Feeds) -> dict[str, Tensor]:
    """Arrays as tensors of their own memory."""
    torch = import_torch()
    return {name: torch.from_numpy(np.array(array)) for name, array in feeds.items()}


def _difference(got: Array, expected: Array) -> float:
    """The largest error over the largest number; infinite where the shapes differ."""
    if got.shape != expected.shape:
        return float("inf")
    if expected.dtype.kind != "f" or not expected.size:
        return 0.0 if np.array_equal(got, expected) else float("inf")
    finite = np.isfinite(expected)
    scale = float(np.abs(expected[finite]).max(initial=0.0)) or 1.0
    error = np.abs(got.astype(np.float64)[finite] - expected[finite])
    return float(error.max(initial=0.0)) / scale


def _rename(model: ir.Model) -> dict[str, str]:
    """Give inputs and initialisers names that no converter has to change: two must not become one.

    Returns:
        The new name of each float initialiser, by its own.
    """
    taken = {str(out.name) for node in model.graph.all_nodes() for out in node.outputs}
    prefix = "v"
    while any(name.startswith(prefix) for name in taken):
        prefix += "v"
    plain: dict[str, str] = {}
    values = dict.fromkeys((*model.graph.inputs, *model.graph.initializers.values()))
    for index, value in enumerate(values):
        own, value.name = str(value.name), f"{prefix}{index}"
        if value.is_initializer() and is_float(value):
            plain[own] = value.name
    return plain


def batches(graph: TorchGraph, first: Feeds, last: Feeds) -> bool:
    """Whether two samples together give what they give one by one."""
    torch = import_torch()
    if any(array.shape[:1] != (1,) for array in first.values()):
        return False
    both = {name: np.concatenate([array, last[name]]) for name, array in first.items()}
    with torch.no_grad():
        alone = [graph(tensors_of(feeds)) for feeds in (first, last)]
        try:
            together = graph(tensors_of(both))
        except InputError:  # a Reshape to a batch of one
            return False
    return all(
        together[name].shape[:1] == (2,)
        and tuple(together[name].shape[1:]) == tuple(alone[0][name].shape[1:])
        and _close(together[name], torch.cat([made[name] for made in alone]))
        for name in graph.outputs
    )


def _close(got: Tensor, wanted: Tensor) -> bool:
    error = (got.double() - wanted.double()).abs().max()
    return bool(error <= _ALIKE * wanted.double().abs().max().clamp(min=1e-9))
