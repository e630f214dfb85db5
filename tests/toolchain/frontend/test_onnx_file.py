"""What is not an ONNX file is refused in one line that says what it is."""

import io
import pickle
import zipfile
from pathlib import Path

import onnx
import onnx.parser
import pytest
from hwc.toolchain.errors import InputError
from hwc.toolchain.frontend.onnx_file import read_proto, refuse_pickle

MODEL = onnx.parser.parse_model(
    '<ir_version: 8, opset_import: ["": 17]> g (float[N, 3] x) => (float[N, 3] y) { y = Relu(x) }'
).SerializeToString()


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data.pkl", b"x")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(MODEL[: len(MODEL) // 2], "damaged or truncated ONNX", id="truncated"),
        pytest.param(b"\xff\x13\x99 random \x00\x01", "is not an ONNX file", id="random"),
        pytest.param(b"\x00" * 64, "is not an ONNX file", id="zeros"),
        pytest.param(b"\x08\x08", "damaged or truncated ONNX", id="no-graph"),
        pytest.param(b"\x1c\x00\x00\x00TFL3xxxx", "TensorFlow Lite", id="tflite"),
        pytest.param(b"\x89HDF\r\n\x1a\n", "HDF5", id="keras"),
        pytest.param(b"<!DOCTYPE html><html>", "web page", id="html"),
        pytest.param(b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull", id="lfs"),
        pytest.param(b'\x10\x00\x00\x00\x00\x00\x00\x00{"a":{}}', "safetensors", id="safetensors"),
    ],
)
def test_what_is_no_model_is_named(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_proto(path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(path) in caught.value.message


def test_more_than_a_protobuf_can_hold_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with path.open("wb") as file:
        file.truncate(2**31)  # sparse: takes no disk
    with pytest.raises(InputError, match="larger than 2 GiB"):
        read_proto(path)


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("the pickle was opened",))


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".onnx"])
@pytest.mark.parametrize("data", [pickle.dumps(_Bomb()), _zip()], ids=["pickle", "zip"])
def test_pickles_are_refused_unopened(tmp_path: Path, suffix: str, data: bytes) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(data)
    with pytest.raises(InputError, match="pickled file") as caught:
        refuse_pickle(path)
    assert "torch.export.save" in caught.value.hint


def test_an_onnx_model_may_be_called_bin(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(MODEL)
    refuse_pickle(path)
    assert read_proto(path).graph.node[0].op_type == "Relu"
