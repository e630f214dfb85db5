"""External data is checked by name and size before any of it is opened."""

import hashlib
import os
from pathlib import Path

import numpy as np
import onnx
import onnx.helper
import onnx.parser
import pytest
from hwc.toolchain.errors import InputError
from hwc.toolchain.frontend.external import check_external, digest, inline_small

WEIGHT = np.arange(600, dtype=np.float32)


def model(location: str = "w.bin", **entries: int) -> onnx.ModelProto:
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]>'
        " g (float[600] x) => (float[600] y) { y = Add(x, w) }"
    )
    add_tensor(proto, "w", WEIGHT.shape, location, **entries)
    return proto


def add_tensor(
    proto: onnx.ModelProto, name: str, dims: tuple[int, ...], location: str, **entries: int
) -> None:
    tensor = proto.graph.initializer.add(name=name, dims=dims, data_type=onnx.TensorProto.FLOAT)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "model"
    inside.mkdir()
    (inside / "w.bin").write_bytes(WEIGHT.tobytes())
    (tmp_path / "outside.bin").write_bytes(WEIGHT.tobytes())
    return inside


@pytest.mark.parametrize(
    "entries",
    [{}, {"offset": 0}, {"length": 2400}, {"offset": 0, "length": 2400}],
    ids=["bare", "offset", "length", "both"],
)
def test_a_whole_file_is_accepted(folder: Path, entries: dict[str, int]) -> None:
    check_external(model(**entries), folder)


LEAVES = ["../outside.bin", "sub/../../outside.bin", "/etc/hostname", "C:\\w.bin", "..\\w.bin", ""]


@pytest.mark.parametrize("location", LEAVES)
def test_attack_a_path_that_leaves_the_folder(
    folder: Path, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "open", lambda *_a, **_k: pytest.fail("it was opened"))
    monkeypatch.setattr(Path, "stat", lambda *_a, **_k: pytest.fail("it was looked at"))
    with pytest.raises(InputError, match="outside the model's folder"):
        check_external(model(location), folder)


def test_attack_a_link_that_leaves_the_folder(folder: Path) -> None:
    (folder / "link.bin").symlink_to(folder.parent / "outside.bin")
    with pytest.raises(InputError, match="a link that leaves"):
        check_external(model("link.bin"), folder)


def test_attack_a_linked_folder(folder: Path) -> None:
    (folder / "up").symlink_to(folder.parent)
    with pytest.raises(InputError, match="a link that leaves"):
        check_external(model("up/outside.bin"), folder)


def test_attack_a_hard_link(folder: Path) -> None:
    os.link(folder.parent / "outside.bin", folder / "hard.bin")
    with pytest.raises(InputError, match="hard links"):
        check_external(model("hard.bin"), folder)


def test_a_link_inside_the_folder_is_fine(folder: Path) -> None:
    (folder / "link.bin").symlink_to("w.bin")
    check_external(model("link.bin"), folder)


def test_attack_a_pipe_would_hang(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(InputError, match="not a plain file"):
        check_external(model("pipe"), folder)


@pytest.mark.parametrize(
    ("proto", "says"),
    [
        pytest.param(model("gone.bin"), "No such file", id="missing"),
        pytest.param(model(offset=4), "ends at byte 2400, but 'w' lies at 4 to 2404", id="short"),
        pytest.param(model(length=2396), "has 2396 bytes, its shape needs 2400", id="length"),
        pytest.param(model(offset=-4), "has offset '-4'", id="negative"),
    ],
)
def test_a_file_that_does_not_hold_the_tensor(
    folder: Path, proto: onnx.ModelProto, says: str
) -> None:
    with pytest.raises(InputError) as caught:
        check_external(proto, folder)
    assert says in caught.value.message
    assert "'w'" in caught.value.message


def test_tensors_in_bodies_are_checked_too(folder: Path) -> None:
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (bool c) => (float[600] y) {'
        " y = If(c) <then_branch = t () => (float[600] p) { p = Identity(w) },"
        " else_branch = e () => (float[600] q) { q = Identity(w) }> }"
    )
    body = proto.graph.node[0].attribute[0].g
    body.initializer.extend(model("../outside.bin").graph.initializer)
    with pytest.raises(InputError, match="outside the model's folder"):
        check_external(proto, folder)


def test_only_what_shape_arithmetic_needs_is_read(folder: Path) -> None:
    proto = model()
    add_tensor(proto, "small", (2,), "w.bin", offset=8)
    inline_small(proto, folder)
    weight, small = proto.graph.initializer
    assert weight.data_location == onnx.TensorProto.EXTERNAL
    assert small.data_location == onnx.TensorProto.DEFAULT
    assert np.frombuffer(small.raw_data, np.float32).tolist() == [2.0, 3.0]


def test_the_digest_of_a_lone_file_is_its_sha256(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[3] x) => (float[3] y) { y = Relu(x) }'
    path.write_bytes(onnx.parser.parse_model(text).SerializeToString())
    assert digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_digest_covers_external_data(folder: Path) -> None:
    path = folder / "m.onnx"
    path.write_bytes(model().SerializeToString())
    before = digest(path)
    assert digest(path) == before
    data = bytearray(WEIGHT.tobytes())
    data[1000] ^= 1
    (folder / "w.bin").write_bytes(data)
    assert digest(path) != before
