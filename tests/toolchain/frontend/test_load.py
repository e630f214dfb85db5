"""Whatever is named becomes one checked graph, or one line of error."""

import runpy
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import onnx.parser
import onnx_ir as ir
import onnxruntime as ort
import pytest
from hwc.toolchain.errors import InputError
from hwc.toolchain.frontend.load import load_model
from hwc.toolchain.frontend.shapes import model_inputs
from hwc.toolchain.inputs import InputSpec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

BENCH = Path(__file__).resolve().parents[3].parent / "shared" / "bench"
DEV = sorted((BENCH / "dev" / "models").glob("*.onnx"))
SIZES = {"batch": 2, "seq": 12, "sequence": 512, "p2o.DynamicDimension.1": 64, None: 48}


def save(folder: Path, body: str, opset: int = 17) -> Path:
    text = f'<ir_version: 8, opset_import: ["": {opset}, "my": 1]> {body}'
    path = folder / "m.onnx"
    path.write_bytes(onnx.parser.parse_model(text).SerializeToString())
    return path


RELU = "g (float[N, 3] x) => (float[N, 3] y) { y = Relu (x) }"


class Told:
    """A progress that remembers its notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.note: Callable[[str], None] = self.notes.append


def feed(spec: InputSpec) -> np.ndarray:
    shape = [size if isinstance(size, int) else SIZES.get(size, 2) for size in spec.shape]
    if spec.name == "sr":
        return np.array(16000, np.int64)
    if spec.dtype == "int64":
        return np.ones(shape, np.int64)
    return np.random.default_rng(0).standard_normal(shape).astype(spec.dtype)


def run(data: bytes, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    outputs: list[np.ndarray] = ort.InferenceSession(data, options).run(None, feeds)
    return outputs


@pytest.mark.parametrize("path", DEV or [None], ids=lambda path: getattr(path, "stem", "absent"))
def test_real_models_load_and_compute_the_same(path: Path | None) -> None:
    if path is None:
        pytest.skip("the benchmark models are not beside this checkout")
    model = load_model(path)
    feeds = {spec.name: feed(spec) for spec in model_inputs(model)}
    got = run(ir.to_proto(model).SerializeToString(), feeds)
    for expected, value in zip(run(path.read_bytes(), feeds), got, strict=True):
        assert np.array_equal(expected, value)  # the same graph: not one bit differs
    names = [node.name for node in model.graph.all_nodes()]
    assert all(names)
    assert len(set(names)) == len(names)


def test_loading_twice_gives_the_same_graph(tmp_path: Path) -> None:
    path = save(
        tmp_path, "g (float[2] x) => (float[2] y) { p = Relu(x) [n] q = Abs(p) [n] y = Neg(q) }"
    )
    first, second = (ir.to_proto(load_model(path)).SerializeToString() for _ in range(2))
    assert first == second


def test_inputs_fix_the_shape(tmp_path: Path) -> None:
    model = load_model(save(tmp_path, RELU), inputs={"": (4, 3)})
    assert model_inputs(model)[0].shape == (4, 3)
    assert list(model.graph.outputs[0].shape or ()) == [4, 3]


@pytest.mark.parametrize("opset", [11, 12])
def test_old_opsets_are_lifted(tmp_path: Path, opset: int) -> None:
    told = Told()
    model = load_model(save(tmp_path, RELU, opset), progress=told)  # type: ignore[arg-type]
    assert model.opset_imports[""] == 17
    assert told.notes == [f"opset {opset} converted to 17"]


def test_what_cannot_be_lifted_keeps_its_opset_and_says_so(tmp_path: Path) -> None:
    body = "g (float[2, 3] x) => (float[2, 3] y) { [h] y = Hardmax (x) }"
    told = Told()
    model = load_model(save(tmp_path, body, 12), progress=told)  # type: ignore[arg-type]
    assert model.opset_imports[""] == 12
    assert len(told.notes) == 1
    assert "opset 12 kept: node 'h' (Hardmax)" in told.notes[0]


@pytest.mark.parametrize(
    ("opset", "wanted", "expected"),
    [
        pytest.param(17, range(11, 19), 17, id="inside"),
        pytest.param(17, range(21, 24), 21, id="below"),
        pytest.param(20, range(13, 19), 18, id="above"),
        pytest.param(12, range(12, 19), 12, id="old-but-wanted"),
    ],
)
def test_the_opset_can_be_chosen(tmp_path: Path, opset: int, wanted: range, expected: int) -> None:
    model = load_model(save(tmp_path, RELU, opset), opset=wanted)
    assert model.opset_imports[""] == expected


@pytest.mark.parametrize(
    ("source", "says"),
    [
        pytest.param("gone.onnx", "there is no file gone.onnx", id="missing"),
        pytest.param(".", "is a folder", id="folder"),
        pytest.param("no such thing: at all", "there is no file", id="nonsense"),
    ],
)
def test_what_is_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        load_model(source)
    assert says in caught.value.message
    assert caught.value.exit_code == 3


def test_a_recursive_function_is_refused(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17, "my": 1]>
        g (float[3] x) => (float[3] y) { y = my.F (x) }
        <domain: "my", opset_import: ["": 17, "my": 1]> F (a) => (b) { b = my.F (a) }"""
    path = tmp_path / "m.onnx"
    path.write_bytes(onnx.parser.parse_model(text).SerializeToString())
    with pytest.raises(InputError, match="functions cannot be inlined"):
        load_model(path)


