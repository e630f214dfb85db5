"""Reading a graph: constants, users and shapes, as the checks of the passes ask for them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

Array = npt.NDArray[Any]
Dims = tuple[int | str, ...]

FLOATS = frozenset(
    {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE}
)
# Neither folded nor merged: random, or part of how a quantised tensor is stored.
OPAQUE = frozenset(
    {
        *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
        *("Bernoulli", "Multinomial", "Dropout"),
        *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"),
    }
)
# Names that exporters write for "not known": two of them are not the same dimension.
_ANONYMOUS = frozenset({"", "?", "*", "-1", "None", "unk", "unknown"})


def is_op(node: ir.Node | None, *ops: str) -> bool:
    """Whether `node` is one of `ops` of the default domain."""
    return node is not None and node.domain == "" and node.op_type in ops


def operand(node: ir.Node, index: int) -> ir.Value | None:
    """Input `index` of a node, or None where it is absent or empty."""
    return node.inputs[index] if index < len(node.inputs) else None


def made_by(value: ir.Value | None, *ops: str) -> ir.Node | None:
    """The node that writes `value`, if it is one of `ops`."""
    node = value.producer() if value is not None else None
    return node if is_op(node, *ops) else None


def tensor(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The tensor of an initialiser that no caller can override; None for anything computed."""
    if value is None or value.is_graph_input() or not value.is_initializer():
        return None
    return value.const_value


def static(found: ir.TensorProtocol) -> tuple[int, ...]:
    """The shape of a tensor that exists."""
    return tuple(dim for dim in found.shape if isinstance(dim, int))


def constant(value: ir.Value | None) -> Array | None:
    """The array of an initialiser; loads it where it is external."""
    found = tensor(value)
    return None if found is None else found.numpy()


def scalar(value: ir.Value | None) -> float | None:
    """The number in a constant of one element; does not load larger ones."""
    found = tensor(value)
    if found is None or found.size != 1 or not (found.dtype in FLOATS or found.dtype.is_integer()):
        return None
    return float(found.numpy().reshape(())[()])


def close(value: float | None, wanted: float) -> bool:
    """Whether a number is `wanted` to the precision of a float32 that was written in decimal."""
    return value is not None and bool(np.isclose(value, wanted, rtol=1e-4, atol=1e-7))


def ints(node: ir.Node, name: str, index: int) -> tuple[int, ...] | None:
    """Integers that older opsets hold in attribute `name` and newer ones in input `index`.

    Returns None where they are neither: absent, or computed at run time.
    """
    if name in node.attributes:
        return tuple(node.attributes[name].as_ints())
    found = constant(operand(node, index))
    return None if found is None else tuple(int(i) for i in found.reshape(-1))


def given(node: ir.Node, name: str, index: int) -> bool:
    """Whether a node has the attribute `name` or the input `index` at all."""
    return name in node.attributes or operand(node, index) is not None


def rank(value: ir.Value | None) -> int | None:
    """The number of dimensions, or None where it is not known."""
    return None if value is None or value.shape is None else len(value.shape)


def dims(value: ir.Value | None) -> Dims | None:
    """The dimensions: an int, or a text that only an equal dimension has.

    A dimension without a name gets one made of the tensor and the axis.
    """
    if value is None or value.shape is None:
        return None
    return tuple(
        dim if isinstance(dim, int) else _symbol(value, axis, dim.value)
        for axis, dim in enumerate(value.shape)
    )


def _symbol(value: ir.Value, axis: int, name: str | None) -> str:
    return f"{value.name}#{axis}" if name is None or name in _ANONYMOUS else name


def same_shape(a: ir.Value | None, b: ir.Value | None) -> bool:
    """Whether two values are known to have the same shape."""
    return (one := dims(a)) is not None and one == dims(b)


def sole_user(value: ir.Value) -> ir.Node | None:
    """The only node that reads `value`, where nothing else sees it and it is in the same graph."""
    if value.is_graph_output() or len(value.uses()) != 1:
        return None
    user = next(iter(value.uses())).node
    node = value.producer()
    return user if node is None or user.graph is node.graph else None


def seen_by(value: ir.Value) -> str:
    """Why `value` must survive, as a reason for the journal."""
    if value.is_graph_output():
        return f"{value.name} is an output of the graph"
    return f"{value.name} is read by {len(value.uses())} nodes"


def split_constant(node: ir.Node) -> tuple[ir.Value, ir.Value, int] | None:
    """The computed and the constant operand of a binary node, and the constant's position."""
    if len(node.inputs) != 2:  # noqa: PLR2004 - a binary node has two
        return None
    a, b = node.inputs
    if a is None or b is None or (tensor(a) is None) == (tensor(b) is None):
        return None
    return (a, b, 1) if tensor(b) is not None else (b, a, 0)


def by_scalar(node: ir.Node) -> tuple[ir.Value, float] | None:
    """The computed operand and the number of `x op number`, or `number op x` where it commutes."""
    found = split_constant(node)
    array = tensor(found[1]) if found is not None else None
    number = scalar(found[1]) if found is not None else None
    if found is None or array is None or number is None or len(array.shape) > 1:
        return None
    backwards = node.op_type in {"Sub", "Div"} and found[2] == 0
    return None if backwards or (node.op_type == "Div" and number == 0) else (found[0], number)


def called(node: ir.Node) -> str:
    """A node in a sentence: its op and its name."""
    return f"{node.op_type} {node.name}" if node.name else f"a {node.op_type}"


def broadcasts_into(constant_shape: Sequence[int], x: ir.Value) -> bool:
    """Whether a constant of this shape leaves the shape of `x` as it is."""
    into = dims(x)
    if into is None:
        return len(constant_shape) == 0
    if len(constant_shape) > len(into):
        return False
    tail = into[len(into) - len(constant_shape) :]
    return all(c in (1, d) for c, d in zip(constant_shape, tail, strict=True))
