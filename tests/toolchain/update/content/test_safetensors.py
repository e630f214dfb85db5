"""Headers of safetensors files are read as the library reads them, and checked more strictly."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import safetensors.numpy
from hwc.toolchain.update.content.safetensors import is_safetensors, read_header
from hwc.toolchain.update.content.span import Span
from hwc.toolchain.update.refusal import Refusal
from hwc.toolchain.update.release import Dtype


def file(header: object, size: int, *, text: bytes | None = None) -> memoryview:
    """A safetensors file with a header of one's own."""
    text = json.dumps(header).encode() if text is None else text
    return memoryview(len(text).to_bytes(8, "little") + text + bytes(size))


def entry(begin: int, end: int, shape: object = None, dtype: str = "U8") -> dict[str, Any]:
    shape = [end - begin] if shape is None else shape
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_what_the_library_wrote(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    arrays: dict[str, npt.NDArray[Any]] = {
        "a": rng.random((3, 5)).astype(np.float32),
        "b": rng.integers(0, 99, (7,), np.int64),
        "c": rng.random((2, 2, 2)).astype(np.float16),
        "empty": np.zeros((0, 3), np.float32),
        "scalar": np.array(3.0),
    }
    safetensors.numpy.save_file(arrays, tmp_path / "m", {"who": "a test"})
    data = memoryview((tmp_path / "m").read_bytes())
    header = read_header(data)
    assert header.metadata == {"who": "a test"}
    assert sorted(span.name for span in header.spans) == sorted(arrays)
    for span in header.spans:
        assert data[span.offset : span.end] == arrays[span.name].tobytes()
        assert span.shape == arrays[span.name].shape


@pytest.mark.parametrize(
    ("dtype", "shape", "size", "known"),
    [
        ("BF16", [3], 6, Dtype.BF16),
        ("F8_E4M3", [3], 3, Dtype.F8E4M3),
        ("F8_E8M0", [3], 3, Dtype.U8),
        ("F4", [5], 3, Dtype.PACKED),
        ("F6_E2M3", [4], 3, Dtype.PACKED),
    ],
)
def test_types(dtype: str, shape: list[int], size: int, known: Dtype) -> None:
    data = file({"t": entry(0, size, shape, dtype)}, size)
    assert read_header(data).spans == (Span("t", known, tuple(shape), len(data) - size, size),)


@pytest.mark.parametrize("dtype", ["C64", "PACKED", "later"])
def test_a_type_of_tomorrow_is_left_out(dtype: str) -> None:
    data = file({"t": entry(0, 8, [1], dtype), "u": entry(8, 9)}, 9)
    assert [span.name for span in read_header(data).spans] == ["u"]


@pytest.mark.parametrize(
    "data",
    [
        memoryview(b""),
        memoryview(b"{}"),
        memoryview((1 << 60).to_bytes(8, "little") + b"{}"),
        file({}, 1),
        file([], 0),
        file({"t": 1}, 0),
        file({"t": entry(0, 2)}, 1),
        file({"t": entry(1, 2)}, 2),
        file({"t": entry(0, 2), "u": entry(1, 3)}, 3),
        file({"t": entry(0, 1), "u": entry(2, 3)}, 3),
        file({"t": entry(2, 0, [-2])}, 0),
        file({"t": entry(0, 2, [3])}, 2),
        file({"t": entry(0, 2, [True, 2])}, 2),
        file({"t": entry(0, 2, [1 << 40, 1 << 40])}, 2),
        file({"t": entry(0, 2, "2")}, 2),
        file({"t": entry(0, 2) | {"more": 1}}, 2),
        file({"t": entry(0, 2), "__metadata__": {"a": 1}}, 2),
        file({"t": entry(0, 2), "__metadata__": []}, 2),
        file(None, 2, text=b'{"t":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"t":{}}'),
        file(None, 0, text=b"{" * 100_000),
        file(None, 0, text=b'{"t":' + b"[" * 100_000),
        file(None, 0, text=b'{"t":' + b"9" * 100_000 + b"}"),
        file(None, 0, text=b'{"\xff":1}'),
        file(None, 0, text=b"{" + b" " * (17 << 20) + b"}"),
    ],
    ids=lambda data: f"{len(data)} B" if len(data) > 200 else bytes(data[8:]).decode("latin-1"),
)
def test_damage_is_refused(data: memoryview) -> None:
    with pytest.raises(Refusal):
        read_header(data)


def test_every_truncation_is_refused() -> None:
    data = file({"t": entry(0, 9), "u": entry(9, 12)}, 12)
    assert len(read_header(data).spans) == 2
    for size in range(len(data)):
        with pytest.raises(Refusal):
            read_header(data[:size])


def test_an_empty_file_is_one() -> None:
    assert is_safetensors(file({}, 0))
    assert read_header(file({}, 0)).spans == ()
