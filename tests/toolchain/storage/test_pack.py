"""Packed models: byte by byte what they were, or refused."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import safetensors.numpy
from hwc.toolchain.errors import InputError, IntegrityError
from hwc.toolchain.storage.bits import deflate, inflate
from hwc.toolchain.storage.encode import stored
from hwc.toolchain.storage.formats import Format
from hwc.toolchain.storage.pack import pack_model, unpack_model
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

MODELS = Path(__file__).resolve().parents[4] / "shared" / "bench" / "dev" / "models"
INT4 = Format.parse("int4")


def model(*tensors: TensorProto) -> bytes:
    """A model with these constants, one more in a node, and one in a branch."""
    generator = np.random.default_rng(0)
    inside = numpy_helper.from_array(generator.standard_normal((8, 8)).astype(np.float32), "inside")
    branch = helper.make_graph(
        [helper.make_node("Identity", ["inside"], ["b"])],
        "branch",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)],
        [inside],
    )
    nodes = [
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.arange(99.0))),
        helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch),
    ]
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info("x", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        list(tensors),
    )
    return bytes(helper.make_model(graph).SerializeToString())


def quantised() -> bytes:
    """A model with a weight of every kind that a deploy graph has."""
    generator = np.random.default_rng(1)
    weight = generator.standard_normal((16, 8, 3, 3)).astype(np.float32)
    arrays = {
        "float": weight,
        "int4": stored(weight, INT4),
        "int8": np.rint(weight * 30).astype(np.int8),
        "half": weight.astype(np.float16),
        "shape": np.arange(20),
        "small": np.float32(1.0),
        "empty": np.zeros((0, 4), np.float32),
        "flags": weight > 0,
    }
    tensors = [numpy_helper.from_array(np.asarray(a), name) for name, a in arrays.items()]
    tensors.append(helper.make_tensor("nibbles", TensorProto.INT4, [30, 7], [1] * 210))
    tensors.append(
        helper.make_tensor("raw", TensorProto.UINT4, [25, 10], bytes(range(125)), raw=True)
    )
    tensors.append(helper.make_tensor("text", TensorProto.STRING, [2], [b"a", b"b"]))
    return model(*tensors)


def test_every_byte_comes_back() -> None:
    data = quantised()
    packed = pack_model(data, [INT4])
    assert len(packed) < 0.8 * len(data)
    assert unpack_model(packed) == data


@pytest.mark.parametrize("name", ["resnet20_cifar10", "dscnn_kws"])
def test_real_models_come_back(name: str) -> None:
    path = MODELS / f"{name}.onnx"
    if not path.is_file():
        pytest.skip("the development models are not beside the checkout")
    loaded = ir.load(path)
    for value in loaded.graph.initializers.values():
        array = value.const_value.numpy()
        if array.ndim > 1 and array.dtype == np.float32:
            value.const_value = ir.tensor(stored(array, INT4), name=value.name)
    data = ir.to_proto(loaded).SerializeToString()
    packed = pack_model(data, [INT4])
    assert unpack_model(packed) == data
    assert len(packed) < len(data) / 6


def test_equal_models_are_packed_equally() -> None:
    assert pack_model(quantised(), [INT4]) == pack_model(quantised(), [INT4])


def test_external_weights_are_refused() -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    with pytest.raises(InputError, match="w: lies in another file"):
        pack_model(model(tensor))


PACKED = pack_model(quantised(), [INT4])


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(PACKED) - 1), st.integers(1, 255))
def test_any_flipped_byte_is_refused(at: int, change: int) -> None:
    damaged = bytearray(PACKED)
    damaged[at] ^= change
    try:
        model = unpack_model(bytes(damaged))
    except IntegrityError:
        return
    assert model == quantised()  # the byte did not matter, such as white space in a header


@pytest.mark.parametrize("size", [0, 1, 7, 8, 100, len(PACKED) // 2, len(PACKED) - 1])
def test_what_is_cut_off_is_refused(size: int) -> None:
    with pytest.raises(IntegrityError):
        unpack_model(PACKED[:size])


@given(st.binary(max_size=200))
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        unpack_model(data)


def forged(**change: object) -> bytes:
    """A packed model with another header, index or graph, in the right form."""
    arrays = safetensors.numpy.load(PACKED)
    length = int.from_bytes(PACKED[:8], "little")
    header = json.loads(json.loads(PACKED[8 : 8 + length])["__metadata__"]["hwc"])
    for name in ("index", "graph"):
        edit = change.pop(name, None)
        if callable(edit):
            whole = edit(inflate(arrays[name].tobytes(), header[name]))
            arrays[name], header[name] = np.frombuffer(deflate(whole), np.uint8), len(whole)
    arrays |= {name: change.pop(name) for name in tuple(change) if name == "more"}
    return safetensors.numpy.save(arrays, {"hwc": json.dumps({**header, **change})})


def test_a_forgery_that_changes_nothing_is_the_model() -> None:
    assert unpack_model(forged()) == quantised()


def first(**change: object):  # noqa: ANN201 - a function on bytes
    """Changes the first entry of the index."""

    def edit(index: bytes) -> bytes:
        body = json.loads(index)
        entry = body["entries"][0]
        entry["tensor"] = change.pop("tensor", entry["tensor"])
        entry["section"] |= change
        return json.dumps(body).encode()

    return edit


def shaped(*dims: int):  # noqa: ANN201 - a function on bytes
    """Gives the first constant another shape."""

    def edit(graph: bytes) -> bytes:
        proto = onnx.ModelProto.FromString(graph)
        proto.graph.initializer[0].dims[:] = dims
        return bytes(proto.SerializeToString())

    return edit


@pytest.mark.parametrize(
    "change",
    [
        {"format": 3},
        {"format": 0},
        {"size": 2**40},
        {"size": -1},
        {"sha256": "0" * 64},
        {"index": lambda _: b"{}"},
        {"index": lambda _: b"\xff"},
        {"graph": lambda _: b"\xff\xff\xff"},
        {"graph": lambda _: b""},
        {"graph": shaped(2**40, 2**40)},
        {"graph": shaped(-1, 5)},
        {"graph": shaped(0)},
        {"index": first(tensor=-1)},
        {"index": first(tensor=10**9)},
        {"index": first(sizes=[10**15])},
        {"index": first(sizes=[-5])},
        {"index": first(how="pickle")},
        {"index": first(axis=2**70)},
        {"more": np.zeros(4, np.uint8)},
    ],
    ids=range(19),
)
def test_a_forgery_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(IntegrityError):
        unpack_model(forged(**change))
