"""From a checked model to the graph that decisions are made on: passes, in a dialect."""

import onnx_ir as ir

from ...passes.journal import Journal
from ...passes.legalize import legalize
from ...passes.pipeline import run
from ...toolchain.dialect import Dialect
from ...toolchain.errors import InputError
from ...toolchain.frontend.opset import convert_opset
from ...toolchain.naming import free_names
from ...toolchain.progress import Progress

FUSED_OPSET = 17  # the first with LayerNormalization; HardSwish came with 14


def rewrite(original: ir.Model, dialect: Dialect, progress: Progress) -> tuple[ir.Model, Journal]:
    """A rewritten copy of a model, and what the passes did.

    Raises:
        InputError: The dialect's opset does not have one of the operators.
    """
    model = _in_range(original.clone(), dialect, progress)
    journal = run(model, dialect)
    legalize(model, dialect)
    free_names(model)
    return model, journal


def _in_range(model: ir.Model, dialect: Dialect, progress: Progress) -> ir.Model:
    """The model in an opset that the dialect can be written in, and that has fused operators."""
    low, high = dialect.opset_min, dialect.opset_max
    opset = model.opset_imports.get("", low)
    wanted = min(max(opset, low, FUSED_OPSET), high)
    if wanted == opset:
        return model
    try:
        return convert_opset(model, wanted)
    except InputError as refused:
        if not low <= opset <= high:
            raise
        progress.note(f"the model stays in opset {opset}: {refused.message}")
        return model
