"""Samples from a folder of pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError, UsageError
from ..inputs import InputSpec
from .conform import conform
from .preprocess import EXAMPLE, Preprocess
from .samples import Sample

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff"})


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
            f'say so, for example --preprocess "{EXAMPLE}"',
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


def _lines(table: Path) -> list[str]:
    try:
        return table.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as cause:
        raise InputError(f"cannot read {table}: {cause}", "write it as UTF-8 text") from cause


def _listed(table: Path, folder: Path, paths: Sequence[Path]) -> list[int]:
    """The labels of a `labels.csv`."""
    found: dict[str, int] = {}
    for number, line in enumerate(_lines(table), 1):
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