def _rich_model() -> bytes:
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 12, "my": 1]>
        g (float[N, 3, 8, 8] x, bool c) => (float[N, 4] y, float[N, 4, 6, 6] z)
        <float[4] b = {1, 2, 3, 4}, int64[2] s = {0, -1}, float[N, 4, 6, 6] v>
        { [conv] v = Conv (x, w, b) [r] t = Relu (v) z = Softmax <axis = 1> (t)
          f = GlobalAveragePool (t) h = Reshape (f, s) k = Constant <value = float[1] {1}> ()
          [i] y = If (c) <then_branch = a () => (float[N, 4] p) { p = Mul (h, k) },
                          else_branch = e () => (float[N, 4] q) { q = my.F <n = "s"> (h) }> }
        <domain: "my", opset_import: ["": 12]> F (a) => (b) { b = Relu (a) }"""
    )
    weight = onnx.numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")
    proto.graph.initializer.append(weight)
    return proto.SerializeToString()


RICH = _rich_model()


def load_bytes(folder: Path, data: bytes) -> None:
    """Load, and look at what was loaded; an InputError is an answer, anything else a fault."""
    path = folder / "damaged.onnx"
    path.write_bytes(data)
    try:
        model_inputs(load_model(path))
    except InputError as refused:
        assert "\n" not in str(refused)  # noqa: PT017 - both answers are fine


def test_the_undamaged_model_loads(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(RICH)
    assert load_model(tmp_path / "m.onnx").opset_imports == {"": 17, "my": 1}


fuzzing = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@fuzzing
@given(end=st.integers(0, len(RICH) - 1))
def test_truncated_files_give_no_traceback(tmp_path: Path, end: int) -> None:
    load_bytes(tmp_path, RICH[:end])


@fuzzing
@given(
    flips=st.lists(
        st.tuples(st.integers(0, len(RICH) - 1), st.integers(1, 255)), min_size=1, max_size=4
    )
)
def test_flipped_bytes_give_no_traceback(tmp_path: Path, flips: list[tuple[int, int]]) -> None:
    data = bytearray(RICH)
    for place, mask in flips:
        data[place] ^= mask
    load_bytes(tmp_path, bytes(data))


@settings(parent=fuzzing, max_examples=60)
@given(data=st.binary(max_size=200))
def test_random_bytes_give_no_traceback(tmp_path: Path, data: bytes) -> None:
    load_bytes(tmp_path, data)


def test_external_weights_are_mapped_not_read(tmp_path: Path) -> None:
    script = BENCH / "make_large.py"
    if not script.is_file():
        pytest.skip("the generator of large models is not beside this checkout")
    runpy.run_path(str(script))["build"](str(tmp_path / "m.onnx"), 0.04, d=512)
    model = load_model(tmp_path / "m.onnx", inputs={"": (1, 8, 512)})
    weights = [
        value.const_value
        for value in model.graph.initializers.values()
        if value.const_value is not None and value.const_value.nbytes > 1024
    ]
    assert sum(weight.nbytes for weight in weights) > 30e6
    for weight in weights:
        assert isinstance(weight, ir.ExternalTensor)
        assert weight.raw is None  # nobody mapped it yet
    assert list(model.graph.outputs[0].shape or ()) == [1, 8, 512]


def test_a_deep_graph_loads(tmp_path: Path) -> None:
    nodes = [onnx.helper.make_node("Relu", [f"v{i}"], [f"v{i + 1}"]) for i in range(3_000)]
    ends = [onnx.helper.make_tensor_value_info(n, 1, ["N", 3]) for n in ("v0", "v3000")]
    graph = onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:])
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    model = load_model(tmp_path / "m.onnx", inputs={"": (2, 3)})
    assert len(model.graph) == 3_000
    assert list(model.graph.outputs[0].shape or ()) == [2, 3]
