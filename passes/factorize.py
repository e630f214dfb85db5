"""Puts factors in the place of weights: a Conv, Gemm or MatMul becomes a chain of small ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ..toolchain import kernels
from ..toolchain.errors import InputError
from ..toolchain.lowrank.factors import Factor, Factorisation, Floats, Form, Whole
from .edit import Attributes, Editor
from .match import Array, is_op, operand

MIN_WEIGHTS = 1024  # below, a kernel more costs more than any factor saves
_LINEAR = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_MATRIX = 2
_BIAS = 2  # the input of a Conv or Gemm: X, W, B
_SPATIAL = 2  # the first spatial axis of an activation: batch, channels, *spatial


@dataclass(frozen=True, slots=True, eq=False)
class Factorable:
    """A node whose weight can be factorised.

    Attributes:
        node: The node.
        whole: Its work.
    """

    node: ir.Node
    whole: Whole

    def weight(self) -> Floats:
        """Shape (out, in, *kernel), however the node keeps it."""
        found = kernels.constant(self.node.inputs[_index(self.node)])
        if found is None:
            raise ValueError(f"{self.node.name}: no constant weight")
        array = found.numpy().astype(np.float64)
        return array.T if _flipped(self.node) else array


@dataclass(frozen=True, slots=True)
class FactorSites:
    """Where factors can be put.

    Attributes:
        sites: By the name of the node.
        skipped: Why a node that multiplies with a weight is none, by its name.
    """

    sites: Mapping[str, Factorable]
    skipped: Mapping[str, str]


def sites(model: ir.Model, least: int = MIN_WEIGHTS) -> FactorSites:
    """The nodes of the main graph that can be factorised, and why others cannot.

    Args:
        model: With shapes; a free dimension counts as 1.
        least: How many numbers a weight must have.
    """
    found: dict[str, Factorable] = {}
    skipped: dict[str, str] = {}
    for node in model.graph:
        if not is_op(node, *_LINEAR):
            continue
        why = refusal(node, least)
        if why:
            skipped[str(node.name)] = why
        else:
            found[str(node.name)] = Factorable(node, _whole(node))
    return FactorSites(found, skipped)


def refusal(node: ir.Node, least: int = 0) -> str:
    """Why the weight of a node cannot be factorised; empty where it can."""
    if not is_op(node, "Conv", "Gemm", "MatMul"):
        return f"there are no factors for {node.op_type}"
    weight = kernels.constant(operand(node, _index(node)))
    if weight is None:
        return "its weight is computed at run time"
    if weight.dtype not in kernels.FLOATS:
        return f"its weight is {weight.dtype.name.lower()}"
    if weight.size < least:
        return f"its weight has {weight.size} numbers: too few for factors to pay"
    if is_op(node, "Conv"):
        return _refused_conv(node)
    return "" if len(weight.shape) == _MATRIX else "its weight is not a matrix"


def _refused_conv(node: ir.Node) -> str:
    if node.attributes.get_int("group", 1) > 1:
        return "its channels are convolved in groups"
    auto = node.attributes.get_string("auto_pad", "NOTSET")
    return "" if auto == "NOTSET" else "its padding is left to the runtime"


def factorize(model: ir.Model, factors: Mapping[str, Factorisation]) -> ir.Model:
    """A graph with factors in the place of weights.

    The last factor keeps the name of the node, its bias and the tensor that it writes, so that what
    is fused into it stays fused; those before it are called `<node>/factor<i>`. Where several
    branches add up, the last factor of the first one keeps the name and the bias, the others are
    called `<node>/branch<b>/factor<i>`, and the tensor is written by the last Add.

    Args:
        model: The graph; it is not changed.
        factors: By the name of the node.

    Raises:
        InputError: A node is not there, cannot be factorised, or has a weight of another shape.
    """
    copy = model.clone()
    nodes = {node.name: node for node in copy.graph}
    writer = _Writer(copy)
    for name, made in factors.items():
        node = nodes.get(name)
        if node is None:
            raise InputError(f"{name}: no such node", "name one of the main graph")
        why = refusal(node)
        if why:
            raise InputError(f"{name}: cannot be factorised: {why}", "leave it whole")
        writer.replace(node, made)
    return copy


class _Writer:
    """Writes chains into one graph."""

    def __init__(self, model: ir.Model) -> None:
        self._graph = model.graph
        self._editor = Editor(model, model.graph.opset_imports.get("", 1))
        self._names = {node.name for node in model.graph.all_nodes()}

    def replace(self, node: ir.Node, made: Factorisation) -> None:
        """Put the branches before a node, and let the node be gone."""
        shape = _whole(node).shape
        got = made.weight().shape
        if got != shape:
            message = f"{node.name}: factors of a weight of shape {got}, not {shape}"
            raise InputError(message, "factorise the weight of this node")
        out, name = node.outputs[0], str(node.name)
        node.name = None
        chains = enumerate(made.branches)
        first, *rest = [self._chain(node, name, chain, branch) for branch, chain in chains]
        for branch, end in enumerate(rest, 1):
            added = ir.node("Add", [first, end], name=self._free(f"{name}/add{branch}"))
            first = self._written(node, added, f"{out.name}/add{branch}", out.shape)
        last = first.producer()
        if last is not None:
            self._editor.absorb(node, last)

    def _chain(self, node: ir.Node, name: str, chain: Sequence[Factor], branch: int) -> ir.Value:
        """Write one chain before a node; returns what its last factor writes."""
        out, value, bias = node.outputs[0], operand(node, 1 - _index(node)), operand(node, _BIAS)
        if value is None:
            raise ValueError(f"{name}: no input")
        for i, factor in enumerate(chain):
            label = f"branch{branch}/factor{i}" if branch else f"factor{i}"
            last = factor is chain[-1]
            keeps = last and not branch
            weight = self._weight(node, factor, label)
            inputs = [value, weight] if _index(node) else [weight, value]
            inputs += [bias] if keeps and bias is not None else []
            attributes = _attributes(node, factor.form, first=i == 0, last=last)
            own = name if keeps else self._free(f"{name}/{label}")
            new = ir.node(node.op_type, inputs, attributes, name=own)
            shape = out.shape if last else _between(node, value, factor.form)
            value = self._written(node, new, f"{out.name}/{label}", shape)
        return value

    def _written(self, node: ir.Node, new: ir.Node, name: str, shape: ir.Shape | None) -> ir.Value:
        """Put a node before another, and say what it writes."""
        value = new.outputs[0]
        value.name, value.shape = name, shape
        value.type = ir.TensorType(node.outputs[0].dtype or ir.DataType.FLOAT)
        self._editor.insert_before(node, new)
        return value

    def _weight(self, node: ir.Node, factor: Factor, label: str) -> ir.Value:
        """The weight of a factor, kept as the node keeps its own."""
        old = node.inputs[_index(node)]
        tensor = kernels.constant(old)
        if old is None or tensor is None:
            raise ValueError(f"{node.name}: no constant weight")
        array: Array = factor.weight.T if _flipped(node) else factor.weight
        return self._editor.initializer(array.astype(tensor.dtype.numpy()), f"{old.name}/{label}")

    def _free(self, wanted: str) -> str:
        """A name that no node has: a factor can be factorised again."""
        name, count = wanted, 0
        while name in self._names:
            count += 1
            name = f"{wanted}_{count}"
        self._names.add(name)
        return name


def _index(node: ir.Node) -> int:
    """Which input of a node is its weight: of a MatMul, also the left one."""
    if not is_op(node, "MatMul"):
        return 1
    left, right = (kernels.constant(operand(node, i)) for i in (0, 1))
    return 0 if right is None and left is not None else 1


def _flipped(node: ir.Node) -> bool:
    """Whether a node keeps its weight as (in, out)."""
    if is_op(node, "Gemm"):
        return not node.attributes.get_int("transB", 0)
    return is_op(node, "MatMul") and _index(node) == 1


def _attributes(node: ir.Node, form: Form, *, first: bool, last: bool) -> Attributes:
    """Those of the node, as far as they are this factor's."""
    if is_op(node, "Conv"):
        return _window(node, form)
    if is_op(node, "MatMul"):
        return {}
    found: dict[str, int | float] = {"transB": node.attributes.get_int("transB", 0)}
    if first:
        found["transA"] = node.attributes.get_int("transA", 0)
    if last:
        found["alpha"] = node.attributes.get_float("alpha", 1.0)
        found["beta"] = node.attributes.get_float("beta", 1.0)
    return found


