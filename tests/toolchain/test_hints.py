"""Precisions that travel in a float graph's metadata."""

import onnx_ir as ir
import pytest
from hwc.toolchain import hints
from hwc.toolchain.errors import InputError
from hwc.toolchain.plan import NodeChoice, Plan, Precision
from hwc.toolchain.slots import Slot, SlotGraph, Work


def slot(name: str, *nodes: str) -> Slot:
    """A slot with the fields that do not matter here left empty."""
    work = Work(0, 0, 0, 0)
    return Slot(name, "Conv", (name, *nodes), (), (), "", "conv", work, (NodeChoice(),))


def model() -> ir.Model:
    """A model without nodes."""
    return ir.Model(ir.Graph([], [], nodes=[], opset_imports={"": 17}), ir_version=8)


def test_what_is_lowered_comes_back_through_a_file() -> None:
    """Every node of a slot has its slot's precision; fp32 is not noted."""
    slots = SlotGraph((slot("a", "relu"), slot("b"), slot("ü")), ())
    choices = {"a": Precision.FP16, "b": Precision.FP32, "ü": Precision.INT8}
    plan = Plan.of({name: NodeChoice(precision) for name, precision in choices.items()})
    noted = model()
    hints.write(noted, plan, slots)
    read = hints.read(ir.from_proto(ir.to_proto(noted)))
    assert read == {"a": Precision.FP16, "relu": Precision.FP16, "ü": Precision.INT8}


def test_a_model_without_a_note_has_nothing_lowered() -> None:
    """Every foreign model."""
    assert hints.read(model()) == {}


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": "fp7"}'])
def test_a_note_that_nobody_wrote_is_refused(text: str) -> None:
    """Metadata comes from outside."""
    noted = model()
    noted.metadata_props[hints.KEY] = text
    with pytest.raises(InputError, match=hints.KEY):
        hints.read(noted)
