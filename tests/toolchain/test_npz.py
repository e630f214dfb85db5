"""What is written is read back, whatever the names and types."""

from pathlib import Path

import numpy as np
import pytest
from hwc.toolchain.accuracy.stacked import read_npz
from hwc.toolchain.engine import Array
from hwc.toolchain.npz import write_npz


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("file", np.arange(3)),
        ("a/b:0", np.ones((2, 3), np.float32)),
        ("empty", np.zeros((2, 0))),
        ("scalar", np.array(3.5)),
        ("half", np.ones(2, np.float16)),
        ("columns", np.asfortranarray(np.arange(6).reshape(2, 3))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_round_trip(tmp_path: Path, name: str, array: Array) -> None:
    write_npz(tmp_path / "x.npz", {name: array})
    (read,) = (arrays := read_npz(tmp_path / "x.npz")).values()
    assert list(arrays) == [name]
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


def test_text_is_stored_without_pickle(tmp_path: Path) -> None:
    write_npz(tmp_path / "x.npz", {"text": np.array(["a", "bc"], object)})
    assert read_npz(tmp_path / "x.npz")["text"].tolist() == ["a", "bc"]


def test_equal_arrays_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        write_npz(tmp_path / name, {"x": np.arange(10)})
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_numpy_reads_it(tmp_path: Path) -> None:
    write_npz(tmp_path / "x.npz", {"x": np.arange(10)})
    with np.load(tmp_path / "x.npz") as arrays:
        assert arrays["x"].tolist() == list(range(10))


def test_does_not_overwrite(tmp_path: Path) -> None:
    write_npz(tmp_path / "x.npz", {})
    with pytest.raises(FileExistsError):
        write_npz(tmp_path / "x.npz", {})