def _window(node: ir.Node, form: Form) -> Attributes:
    """Stride, padding and dilation along the axes that a factor takes over."""
    kernel = form.shape[2:]
    count = len(kernel)
    pads = node.attributes.get_ints("pads") or [0] * (2 * count)
    strides = node.attributes.get_ints("strides") or [1] * count
    dilations = node.attributes.get_ints("dilations") or [1] * count
    own = [axis in form.axes for axis in range(count)]
    return {
        "kernel_shape": list(kernel),
        "strides": [stride if mine else 1 for stride, mine in zip(strides, own, strict=True)],
        "dilations": [step if mine else 1 for step, mine in zip(dilations, own, strict=True)],
        "pads": [pad if mine else 0 for pad, mine in zip(pads, own * 2, strict=True)],
        "group": form.groups,
    }


def _whole(node: ir.Node) -> Whole:
    """The work of a node as it is."""
    index = _index(node)
    weight, x, out = node.inputs[index], node.inputs[1 - index], node.outputs[0]
    if weight is None or x is None:
        raise ValueError(f"{node.name}: no weight or no input")
    shape = kernels.dims(weight)
    if is_op(node, "Conv"):
        read, written = kernels.dims(x)[_SPATIAL:], kernels.dims(out)[_SPATIAL:]
        return Whole(str(node.name), shape, read, written)
    shape = shape[::-1] if _flipped(node) else shape
    vectors = (kernels.elements(out) // shape[0],)
    return Whole(str(node.name), shape, vectors, vectors)


def _between(node: ir.Node, read: ir.Value, form: Form) -> ir.Shape | None:
    """The shape of what a factor writes that is not the last; None where the graph has none."""
    out = node.outputs[0].shape
    if out is None or read.shape is None:
        return None
    before, after, channels = list(read.shape), list(out), form.shape[0]
    if is_op(node, "Conv"):
        for axis in form.axes:
            before[_SPATIAL + axis] = after[_SPATIAL + axis]
        return ir.Shape([before[0], channels, *before[_SPATIAL:]])
    if is_op(node, "Gemm"):
        return ir.Shape([after[0], channels])
    if _index(node) or len(before) == 1:  # the weight is on the right, or multiplies a vector
        return ir.Shape([*before[:-1], channels])
    return ir.Shape([*before[:-2], channels, before[-1]])
