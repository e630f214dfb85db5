"""The development models beside the checkout: what each is, its data and its true score."""

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
from hwc.toolchain.engine import Array, Feeds, Runner
from hwc.toolchain.inputs import InputSpec

FOLDER = Path(__file__).resolve().parents[3].parent / "shared" / "bench" / "dev"

Run = Callable[[Mapping[str, Array]], list[Array]]  # an engine as the evaluation kit calls it


class SkipError(Exception):
    """A benchmark cannot run here; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Case:
    """One development model.

    Attributes:
        name: Its key in the kit.
        path: The ONNX file.
        task: What it does: `imagenet`, `cifar`, `kws`, `yolox`, `ocr`, `sts`, `speaker` or `vad`.
        metric: The figure of the kit's evaluation that counts; from 0 to 1, higher is better.
    """

    name: str
    path: Path
    task: str
    metric: str


@cache
def kit() -> ModuleType:
    """The evaluation kit.

    Raises:
        SkipError: It is not beside the checkout.
    """
    file = FOLDER / "evalkit.py"
    spec = importlib.util.spec_from_file_location("evalkit", file) if file.is_file() else None
    if spec is None or spec.loader is None:
        raise SkipError(f"no development models: {file} is not there")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cases(names: Sequence[str] = ()) -> tuple[Case, ...]:
    """The models of these names; all of them where none is named.

    Raises:
        SkipError: The kit is not there, or it has no such model.
    """
    spec = kit().SPEC
    if unknown := [name for name in names if name not in spec]:
        raise SkipError(f"no development model {unknown[0]!r}; there are {', '.join(spec)}")
    return tuple(
        Case(name, Path(kit().model_path(name)), spec[name]["task"], spec[name]["metric"])
        for name in (names or spec)
    )


def calibration_feeds(case: Case) -> Iterator[Feeds]:
    """Batch-1 feeds of the calibration data, none of which is in the evaluation data."""
    yield from kit().calibration(case.name)


def calibration_arrays(case: Case) -> Mapping[str, Array]:
    """The calibration data as it is stored, with the labels where it has any."""
    arrays: Mapping[str, Array] = kit().data(kit().SPEC[case.name]["calib"])
    return arrays


def evaluate(case: Case, run: Run, limit: int | None = None) -> float:
    """The true score on the evaluation data, which no compilation may see."""
    return float(kit().evaluate(case.name, run, limit)[case.metric])


def as_run(runner: Runner, specs: Sequence[InputSpec]) -> Run:
    """A runner as the kit calls it, also where its graph has fixed shapes.

    A batch is fed one by one where the batch axis is fixed to 1, and shorter inputs are padded
    with zeros (which an attention mask then leaves out).
    """
    wanted = {spec.name: spec.shape for spec in specs}

    def run(feeds: Mapping[str, Array]) -> list[Array]:
        known = {name: feeds[name] for name in wanted}
        outputs = [runner(_padded(one, wanted)) for one in _batches(known, wanted)]
        return [np.concatenate([each[name] for each in outputs]) for name in outputs[0]]

    return run


_Shapes = Mapping[str, tuple[int | str | None, ...]]


def _batches(feeds: Feeds, wanted: _Shapes) -> Iterator[Feeds]:
    """The feeds as they are, or sample by sample where the graph takes no more."""
    batched = [name for name, shape in wanted.items() if shape and shape[0] == 1]
    count = max((len(feeds[name]) for name in batched), default=1)
    if count == 1:
        yield feeds
        return
    for i in range(count):
        yield {name: a[i : i + 1] if name in batched else a for name, a in feeds.items()}


def _padded(feeds: Feeds, wanted: _Shapes) -> Feeds:
    """Feeds of the graph's fixed shapes."""
    return {name: _pad(array, wanted[name]) for name, array in feeds.items()}


def _pad(array: Array, shape: tuple[int | str | None, ...]) -> Array:
    widths = [
        (0, wanted - size if isinstance(wanted, int) else 0)
        for size, wanted in zip(array.shape, shape, strict=True)
    ]
    return np.pad(array, widths) if any(after for _, after in widths) else array
