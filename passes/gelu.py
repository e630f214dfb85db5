"""The Gelu that an exporter wrote with Erf: x * (1 + erf(x / sqrt 2)) / 2."""

import math
from itertools import permutations

import onnx_ir as ir

from .match import by_scalar, close, is_op, made_by, operand, scalar, sole_user


def gelu_input(node: ir.Node) -> ir.Value | None:
    """The x of a Gelu whose last node is `node`; its three factors may come in any order."""
    factors = _factors(node)
    numbers = [number for number in map(scalar, factors) if number is not None]
    values = [value for value in factors if scalar(value) is None]
    if len(values) != 2 or not close(math.prod(numbers), 0.5):  # noqa: PLR2004 - x and 1 + erf
        return None
    return next((x for x, gate in permutations(values) if _erf_input(gate) is x), None)


def _erf_input(value: ir.Value) -> ir.Value | None:
    """The x of 1 + erf(x / sqrt 2)."""
    add = made_by(value, "Add")
    found = by_scalar(add) if add is not None else None
    erf = made_by(found[0], "Erf") if found is not None and close(found[1], 1) else None
    inner = made_by(operand(erf, 0), "Div", "Mul") if erf is not None else None
    scaled = by_scalar(inner) if inner is not None else None
    if scaled is None or inner is None:
        return None
    factor = scaled[1] if is_op(inner, "Mul") else 1 / scaled[1]
    return scaled[0] if close(factor, 2**-0.5) else None


def _factors(node: ir.Node) -> list[ir.Value]:
    """The operands of a product of at most three, read through one inner Mul."""
    if not is_op(node, "Mul"):
        return []
    outer = [value for value in node.inputs if value is not None]
    for index, value in enumerate(outer):
        inner = made_by(value, "Mul")
        if inner is not None and sole_user(value) is node:
            return [*outer[:index], *outer[index + 1 :], *(v for v in inner.inputs if v)]
    return outer
