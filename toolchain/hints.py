"""What a float graph tells a builder that takes its precisions from outside the graph."""

import json

import onnx_ir as ir

from .errors import InputError
from .plan import Plan, Precision
from .slots import SlotGraph

KEY = "hwc.precision"  # of the model's metadata properties, which every ONNX reader ignores


def write(model: ir.Model, plan: Plan, slots: SlotGraph) -> None:
    """Note a plan's reduced precisions in a model whose dialect has neither Q/DQ nor Casts."""
    choices = plan.as_dict()
    lowered = {
        node: choices[slot.name].precision.value
        for slot in slots.slots
        if slot.name in choices and choices[slot.name].precision is not Precision.FP32
        for node in slot.nodes
    }
    model.metadata_props[KEY] = json.dumps(lowered, sort_keys=True, ensure_ascii=False)


def read(model: ir.Model) -> dict[str, Precision]:
    """The reduced precision of each node that has one, by node name.

    Raises:
        InputError: The note is not one that `write` made.
    """
    try:
        body = json.loads(model.metadata_props.get(KEY, "{}"))
        return {str(node): Precision(value) for node, value in body.items()}
    except (ValueError, AttributeError) as cause:
        message = f"the model's metadata property {KEY} is not valid: {cause}"
        raise InputError(message, "compile the model again") from cause
