"""Calibration data of the development models, written as `--data` takes it."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from hwc.backends import ort
from hwc.toolchain.engine import Array, Feeds
from hwc.toolchain.npz import write_npz

from .devkit import Case, calibration_arrays, calibration_feeds, kit

TOKENS = 64  # to which sentences are padded for devices that need fixed shapes
_SIDE = 416  # of YOLOX-nano's input, in pixels
_JUDGES = {
    "yolox": "support.judges:detection",
    "ocr": "support.judges:words",
    "speaker": "support.judges:speakers",
}


def arguments(
    case: Case, folder: Path, *, labelled: bool = True, fixed: bool = False
) -> tuple[str, ...]:
    """Write the calibration data of a model once, and name it as `hwc compile` takes it.

    Args:
        case: The model.
        folder: Where the data goes; what is already there is kept.
        labelled: With labels and the metric that they serve, where the data has them.
        fixed: All samples in one shape.
    """
    labelled = labelled and labels(case) is not None
    data = _write(case, folder, labelled=labelled, fixed=fixed)
    judge = _JUDGES.get(case.task, "auto") if labelled else "auto"
    return "--data", str(data), "--metric", judge


def _write(case: Case, folder: Path, *, labelled: bool, fixed: bool) -> Path:
    """An npz, or a folder with one npz a sample where their shapes differ."""
    name = f"{case.name}{'-labelled' if labelled else ''}{'-fixed' if fixed else ''}"
    if case.task == "sts" and not fixed:
        return _write_folder(case, folder / name)
    path = folder / f"{name}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        stacked = _stack(feeds(case, fixed=fixed))
        wanted = labels(case) if labelled else None
        write_npz(path, stacked if wanted is None else {**stacked, "labels": wanted})
    return path


def feeds(case: Case, *, fixed: bool = False) -> Iterator[Feeds]:
    """Batch-1 feeds; of recurrent models with the states that really occur."""
    plain = calibration_feeds(case)
    if case.task == "vad":
        return _stateful(case, plain)
    if case.task == "sts" and fixed:
        return (
            {name: np.pad(a, ((0, 0), (0, TOKENS - a.shape[1]))) for name, a in feed.items()}
            for feed in plain
        )
    return iter(plain)


def spread(case: Case, count: int) -> list[Feeds]:
    """At most `count` feeds, evenly over the whole data (which may be sorted by class)."""
    total = sum(1 for _ in calibration_feeds(case))
    chosen = set(np.linspace(0, total - 1, min(count, total)).round().astype(int).tolist())
    return [feed for index, feed in enumerate(feeds(case)) if index in chosen]


def labels(case: Case) -> Array | None:
    """One label a sample, first axis = samples; None where the data has none.

    Boxes are in pixels of the model's input: x1, y1, x2, y2, class, padded with class -1.
    """
    stored = calibration_arrays(case)
    if case.task == "yolox":
        return _boxes(case)
    if case.task == "ocr":
        return np.array(json.loads(stored["text"].tobytes().decode()))
    return stored["y"].astype(np.int64) if "y" in stored else None


def _boxes(case: Case) -> Array:
    stored = calibration_arrays(case)
    pictures = kit().unpack(stored)
    rows = [np.flatnonzero(stored["box_img"] == i) for i in range(len(pictures))]
    made = np.full((len(pictures), max(map(len, rows)), 5), -1.0, np.float32)
    for i, (picture, row) in enumerate(zip(pictures, rows, strict=True)):
        width, height = kit().image(picture).size
        made[i, : len(row), :4] = stored["box"][row] * (_SIDE / max(width, height))
        made[i, : len(row), 4] = stored["box_cls"][row]
    return made


def _stateful(case: Case, plain: Iterator[Feeds]) -> Iterator[Feeds]:
    """Consecutive frames, each with the state that the original left behind."""
    original = ort.Session(case.path, ort.Options(threads=1))
    state: Array | None = None
    for feed in plain:
        full = feed if state is None else {**feed, "state": state}
        yield full
        state = original(full)["stateN"]


def _stack(samples: Iterator[Feeds]) -> dict[str, Array]:
    """One array an input, first axis = samples; a plain number is the same for all of them."""
    first = next(samples)
    every = [first, *samples]
    return {
        name: array if array.ndim == 0 else np.stack([feed[name] for feed in every])
        for name, array in first.items()
    }


def _write_folder(case: Case, folder: Path) -> Path:
    if not folder.exists():
        folder.mkdir(parents=True)
        for index, feed in zip(itertools.count(), feeds(case), strict=False):
            write_npz(folder / f"{index:05}.npz", dict(feed))
    return folder
