"""Rewrites a graph into what a runtime reads: its operators and its highest opset."""

import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript import optimizer

from ..toolchain import kernels
from ..toolchain.dialect import Dialect
from .expand_functions import ExpandFunctions
from .lower_opset import LowerOpset

_ROUNDS = 4  # of folding; the deepest of eleven real exports needs two


def legalize(model: ir.Model, dialect: Dialect) -> bool:
    """Bring a graph into a dialect, in place; its inputs must have the shapes that are wanted.

    Run it after the standard passes and before slots are found: it makes and removes nodes. Names,
    types and order of inputs and outputs stay.

    Returns:
        Whether anything changed.

    Raises:
        InputError: Nodes need an opset that the runtime does not read.
    """
    # One by one: a Sequential of onnx_ir would wrap our error in its own.
    results = [step(model) for step in _passes(dialect)]
    return any(result.modified for result in results)


def _passes(dialect: Dialect) -> tuple[ir.passes.PassBase, ...]:
    if dialect.operators is None:
        return (LowerOpset(dialect.opset_max),)
    return (
        FoldShapes(),
        ExpandFunctions(dialect),
        FoldShapes(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        PlainReshapes(),
        LowerOpset(dialect.opset_max),
        common.RemoveUnusedNodesPass(),
    )


class FoldShapes(ir.passes.InPlacePass):
    """Folds what depends on shapes only, `If` with a known condition included."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Fold until nothing changes: a folded shape makes the next one known."""
        modified = False
        for _ in range(_ROUNDS):
            folded = optimizer.fold_constants_ir(
                model, onnx_shape_inference=True, should_fold=_should_fold
            )
            if not (folded.modified or common.RemoveUnusedNodesPass()(model).modified):
                break
            modified = True
        return ir.passes.PassResult(model, modified=modified)


def _should_fold(node: ir.Node) -> bool | None:
    """Where the default rules of the folder do not do; None leaves it to them."""
    if node.op_type == "ConstantOfShape":
        return True  # kept by default, and with it every shape that is computed through it
    if node.op_type == "GatherElements":
        return False  # onnx's reference implementation fails on it, with a warning
    return None


class PlainReshapes(ir.passes.InPlacePass):
    """Drops `allowzero` where the wanted shape has no zero, so that it changes nothing."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Look at every Reshape with a constant shape."""
        modified = False
        for node in model.graph.all_nodes():
            if node.op_type != "Reshape" or not node.attributes.get_int("allowzero", 0):
                continue
            shape = kernels.constant(node.inputs[1])
            if shape is not None and shape.numpy().all():
                del node.attributes["allowzero"]
                modified = True
        return ir.passes.PassResult(model, modified=modified)
