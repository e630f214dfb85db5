"""Checks a deploy graph against what a runtime that is not here says it reads."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
import onnx_ir as ir

from ..toolchain.dialect import Dialect
from ..toolchain.engine import Check, Status
from . import builder

# What both pyACL (aclDataType) and MIGraphX's list of ONNX types have; bfloat16 and the 8-bit
# floats run on single chips only, and no profile offers them.
TYPES = frozenset(
    {
        *(ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.BOOL),
        *(ir.DataType.INT8, ir.DataType.INT16, ir.DataType.INT32, ir.DataType.INT64),
        *(ir.DataType.UINT8, ir.DataType.UINT16, ir.DataType.UINT32, ir.DataType.UINT64),
    }
)
_SHOWN = 5  # offenders that a detail names


def check_graph(path: Path, dialect: Dialect) -> tuple[Check, ...]:
    """Check one graph file.

    Args:
        path: The deploy graph.
        dialect: What the runtime reads; its table of operators is needed for the operator check.
    """
    specification = _specification(path)
    if specification.status is Status.FAILED:
        return (specification,)
    model = builder.read(path)
    opset = model.opset_imports.get("", 0)
    return (
        specification,
        _verdict("opset", f"{opset}, at most {dialect.opset_max}", _opset(model, dialect)),
        _verdict("operators", _source(dialect), _operators(model, dialect)),
        _verdict("static shapes", "every tensor", _dynamic(model) if dialect.static_shapes else ()),
        _verdict("element types", "every tensor", _types(model)),
    )


def _specification(path: Path) -> Check:
    """ONNX's own checker, by path: a model may be larger than a protobuf message."""
    name = "ONNX specification"
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as refusal:
        return Check(name, Status.FAILED, str(refusal).strip().split("\n", 1)[0])
    return Check(name, Status.PASSED, f"onnx {onnx.__version__} checker with shape inference")


def _verdict(name: str, what: str, offenders: Iterable[str]) -> Check:
    found = list(offenders)
    if not found:
        return Check(name, Status.PASSED, what)
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return Check(name, Status.FAILED, "; ".join(found[:_SHOWN]) + more)


def _source(dialect: Dialect) -> str:
    if dialect.operators is None:
        return "no table: every operator is read"
    return f"all in {dialect.operators.name} ({dialect.operators.source})"


def _opset(model: ir.Model, dialect: Dialect) -> Iterator[str]:
    opset = model.opset_imports.get("", 0)
    if opset > dialect.opset_max:
        yield f"opset {opset} is above {dialect.opset_max}"


def _operators(model: ir.Model, dialect: Dialect) -> Iterator[str]:
    """The nodes that the table does not hold, subgraphs included."""
    if dialect.operators is None:
        return
    opset = model.opset_imports.get("", 0)
    for node in model.graph.all_nodes():
        complaint = dialect.operators.complaint(node, opset)
        if complaint:
            yield f"{node.op_type} '{node.name}': {complaint}"


def _values(model: ir.Model) -> Iterator[ir.Value]:
    yield from model.graph.inputs
    for node in model.graph.all_nodes():
        yield from (out for out in node.outputs if out.name)


def _dynamic(model: ir.Model) -> Iterator[str]:
    for value in _values(model):
        if value.shape is None:
            yield f"'{value.name}' has no shape"
        elif not value.shape.is_static():
            yield f"'{value.name}' has shape {value.shape}"


def _types(model: ir.Model) -> Iterator[str]:
    """Tensors of a type that the runtimes lack; initialisers count."""
    constants = model.graph.initializers.values()
    for value in (*_values(model), *constants):
        if value.dtype is not None and value.dtype not in TYPES:
            yield f"'{value.name}' is {value.dtype.name}"
