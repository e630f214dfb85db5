"""Precisions that travel in a float graph's metadata."""

import onnx
import onnx_ir as ir
import pytest
from hwc.toolchain import hints
from hwc.toolchain.dialect import Dialect
from hwc.toolchain.errors import InputError
from hwc.toolchain.find_slots import find_slots
from hwc.toolchain.plan import NodeChoice, Plan, Precision

DIALECT = Dialect(
    "ascend",
    8,
    18,
    ops={Precision.FP16: frozenset({"MatMul", "Exp"})},
    qdq=False,
    casts=False,
    fused_activations=frozenset({"Relu"}),
)
TEXT = """<ir_version: 8, opset_import: ["" : 17]>
g (float[2,2] x) => (float[2,2] y) <float[2,2] w = {1.0, 2.0, 3.0, 4.0}> {
    [matmul] a = MatMul(x, w)
    [relu] b = Relu(a)
    [exp] c = Exp(b)
    [log] y = Log(c)
}"""


def model() -> ir.Model:
    """A small model."""
    return ir.from_proto(onnx.shape_inference.infer_shapes(onnx.parser.parse_model(TEXT)))


def test_what_is_lowered_comes_back_through_a_file() -> None:
    """Every node of a slot has its slot's precision; fp32 is not noted."""
    noted = model()
    slots = find_slots(noted, DIALECT, (Precision.FP16,))
    choices = {slot.name: NodeChoice() for slot in slots.slots}
    hints.write(noted, Plan.of(choices | {"matmul": NodeChoice(Precision.FP16)}), slots)
    read = hints.read(ir.from_proto(ir.to_proto(noted)))
    assert read == {"matmul": Precision.FP16, "relu": Precision.FP16}


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
