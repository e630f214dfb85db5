"""Operator tables: what a row says, the two that are carried, and rows that say nothing."""

import onnx_ir as ir
import pytest
from hwc.toolchain.errors import DeviceError
from hwc.toolchain.operators import OperatorTable

HEADER = "op,opsets,refused_attributes,constant_inputs,single_output"
TABLE = f"""# A table.
# source: a page
{HEADER}
Pad,8 11-13,mode=edge;mode=wrap,1,
Split,13,,,yes
"""


def test_a_row_holds_opsets_and_limits() -> None:
    """Ranges are inclusive, gaps stay gaps."""
    table = OperatorTable.parse("t.csv", TABLE)
    assert table.source == "a page"
    assert [opset for opset in range(20) if table.supports("Pad", opset)] == [8, 11, 12, 13]
    assert not table.supports("Conv", 11)


@pytest.mark.parametrize(
    ("node", "opset", "said"),
    [
        (ir.node("Pad", [ir.Value(name="x")]), 11, ""),
        (ir.node("Pad", [ir.Value(name="x")]), 10, "opset 10 not in the table"),
        (ir.node("Pad", [], {"mode": "wrap"}), 11, "mode=wrap is not supported"),
        (
            ir.node("Pad", [ir.Value(name="x"), ir.Value(name="p")]),
            11,
            "input 1 must be a constant",
        ),
        (ir.node("Split", [ir.Value(name="x")], num_outputs=2), 13, ""),
        (ir.node("Pad", [], domain="com.microsoft"), 11, "custom domain com.microsoft"),
    ],
    ids=["legal", "opset", "attribute", "constant", "unnamed-outputs", "domain"],
)
def test_a_complaint_says_what_is_wrong(node: ir.Node, opset: int, said: str) -> None:
    """An empty complaint means that the runtime takes the node."""
    assert OperatorTable.parse("t.csv", TABLE).complaint(node, opset) == said


def test_only_outputs_that_are_named_count() -> None:
    """ONNX writes an output that nobody wants as an empty name."""
    table = OperatorTable.parse("t.csv", TABLE)
    node = ir.node("Split", [ir.Value(name="x")], num_outputs=2)
    node.outputs[0].name, node.outputs[1].name = "a", "b"
    assert table.complaint(node, 13) == "only its first output is supported"


@pytest.mark.parametrize(
    "rows",
    [f"{HEADER}\nPad,eleven,,,", f"{HEADER}\nPad,11", "op,opsets\nPad,11"],
    ids=["not-a-number", "short-row", "missing-column"],
)
def test_a_broken_table_is_an_error(rows: str) -> None:
    """A table that cannot be read must not pass for an empty one."""
    with pytest.raises(DeviceError, match=r"t\.csv"):
        OperatorTable.parse("t.csv", rows)


@pytest.mark.parametrize(
    ("name", "listed", "missing"),
    [
        ("ascend_onnx_ops.csv", ("Conv", 18), ("QuantizeLinear", 17)),
        ("ascend_onnx_ops.csv", ("ReduceL2", 17), ("ReduceL2", 18)),
        ("dcu_onnx_ops.csv", ("Conv", 19), ("Mish", 19)),
    ],
    ids=["ascend", "ascend-by-opset", "dcu"],
)
def test_the_carried_tables_have_a_source(
    name: str, listed: tuple[str, int], missing: tuple[str, int]
) -> None:
    """They come with the package."""
    table = OperatorTable.load(name)
    assert table.source
    assert table.supports(*listed)
    assert not table.supports(*missing)
