"""Tensors are found where the onnx library says that they are."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from hwc.toolchain.frontend.protos import all_tensors
from hwc.toolchain.update.content.onnx import External, Stored, locations, stored
from hwc.toolchain.update.refusal import Code, Refusal
from hwc.toolchain.update.release import Dtype
from onnx import TensorProto, helper, numpy_helper

SHARED = Path(__file__).resolve().parents[4].parent / "shared" / "bench" / "dev"
REAL = (
    *(f"models/{name}.onnx" for name in ("dscnn_kws", "silero_vad_16k", "yolox_nano", "minilm_l6")),
    *(f"models/{name}.onnx" for name in ("efficientnet_lite0", "ppocr_v4_rec", "speaker_lstm")),
    *(f"models/{name}.onnx" for name in ("resnet20_cifar10", "resnet56_cifar10")),
    *(f"models/{name}.onnx" for name in ("tinyvit_cifar10", "resnet20_cifar10_v2")),
    *(f"pairs/oww_embedding_{version}.onnx" for version in ("0.4.0", "0.5.1")),
    *(f"pairs/silero16k_{version}.onnx" for version in ("6.0.0", "6.2.0")),
)


def raw(name: str, kind: int, shape: tuple[int, ...], size: int) -> TensorProto:
    data = np.random.default_rng(size).bytes(size)
    return TensorProto(name=name, data_type=kind, dims=shape, raw_data=data)


def typed(name: str, kind: int, count: int) -> TensorProto:
    return helper.make_tensor(name, kind, (count,), list(range(1, count + 1)))


def constant(name: str, tensor: TensorProto) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=tensor)


def graph(*tensors: TensorProto, nodes: tuple[onnx.NodeProto, ...] = ()) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), "g", [], [], list(tensors))


def model(body: onnx.GraphProto, *functions: onnx.FunctionProto) -> onnx.ModelProto:
    return helper.make_model(body, functions=list(functions))


def everything() -> onnx.ModelProto:
    """Inline tensors wherever ONNX can have them."""
    inner = graph(raw("inner", 1, (2, 3), 24), nodes=(constant("deep", raw("", 1, (5,), 20)),))
    branch = graph(
        raw("branch", 10, (7,), 14),
        nodes=(helper.make_node("If", ["c"], ["o"], then_branch=inner),),
    )
    several = onnx.NodeProto(op_type="Many", output=["many"])
    several.attribute.add(name="all").tensors.extend([raw("m0", 3, (4,), 4), raw("m1", 2, (5,), 5)])
    bodies = onnx.NodeProto(op_type="Bodies", output=["bodies"])
    bodies.attribute.add(name="all").graphs.extend([graph(raw("b0", 7, (2,), 16))])
    function = helper.make_function(
        "own", "F", [], ["y"], [constant("y", raw("", 11, (3,), 24))], [helper.make_opsetid("", 20)]
    )
    nodes = (
        helper.make_node("If", ["c"], ["out"], then_branch=branch, else_branch=inner),
        several,
        bodies,
        constant("unnamed", raw("", 1, (3,), 12)),
        constant("other", raw("named", 1, (3,), 12)),
    )
    tensors = (raw("w", 1, (2, 2, 2), 32), raw("scalar", 1, (), 4), raw("none", 1, (0, 4), 0))
    return model(graph(*tensors, nodes=nodes), function)


def inline(proto: onnx.ModelProto) -> Iterator[tuple[TensorProto, bytes]]:
    """Tensors whose bytes lie in the file as they are, as the onnx library reads it."""
    for tensor in all_tensors(proto):
        if tensor.HasField("raw_data"):
            yield tensor, tensor.raw_data
        elif tensor.float_data or tensor.double_data:
            yield tensor, numpy_helper.to_array(tensor).tobytes()


def check(data: bytes) -> int:
    """Compare all that is found in a file with what the onnx library reads."""
    found = [tensor for tensor in stored(memoryview(data)) if tensor.inline is not None]
    expected = list(inline(onnx.ModelProto.FromString(data)))
    assert [tensor.kind for tensor in found] == [proto.data_type for proto, _ in expected]
    for tensor, (proto, content) in zip(found, expected, strict=True):
        assert tensor.inline is not None
        begin, end = tensor.inline
        span = tensor.span(begin, end - begin)
        assert span is not None
        assert data[span.offset : span.end] == content
        assert span.shape == tuple(proto.dims)
        assert proto.name in ("", span.name)
    return len(found)


@pytest.mark.parametrize("name", REAL)
def test_real_models(name: str) -> None:
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"there is no {name} in the shared folder beside the checkout")
    assert check(path.read_bytes()) >= 30


def test_every_place_of_a_tensor() -> None:
    data = everything().SerializeToString()
    assert check(data) == 14
    assert [tensor.name for tensor in stored(memoryview(data))] == [
        *("w", "scalar", "none"),  # initialisers
        *("inner", "deep", "branch", "inner", "deep"),  # both branches, bodies within bodies
        *("m0", "m1", "b0", "unnamed", "named"),  # nodes
        "y",  # a function
    ]


@pytest.mark.parametrize(
    ("kind", "count", "size", "dtype"),
    [
        (TensorProto.FLOAT, 3, 12, Dtype.F32),
        (TensorProto.DOUBLE, 3, 24, Dtype.F64),
        (TensorProto.FLOAT16, 3, 6, Dtype.F16),
        (TensorProto.BFLOAT16, 3, 6, Dtype.BF16),
        (TensorProto.FLOAT8E4M3FN, 3, 3, Dtype.F8E4M3),
        (TensorProto.FLOAT8E5M2FNUZ, 3, 3, Dtype.F8E5M2),
        (TensorProto.INT64, 3, 24, Dtype.I64),
        (TensorProto.UINT32, 3, 12, Dtype.U32),
        (TensorProto.INT16, 3, 6, Dtype.I16),
        (TensorProto.INT8, 3, 3, Dtype.I8),
        (TensorProto.BOOL, 3, 3, Dtype.BOOL),
        (TensorProto.INT4, 3, 2, Dtype.PACKED),
        (TensorProto.UINT4, 4, 2, Dtype.PACKED),
        (TensorProto.FLOAT4E2M1, 5, 3, Dtype.PACKED),
        (TensorProto.INT2, 5, 2, Dtype.PACKED),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_types(kind: int, count: int, size: int, dtype: Dtype) -> None:
    tensor = one(raw("t", kind, (count,), size))
    span = tensor.span(0, size)
    assert span is not None
    assert (span.dtype, span.shape, span.size) == (dtype, (count,), size)
    assert tensor.span(0, size + 1) is None  # the file says something that is not so


@pytest.mark.parametrize("kind", [TensorProto.STRING, TensorProto.COMPLEX64, 0, 99])
def test_types_that_stay_opaque(kind: int) -> None:
    assert one(raw("t", kind, (1,), 8)).span(0, 8) is None


def one(tensor: TensorProto) -> Stored:
    (found,) = stored(memoryview(model(graph(tensor)).SerializeToString()))
    return found


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (TensorProto.FLOAT, True),
        (TensorProto.DOUBLE, True),
        (TensorProto.INT64, False),  # numbers of variable length
        (TensorProto.INT32, False),
        (TensorProto.FLOAT16, False),
    ],
)
def test_typed_data(kind: int, *, found: bool) -> None:
    proto = typed("t", kind, 300)
    assert not proto.raw_data
    assert (one(proto).inline is not None) is found
    if found:
        check(model(graph(proto)).SerializeToString())


def test_unpacked_typed_data_stays_opaque() -> None:
    numbers = b"".join(b"\x25" + np.float32(i).tobytes() for i in range(3))  # field 4, fixed32
    proto = TensorProto(name="t", data_type=1, dims=[3])
    data = nested(proto.SerializeToString() + numbers)
    (again,) = onnx.ModelProto.FromString(data).graph.initializer
    assert list(again.float_data) == [0, 1, 2]
    (tensor,) = stored(memoryview(data))
    assert tensor.inline is None


def test_data_in_two_pieces_stay_opaque() -> None:
    proto = raw("t", 1, (2,), 8).SerializeToString()
    (tensor,) = stored(memoryview(nested(proto + b"\x4a\x08" + bytes(8))))
    assert tensor.inline is None


def field(number: int, content: bytes) -> bytes:
    """A field of bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def nested(tensor: bytes) -> bytes:
    """A model of one initialiser."""
    return field(7, field(5, tensor))


