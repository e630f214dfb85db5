"""Patterns that stay as they are because the runtime fuses them: named, so that none is missed."""

import onnx_ir as ir

from ..toolchain.dialect import Dialect
from .edit import Editor
from .journal import Note, kept, left
from .match import is_op, made_by, operand, sole_user, tensor
from .rule import RulePass

ANCHORS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
ACTIVATIONS = frozenset(
    {
        *("Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "PRelu"),
        *("Elu", "Selu", "Softplus", "Mish", "Gelu"),
    }
)


def recognise(dialect: Dialect) -> RulePass:
    """The pass that changes nothing and says which fusions are the runtime's."""

    def activation(node: ir.Node, _: Editor) -> Note | None:
        user = sole_user(node.outputs[0])
        if user is None or user.domain != "" or user.op_type not in ACTIVATIONS:
            return None
        if user.op_type in dialect.fused_activations:
            return left(node, f"{user.op_type} {user.name} after it")
        return kept(node, f"{user.op_type} {user.name}: {dialect.name} runs it as its own kernel")

    rules = dict.fromkeys(ANCHORS, activation)
    return RulePass(
        "recognise", {**rules, "Add": _residual, "Softmax": _attention, "Mul": _silu}, dialect
    )


def _residual(node: ir.Node, _: Editor) -> Note | None:
    """An Add of two computed tensors, one of which only a linear node makes."""
    if any(tensor(value) is not None for value in node.inputs):
        return None
    for value in node.inputs:
        anchor = made_by(value, *ANCHORS)
        if anchor is not None and value is not None and sole_user(value) is node:
            return left(node, f"residual Add after {anchor.name}")
    return None


def _attention(node: ir.Node, _: Editor) -> Note | None:
    """MatMul, scale and mask, Softmax, MatMul: kept in this form, which runtimes look for."""
    user = sole_user(node.outputs[0])
    value = operand(node, 0)
    while (step := made_by(value, "Add", "Mul", "Div", "Where")) is not None:
        computed = [v for v in step.inputs if v is not None and tensor(v) is None]
        value = next((v for v in computed if made_by(v, "MatMul", "Mul", "Div")), None)
    scores = made_by(value, "MatMul")
    if scores is None or user is None or not is_op(user, "MatMul"):
        return None
    return left(node, f"attention from {scores.name} to {user.name}")


def _silu(node: ir.Node, _: Editor) -> Note | None:
    """Recognise x * Sigmoid(x), for which ONNX has no op before opset 24."""
    for a, b in ((0, 1), (1, 0)):
        gate = made_by(operand(node, a), "Sigmoid")
        if gate is not None and operand(gate, 0) is operand(node, b):
            return left(node, f"SiLU: {gate.name} and this Mul")
    return None
