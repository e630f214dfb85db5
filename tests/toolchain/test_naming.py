"""Names of what a plan adds lead back to the tensor they were made from."""

from collections.abc import Callable

import onnx
import onnx_ir as ir
import pytest
from hwc.toolchain.naming import FORMS, base, derived, free_names
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize("form", sorted(FORMS))
def test_there_and_back(form: str) -> None:
    assert base(derived("block/conv.1", form)) == "block/conv.1"


@given(st.lists(st.sampled_from(sorted(FORMS)), max_size=4))
def test_through_several_forms(forms: list[str]) -> None:
    name = "t"
    for form in forms:
        name = derived(name, form)
    assert base(name) == "t"


@pytest.mark.parametrize(
    "name", ["t", "layer__1", "a__b__c", "", "__", "dq", "x_q", "x__Q", "x__q_", "model__quant"]
)
def test_any_other_name_is_its_own(name: str) -> None:
    assert base(name) == name


def test_names_of_forms_are_freed(parse_graph: Callable[[str], onnx.ModelProto]) -> None:
    """As in a graph that was compiled before; inputs, outputs and other names stay."""
    model = ir.from_proto(
        parse_graph(
            """<ir_version: 10, opset_import: ["" : 21]>
            g (float[2] x, bool c) => (float[2] y__fp32)
            <float[2] w__q8, float[2] w__q8_, float[2] v>
            {
                [x__q] x__q = Add (x, w__q8)
                [again] t = Add (x__q, w__q8_)
                [if] y__fp32 = If (c) <
                    then_branch = a () => (float[2] p) { [x__dq] x__dq = Neg (t) p = Neg (x__q) },
                    else_branch = b () => (float[2] q) { q = Add (x__q, v) }
                >
            }"""
        )
    )
    source = ir.to_proto(model)
    free_names(model)
    first, second, branch = model.graph
    assert (first.name, first.outputs[0].name, second.name) == ("x__q_", "x__q__", "again")
    assert set(model.graph.initializers) == {"w__q8__", "w__q8_", "v"}
    assert branch.outputs[0].name == "y__fp32"
    assert [value.name for value in model.graph.inputs] == ["x", "c"]
    for name in (*model.graph.initializers, *(out.name for n in model.graph for out in n.outputs)):
        assert base(str(name)) == name or name == "y__fp32"
    written = ir.to_proto(model)
    onnx.checker.check_model(written, full_check=True)
    assert written.graph.input == source.graph.input
    assert written.graph.output == source.graph.output
