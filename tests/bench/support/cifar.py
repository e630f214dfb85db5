"""CIFAR-10 as the development networks see it: what to calibrate with, to train on, to judge by.

Each function is one that `--data`, `--train-data` or `--eval` can name, as `cifar.py:training`.
Training images that are among those of calibration are left out.
"""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Labelled = tuple[dict[str, Array], Array]

FOLDER = Path(__file__).resolve().parents[3].parent / "shared" / "bench" / "dev"
INPUT = "input"


def training() -> Iterator[Labelled]:
    """The training images that calibration does not use, with their labels."""
    kit = _kit()
    stored = kit.data("cifar_train_jpeg.npz")
    known = set(kit.unpack(kit.data("cifar_calib.npz")))
    data, offset, label = stored["jpeg"], stored["offset"], stored["label"]
    for index in range(len(label)):
        jpeg = data[offset[index] : offset[index + 1]].tobytes()
        if jpeg not in known:
            yield _sample(kit, jpeg), np.asarray(label[index])


def unlabelled() -> Iterator[dict[str, Array]]:
    """The training images without their labels."""
    return (feeds for feeds, _ in training())


def calibration() -> Iterator[dict[str, Array]]:
    """The calibration images."""
    return (feeds for feeds, _ in judging())


def judging() -> Iterator[Labelled]:
    """The calibration images, with their labels."""
    return _stored("cifar_calib.npz")


def evaluation() -> Iterator[Labelled]:
    """The test images, with their labels."""
    return _stored("cifar_eval.npz")


def _stored(file: str) -> Iterator[Labelled]:
    kit = _kit()
    stored = kit.data(file)
    for jpeg, label in zip(kit.unpack(stored), stored["y"], strict=True):
        yield _sample(kit, jpeg), np.asarray(label)


def _sample(kit: ModuleType, jpeg: bytes) -> dict[str, Array]:
    return {INPUT: kit.pre_cifar(jpeg, raw=False)[None].astype(np.float32)}


def _kit() -> ModuleType:
    """The evaluation kit, imported once."""
    name = "hwc_evalkit"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, FOLDER / "evalkit.py")
        if spec is None or spec.loader is None:
            raise FileNotFoundError(FOLDER / "evalkit.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[name] = module
    return sys.modules[name]
