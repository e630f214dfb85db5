"""The constant operands of a kernel in the form that its precision needs."""

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..toolchain import kernels
from ..toolchain.dialect import Dialect, Int4Form
from ..toolchain.naming import derived
from . import quantize, weight_only
from .base import Base
from .forms import SUFFIX, constant
from .quantize import Affine, Integers, Weights

_BIAS = 2  # ONNX Conv and Gemm: X, W, B


class Operands:
    """Makes constants of one graph, each once.

    Args:
        graph: The graph that is being written.
        dialect: How the backend wants them.
        base: The scales that they have; None: those that fit best.
    """

    def __init__(self, graph: ir.Graph, dialect: Dialect, base: Base | None = None) -> None:
        self._graph = graph
        self._dialect = dialect
        self._base = base

    def cast(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        """A float constant in another float type."""
        if value.dtype is dtype:
            return value
        name = derived(str(value.name), SUFFIX[dtype])
        present = self._graph.initializers.get(name)
        if present is not None:
            return present
        tensor = kernels.constant(value)
        if tensor is None:
            raise ValueError(f"{value.name}: not a constant")
        # A mask's -3.4e38 must stay finite: infinity times zero is not a number.
        most = float(ml_dtypes.finfo(dtype.numpy()).max)  # type: ignore[no-untyped-call]  # no stubs
        array = np.clip(tensor.numpy(), -most, most).astype(dtype.numpy())
        return constant(self._graph, name, array)

    def rounded(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        """A float constant in fp32, every number rounded to another float type."""
        narrow = self.cast(value, dtype)
        name = derived(str(narrow.name), SUFFIX[ir.DataType.FLOAT])
        tensor = kernels.constant(narrow)
        if tensor is None:
            raise ValueError(f"{value.name}: not a constant")
        return constant(self._graph, name, tensor.numpy().astype(np.float32))

    def quantise(self, node: ir.Node, weights: Weights, dtype: ir.DataType) -> None:
        """Put the quantised weight and bias of a Conv, Gemm or MatMul behind DequantizeLinear."""
        # Named after the node: two nodes may share a weight and still differ in scale.
        name = str(node.name)
        read = self._dequantize(
            node,
            derived(name, "q8"),
            weights.integers,
            weights.affine,
            axis=weights.axis,
            dtype=dtype,
        )
        node.replace_input_with(1, read)
        if weights.bias is None or weights.bias_integers is None or weights.bias_scale is None:
            return
        label = derived(derived(name, "raw"), "q8")
        if self._dialect.int32_bias:
            zero = np.zeros(weights.bias_scale.shape, np.int32)
            affine = Affine(weights.bias_scale, zero)
            bias = self._dequantize(node, label, weights.bias_integers, affine, axis=0, dtype=dtype)
        else:
            bias = constant(self._graph, label, weights.bias.astype(dtype.numpy()))
        node.replace_input_with(_BIAS, bias)

    def constant(self, node: ir.Node, index: int, dtype: ir.DataType) -> ir.Value:
        """A float constant of an element-wise int8 kernel, quantised per tensor."""
        tensor = kernels.constant(node.inputs[index])
        if tensor is None:
            raise ValueError(f"{node.name}: input {index} is not a constant")
        unsigned, array = self._dialect.unsigned_activations, tensor.numpy()
        name = derived(f"{node.name}/{index}", "q8")
        if self._base is None:
            integers, affine = quantize.constant(array, unsigned=unsigned, dtype=dtype.numpy())
        else:
            affine = self._base.constant(name, array)
            integers = quantize.quantize(array, affine)
        return self._dequantize(node, name, integers, affine, axis=None, dtype=dtype)

    def to_int4(self, node: ir.Node) -> ir.Node:
        """Store the weight of a MatMul or Gemm in 4-bit blocks; returns the node that runs it."""
        weight = kernels.constant(node.inputs[1])
        if weight is None:
            raise ValueError(f"{node.name}: no constant weight")
        flipped = bool(node.attributes.get_int("transB", 0))
        matrix = weight.numpy().T if flipped else weight.numpy()
        steps, scale = self._blocks(node, matrix.astype(np.float32))
        if self._dialect.int4 is Int4Form.MATMUL_NBITS:
            return self._matmul_nbits(node, steps, scale)
        name = derived(str(node.name), "q4")
        inputs = [  # symmetric: the zero point is left out
            constant(self._graph, name, weight_only.as_int4(steps)),
            constant(self._graph, derived(name, "scale"), scale),
        ]
        blocks = {"axis": 0, "block_size": weight_only.BLOCK}
        read = self._before(node, derived(name, "dq"), inputs, blocks, ir.DataType.FLOAT)
        node.replace_input_with(1, read)
        if flipped:
            node.attributes["transB"] = ir.AttrInt64("transB", 0)
        return node

    def _blocks(
        self, node: ir.Node, matrix: quantize.Floats
    ) -> tuple[npt.NDArray[np.int8], quantize.Floats]:
        """A weight of shape (depth, columns) in 4-bit blocks: integers and scales."""
        if self._base is None:
            return weight_only.int4_blocks(matrix)
        name, flat = derived(str(node.name), "q4"), self._dialect.int4 is Int4Form.MATMUL_NBITS
        return weight_only.int4_blocks(matrix, self._base.blocks(name, matrix, flat=flat))

    def _matmul_nbits(self, node: ir.Node, steps: Integers, scale: quantize.Floats) -> ir.Node:
        packed, scales = weight_only.pack_matmul_nbits(steps.astype(np.int8), scale)
        name = derived(str(node.name), "q4")
        weight = constant(self._graph, name, packed)
        scaled = constant(self._graph, derived(name, "scale"), scales.reshape(-1))
        inputs = [node.inputs[0], weight, scaled]
        if len(node.inputs) > _BIAS and node.inputs[_BIAS] is not None:
            inputs += [None, None, self._row(node, steps.shape[1])]
        attributes = {
            "K": steps.shape[0],
            "N": steps.shape[1],
            "bits": 4,
            "block_size": weight_only.BLOCK,
            "accuracy_level": 4,  # int8 activations inside the kernel: what makes it fast on a CPU
        }
        self._graph.opset_imports.setdefault("com.microsoft", 1)
        new = ir.node(
            "MatMulNBits", inputs, attributes, domain="com.microsoft", name=node.name, num_outputs=1
        )
        old = node.outputs[0]
        new.outputs[0].name, new.outputs[0].type, new.outputs[0].shape = (
            old.name,
            old.type,
            old.shape,
        )
        ir.convenience.replace_nodes_and_values(
            self._graph, node, [node], [new], [old], [new.outputs[0]]
        )
        return new

    def _row(self, node: ir.Node, width: int) -> ir.Value | None:
        """The constant bias of a Gemm as the vector that MatMulNBits wants."""
        value = node.inputs[_BIAS]
        bias = kernels.constant(value)
        if bias is None or tuple(bias.shape) == (width,):
            return value
        row = np.broadcast_to(bias.numpy().reshape(-1), (width,))
        return constant(self._graph, derived(derived(str(node.name), "raw"), "q4"), row)

    def _dequantize(  # noqa: PLR0913 - the parts of one node
        self,
        node: ir.Node,
        name: str,
        integers: Integers,
        affine: Affine,
        *,
        axis: int | None,
        dtype: ir.DataType,
    ) -> ir.Value:
        scale = affine.scale.astype(dtype.numpy())
        inputs = [
            constant(self._graph, name, integers),
            constant(self._graph, derived(name, "scale"), scale),
            constant(self._graph, derived(name, "zero"), affine.zero_point),
        ]
        attributes = {} if axis is None else {"axis": axis}
        return self._before(node, derived(name, "dq"), inputs, attributes, dtype)

    def _before(
        self,
        node: ir.Node,
        name: str,
        inputs: list[ir.Value],
        attributes: dict[str, int],
        dtype: ir.DataType,
    ) -> ir.Value:
        out = ir.Value(name=name, type=ir.TensorType(dtype), shape=inputs[0].shape)
        made = ir.node("DequantizeLinear", inputs, attributes, outputs=[out], name=name)
        self._graph.insert_before(node, made)
        return out
