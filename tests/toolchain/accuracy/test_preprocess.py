"""Pictures become inputs as the preprocessing says."""

from pathlib import Path

import numpy as np
import pytest
from hwc.toolchain.accuracy.preprocess import Preprocess
from hwc.toolchain.errors import InputError, UsageError
from PIL import Image


def picture(path: Path, size: tuple[int, int] = (4, 4), color: object = (255, 0, 51)) -> Path:
    """Write a picture of one colour; size is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = "L" if isinstance(color, int) else "RGB"
    Image.new(mode, size, color).save(path)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize(
    ("text", "channels"),
    [
        ("", (1.0, 0.0, 0.2)),
        ("color=bgr", (0.2, 0.0, 1.0)),
        ("scale=1", (255, 0, 51)),
        ("mean=0.5 std=0.5", (1.0, -1.0, -0.6)),
        ("mean=1,0,0.1 std=1,1,0.1", (0.0, 0.0, 1.0)),
        ("scale=1 mean=127 std=128", (1.0, -127 / 128, -76 / 128)),
    ],
)
def test_values(tmp_path: Path, text: str, channels: tuple[float, ...]) -> None:
    """Divide by scale, subtract the mean, divide by std."""
    pixels = Preprocess.parse(text)(picture(tmp_path / "a.png"))
    assert pixels.shape == (3, 4, 4)
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels[:, 1, 2], channels, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "size", "shape"),
    [
        ("resize=6", (12, 8), (3, 6, 9)),
        ("resize=6", (8, 12), (3, 9, 6)),
        ("resize=6x10", (12, 8), (3, 6, 10)),
        ("resize=6 crop=4", (12, 8), (3, 4, 4)),
        ("crop=4x6 layout=nhwc", (12, 8), (4, 6, 3)),
        ("color=gray layout=nhwc", (12, 8), (8, 12, 1)),
    ],
)
def test_geometry(tmp_path: Path, text: str, size: tuple[int, int], shape: tuple[int, ...]) -> None:
    """The shorter side, exact sizes, the centre crop, the layout."""
    assert Preprocess.parse(text)(picture(tmp_path / "a.png", size)).shape == shape


def test_the_crop_is_the_centre(tmp_path: Path) -> None:
    """Two pixels each side of the middle."""
    ramp = np.arange(8, dtype=np.uint8)[None].repeat(8, 0)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    pixels = Preprocess.parse("crop=4 color=gray scale=1")(tmp_path / "a.png")
    assert pixels[0, 0].tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("resise=3", "unknown 'resise', did you mean resize="),
        ("crop", "unknown 'crop'"),
        ("crop=4 crop=5", "twice"),
        ("crop=0", "'0' is not a size"),
        ("crop=1x2x3", "not a size"),
        ("mean=a", "mean=a is not right"),
        ("mean=1,2", "mean=1,2 is not right"),
        ("std=0", "std=0 is not right"),
        ("scale=nan", "scale=nan is not right"),
        ("layout=chwn", "layout=chwn is unknown"),
        ("color=cmyk", "color=cmyk is unknown"),
        ("filter=cubic", "filter=cubic is unknown"),
    ],
)
def test_bad_preprocessing(text: str, message: str) -> None:
    """Each mistake is named."""
    with pytest.raises(UsageError) as caught:
        Preprocess.parse(text)
    assert message in caught.value.message


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n cut off"])
def test_not_a_picture(tmp_path: Path, content: bytes) -> None:
    """Whatever the file holds."""
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match="cannot read the picture"):
        Preprocess.parse("")(tmp_path / "a.png")
