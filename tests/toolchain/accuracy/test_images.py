"""Folders of pictures become samples."""

from pathlib import Path

import numpy as np
import pytest
from hwc.toolchain.accuracy.images import image_samples
from hwc.toolchain.errors import InputError, UsageError
from hwc.toolchain.inputs import InputSpec
from PIL import Image

INPUT = InputSpec("x", "float32", ("batch", 3, 4, 4))


def picture(path: Path, size: tuple[int, int] = (4, 4), color: object = (255, 0, 51)) -> Path:
    """Write a picture of one colour; size is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = "L" if isinstance(color, int) else "RGB"
    Image.new(mode, size, color).save(path)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize(
    ("folders", "labels"),
    [
        pytest.param(("cat", "dog", "emu"), [0, 0, 1, 2], id="sorted names"),
        pytest.param(("2", "10", "7"), [2, 2, 10, 7], id="numbers"),
    ],
)
def test_folders_are_classes(tmp_path: Path, folders: tuple[str, ...], labels: list[int]) -> None:
    """Names in sorted order, or the numbers themselves."""
    for folder in (folders[0], *folders):
        picture(tmp_path / folder / f"{len(list(tmp_path.rglob('*.png')))}.png")
    samples = image_samples(tmp_path, [INPUT], "scale=255")
    assert sorted(int(samples[i].label) for i in range(4)) == sorted(labels)  # type: ignore[arg-type]
    assert samples[0].feeds["x"].shape == (1, 3, 4, 4)


def test_labels_csv(tmp_path: Path) -> None:
    """A list of labels counts more than folders; every picture must be in it."""
    picture(tmp_path / "a" / "1.png")
    picture(tmp_path / "b.png")
    (tmp_path / "labels.csv").write_text("b.png,5\na/1.png, 3\n")
    samples = image_samples(tmp_path, [INPUT], "")
    assert [int(samples[i].label) for i in range(2)] == [3, 5]  # type: ignore[arg-type]
    (tmp_path / "labels.csv").write_text("b.png,5\n")
    with pytest.raises(InputError, match=r"no label for a/1\.png"):
        image_samples(tmp_path, [INPUT], "")
    (tmp_path / "labels.csv").write_text("b.png,five\n")
    with pytest.raises(InputError, match=r"labels\.csv:1: 'b\.png,five'"):
        image_samples(tmp_path, [INPUT], "")


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    """Pictures right in the folder are unlabelled."""
    picture(tmp_path / "a.png")
    assert image_samples(tmp_path, [INPUT], "")[0].label is None


def test_bytes_for_a_byte_input(tmp_path: Path) -> None:
    """A model with its own preprocessing takes pixels."""
    picture(tmp_path / "a.png")
    spec = InputSpec("x", "uint8", (1, 4, 4, 3))
    feeds = image_samples(tmp_path, [spec], "scale=1 layout=nhwc")[0].feeds
    assert feeds["x"].dtype == np.uint8
    assert feeds["x"][0, 0, 0].tolist() == [255, 0, 51]


def test_what_cannot_be_used(tmp_path: Path) -> None:
    """No preprocessing, two inputs, not a picture, too small, the wrong size."""
    path = picture(tmp_path / "a.png")
    with pytest.raises(UsageError, match="how to make them ready"):
        image_samples(tmp_path, [INPUT], None)
    with pytest.raises(InputError, match="2 inputs"):
        image_samples(tmp_path, [INPUT, INPUT], "")
    with pytest.raises(InputError, match="smaller than the crop"):
        image_samples(tmp_path, [INPUT], "crop=5")[0]
    with pytest.raises(InputError, match=r"a\.png: x has shape \[3, 2, 2\]"):
        image_samples(tmp_path, [INPUT], "resize=2")[0]
    path.write_bytes(b"no picture")
    with pytest.raises(InputError, match="cannot read the picture"):
        image_samples(tmp_path, [INPUT], "")[0]
