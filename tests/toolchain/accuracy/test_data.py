"""Data is opened by what it is: a file, a folder, or a function."""

from pathlib import Path

import numpy as np
import pytest
from hwc.toolchain.accuracy.data import load_samples
from hwc.toolchain.errors import InputError
from hwc.toolchain.inputs import InputSpec
from PIL import Image

X = InputSpec("x", "float32", ("batch", 2))
M = InputSpec("m", "int64", ("batch", 1))


def npz(path: Path, n: int = 6) -> Path:
    """Write n labelled samples."""
    np.savez(path, x=np.arange(2.0 * n).reshape(n, 2), label=np.arange(n))
    return path


def test_npz(tmp_path: Path) -> None:
    """All samples of a file, in order."""
    samples = load_samples(str(npz(tmp_path / "a.npz")), [X])
    assert [int(samples[i].label) for i in range(len(samples))] == list(range(6))  # type: ignore[arg-type]


def test_a_count_is_drawn_at_random_and_repeatably(tmp_path: Path) -> None:
    """The same seed draws the same samples; they stay in order."""
    path = str(npz(tmp_path / "a.npz", 100))
    drawn = [
        [int(s[i].label) for i in range(len(s))]  # type: ignore[arg-type]
        for s in (load_samples(path, [X], count=10, seed=seed) for seed in (1, 1, 2))
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] == sorted(set(drawn[0]))
    assert max(drawn[0]) > 20


def test_folders(tmp_path: Path) -> None:
    """One npz a sample, one npy a sample, or one npy for each input."""
    (tmp_path / "each").mkdir()
    for i in range(3):
        np.savez(tmp_path / "each" / f"{i}.npz", x=np.full(2, i), m=np.array([i]), y=np.asarray(i))
    each = load_samples(str(tmp_path / "each"), [X, M])
    assert len(each) == 3
    assert each[2].label == 2
    assert each[2].feeds["x"].tolist() == [[2, 2]]

    (tmp_path / "npy").mkdir()
    for i in range(3):
        np.save(tmp_path / "npy" / f"{i}.npy", np.full((1, 2), float(i)))
    assert load_samples(str(tmp_path / "npy"), [X])[1].feeds["x"].tolist() == [[1, 1]]
    with pytest.raises(InputError, match="named like the inputs x, m"):
        load_samples(str(tmp_path / "npy"), [X, M])

    (tmp_path / "named").mkdir()
    np.save(tmp_path / "named" / "x.npy", np.arange(8.0).reshape(4, 2))
    np.save(tmp_path / "named" / "m.npy", np.arange(4).reshape(4, 1))
    np.save(tmp_path / "named" / "labels.npy", np.arange(4))
    named = load_samples(str(tmp_path / "named"), [X, M])
    assert len(named) == 4
    assert named[3].feeds["x"].tolist() == [[6, 7]]
    assert named[3].label == 3


def test_one_npy_file(tmp_path: Path) -> None:
    """Enough for a model with one input."""
    np.save(tmp_path / "a.npy", np.zeros((5, 2)))
    assert len(load_samples(str(tmp_path / "a.npy"), [X])) == 5


def test_pictures(tmp_path: Path) -> None:
    """A folder of pictures."""
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    spec = InputSpec("x", "float32", (1, 3, 4, 4))
    assert len(load_samples(str(tmp_path), [spec], preprocess="scale=255")) == 1


def test_function(tmp_path: Path) -> None:
    """A function, with a count."""
    code = "import itertools\ndef f():\n    return ({'x': [i, 0]} for i in itertools.count())\n"
    (tmp_path / "user.py").write_text(code)
    assert len(load_samples(f"{tmp_path}/user.py:f", [X], count=3)) == 3
    (tmp_path / "user.py").write_text("def f():\n    return [{'x': [0, 0]}]\n")
    with pytest.raises(InputError, match="holds 1 samples, 3 were asked for"):
        load_samples(f"{tmp_path}/user.py:f", [X], count=3)


@pytest.mark.parametrize(
    ("name", "count", "message"),
    [
        ("missing.npz", None, "no such data"),
        ("empty", None, "holds no npz, npy or picture files"),
        ("none.npz", None, "holds no samples"),
        ("a.npz", 7, "holds 6 samples, 7 were asked for"),
        ("a.npz", 0, "holds 6 samples, 0 were asked for"),
        ("mixed", None, "both npy and npz"),
    ],
)
def test_unusable(tmp_path: Path, name: str, count: int | None, message: str) -> None:
    """Each says what is wrong."""
    npz(tmp_path / "a.npz")
    (tmp_path / "empty").mkdir()
    (tmp_path / "mixed").mkdir()
    npz(tmp_path / "mixed" / "a.npz")
    np.save(tmp_path / "mixed" / "a.npy", np.zeros(2))
    np.savez(tmp_path / "none.npz", x=np.zeros((0, 2)))
    with pytest.raises(InputError) as caught:
        load_samples(str(tmp_path / name), [X], count=count)
    assert message in caught.value.message
