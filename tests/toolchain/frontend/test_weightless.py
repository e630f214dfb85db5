"""Models whose weights are not there: in what forms they load, and what still is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from hwc.toolchain.errors import InputError
from hwc.toolchain.frontend.load import load_model, load_structure
from hwc.toolchain.progress import Silent
from onnx import helper, numpy_helper

NET = """
<ir_version: 10, opset_import: ["" : 17]>
net (float[batch,3,8,8] x) => (float[batch,10] y)
<float[16,3,3,3] w, float[16] b, float[16] s, float[16] o, float[16] m, float[16] v,
 float[64,10] g, float[10] c, int64[2] shape = {-1, 64}> {
  conv = Conv<pads = [1, 1, 1, 1], strides = [4, 4]>(x, w, b)
  norm = BatchNormalization(conv, s, o, m, v)
  flat = Reshape(norm, shape)
  product = MatMul(flat, g)
  y = Add(product, c)
}
"""
WEIGHTS = frozenset("wbsomvgc")


def parse(text: str) -> onnx.ModelProto:
    """A graph whose declared constants are initialisers without values."""
    proto = onnx.parser.parse_model(text)
    for value in proto.graph.value_info:
        kind = value.type.tensor_type
        dims = [dim.dim_value for dim in kind.shape.dim]
        proto.graph.initializer.add(name=value.name, data_type=kind.elem_type, dims=dims)
    del proto.graph.value_info[:]
    return proto


def model() -> onnx.ModelProto:
    """The net with weights."""
    proto = parse(NET)
    rng = np.random.default_rng(0)
    for tensor in proto.graph.initializer:
        if tensor.name in WEIGHTS:
            values = rng.uniform(0.5, 1.5, tuple(tensor.dims)).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return proto


def with_weights(folder: Path) -> Path:
    onnx.save(model(), folder / "net.onnx")
    return folder / "net.onnx"


def without_data_file(folder: Path) -> Path:
    path = folder / "net.onnx"
    onnx.save(model(), path, save_as_external_data=True, location="net.data", size_threshold=40)
    (folder / "net.data").unlink()
    return path


def without_values(folder: Path) -> Path:
    proto = model()
    for tensor in proto.graph.initializer:
        if tensor.name in WEIGHTS:
            tensor.ClearField("raw_data")
    onnx.save(proto, folder / "net.onnx")
    return folder / "net.onnx"


def as_inputs(folder: Path) -> Path:
    proto = model()
    kept = [tensor for tensor in proto.graph.initializer if tensor.name not in WEIGHTS]
    for tensor in proto.graph.initializer:
        if tensor.name in WEIGHTS:
            proto.graph.input.append(
                helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    onnx.save(proto, folder / "net.onnx")
    return folder / "net.onnx"


FORMS = [without_data_file, without_values, as_inputs]


@pytest.mark.parametrize("make", [with_weights, *FORMS])
def test_a_structure_has_every_weight_with_its_type_and_shape(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    graph = load_structure(make(tmp_path)).graph
    assert [value.name for value in graph.inputs] == ["x"]
    found = {name: graph.initializers[name].const_value for name in WEIGHTS}
    for tensor in model().graph.initializer:
        if tensor.name in WEIGHTS:
            stands_in = found[tensor.name]
            assert stands_in is not None
            assert tuple(stands_in.shape) == tuple(tensor.dims)
            assert stands_in.dtype == tensor.data_type
            assert np.isfinite(stands_in.numpy()).all()


def test_values_that_are_there_are_kept(tmp_path: Path) -> None:
    path = with_weights(tmp_path)
    found = load_structure(path).graph.initializers["w"].const_value
    known = load_model(path).graph.initializers["w"].const_value
    assert found is not None
    assert known is not None
    np.testing.assert_array_equal(found.numpy(), known.numpy())


def test_neighbours_differ_so_that_they_are_not_merged(tmp_path: Path) -> None:
    graph = load_structure(without_values(tmp_path)).graph
    values = [graph.initializers[name].const_value for name in "bsomv"]
    assert len({float(value.numpy()[0]) for value in values if value is not None}) == 5


def test_a_large_weight_takes_no_memory(tmp_path: Path) -> None:
    proto = parse("""
        <ir_version: 10, opset_import: ["" : 17]>
        big (float[1,100000] x) => (float[1,100000] y) <float[100000,100000] w> {
          y = MatMul(x, w)
        }""")
    onnx.save(proto, tmp_path / "big.onnx")
    found = load_structure(tmp_path / "big.onnx").graph.initializers["w"].const_value
    assert found is not None
    assert found.nbytes == 4 * 10**10
    assert found.numpy().strides == (0, 0)


@pytest.mark.parametrize("make", FORMS[:2])
def test_a_compilation_still_needs_them(make: Callable[[Path], Path], tmp_path: Path) -> None:
    with pytest.raises(InputError):
        load_model(make(tmp_path))


def test_what_is_told_of_them(tmp_path: Path) -> None:
    lines: list[str] = []

    class Told(Silent):
        def note(self, text: str) -> None:
            lines.append(text)

    load_structure(without_values(tmp_path), progress=Told())
    assert lines == [
        f"8 weights are not in {tmp_path / 'net.onnx'}: their shapes stand in for them"
    ]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("<int64[2] n> { y = Reshape(x, n) }", "lacks the values of 'n'"),
        ("<float[4] n> { y = Resize(x, , n) }", "lacks the values of 'n'"),
    ],
    ids=["shape", "scales"],
)
def test_values_that_shapes_follow_from_are_needed(body: str, says: str, tmp_path: Path) -> None:
    proto = parse(
        f'<ir_version: 10, opset_import: ["" : 17]> g (float[1,1,2,2] x) => (float y) {body}'
    )
    onnx.save(proto, tmp_path / "g.onnx")
    with pytest.raises(InputError, match=says):
        load_structure(tmp_path / "g.onnx")


def test_half_a_weight_is_a_fault(tmp_path: Path) -> None:
    proto = model()
    whole = next(tensor for tensor in proto.graph.initializer if tensor.name == "w")
    whole.raw_data = whole.raw_data[:100]
    onnx.save(proto, tmp_path / "net.onnx")
    with pytest.raises(InputError, match="its shape"):
        load_structure(tmp_path / "net.onnx")


def test_attack_a_path_that_leaves_the_folder_is_refused_though_it_is_not_read(
    tmp_path: Path,
) -> None:
    path = without_data_file(tmp_path)
    proto = onnx.load(path, load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../elsewhere"
    onnx.save(proto, path)
    with pytest.raises(InputError, match="outside the model's folder"):
        load_structure(path)


def test_two_inputs_that_are_no_weights_stay(tmp_path: Path) -> None:
    proto = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["" : 17]>
        g (float[4,4] x, float[4,4] state, float[4] row) => (float[4,4] y) {
          sum = Add(x, state)
          y = Mul(sum, row)
        }""")
    onnx.save(proto, tmp_path / "g.onnx")
    graph = load_structure(tmp_path / "g.onnx").graph
    assert [value.name for value in graph.inputs] == ["x", "state"]


def test_inputs_fix_shapes(tmp_path: Path) -> None:
    loaded = load_structure(without_values(tmp_path), inputs={"": (2, 3, 8, 8)})
    assert loaded.graph.outputs[0].shape == (2, 10)
