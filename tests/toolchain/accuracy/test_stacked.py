"""Samples of stacked arrays, and the files that they come from."""

from pathlib import Path

import numpy as np
import pytest
from hwc.toolchain.accuracy.stacked import read_npy, read_npz, stacked_samples
from hwc.toolchain.errors import InputError
from hwc.toolchain.inputs import InputSpec

X = InputSpec("x", "float32", ("batch", 2))
STATE = InputSpec("state", "float32", (2, "batch", 3))
RATE = InputSpec("sr", "int64", ())


def test_stored_arrays_are_mapped_and_compressed_ones_are_read(tmp_path: Path) -> None:
    """What an npz stores uncompressed stays on disk; both give the same numbers."""
    x = np.asfortranarray(np.random.default_rng(0).normal(size=(5, 2, 3)))
    np.savez(tmp_path / "stored.npz", x=x, rate=np.asarray(3), flat=x.ravel())
    np.savez_compressed(tmp_path / "small.npz", x=x, rate=np.asarray(3), flat=x.ravel())
    stored, small = read_npz(tmp_path / "stored.npz"), read_npz(tmp_path / "small.npz")
    assert isinstance(stored["x"], np.memmap)
    assert isinstance(stored["flat"], np.memmap)
    assert not isinstance(small["x"], np.memmap)
    for name in ("x", "rate", "flat"):
        np.testing.assert_array_equal(stored[name], small[name])


@pytest.mark.parametrize("content", [b"", b"random bytes", b"PK\x03\x04 cut off"])
@pytest.mark.parametrize("read", [read_npz, read_npy])
def test_unreadable(tmp_path: Path, content: bytes, read: object) -> None:
    """Broken files are one line."""
    path = tmp_path / "bad"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"cannot read .*bad|pickled"):
        read(path)  # type: ignore[operator]


def test_npy_is_mapped_even_if_empty(tmp_path: Path) -> None:
    """An npy file stays on disk; one without samples can be opened, so that this can be said."""
    np.save(tmp_path / "a.npy", np.arange(6).reshape(2, 3))
    np.save(tmp_path / "none.npy", np.zeros((0, 3)))
    assert isinstance(read_npy(tmp_path / "a.npy"), np.memmap)
    assert read_npy(tmp_path / "a.npy").tolist() == [[0, 1, 2], [3, 4, 5]]
    assert read_npy(tmp_path / "none.npy").shape == (0, 3)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_pickles_are_refused(tmp_path: Path, save: object) -> None:
    """Object arrays could run code."""
    save(tmp_path / "o.npz", x=np.array([{}], dtype=object))  # type: ignore[operator]
    with pytest.raises(InputError, match="pickled objects"):
        read_npz(tmp_path / "o.npz")


def test_truncated(tmp_path: Path) -> None:
    """A file that was cut off is refused."""
    np.savez(tmp_path / "a.npz", x=np.zeros(1000))
    data = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="cannot read"):
        read_npz(tmp_path / "a.npz")


def test_every_kind_of_input() -> None:
    """Batch axis first, elsewhere, or none; one number for all samples."""
    arrays = {
        "x": np.arange(8.0).reshape(4, 2),
        "state": np.zeros((4, 2, 1, 3)),
        "sr": np.asarray(16000),
        "y": np.array([3, 1, 2, 0]),
    }
    samples = stacked_samples(arrays, [X, STATE, RATE], "a.npz")
    assert len(samples) == 4
    feeds = samples[2].feeds
    np.testing.assert_array_equal(feeds["x"], [[4, 5]])
    assert feeds["state"].shape == (2, 1, 3)
    assert feeds["sr"] == 16000
    assert samples[2].label == 2


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        pytest.param({"z": np.zeros((4, 2))}, "arrays z do not match", id="name"),
        pytest.param({"x": np.zeros((4, 3))}, r"sample 0: x has shape \[3\]", id="shape"),
        pytest.param(
            {"x": np.array([[0, 1], [0, np.nan]])}, "a.npz, sample 1: x holds NaN", id="NaN"
        ),
        pytest.param(
            {"x": np.zeros((4, 2)), "label": np.zeros(3)}, "x 4, label 3", id="fewer labels"
        ),
        pytest.param({"x": np.zeros((4, 2)), "y": np.asarray(1)}, "one number", id="one label"),
    ],
)
def test_bad_arrays(arrays: dict[str, np.ndarray], message: str) -> None:
    """Every sample is checked before any work is done."""
    with pytest.raises(InputError, match=message):
        stacked_samples(arrays, [X], "a.npz")


def test_an_input_may_be_called_y() -> None:
    """A name of a label that is an input's is the input's."""
    y = InputSpec("y", "float32", ("batch", 2))
    samples = stacked_samples({"y": np.ones((3, 2))}, [y], "a.npz")
    assert samples[0].label is None
