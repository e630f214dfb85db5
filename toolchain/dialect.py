"""What one backend's graphs may hold: how a precision is written in ONNX for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from .operators import OperatorTable
from .plan import Precision


class Int4Form(StrEnum):
    """How 4-bit weight-only is written."""

    NONE = "none"
    MATMUL_NBITS = "matmul_nbits"  # com.microsoft::MatMulNBits (ONNX Runtime)
    DEQUANTIZE = "dequantize"  # block DequantizeLinear of an INT4 initialiser (opset 21)


@dataclass(frozen=True, slots=True)
class Dialect:
    """One backend's way of writing a plan into a graph.

    Attributes:
        name: The backend it belongs to.
        opset_min: The lowest opset of the default domain that the dialect needs.
        opset_max: The highest that the runtime reads.
        ops: Which op types run in which reduced precision; an op absent from a set stays fp32.
        unsigned_activations: uint8 asymmetric activations; otherwise int8 with zero point 0.
        int32_bias: The bias is stored as int32 behind a DequantizeLinear; otherwise float.
        quantized_outputs: An int8 kernel also writes int8 (ONNX Runtime's QLinear ops);
            otherwise it writes float and the next QuantizeLinear is fused (TensorRT).
        qdq: int8 is written as QuantizeLinear/DequantizeLinear pairs; otherwise the graph stays
            float and the builder is told (Ascend).
        casts: fp16 and bf16 are written as Cast nodes; otherwise the builder is told.
        emulated: Float precisions that are written as fp32 kernels on rounded numbers, to compute
            what such a kernel would where there is none.
        float_outputs: Ops whose int8 kernel can also write float, so that no int8 reader means no
            QuantizeLinear (only where `quantized_outputs`).
        int8_float: The float type around an int8 kernel: of its biases, and of what it writes.
        int8_channels: An int8 Conv that reads fewer channels than this gets zero channels up to it.
        fused_activations: Activations that a Conv, Gemm or MatMul absorbs, in any precision.
        int4: How 4-bit weights are written.
        sparse_2_4: The precisions in which kernels skip 2:4 sparse weights, and what their input
            and output channels must be multiples of.
        static_shapes: The runtime needs every dimension fixed.
        operators: What the runtime reads; None where it reads all of ONNX up to `opset_max`.
    """

    name: str
    opset_min: int
    opset_max: int
    ops: Mapping[Precision, frozenset[str]] = field(default_factory=dict)
    unsigned_activations: bool = False
    int32_bias: bool = False
    quantized_outputs: bool = False
    qdq: bool = True
    casts: bool = True
    emulated: frozenset[Precision] = frozenset()
    float_outputs: frozenset[str] = frozenset()
    int8_float: Precision = Precision.FP32
    int8_channels: int = 1
    fused_activations: frozenset[str] = frozenset()
    int4: Int4Form = Int4Form.NONE
    sparse_2_4: Mapping[Precision, int] = field(default_factory=dict)
    static_shapes: bool = False
    operators: OperatorTable | None = None
