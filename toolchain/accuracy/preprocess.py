"""How a picture becomes an input, as `--preprocess` says."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..engine import Array
from ..errors import InputError, UsageError

EXAMPLE = "resize=256 crop=224 mean=0.485,0.456,0.406 std=0.229,0.224,0.225 layout=nchw"
_FILTERS = ("bilinear", "bicubic", "nearest", "lanczos", "box", "hamming")
_MODES = {"rgb": "RGB", "bgr": "RGB", "gray": "L"}
_LAYOUTS = ("nchw", "nhwc")
_KEYS = ("resize", "crop", "mean", "std", "layout", "scale", "color", "filter")


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How a picture becomes an input: resize, centre crop, divide, normalise, lay out.

    Attributes:
        resize: The shorter side in pixels, or (height, width); None keeps the size.
        crop: (height, width) of the centre crop; None crops nothing.
        mean: Subtracted from each channel after the division by `scale`.
        std: Each channel is divided by it after that.
        layout: `nchw` or `nhwc`.
        scale: Pixel values are divided by it.
        color: `rgb`, `bgr` or `gray`.
        filter: Pillow's resampling filter.
    """

    resize: int | tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: str = "nchw"
    scale: float = 255.0
    color: str = "rgb"
    filter: str = "bilinear"

    @classmethod
    def parse(cls, text: str) -> "Preprocess":
        """Read `resize=256 crop=224 mean=… std=… layout=nchw scale=255 color=rgb filter=bicubic`.

        Raises:
            UsageError: A key is unknown or given twice, or a value does not read.
        """
        pairs = [part.partition("=") for part in text.split()]
        values = {key: value for key, _, value in pairs}
        for key, equals, _ in pairs:
            if key not in _KEYS or not equals:
                near = difflib.get_close_matches(key, _KEYS, 1)
                raise UsageError(
                    f"--preprocess: unknown '{key}'" + (f", did you mean {near[0]}=" * bool(near)),
                    f"for example: {EXAMPLE}",
                )
        if len(values) != len(pairs):
            raise UsageError("--preprocess: a key is given twice", f"for example: {EXAMPLE}")
        return cls._checked(values)

    @classmethod
    def _checked(cls, values: Mapping[str, str]) -> "Preprocess":
        size = values.get("resize", "")
        return cls(
            resize=None if not size else _size(size) if "x" in size else _size(size)[0],
            crop=_size(values["crop"]) if "crop" in values else None,
            mean=_numbers(values.get("mean", "0"), "mean"),
            std=_numbers(values.get("std", "1"), "std", positive=True),
            layout=_one_of(values.get("layout", "nchw"), _LAYOUTS, "layout"),
            scale=_numbers(values.get("scale", "255"), "scale", positive=True)[0],
            color=_one_of(values.get("color", "rgb"), tuple(_MODES), "color"),
            filter=_one_of(values.get("filter", "bilinear"), _FILTERS, "filter"),
        )

    def __call__(self, path: Path) -> Array:
        """The picture as float32, [channels, height, width] or [height, width, channels].

        Raises:
            InputError: The file is not a picture, or is smaller than the crop.
        """
        pixels = self._pixels(path)
        if pixels.ndim == 2:  # noqa: PLR2004 - gray: no channel axis
            pixels = pixels[..., None]
        if self.color == "bgr":
            pixels = pixels[..., ::-1]
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        values = (pixels / np.float32(self.scale) - mean) / std
        laid_out = values.transpose(2, 0, 1) if self.layout == "nchw" else values
        return np.ascontiguousarray(laid_out, np.float32)

    def _pixels(self, path: Path) -> Array:
        """The resized and cropped pixels, uint8."""
        from PIL import Image  # noqa: PLC0415 - heavy: only where pictures are read

        try:
            with Image.open(path) as opened:
                image = opened.convert(_MODES[self.color])
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as cause:
            raise InputError(f"cannot read the picture {path}: {cause}") from cause
        if self.resize is not None:
            size = _target(image.height, image.width, self.resize)
            image = image.resize(size[::-1], Image.Resampling[self.filter.upper()])
        array = np.asarray(image)
        return array if self.crop is None else _centre(array, self.crop, path)


def _size(text: str) -> tuple[int, int]:
    """`224` or `224x320` (height x width) as (height, width)."""
    sides = text.split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) for side in sides):  # noqa: PLR2004 - height, width
        raise UsageError(f"--preprocess: '{text}' is not a size", "write 224 or 224x320 (HxW)")
    return int(sides[0]), int(sides[-1])


def _numbers(text: str, key: str, *, positive: bool = False) -> tuple[float, ...]:
    """One number, or one for each of three channels."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if (
        len(values) not in (1, 3)
        or not np.isfinite(values).all()
        or (positive and min(values) <= 0)
    ):
        raise UsageError(f"--preprocess: {key}={text} is not right", "give one number, or three")
    return values


def _one_of(value: str, allowed: Sequence[str], key: str) -> str:
    """The value, if it is one of those allowed."""
    if value not in allowed:
        raise UsageError(f"--preprocess: {key}={value} is unknown", f"use {', '.join(allowed)}")
    return value


def _target(height: int, width: int, size: int | tuple[int, int]) -> tuple[int, int]:
    """The (height, width) to resize to; one number is the shorter side, as in torchvision."""
    if isinstance(size, tuple):
        return size
    if height <= width:
        return size, size * width // height
    return size * height // width, size


def _centre(pixels: Array, crop: tuple[int, int], path: Path) -> Array:
    """The centre crop."""
    height, width = pixels.shape[:2]
    if height < crop[0] or width < crop[1]:
        raise InputError(
            f"{path} is {height}x{width} after resizing, smaller than the crop",
            "resize to at least the crop",
        )
    top, left = round((height - crop[0]) / 2), round((width - crop[1]) / 2)  # as torchvision
    return pixels[top : top + crop[0], left : left + crop[1]]
