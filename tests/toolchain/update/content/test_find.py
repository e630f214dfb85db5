"""Tensors of a whole release: what is broken or unknown is opaque, and nothing overlaps."""

import json
from itertools import pairwise

import numpy as np
import onnx
import pytest
from hwc.toolchain.update.content import find as module
from hwc.toolchain.update.content.find import find
from hwc.toolchain.update.content.span import Span
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(7)


def model(*tensors: TensorProto) -> bytes:
    graph = helper.make_graph([], "g", [], [], list(tensors))
    data: bytes = helper.make_model(graph).SerializeToString()
    return data


def weight(name: str = "w", count: int = 100) -> TensorProto:
    return numpy_helper.from_array(RNG.random(count).astype(np.float32), name)


def outside(location: str, offset: int | None, size: int | None, count: int = 4) -> TensorProto:
    proto = TensorProto(name="e", data_type=1, dims=[count], data_location=TensorProto.EXTERNAL)
    numbers = {"offset": offset, "length": size}
    proto.external_data.add(key="location", value=location)
    for key, value in numbers.items():
        if value is not None:
            proto.external_data.add(key=key, value=str(value))
    return proto


def safetensors(*places: tuple[int, int]) -> bytes:
    header = {
        f"t{i}": {"dtype": "U8", "shape": [end - begin], "data_offsets": [begin, end]}
        for i, (begin, end) in enumerate(places)
    }
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(max(end for _, end in places))


def names(found: dict[str, tuple[Span, ...]]) -> dict[str, list[str]]:
    return {path: [span.name for span in spans] for path, spans in found.items()}


def views(**files: bytes) -> dict[str, memoryview]:
    return {name.replace("_", "."): memoryview(data) for name, data in files.items()}


def check(files: dict[str, memoryview]) -> dict[str, tuple[Span, ...]]:
    """Whatever was found lies in its file and apart from everything else."""
    found = find(files)
    assert found.keys() == files.keys()
    for path, spans in found.items():
        assert all(0 <= span.offset <= span.end <= len(files[path]) for span in spans)
        assert all(one.end <= two.offset for one, two in pairwise(spans))
    return found


def test_dispatch() -> None:
    files = views(
        m_onnx=model(weight("a")),
        without=model(weight("b")),
        s_safetensors=safetensors((0, 5), (5, 6)),
        other=safetensors((0, 5)),
        model_engine=b"ptrt" + bytes(1000),
        empty=b"",
        text_onnx=b"not a model",
        broken_safetensors=safetensors((0, 5))[:-1],
    )
    assert names(check(files)) == {
        "m.onnx": ["a"],
        "without": ["b"],
        "s.safetensors": ["t0", "t1"],
        "other": ["t0"],
        "model.engine": [],
        "empty": [],
        "text.onnx": [],
        "broken.safetensors": [],
    }


def test_external_data_belong_to_their_file() -> None:
    whole = model(outside("w.bin", 16, 16), outside("./x/../w.bin", 0, 12, 3), weight("own"))
    files = {
        "a/m.onnx": memoryview(whole),
        "a/w.bin": memoryview(bytes(40)),
        "w.bin": memoryview(b""),
    }
    found = check(files)
    assert [(span.offset, span.size) for span in found["a/w.bin"]] == [(0, 12), (16, 16)]
    assert names(found)["a/m.onnx"] == ["own"]
    assert found["w.bin"] == ()


def test_data_without_a_length_end_with_the_file() -> None:
    files = views(m_onnx=model(outside("w.bin", 24, None)), w_bin=bytes(40))
    assert [(span.offset, span.size) for span in check(files)["w.bin"]] == [(24, 16)]


@pytest.mark.parametrize(
    ("location", "offset", "size"),
    [
        ("../w.bin", 0, 16),
        ("/w.bin", 0, 16),
        ("", 0, 16),
        ("gone.bin", 0, 16),
        ("w.bin\0", 0, 16),
        ("w.bin", 32, 16),
        ("w.bin", 1 << 62, 16),
        ("w.bin", 0, 1 << 62),
        ("w.bin", 0, 12),
        ("w.bin", 41, None),
    ],
)
def test_external_data_that_are_not_there(location: str, offset: int, size: int | None) -> None:
    files = views(m_onnx=model(outside(location, offset, size)), w_bin=bytes(40))
    assert not any(check(files).values())


def test_tensors_that_share_bytes() -> None:
    tensors = (
        *(outside("w.bin", 0, 16), outside("w.bin", 0, 16), outside("w.bin", 0, 8, 2)),
        *(outside("w.bin", 8, 16), outside("w.bin", 16, 0, 0), outside("w.bin", 16, 16)),
    )
    found = check(views(m_onnx=model(*tensors), w_bin=bytes(32)))["w.bin"]
    assert [(span.offset, span.size) for span in found] == [(0, 16), (16, 0), (16, 16)]


def test_the_largest_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    whole = model(*(weight(f"w{count}", count) for count in (5, 1, 9, 2, 7)))
    assert names(check(views(m_onnx=whole)))["m.onnx"] == ["w5", "w9", "w7"]


def test_long_names_keep_their_ends() -> None:
    (span,) = check(views(m_onnx=model(weight("x" * 5000 + "/weight"))))["m.onnx"]
    assert len(span.name) == 200
    assert span.name.endswith("/weight")


def test_every_truncation() -> None:
    parts = helper.make_graph([], "part", [], [], [weight("body", 3)])
    node = helper.make_node("If", ["c"], ["o"], then_branch=parts)
    graph = helper.make_graph([node], "g", [], [], [weight("a", 4), weight("b", 5)])
    whole = helper.make_model(graph).SerializeToString()
    assert names(check(views(m_onnx=whole)))["m.onnx"] != []
    begin = whole.index(b"\x3a")  # the graph; in front of it are whole fields
    for size in range(len(whole)):
        found = check(views(m_onnx=whole[:size]))["m.onnx"]
        assert found == () or size > begin + graph.ByteSize()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_damage(data: st.DataObject) -> None:
    whole = bytearray(data.draw(st.sampled_from(DAMAGED)))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    check(views(m_onnx=bytes(whole[:cut]), w_bin=bytes(64)))
    check(views(m_onnx=bytes(whole), w_bin=bytes(64)))


DAMAGED = (
    model(weight("a", 4), outside("w.bin", 0, 16), outside("w.bin", 16, None, 12)),
    safetensors((0, 5), (5, 9), (9, 9)),
)


@settings(max_examples=300, deadline=None)
@given(junk=st.binary(max_size=200))
def test_junk(junk: bytes) -> None:
    check(views(m_onnx=junk, n_onnx=b"\x08\x0a\x3a" + bytes([len(junk) & 0x7F]) + junk))


def test_a_node_of_many_tensors_is_read_once() -> None:
    node = onnx.NodeProto(op_type="Many", output=["o"])
    for _ in range(5_000):
        node.attribute.add(name="t").t.CopyFrom(TensorProto(data_type=2, dims=[1], raw_data=b"1"))
    graph = helper.make_graph([node], "g", [], [], [])
    found = check(views(m_onnx=helper.make_model(graph).SerializeToString()))
    assert names(found)["m.onnx"] == ["o"] * 5_000  # the square of it would be over the bound