@pytest.mark.parametrize(
    ("entries", "external"),
    [
        ({"location": "w", "offset": "8", "length": "12"}, External("w", 8, 12)),
        ({"location": "w"}, External("w", 0, None)),
        ({"location": "w", "offset": "-1"}, None),
        ({"location": "w", "offset": "1e3"}, None),
        ({"location": "w", "length": "9" * 5000}, None),
        ({"location": "w", "offset": "\u0663"}, None),
    ],
    ids=["whole", "rest", "negative", "float", "endless", "other digits"],
)
def test_external(entries: dict[str, str], external: External | None) -> None:
    proto = TensorProto(name="t", data_type=1, dims=[3], data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        proto.external_data.add(key=key, value=value)
    tensor = one(proto)
    assert (tensor.inline, tensor.external) == (None, external)


def test_locations() -> None:
    body = graph(raw("here", 1, (1,), 4))
    for place in ("b.bin", "a.bin", "b.bin"):
        proto = body.initializer.add(name="t", data_type=1, data_location=TensorProto.EXTERNAL)
        proto.external_data.add(key="location", value=place)
    assert locations(memoryview(model(body).SerializeToString())) == ("a.bin", "b.bin")
    assert locations(memoryview(b"no model")) == ()


@pytest.mark.parametrize("kind", [(-1, 4), (1 << 62, 1 << 62), (1 << 60, 0), (3,)], ids=str)
def test_impossible_shapes(kind: tuple[int, ...]) -> None:
    proto = raw("t", 1, kind, 16)
    assert one(proto).span(0, 16) is None
    assert math.prod(one(proto).shape) == math.prod(kind)


def test_graphs_without_end() -> None:
    body = b""
    for _ in range(100):
        body = field(1, field(5, field(6, body)))  # a node, its attribute, the graph in it
    with pytest.raises(Refusal, match="within each other") as refused:
        list(stored(memoryview(field(7, body))))
    assert refused.value.code is Code.LIMIT


@pytest.mark.parametrize("packed", [True, False])
def test_dimensions_without_end(*, packed: bool) -> None:
    dims = field(1, b"\x01" * 10_000) if packed else b"\x08\x01" * 10_000
    with pytest.raises(Refusal, match="dimensions"):
        list(stored(memoryview(nested(dims))))


@pytest.mark.parametrize("data", [b"", b"\x08\x0a", field(2, b"producer")], ids=len)
def test_no_graph_no_model(data: bytes) -> None:
    with pytest.raises(Refusal, match="no graph"):
        list(stored(memoryview(data)))
