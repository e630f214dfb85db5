"""Samples from a folder of pictures, made ready as `--preprocess` says."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..engine import Array
from ..errors import InputError, UsageError
from ..inputs import InputSpec
from .conform import conform
from .samples import Sample

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff"})
_FILTERS = ("bilinear", "bicubic", "nearest", "lanczos", "box", "hamming")
_MODES = {"rgb": "RGB", "bgr": "RGB", "gray": "L"}
_LAYOUTS = ("nchw", "nhwc")
_KEYS = ("resize", "crop", "mean", "std", "layout", "scale", "color", "filter")
_EXAMPLE = "resize=256 crop=224 mean=0.485,0.456,0.406 std=0.229,0.224,0.225 layout=nchw"


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
                    f"for example: {_EXAMPLE}",
                )
        if len(values) != len(pairs):
            raise UsageError("--preprocess: a key is given twice", f"for example: {_EXAMPLE}")
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


@dataclass(frozen=True, slots=True)
class ImageSamples:
    """One sample a picture; decoded whenever it is asked for."""

    paths: Sequence[Path]
    labels: Sequence[int] | None
    spec: InputSpec
    preprocess: Preprocess

    def __len__(self) -> int:
        """How many there are."""
        return len(self.paths)

    def __getitem__(self, index: int) -> Sample:
        """Decode one picture."""
        path = self.paths[index]
        pixels = self.preprocess(path)
        if self.spec.dtype == "uint8":
            pixels = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
        label = None if self.labels is None else np.asarray(self.labels[index])
        return Sample({self.spec.name: conform(pixels, self.spec, str(path))}, label)


def image_samples(
    folder: Path, inputs: Sequence[InputSpec], preprocess: str | None
) -> ImageSamples:
    """Samples of all pictures in a folder and its sub-folders.

    Labels come from `labels.csv` in the folder (lines of `file,label`) or else from the names of
    the sub-folders: their numbers where all are numbers, else their places in sorted order.

    Raises:
        InputError: The model does not take one picture, or the labels do not match the files.
        UsageError: No or wrong preprocessing.
    """
    if len(inputs) != 1:
        raise InputError(
            f"{folder} holds pictures, but the model has {len(inputs)} inputs",
            "give an npz with an array for each input, or module:function",
        )
    if preprocess is None:
        raise UsageError(
            f"{folder} holds pictures, and how to make them ready is not known",
            f'say so, for example --preprocess "{_EXAMPLE}"',
        )
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS)
    labels = _labels(folder, paths)
    return ImageSamples(paths, labels, inputs[0], Preprocess.parse(preprocess))


def _labels(folder: Path, paths: Sequence[Path]) -> list[int] | None:
    """The class of each picture, where it is known."""
    table = folder / "labels.csv"
    if table.is_file():
        return _listed(table, folder, paths)
    parts = [path.relative_to(folder).parts for path in paths]
    if any(len(part) < 2 for part in parts):  # noqa: PLR2004 - a picture right in the folder has no class
        return None
    classes = sorted({part[0] for part in parts})
    if all(name.isdecimal() for name in classes):
        return [int(part[0]) for part in parts]
    return [classes.index(part[0]) for part in parts]


def _listed(table: Path, folder: Path, paths: Sequence[Path]) -> list[int]:
    """The labels of a `labels.csv`."""
    found: dict[str, int] = {}
    for number, line in enumerate(table.read_text("utf-8").splitlines(), 1):
        name, _, label = line.rpartition(",")
        if not label.strip().isdecimal():
            raise InputError(
                f"{table}:{number}: '{line}' is not 'file,label'", "labels are numbers"
            )
        found[name.strip()] = int(label)
    names = [path.relative_to(folder).as_posix() for path in paths]
    missing = next((name for name in names if name not in found), None)
    if missing is not None:
        raise InputError(f"{table} has no label for {missing}", "list every picture")
    return [found[name] for name in names]


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
