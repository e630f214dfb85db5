"""A graphsurgeon function of the user changes the graph; weights it leaves alone stay on disk."""

import textwrap
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import onnx_ir as ir
import pytest
from hwc.toolchain.errors import InputError
from hwc.toolchain.frontend.load import load_model

WEIGHTS = np.arange(1200, dtype=np.float32).reshape(2, 600)
SCRIPT = """
import numpy as np
import onnx_graphsurgeon as gs

def in_place(graph):
    print("hello from the user")
    for node in graph.nodes:
        if node.op == "Relu":
            node.op = "Abs"

def returns(graph):
    in_place(graph)
    return graph

def doubles(graph):
    weight = graph.tensors()["w0"]
    weight.values = weight.values * 2

def fresh(graph):
    return gs.Graph(graph.nodes, graph.inputs, graph.outputs, opset=graph.opset)

def plugin(graph):
    out = graph.outputs[0]
    hidden = gs.Variable("hidden", dtype=np.float32, shape=out.shape)
    out.inputs[0].outputs = [hidden]
    graph.nodes.append(gs.Node("EfficientNMS_TRT", "nms", {"k": 1}, [hidden], [out]))

def dangling(graph):
    graph.nodes[0].inputs[0] = gs.Variable("nobody", dtype=np.float32, shape=[600])

def unknown(graph):
    graph.nodes[-1].op = "Rellu"

def fails(graph):
    raise KeyError("lost")

def wrong(graph):
    return 7
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "ops.py").write_text(textwrap.dedent(SCRIPT))
    proto = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 21]> g (float[600] x) => (float[600] y)'
        " { [a] p = Add(x, w0) [b] q = Add(p, w1) [r] s = Relu(q)"
        " [d] t = DequantizeLinear(i, one) [m] y = Mul(s, t) }"
    )
    for index, row in enumerate(WEIGHTS):
        tensor = proto.graph.initializer.add(name=f"w{index}", dims=[600], data_type=1)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", "w.bin"), ("offset", index * 2400), ("length", 2400)):
            tensor.external_data.add(key=key, value=str(value))
        assert len(row) == 600
    four_bit = np.ones(600, ml_dtypes.int4)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(four_bit, "i"))
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(1), "one"))
    (tmp_path / "w.bin").write_bytes(WEIGHTS.tobytes())
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    return tmp_path / "m.onnx"


def operate(model: Path, function: str) -> ir.Model:
    return load_model(model, surgery=f"{model.parent / 'ops.py'}:{function}")


@pytest.mark.parametrize("function", ["in_place", "returns"])
def test_the_graph_is_changed(
    model: Path, function: str, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = operate(model, function)
    assert [node.op_type for node in changed.graph][2] == "Abs"
    assert capsys.readouterr().out == ""  # standard output is for results


def test_untouched_weights_stay_on_disk_and_keep_their_type(model: Path) -> None:
    changed = operate(model, "in_place")
    weight = changed.graph.initializers["w1"].const_value
    assert isinstance(weight, ir.ExternalTensor)
    assert np.array_equal(weight.numpy(), WEIGHTS[1])
    assert changed.graph.initializers["i"].dtype is ir.DataType.INT4


def test_external_weights_can_be_read_and_written(
    model: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    changed = operate(model, "doubles")
    assert np.array_equal(changed.graph.initializers["w0"].const_value.numpy(), 2 * WEIGHTS[0])
    assert isinstance(changed.graph.initializers["w1"].const_value, ir.ExternalTensor)


def test_a_tensorrt_plugin_can_be_put_in(model: Path) -> None:
    nodes = {node.op_type: node for node in operate(model, "plugin").graph}
    assert nodes["EfficientNMS_TRT"].domain == "trt.plugins"


def test_a_new_graph_does_not_get_a_newer_format(model: Path) -> None:
    changed = operate(model, "fresh")
    assert (changed.ir_version, changed.opset_imports[""]) == (10, 21)


@pytest.mark.parametrize(
    ("function", "says"),
    [
        pytest.param("fails", "ops.py:fails failed: KeyError: 'lost' (ops.py line", id="raises"),
        pytest.param("wrong", "ops.py:wrong returned a int", id="returns"),
        pytest.param("dangling", "ops.py:dangling left reads 'nobody'", id="dangling"),
        pytest.param("unknown", "unknown op Rellu", id="unknown"),
        pytest.param("gone", "no function 'gone'", id="missing"),
    ],
)
def test_errors_name_file_and_function(model: Path, function: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        operate(model, function)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
